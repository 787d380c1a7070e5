/** A "timeseries" panel's fields and options as a chart. Pure. */
import type { ChartAxis, ChartLegend, ChartSeries, ChartThresholds } from '../../chart/types';
import { joinSeries } from '../data/frames';
import { resolveColor, type ThemeName } from '../fields/palette';
import { sortedSteps } from '../fields/thresholds';
import { at, flag, list, number, object, text } from '../model/json';
import type { FieldConfig, JsonObject, Panel } from '../model/types';
import { numbersOf, type Prepared } from './fields';

export interface ChartModel {
  times: number[];
  series: ChartSeries[];
  axes: Record<string, ChartAxis>;
  thresholds: ChartThresholds | undefined;
  legend: ChartLegend;
  tooltip: { mode: 'single' | 'multi' | 'none'; sort: 'none' | 'asc' | 'desc'; hideZeros: boolean };
  hideXAxis: boolean;
}

const INTERPOLATIONS = ['linear', 'smooth', 'stepBefore', 'stepAfter'] as const;
const STYLES = ['line', 'dashed', 'area', 'line+area', 'dashed+area'] as const;

function oneOf<T extends string>(value: unknown, known: readonly T[], fallback: T): T {
  return known.find((one) => one === value) ?? fallback;
}

function axisOf(config: FieldConfig, isFirst: boolean): ChartAxis {
  const custom = object(config.custom);
  const placement = text(custom.axisPlacement, 'auto');
  const scale = object(custom.scaleDistribution);
  const base = number(scale.log);
  const side =
    placement === 'right' || placement === 'left' || placement === 'hidden'
      ? placement
      : isFirst
        ? 'left'
        : 'right';
  return {
    side,
    unit: config.unit,
    min: config.min ?? undefined,
    max: config.max ?? undefined,
    softMin: number(custom.axisSoftMin),
    softMax: number(custom.axisSoftMax),
    label: text(custom.axisLabel) || undefined,
    log: scale.type === 'log' && (base === 2 || base === 10) ? base : undefined,
    centeredZero: flag(custom.axisCenteredZero) || undefined,
  };
}

function axisKey(config: FieldConfig): string {
  const { side: _side, ...rest } = axisOf(config, true);
  return JSON.stringify([rest, object(config.custom).axisPlacement ?? 'auto']);
}

function dashOf(custom: JsonObject): number[] | undefined {
  const style = object(custom.lineStyle);
  if (style.fill === 'dot') return [0, 3 * (number(custom.lineWidth) ?? 1)];
  if (style.fill !== 'dash') return undefined;
  const dash = list(style.dash).map((one) => number(one) ?? 10);
  return dash.length > 0 ? dash : [10, 10];
}

function seriesOf(
  prepared: Prepared,
  values: (number | null | undefined)[],
  axis: string,
  key: string,
): ChartSeries {
  const { config, name, color } = prepared;
  const custom = object(config.custom);
  const hide = object(custom.hideFrom);
  const stacking = object(custom.stacking);
  const mode = text(stacking.mode, 'none');
  const span = custom.spanNulls;
  const filled = flag(custom.nullAsZero) ? values.map((value) => (value === null ? 0 : value)) : values;
  return {
    key,
    name,
    color,
    values: filled,
    isMirrored: custom.transform === 'negative-Y' || undefined,
    unit: config.unit,
    decimals: config.decimals,
    draw: oneOf(custom.drawStyle, ['line', 'bars', 'points'] as const, 'line'),
    interpolation: oneOf(custom.lineInterpolation, INTERPOLATIONS, 'linear'),
    lineWidth: number(custom.lineWidth) ?? 1,
    fillOpacity: number(custom.fillOpacity) ?? 0,
    gradient: custom.gradientMode === 'opacity' || custom.gradientMode === 'hue' ? 'opacity' : 'none',
    dash: dashOf(custom),
    showPoints: oneOf(custom.showPoints, ['auto', 'always', 'never'] as const, 'auto'),
    pointSize: number(custom.pointSize),
    spanNulls: typeof span === 'boolean' ? span : number(span),
    stack: mode === 'normal' || mode === 'percent' ? { group: text(stacking.group, 'A'), mode } : undefined,
    axis,
    fillBelowTo: text(custom.fillBelowTo) || undefined,
    hideInLegend: flag(hide.legend) || undefined,
    hideInTooltip: flag(hide.tooltip) || undefined,
    isHidden: flag(hide.viz) || undefined,
  };
}

