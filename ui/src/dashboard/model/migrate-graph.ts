/** The old "graph" panel as a "timeseries" panel. */
import { defined, flag, isObject, list, number, object, objects, text } from './json';
import type { Json, JsonObject } from './types';

const CALCS: readonly [key: string, calc: string][] = [
  ['min', 'min'],
  ['max', 'max'],
  ['avg', 'mean'],
  ['current', 'lastNotNull'],
  ['total', 'sum'],
];

type Property = { id: string; value: Json };

function axis(source: JsonObject): { defaults: JsonObject; custom: JsonObject } {
  const base = number(source.logBase);
  const unit = text(source.format);
  return {
    defaults: defined({
      unit: unit === '' ? undefined : unit,
      decimals: number(source.decimals),
      min: number(source.min),
      max: number(source.max),
    }),
    custom: defined({
      axisLabel: text(source.label) || undefined,
      axisPlacement: source.show === false ? 'hidden' : undefined,
      scaleDistribution: base === 2 || base === 10 ? { type: 'log', log: base } : undefined,
    }),
  };
}

function fillOpacity(fill: Json | undefined): number {
  return Math.min(100, (number(fill) ?? 1) * 10);
}

function overrideOf(source: JsonObject, right: JsonObject): Property[] {
  const out: Property[] = [];
  const add = (id: string, value: Json | undefined): void => {
    if (value !== undefined) out.push({ id, value });
  };
  for (const [key, value] of Object.entries(source)) {
    switch (key) {
      case 'yaxis':
        if (number(value) !== 2) break;
        for (const [id, one] of Object.entries(axis(right).defaults)) add(id, one);
        for (const [id, one] of Object.entries(axis(right).custom)) add(`custom.${id}`, one);
        if (right.show !== false) add('custom.axisPlacement', 'right');
        break;
      case 'fill':
        add('custom.fillOpacity', fillOpacity(value));
        break;
      case 'linewidth':
        add('custom.lineWidth', number(value));
        break;
      case 'points':
        add('custom.showPoints', value === true ? 'always' : 'never');
        break;
      case 'bars':
        if (value === true) add('custom.drawStyle', 'bars');
        break;
      case 'lines':
        if (value === false) add('custom.lineWidth', 0);
        break;
      case 'stack':
        if (value === false) add('custom.stacking', { mode: 'none', group: 'A' });
        else add('custom.stacking', { mode: 'normal', group: typeof value === 'string' ? value : 'A' });
        break;
      case 'dashes':
        if (value === true) {
          add('custom.lineStyle', {
            fill: 'dash',
            dash: [number(source.dashLength) ?? 10, number(source.spaceLength) ?? 10],
          });
        }
        break;
      case 'color':
        if (typeof value === 'string') add('color', { mode: 'fixed', fixedColor: value });
        break;
      case 'transform':
        if (value === 'negative-Y' || value === 'constant') add('custom.transform', value);
        break;
      case 'fillBelowTo':
        add('custom.fillBelowTo', value);
        break;
      case 'legend':
        if (value === false) add('custom.hideFrom', { legend: true, tooltip: false, viz: false });
        break;
      case 'hiddenSeries':
        if (value === true) add('custom.hideFrom', { legend: false, tooltip: false, viz: true });
        break;
    }
  }
  return out;
}

const THRESHOLD_COLORS: Record<string, string> = { critical: 'red', warning: 'orange', ok: 'green' };

function thresholds(source: JsonObject[]): { steps: JsonObject[]; style: string } | null {
  if (source.length === 0) return null;
  const steps: { color: string; value: number | null }[] = [];
  const sorted = [...source].sort((a, b) => (number(a.value) ?? 0) - (number(b.value) ?? 0));
  let hasFill = false;
  let hasLine = false;
  sorted.forEach((threshold, i) => {
    const value = number(threshold.value);
    if (value === undefined) return;
    const mode = text(threshold.colorMode, 'critical');
    const color = THRESHOLD_COLORS[mode] ?? (text(threshold.fillColor) || text(threshold.lineColor) || 'red');
    hasFill ||= threshold.fill !== false;
    hasLine ||= threshold.line !== false;
    if (threshold.op === 'lt') {
      const next = sorted[i + 1];
      steps.push({ color, value: null });
      if (next?.op !== 'lt') steps.push({ color: 'transparent', value });
    } else {
      if (steps.length === 0) steps.push({ color: 'transparent', value: null });
      steps.push({ color, value });
    }
  });
  if (steps.length === 0) return null;
  return { steps, style: hasFill && hasLine ? 'line+area' : hasFill ? 'area' : hasLine ? 'line' : 'off' };
}

function nullHandling(panel: JsonObject): JsonObject {
  switch (panel.nullPointMode) {
    case 'connected':
      return { spanNulls: true };
    case 'null as zero':
      return { nullAsZero: true };
    default:
      return { spanNulls: false };
  }
}

