export { TimeSeriesChart } from './TimeSeriesChart';
export { chartSeriesOf } from './prometheus';
export { themeName } from './theme';
export type {
  ChartAxis,
  ChartLegend,
  ChartSeries,
  ChartThresholds,
  ThemeName,
  TimeSeriesChartProps,
} from './types';
