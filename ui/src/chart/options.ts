/** A chart's description for uPlot. */
import uPlot from 'uplot';
import { withAlpha } from '../dashboard/fields/palette';
import { axisRange, incrementsOf, tickTexts } from './scale';
import type { Stacked } from './stack';
import { CANVAS_FONT, textWidth, type CanvasColors } from './theme';
import { drawThresholds } from './thresholds';
import { TIME_INCREMENTS, timeTexts } from './time-axis';
import type { ChartAxis, ChartSeries, TimeSeriesChartProps } from './types';

/** What may change without a new chart: read whenever uPlot asks. */
export interface Live {
  props: TimeSeriesChartProps;
}

const linear = uPlot.paths.linear?.();
const spline = uPlot.paths.spline?.();
const stepAfter = uPlot.paths.stepped?.({ align: 1 });
const stepBefore = uPlot.paths.stepped?.({ align: -1 });
const bars = uPlot.paths.bars?.({ size: [0.7, 60], gap: 1 });
const noPath: uPlot.Series.PathBuilder = () => null;

function pathsOf({
  draw = 'line',
  interpolation = 'linear',
}: ChartSeries): uPlot.Series.PathBuilder | undefined {
  if (draw === 'points') return noPath;
  if (draw === 'bars') return bars;
  if (interpolation === 'smooth') return spline;
  if (interpolation === 'stepAfter') return stepAfter;
  return interpolation === 'stepBefore' ? stepBefore : linear;
}

/** Points that have no neighbour: a line through them would have no length. */
function isolated(values: readonly (number | null | undefined)[]): number[] {
  const out: number[] = [];
  let before: number | null | undefined = null;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value === undefined) continue;
    if (value !== null && before === null) {
      let next = i + 1;
      while (next < values.length && values[next] === undefined) next += 1;
      if (values[next] === null || next >= values.length) out.push(i);
    }
    before = value;
  }
  return out;
}

function fillOf(series: ChartSeries): uPlot.Series.Fill | undefined {
  const opacity = (series.fillOpacity ?? 0) / 100;
  if (opacity <= 0) return undefined;
  const { color } = series;
  if (series.gradient !== 'opacity') return withAlpha(color, opacity);
  return (u) => {
    const { top, height } = u.bbox;
    if (!Number.isFinite(top) || height <= 0) return withAlpha(color, opacity);
    const fade = u.ctx.createLinearGradient(0, top, 0, top + height);
    fade.addColorStop(0, withAlpha(color, opacity));
    fade.addColorStop(1, withAlpha(color, 0.02));
    return fade;
  };
}

/** Leaves out the gaps that are short enough to be connected. */
function gapsUpTo(ms: number): uPlot.Series.GapsRefiner {
  return (u, _series, _from, _to, gaps) =>
    gaps.filter(([from, to]) => u.posToVal(to, 'x', true) - u.posToVal(from, 'x', true) > ms);
}

/** uPlot takes a key that is there for a choice, even an undefined one. */
function chosen<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}

function seriesOptions(series: ChartSeries, colors: CanvasColors): uPlot.Series {
  const width = series.draw === 'points' ? 0 : (series.lineWidth ?? 1.5);
  const isAlways = series.showPoints === 'always' || series.draw === 'points';
  const points: uPlot.Series.Points =
    series.showPoints === 'never' && series.draw !== 'points'
      ? { show: false }
      : {
          show: series.draw !== 'bars',
          size: series.pointSize ?? (isAlways ? 5 : 4),
          fill: series.color,
          width: 0,
          filter: isAlways
            ? undefined
            : (u, index, _show, _gaps) => isolated((u.data[index] ?? []) as (number | null | undefined)[]),
        };
  return chosen<uPlot.Series>({
    scale: series.axis ?? 'y',
    stroke: series.draw === 'bars' && width === 0 ? undefined : series.color,
    width,
    fill: fillOf(series),
    dash: series.dash ? [...series.dash] : undefined,
    spanGaps: series.spanNulls === true,
    gaps: typeof series.spanNulls === 'number' ? gapsUpTo(series.spanNulls) : undefined,
    paths: pathsOf(series),
    points: chosen({ ...points, stroke: isAlways ? series.color : colors.surface }),
  });
}

function hairline(): number {
  return 1 / Math.min(2, window.devicePixelRatio || 1);
}

/** All axes have at least this width, so that the panels of a column line up. */
const LEAST_AXIS = 44;

