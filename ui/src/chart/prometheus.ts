/** The shortest way from an answer of the query API to a chart: for Explore and small graphs. */
import type { MatrixSeries } from '../api/types';
import { joinSeries, sampleNumber } from '../dashboard/data/frames';
import { metricName } from '../dashboard/data/legend';
import { classicColor } from '../dashboard/fields/palette';
import type { ChartSeries, ThemeName } from './types';

/** Series in the classic colours, named as Prometheus prints them. `stepMs` decides what is a gap. */
export function chartSeriesOf(
  matrix: readonly MatrixSeries[],
  stepMs: number,
  theme: ThemeName,
  style: Partial<ChartSeries> = {},
): { times: number[]; series: ChartSeries[] } {
  const { times, columns } = joinSeries(
    matrix.map(({ values = [] }) => ({
      times: values.map(([at]) => at * 1000),
      values: values.map(([, value]) => sampleNumber(value)),
      stepMs,
    })),
  );
  const series = matrix.map(({ metric }, i): ChartSeries => {
    const name = metricName(metric);
    return { key: name, name, color: classicColor(i, theme), values: columns[i] ?? [], ...style };
  });
  return { times, series };
}