function legendOf(options: JsonObject): ChartLegend {
  const legend = object(options.legend);
  const isShown = flag(legend.showLegend, true) && legend.displayMode !== 'hidden';
  return {
    mode: !isShown ? 'hidden' : legend.displayMode === 'table' || flag(legend.asTable) ? 'table' : 'list',
    placement: legend.placement === 'right' ? 'right' : 'bottom',
    calcs: list(legend.calcs).filter((calc): calc is string => typeof calc === 'string'),
    sortBy: text(legend.sortBy) || undefined,
    sortDesc: typeof legend.sortDesc === 'boolean' ? legend.sortDesc : undefined,
    width: number(legend.width),
  };
}

function isEmpty(values: readonly (number | null | undefined)[]): boolean {
  return values.every((value) => value === null || value === undefined);
}

/** All numeric fields beside a time, on one time axis. */
export function chartModel(panel: Panel, prepared: readonly Prepared[], theme: ThemeName): ChartModel {
  const legendOptions = object(panel.options.legend);
  const numeric = prepared.filter(
    ({ field, frame }) => field.type === 'number' && frame.fields.some((one) => one.type === 'time'),
  );
  const { times, columns } = joinSeries(
    numeric.map(({ frame, field }) => {
      const time = frame.fields.find((one) => one.type === 'time');
      return {
        times: (time?.values ?? []) as number[],
        values: numbersOf(field.values),
        stepMs: time?.stepMs,
      };
    }),
  );
  const axes: Record<string, ChartAxis> = {};
  const seen = new Map<string, number>();
  const series: ChartSeries[] = [];
  numeric.forEach((one, i) => {
    const values = columns[i] ?? [];
    if (flag(legendOptions.hideEmpty) && isEmpty(values)) return;
    if (flag(legendOptions.hideZero) && values.every((value) => !value)) return;
    const axis = axisKey(one.config);
    axes[axis] ??= axisOf(one.config, Object.keys(axes).length === 0);
    const base = `${one.frame.refId} ${one.name}`;
    const count = (seen.get(base) ?? 0) + 1;
    seen.set(base, count);
    series.push(seriesOf(one, values, axis, count > 1 ? `${base} ${count}` : base));
  });
  // Percent stacks reach from 0 to 1, whatever unit the values have.
  for (const [key, axis] of Object.entries(axes)) {
    if (series.some((one) => one.axis === key && one.stack?.mode === 'percent')) {
      axes[key] = { ...axis, unit: 'percentunit', min: 0, max: 1 };
    }
  }
  const { defaults } = panel.fieldConfig;
  const style = oneOf(
    at(object(defaults.custom), 'thresholdsStyle', 'mode'),
    [...STYLES, 'off'] as const,
    'off',
  );
  const tooltip = object(panel.options.tooltip);
  return {
    times,
    series,
    axes,
    thresholds:
      style === 'off'
        ? undefined
        : {
            style,
            steps: sortedSteps(defaults.thresholds).map((step) => ({
              value: step.value ?? -Infinity,
              color: resolveColor(step.color, theme),
            })),
          },
    legend: legendOf(panel.options),
    tooltip: {
      mode: oneOf(tooltip.mode, ['single', 'multi', 'none'] as const, 'single'),
      sort: oneOf(tooltip.sort, ['none', 'asc', 'desc'] as const, 'none'),
      hideZeros: flag(tooltip.hideZeros),
    },
    hideXAxis: flag(panel.options.hideXAxis),
  };
}
