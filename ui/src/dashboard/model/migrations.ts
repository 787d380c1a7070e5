/**
 * What has to change in an older dashboard, step by step, in the order of Grafana's schema versions.
 *
 * Each step changes the copy it is given and runs when the file's version is below its own.
 */
import { rowsToPanels } from './grid';
import { flag, number, object, objects, text } from './json';
import { graphToTimeseries } from './migrate-graph';
import { fieldOptionsOut, mappingsV2, singlestatToStat, tableOldToTable, textOptions } from './migrate-stat';
import type { JsonObject } from './types';

export interface Migration {
  below: number;
  does: string;
  run: (dashboard: JsonObject) => void;
}

/** All panels, those inside folded rows too. */
export function allPanels(dashboard: JsonObject): JsonObject[] {
  return objects(dashboard.panels).flatMap((panel) => [panel, ...objects(panel.panels)]);
}

function variables(dashboard: JsonObject): JsonObject[] {
  return objects(object(dashboard.templating).list);
}

function eachPanel(run: (panel: JsonObject) => void): (dashboard: JsonObject) => void {
  return (dashboard) => {
    const inRows = objects(dashboard.rows).flatMap((row) => objects(row.panels));
    for (const panel of [...allPanels(dashboard), ...inRows]) run(panel);
  };
}

function highestId(dashboard: JsonObject): number {
  const inRows = objects(dashboard.rows).flatMap((row) => objects(row.panels));
  return Math.max(0, ...[...allPanels(dashboard), ...inRows].map((panel) => number(panel.id) ?? 0));
}

/** The old grid of a graph: limits of the two axes and up to two thresholds. */
function gridToAxes(panel: JsonObject): void {
  if (panel.type !== 'graph') return;
  const grid = object(panel.grid);
  const formats = Array.isArray(panel.y_formats) ? panel.y_formats : undefined;
  if (formats && panel.yaxes === undefined) {
    panel.yaxes = [
      {
        format: formats[0],
        min: grid.leftMin ?? null,
        max: grid.leftMax ?? null,
        logBase: grid.leftLogBase ?? 1,
        label: panel.leftYAxisLabel,
      },
      {
        format: formats[1],
        min: grid.rightMin ?? null,
        max: grid.rightMax ?? null,
        logBase: grid.rightLogBase ?? 1,
        label: panel.rightYAxisLabel,
      },
    ];
  }
  const first = number(grid.threshold1);
  const second = number(grid.threshold2);
  if (first === undefined || panel.thresholds !== undefined) return;
  const op = second !== undefined && second < first ? 'lt' : 'gt';
  panel.thresholds = [
    {
      value: first,
      op,
      colorMode: 'custom',
      fillColor: grid.threshold1Color ?? 'orange',
      fill: !flag(grid.thresholdLine),
      line: flag(grid.thresholdLine),
    },
    ...(second === undefined
      ? []
      : [
          {
            value: second,
            op,
            colorMode: 'custom',
            fillColor: grid.threshold2Color ?? 'red',
            fill: !flag(grid.thresholdLine),
            line: flag(grid.thresholdLine),
          },
        ]),
  ];
}

function dropFirstOfThree(limits: unknown): string | undefined {
  if (typeof limits !== 'string') return undefined;
  const parts = limits.split(',');
  return parts.length >= 3 ? parts.slice(1).join(',') : undefined;
}

const FACTORS = [1, 2, 3, 4, 6, 8, 12, 24];

function tableCellOptions(custom: JsonObject): void {
  const mode = text(custom.displayMode);
  if (mode === '') return;
  delete custom.displayMode;
  const gauges: Record<string, string> = { basic: 'basic', 'gradient-gauge': 'gradient', 'lcd-gauge': 'lcd' };
  const gauge = gauges[mode];
  if (gauge) custom.cellOptions = { type: 'gauge', mode: gauge };
  else if (mode === 'color-background') custom.cellOptions = { type: 'color-background', mode: 'gradient' };
  else if (mode === 'color-background-solid')
    custom.cellOptions = { type: 'color-background', mode: 'basic' };
  else custom.cellOptions = { type: mode };
}