function drawing(panel: JsonObject): JsonObject {
  const isBars = flag(panel.bars);
  const isLines = flag(panel.lines, true);
  const isPoints = flag(panel.points);
  const style = isBars ? 'bars' : isLines ? 'line' : 'points';
  const gradient = number(panel.fillGradient) ?? 0;
  const hasBelow = objects(panel.seriesOverrides).some((one) => one.fillBelowTo !== undefined);
  const stack = flag(panel.stack);
  return defined({
    drawStyle: style,
    lineWidth: isLines || isBars ? (number(panel.linewidth) ?? 1) : 0,
    showPoints: isPoints ? 'always' : 'never',
    pointSize: isPoints ? 2 + 2 * (number(panel.pointradius) ?? 2) : undefined,
    fillOpacity: isBars ? 100 : hasBelow ? 35 : gradient > 0 ? gradient * 10 : fillOpacity(panel.fill),
    gradientMode: gradient > 0 ? 'opacity' : 'none',
    lineInterpolation: flag(panel.steppedLine) ? 'stepAfter' : undefined,
    lineStyle: flag(panel.dashes)
      ? { fill: 'dash', dash: [number(panel.dashLength) ?? 10, number(panel.spaceLength) ?? 10] }
      : undefined,
    stacking: { mode: stack ? (flag(panel.percentage) ? 'percent' : 'normal') : 'none', group: 'A' },
  });
}

function legend(source: JsonObject): JsonObject {
  const calcs = flag(source.values) ? CALCS.filter(([key]) => flag(source[key])).map(([, calc]) => calc) : [];
  return defined({
    showLegend: flag(source.show, true),
    displayMode: flag(source.alignAsTable) ? 'table' : 'list',
    placement: flag(source.rightSide) ? 'right' : 'bottom',
    width: number(source.sideWidth),
    calcs,
    // Grafana loses these three; the dashboards were made with them.
    sortBy: CALCS.find(([key]) => key === source.sort)?.[1],
    sortDesc: typeof source.sortDesc === 'boolean' ? source.sortDesc : undefined,
    hideEmpty: flag(source.hideEmpty) || undefined,
    hideZero: flag(source.hideZero) || undefined,
  });
}

/** The panel's drawing, axes, legend, thresholds and overrides in today's words. */
export function graphToTimeseries(panel: JsonObject): JsonObject {
  const [left, right] = objects(panel.yaxes);
  const axes = objects(panel.yaxes).length > 0 ? axis(left ?? {}) : { defaults: {}, custom: {} };
  const field = object(panel.fieldConfig);
  const defaults = object(field.defaults);
  const limits = thresholds(objects(panel.thresholds));
  const xaxis = object(panel.xaxis);
  const tooltip = object(panel.tooltip);
  const overrides: JsonObject[] = objects(field.overrides);

  for (const [name, color] of Object.entries(object(panel.aliasColors))) {
    if (typeof color !== 'string') continue;
    overrides.push({
      matcher: { id: 'byName', options: name },
      properties: [{ id: 'color', value: { mode: 'fixed', fixedColor: color } }],
    });
  }
  for (const source of objects(panel.seriesOverrides)) {
    const alias = text(source.alias);
    const properties = overrideOf(source, right ?? {});
    if (alias === '' || properties.length === 0) continue;
    const id = /^\/.*\/[a-z]*$/s.test(alias) ? 'byRegexp' : 'byName';
    overrides.push({ matcher: { id, options: alias }, properties });
  }

  const custom: JsonObject = {
    ...axes.custom,
    ...drawing(panel),
    ...nullHandling(panel),
    ...(limits ? { thresholdsStyle: { mode: limits.style } } : {}),
    ...object(defaults.custom),
  };
  const type = xaxis.mode === 'series' ? 'bargauge' : xaxis.mode === 'histogram' ? 'histogram' : 'timeseries';
  return {
    ...panel,
    type,
    options: {
      ...(isObject(panel.options) ? panel.options : {}),
      legend: legend(object(panel.legend)),
      tooltip: {
        mode: flag(tooltip.shared, true) ? 'multi' : 'single',
        sort: tooltip.sort === 1 ? 'asc' : tooltip.sort === 2 ? 'desc' : 'none',
      },
      ...(xaxis.show === false ? { hideXAxis: true } : {}),
    },
    fieldConfig: {
      defaults: {
        ...axes.defaults,
        ...defaults,
        color:
          isObject(defaults.color) && Object.keys(defaults.color).length > 0
            ? defaults.color
            : { mode: 'palette-classic' },
        custom,
        ...(limits ? { thresholds: { mode: 'absolute', steps: limits.steps } } : {}),
      },
      overrides,
    },
    legend: undefined,
    links: list(panel.links),
  };
}