function yAxis(key: string, axis: ChartAxis, colors: CanvasColors, hasGrid: boolean): uPlot.Axis {
  const isRight = axis.side === 'right';
  return chosen<uPlot.Axis>({
    scale: key,
    side: isRight ? 1 : 3,
    show: axis.side !== 'hidden',
    font: CANVAS_FONT,
    labelFont: CANVAS_FONT,
    label: axis.label || undefined,
    labelSize: axis.label ? 16 : 0,
    stroke: colors.text,
    gap: 8,
    space: 34,
    incrs: incrementsOf(axis.unit),
    size: (_u, values) => {
      const longest = (values ?? []).reduce((most, text) => Math.max(most, textWidth(text ?? '')), 0);
      return Math.max(LEAST_AXIS, Math.ceil(longest) + 12);
    },
    values: (_u, splits) => tickTexts(splits, axis.unit),
    grid: { show: hasGrid, stroke: colors.grid, width: hairline() },
    ticks: { show: false },
  });
}

function yScale(key: string, live: Live, axis: ChartAxis): uPlot.Scale {
  const now = (): ChartAxis => live.props.axes?.[key] ?? axis;
  if (axis.log) {
    return {
      distr: 3,
      log: axis.log,
      range: (_u, min, max) =>
        uPlot.rangeLog(now().min ?? min ?? 1, now().max ?? max ?? 100, axis.log ?? 10, true),
    };
  }
  return { range: (_u, min, max) => axisRange(min, max, now()) };
}

/** Builds the options of a chart. Axes, styles and the number of series are fixed by it; data and range are not. */
export function buildOptions(
  live: Live,
  stacked: Stacked,
  size: { width: number; height: number },
  colors: CanvasColors,
  hooks: uPlot.Hooks.Arrays,
  isHidden: (series: ChartSeries) => boolean,
): uPlot.Options {
  const { props } = live;
  const keys = [...new Set(props.series.map((series) => series.axis ?? 'y'))];
  if (keys.length === 0) keys.push('y');
  const axisOf = (key: string): ChartAxis => props.axes?.[key] ?? {};
  const visibleAxes = keys.filter((key) => axisOf(key).side !== 'hidden');
  const hasRight = visibleAxes.some((key) => axisOf(key).side === 'right');
  const hasLeft = visibleAxes.some((key) => axisOf(key).side !== 'right');

  return {
    ...size,
    ms: 1,
    // Room at the sides for half a label of the time axis.
    padding: [8, hasRight ? 0 : 16, props.hideXAxis ? 6 : 0, hasLeft ? 0 : 16],
    legend: { show: false },
    focus: { alpha: 0.22 },
    cursor: {
      x: true,
      y: false,
      drag: { x: props.onZoom !== undefined, y: false, setScale: false, dist: 6 },
      points: {
        size: 7,
        width: 2,
        stroke: colors.surface,
        fill: (_u, index) => props.series[index - 1]?.color ?? colors.text,
      },
      bind: {
        dblclick: () => () => {
          live.props.onZoomOut?.();
          return null;
        },
      },
      ...(props.syncKey ? { sync: { key: props.syncKey, scales: ['x', null], setSeries: false } } : {}),
    },
    scales: {
      x: { time: true, range: () => [live.props.from, live.props.to] },
      ...Object.fromEntries(keys.map((key) => [key, yScale(key, live, axisOf(key))])),
    },
    axes: [
      {
        show: !props.hideXAxis,
        font: CANVAS_FONT,
        stroke: colors.text,
        size: 24,
        gap: 6,
        space: 76,
        incrs: TIME_INCREMENTS,
        values: (_u, splits, _axis, _space, incr) => timeTexts(splits, incr),
        grid: { stroke: colors.gridFaint, width: hairline() },
        ticks: { show: false },
        border: { show: true, stroke: colors.grid, width: hairline() },
      },
      ...keys.map((key, i) => yAxis(key, axisOf(key), colors, i === 0)),
    ],
    series: [
      {},
      ...props.series.map((series) => ({ ...seriesOptions(series, colors), show: !isHidden(series) })),
    ],
    bands: stacked.bands.map(({ upper, lower, isNegative }) => ({
      series: [upper + 1, lower + 1],
      dir: isNegative ? 1 : -1,
    })),
    hooks: {
      ...hooks,
      drawAxes: [(u) => drawThresholds(u, live.props.thresholds, keys[0] ?? 'y')],
    },
  };
}

/** Two charts with the same text here can share one uPlot: only data and range differ. */
export function structureOf(
  props: TimeSeriesChartProps,
  hidden: ReadonlySet<string>,
  bands: Stacked['bands'],
): string {
  return JSON.stringify([
    props.series.map(({ values: _values, name: _name, ...style }) => style),
    [...hidden],
    bands,
    props.axes,
    props.syncKey,
    props.hideXAxis,
    props.onZoom !== undefined,
  ]);
}