export const MIGRATIONS: readonly Migration[] = [
  {
    below: 2,
    does: 'the first graphs had another name',
    run: eachPanel((panel) => {
      if (panel.type === 'graphite') panel.type = 'graph';
    }),
  },
  {
    below: 9,
    does: 'three thresholds of a single stat were two',
    run: eachPanel((panel) => {
      if (panel.type === 'singlestat')
        panel.thresholds = dropFirstOfThree(panel.thresholds) ?? panel.thresholds;
    }),
  },
  {
    below: 12,
    does: 'hidden variables had two flags',
    run: (dashboard) => {
      for (const variable of variables(dashboard)) {
        if (flag(variable.hideVariable)) variable.hide = 2;
        else if (flag(variable.hideLabel)) variable.hide = 1;
      }
    },
  },
  { below: 13, does: 'axes and thresholds of a graph were in its grid', run: eachPanel(gridToAxes) },
  {
    below: 14,
    does: 'the shared crosshair was a flag',
    run: (dashboard) => {
      dashboard.graphTooltip ??= flag(dashboard.sharedCrosshair) ? 1 : 0;
    },
  },
  {
    below: 16,
    does: 'panels stood in rows',
    run: (dashboard) => {
      const rows = objects(dashboard.rows);
      if (rows.length === 0) return;
      let id = highestId(dashboard);
      dashboard.panels = [...objects(dashboard.panels), ...rowsToPanels(rows, () => ++id)];
      delete dashboard.rows;
    },
  },
  {
    below: 17,
    does: 'repeated panels had a least width',
    run: eachPanel((panel) => {
      const least = number(panel.minSpan);
      if (!least) return;
      const most = 24 / least;
      panel.maxPerRow = FACTORS.filter((factor) => factor <= most).pop() ?? 1;
      delete panel.minSpan;
    }),
  },
  {
    below: 27,
    does: 'a visible constant is a text box',
    run: (dashboard) => {
      for (const variable of variables(dashboard)) {
        if (variable.type === 'constant' && (number(variable.hide) ?? 0) < 2) variable.type = 'textbox';
      }
    },
  },
  {
    below: 29,
    does: 'every query variable is asked for at least when loading',
    run: (dashboard) => {
      for (const variable of variables(dashboard)) {
        if (variable.type === 'query' && variable.refresh !== 1 && variable.refresh !== 2)
          variable.refresh = 1;
      }
    },
  },
  {
    below: 30,
    does: 'value mappings had numbers for types, time series had tooltip options',
    run: eachPanel((panel) => {
      const field = object(panel.fieldConfig);
      const defaults = object(field.defaults);
      if (Array.isArray(defaults.mappings)) defaults.mappings = mappingsV2(defaults.mappings);
      for (const override of objects(field.overrides)) {
        for (const property of objects(override.properties)) {
          if (property.id === 'mappings') property.value = mappingsV2(property.value);
        }
      }
      const options = object(panel.options);
      if (options.tooltipOptions !== undefined) {
        options.tooltip = options.tooltipOptions;
        delete options.tooltipOptions;
      }
    }),
  },
  {
    below: 31,
    does: 'labels to fields also merged',
    run: eachPanel((panel) => {
      const transformations = objects(panel.transformations);
      if (!transformations.some((one) => one.id === 'labelsToFields')) return;
      panel.transformations = transformations.flatMap((one) =>
        one.id === 'labelsToFields' ? [one, { id: 'merge', options: {} }] : [one],
      );
    }),
  },
  {
    below: 37,
    does: 'a hidden legend was a way to show it',
    run: eachPanel((panel) => {
      const legend = object(object(panel.options).legend);
      if (legend.displayMode === 'hidden') {
        legend.displayMode = 'list';
        legend.showLegend = false;
      } else if (Object.keys(legend).length > 0) legend.showLegend ??= true;
    }),
  },
  {
    below: 38,
    does: 'table cells had a display mode',
    run: eachPanel((panel) => {
      if (panel.type !== 'table') return;
      const field = object(panel.fieldConfig);
      tableCellOptions(object(object(field.defaults).custom));
      for (const override of objects(field.overrides)) {
        for (const property of objects(override.properties)) {
          if (property.id !== 'custom.displayMode') continue;
          const custom: JsonObject = { displayMode: property.value };
          tableCellOptions(custom);
          property.id = 'custom.cellOptions';
          property.value = custom.cellOptions;
        }
      }
    }),
  },
];

/** Replaces panel types that are gone, whatever the file's version says: hand-written files mix them. */
export function modernPanel(panel: JsonObject): JsonObject {
  switch (panel.type) {
    case 'graph':
      return graphToTimeseries(panel);
    case 'singlestat':
    case 'grafana-singlestat-panel':
      return singlestatToStat(panel);
    case 'table-old':
      return tableOldToTable(panel);
    case 'table':
      return Array.isArray(panel.styles) && panel.fieldConfig === undefined
        ? tableOldToTable(panel)
        : fieldOptionsOut(panel);
    case 'text':
    case 'text2':
      return textOptions(panel);
    case 'stat':
    case 'gauge':
    case 'bargauge':
      return fieldOptionsOut(panel);
    default:
      return panel;
  }
}
