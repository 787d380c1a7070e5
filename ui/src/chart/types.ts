/** What a chart is given. Plain data: no element knows where it came from. */
import type { ThemeName } from '../dashboard/fields/palette';

export type { ThemeName };

export interface ChartSeries {
  /** Stays the same over refreshes, so that hiding and highlighting survive them. */
  key: string;
  name: string;
  /** Any CSS colour, already meant for the theme in force. */
  color: string;
  /** One value per entry of `times`; null is a gap, undefined a point that only other series have. */
  values: readonly (number | null | undefined)[];
  /** Grafana's unit id, such as "bytes"; none by default. */
  unit?: string;
  decimals?: number | null;
  draw?: 'line' | 'bars' | 'points';
  /** "line" by default. */
  interpolation?: 'linear' | 'smooth' | 'stepBefore' | 'stepAfter';
  /** Pixels; 1.5 by default. */
  lineWidth?: number;
  /** 0 to 100; 0 by default. */
  fillOpacity?: number;
  gradient?: 'none' | 'opacity';
  dash?: readonly number[];
  showPoints?: 'auto' | 'always' | 'never';
  pointSize?: number;
  /** True connects over every gap, a number over gaps of at most so many milliseconds. */
  spanNulls?: boolean | number;
  /** Drawn below zero, read as it is: for what is sent beside what is received. */
  isMirrored?: boolean;
  /** Series of one group are put on top of each other. */
  stack?: { group: string; mode: 'normal' | 'percent' };
  /** The axis it belongs to: a key of `axes`; "y" by default. */
  axis?: string;
  /** Fills the space down to the series of this name. */
  fillBelowTo?: string;
  hideInLegend?: boolean;
  hideInTooltip?: boolean;
  /** Taken part in the legend, but not drawn. */
  isHidden?: boolean;
}

export interface ChartAxis {
  side?: 'left' | 'right' | 'hidden';
  unit?: string;
  min?: number;
  max?: number;
  softMin?: number;
  softMax?: number;
  label?: string;
  /** Base of a logarithmic scale. */
  log?: 2 | 10;
  centeredZero?: boolean;
}

export interface ChartThresholds {
  style: 'line' | 'dashed' | 'area' | 'line+area' | 'dashed+area';
  /** Rising; the first one reaches down without end. Colours are CSS. */
  steps: readonly { value: number; color: string }[];
}

export interface ChartLegend {
  /** "list" by default. */
  mode?: 'list' | 'table' | 'hidden';
  /** "bottom" by default. On narrow charts always at the bottom. */
  placement?: 'bottom' | 'right';
  /** Calculations shown beside the names: "lastNotNull", "mean", "max" and so on. */
  calcs?: readonly string[];
  sortBy?: string;
  sortDesc?: boolean;
  /** Pixels, for a legend at the right. */
  width?: number;
}

export interface TimeSeriesChartProps {
  /** What the chart shows, in words; read out, not drawn. */
  caption: string;
  /** Milliseconds since the epoch, rising. */
  times: readonly number[];
  series: readonly ChartSeries[];
  /** The window shown, in milliseconds since the epoch, whether or not there is data in all of it. */
  from: number;
  to: number;
  /** Axes by key; series without one use "y". */
  axes?: Readonly<Record<string, ChartAxis>>;
  thresholds?: ChartThresholds;
  legend?: ChartLegend;
  tooltip?: { mode: 'single' | 'multi' | 'none'; sort?: 'none' | 'asc' | 'desc'; hideZeros?: boolean };
  /** Charts with the same key share their crosshair. */
  syncKey?: string;
  /** With a `syncKey`: shows the tooltip of this chart too while another one is looked at. */
  syncTooltip?: boolean;
  hideXAxis?: boolean;
  /** Called after dragging over a part of the chart. Without it nothing can be dragged. */
  onZoom?: (fromMs: number, toMs: number) => void;
  /** Called for a double click. */
  onZoomOut?: () => void;
}
