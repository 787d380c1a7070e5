import { useMemo } from 'preact/hooks';
import { queryRange } from '../../api/client';
import type { Labels, MatrixSeries } from '../../api/types';
import { useData } from '../../api/useData';
import { chartSeriesOf, themeName, TimeSeriesChart } from '../../chart';
import { SkeletonRows } from '../../ui/parts';
import { commonLabels, differingLabels } from '../alertWords';
import { autoStep } from '../explore/state';
import css from './alerts.module.css';
import { thresholdOf } from './threshold';

const LEAST_SECONDS = 3600;

interface Measured {
  series: MatrixSeries[];
  from: number;
  to: number;
  step: number;
}

/** Those that the alert is about, by their labels; all when none can be told. */
function ownSeries(series: MatrixSeries[], labels: Labels): MatrixSeries[] {
  const own = series.filter(({ metric }) =>
    Object.entries(metric).every(([name, value]) => name === '__name__' || labels[name] === value),
  );
  return own.length > 0 ? own : series.slice(0, 20);
}

async function measure(
  expr: string,
  labels: Labels,
  since: number | null,
  signal: AbortSignal,
): Promise<Measured> {
  const now = Date.now() / 1000;
  const from = Math.min(now - LEAST_SECONDS, (since === null ? now : since / 1000) - LEAST_SECONDS / 2);
  const step = autoStep(now - from, 240);
  const start = Math.ceil(from / step) * step;
  const end = Math.floor(now / step) * step;
  const { data } = await queryRange(expr, start, end, step, signal);
  const series = data.resultType === 'matrix' ? ownSeries(data.result, labels) : [];
  return { series, from, to: now, step };
}

/** What the rule measures, from before the alert until now, with its threshold where it has a plain one. */
export function AlertGraph({
  name,
  query,
  labels,
  since,
  beat,
}: {
  name: string;
  query: string;
  labels: Labels;
  /** Milliseconds since the epoch. */
  since: number | null;
  beat: unknown;
}) {
  const threshold = thresholdOf(query);
  const expr = threshold?.expr ?? query;
  const { data, error } = useData(`${expr} ${since}`, (signal) => measure(expr, labels, since, signal), beat);
  const theme = themeName.value;
  const drawn = useMemo(() => {
    if (!data) return null;
    const common = data.series.length > 1 ? commonLabels(data.series.map((one) => one.metric)) : {};
    const named = data.series.map((one) => ({ ...one, metric: differingLabels(one.metric, common) }));
    return chartSeriesOf(named, data.step * 1000, theme);
  }, [data, theme]);
  if (error) return null;
  if (!data || !drawn) {
    return (
      <div class={css.graph}>
        <SkeletonRows rows={3} />
      </div>
    );
  }
  if (data.series.length === 0) return null;
  const critical = getComputedStyle(document.documentElement).getPropertyValue('--critical').trim();
  return (
    <div class={css.graph}>
      <TimeSeriesChart
        caption={`What ${name} measures`}
        times={drawn.times}
        series={drawn.series}
        from={data.from * 1000}
        to={data.to * 1000}
        legend={{ mode: drawn.series.length > 1 ? 'list' : 'hidden' }}
        thresholds={
          threshold
            ? {
                style: 'dashed',
                steps: [
                  { value: -Infinity, color: 'transparent' },
                  { value: threshold.value, color: critical },
                ],
              }
            : undefined
        }
        axes={
          threshold
            ? { y: { softMin: Math.min(0, threshold.value), softMax: threshold.value * 1.1 } }
            : undefined
        }
      />
    </div>
  );
}
