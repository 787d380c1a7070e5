import { useMemo, useState } from 'preact/hooks';
import type { MatrixSeries } from '../../api/types';
import { chartSeriesOf, themeName, TimeSeriesChart } from '../../chart';
import { zoomOut, zoomTo } from '../../time/range';
import parts from '../../ui/parts.module.css';
import { LabelChips } from '../../ui/parts';
import { commonLabels, differingLabels } from '../alertWords';
import css from './explore.module.css';
import { axisUnit, unitOf } from './unit';

/** More lines than these cannot be told apart, and cost the browser dearly. */
const CAP = 100;

/** The answer over time. Dragging over a part zooms in, a double click zooms out. */
export function Graph({
  expr,
  series,
  from,
  to,
  step,
}: {
  expr: string;
  series: readonly MatrixSeries[];
  /** Seconds since the epoch. */
  from: number;
  to: number;
  /** Seconds. */
  step: number;
}) {
  const [all, setAll] = useState(false);
  const theme = themeName.value;
  const unit = unitOf(expr);
  const shown = useMemo(() => (all ? series : series.slice(0, CAP)), [series, all]);
  const common = useMemo(
    () => (shown.length > 1 ? commonLabels(shown.map((one) => one.metric)) : {}),
    [shown],
  );
  // The legend says what differs; what all lines share stands once below it.
  const data = useMemo(() => {
    const named = shown.map((one) => ({ ...one, metric: differingLabels(one.metric, common) }));
    return chartSeriesOf(named, step * 1000, theme, { unit });
  }, [shown, common, step, theme, unit]);
  const axes = useMemo(() => ({ y: { unit: axisUnit(unit, data.series) } }), [data, unit]);
  return (
    <>
      <div class={css.graph}>
        <TimeSeriesChart
          caption={`Graph of ${expr}`}
          times={data.times}
          series={data.series}
          from={from * 1000}
          to={to * 1000}
          axes={axes}
          tooltip={{ mode: data.series.length > 12 ? 'single' : 'multi', sort: 'desc' }}
          onZoom={zoomTo}
          onZoomOut={zoomOut}
        />
      </div>
      {Object.keys(common).length > 0 && (
        <div class={css.common}>
          <span>All lines:</span>
          <LabelChips labels={common} />
        </div>
      )}
      {shown.length < series.length && (
        <div class={parts.more}>
          <span>
            {shown.length} of {series.length} series are drawn
          </span>
          <button type="button" class={parts.button} onClick={() => setAll(true)}>
            Draw all {series.length}
          </button>
        </div>
      )}
    </>
  );
}
