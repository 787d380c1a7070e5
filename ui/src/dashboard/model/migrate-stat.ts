/** The old "singlestat", "gauge" with field options, "table-old" and "text" panels in today's words. */
import { defined, flag, list, number, object, objects, text } from './json';
import type { Json, JsonObject } from './types';

const VALUE_NAMES: Record<string, string> = {
  current: 'lastNotNull',
  avg: 'mean',
  total: 'sum',
  delta: 'delta',
};

function thresholdSteps(
  limits: Json | undefined,
  colors: Json | undefined,
  isInverted = false,
): JsonObject[] {
  const names = list(colors).filter((one): one is string => typeof one === 'string');
  const order = isInverted ? [...names].reverse() : names;
  const values =
    typeof limits === 'string'
      ? limits.split(',').map((one) => number(one.trim()))
      : list(limits).map((one) => number(one));
  const known = values.filter((one): one is number => one !== undefined);
  if (order.length === 0 || known.length === 0) return [];
  return [
    { color: order[0] ?? 'green', value: null },
    ...known.map((value, i) => ({ color: order[i + 1] ?? order[order.length - 1] ?? 'red', value })),
  ];
}

/** Old value and range mappings; a value "null" is the special one. */
export function oldMappings(panel: JsonObject): JsonObject[] {
  const out: JsonObject[] = [];
  const usesRanges = number(panel.mappingType) === 2;
  if (!usesRanges) {
    for (const map of objects(panel.valueMaps)) {
      const value = map.value === null || map.value === undefined ? '' : String(map.value);
      if (value === '') continue;
      out.push(
        value === 'null'
          ? { type: 'special', options: { match: 'null', result: { text: text(map.text) } } }
          : { type: 'value', options: { [value]: { text: text(map.text) } } },
      );
    }
  } else {
    for (const map of objects(panel.rangeMaps)) {
      out.push(
        map.from === 'null'
          ? { type: 'special', options: { match: 'null', result: { text: text(map.text) } } }
          : {
              type: 'range',
              options: {
                from: number(map.from) ?? null,
                to: number(map.to) ?? null,
                result: { text: text(map.text) },
              },
            },
      );
    }
  }
  return out;
}

/** Mappings of Grafana 7 ({type: 1|2}) as those of Grafana 8. Newer ones come back as they are. */
export function mappingsV2(mappings: Json | undefined): Json[] {
  return list(mappings).map((one) => {
    const map = object(one);
    if (map.type === 1 || (map.type === undefined && map.value !== undefined)) {
      const value = String(map.value ?? '');
      const result = { text: text(map.text) };
      return value === 'null'
        ? { type: 'special', options: { match: 'null', result } }
        : { type: 'value', options: { [value]: result } };
    }
    if (map.type === 2) {
      return {
        type: 'range',
        options: {
          from: number(map.from) ?? null,
          to: number(map.to) ?? null,
          result: { text: text(map.text) },
        },
      };
    }
    return one;
  });
}

export function singlestatToStat(panel: JsonObject): JsonObject {
  const gauge = object(panel.gauge);
  const isGauge = flag(gauge.show);
  const valueName = text(panel.valueName);
  const calc = valueName === '' ? 'mean' : (VALUE_NAMES[valueName] ?? valueName);
  const steps = thresholdSteps(panel.thresholds, panel.colors);
  const column = text(panel.tableColumn);
  const colorMode = flag(panel.colorBackground) ? 'background' : flag(panel.colorValue) ? 'value' : 'none';
  const prefix = text(panel.prefix);
  const postfix = text(panel.postfix);
  return {
    ...panel,
    type: isGauge ? 'gauge' : 'stat',
    options: {
      reduceOptions: {
        calcs: [calc],
        values: false,
        fields:
          column === '' || column === 'Value' ? '' : `/^${column.replace(/[$^*+?.()|[\]{}\\]/g, '\\$&')}$/`,
      },
      ...(isGauge
        ? {
            showThresholdMarkers: flag(gauge.thresholdMarkers, true),
            showThresholdLabels: flag(gauge.thresholdLabels),
          }
        : {
            colorMode,
            graphMode: flag(object(panel.sparkline).show) ? 'area' : 'none',
            textMode: text(panel.valueName) === 'name' ? 'name' : 'auto',
            orientation: 'horizontal',
          }),
      ...defined({ prefix: prefix || undefined, postfix: postfix || undefined }),
    },
    fieldConfig: {
      defaults: {
        ...defined({
          unit: text(panel.format) || undefined,
          decimals: number(panel.decimals),
          noValue: text(panel.nullText) || undefined,
          min: isGauge ? number(gauge.minValue) : undefined,
          max: isGauge ? number(gauge.maxValue) : undefined,
        }),
        mappings: oldMappings(panel),
        thresholds: { mode: 'absolute', steps: steps.length > 0 ? steps : [{ color: 'green', value: null }] },
        color: { mode: 'thresholds' },
      },
      overrides: [],
    },
  };
}

/** Stat, gauge and bar gauge before Grafana 7 kept their field configuration inside the options. */
export function fieldOptionsOut(panel: JsonObject): JsonObject {
  const options = object(panel.options);
  const old = object(options.fieldOptions);
  if (Object.keys(old).length === 0) return panel;
  const { fieldOptions: _old, thresholds: limits, ...rest } = options;
  const oldDefaults = object(old.defaults);
  const defaults: JsonObject = { ...oldDefaults };
  if (defaults.title !== undefined) {
    defaults.displayName = defaults.title;
    delete defaults.title;
  }
  const oldLimits = list(old.thresholds).length > 0 ? old.thresholds : limits;
  if (defaults.thresholds === undefined && Array.isArray(oldLimits)) {
    defaults.thresholds = {
      mode: 'absolute',
      steps: objects(oldLimits).map((step, i) => ({
        color: text(step.color, 'green'),
        value: i === 0 ? null : (number(step.value) ?? null),
      })),
    };
  }
  if (defaults.mappings === undefined) defaults.mappings = mappingsV2(old.mappings);
  if (defaults.unit === 'percent') {
    defaults.min ??= 0;
    defaults.max ??= 100;
  } else if (defaults.unit === 'percentunit') {
    defaults.min ??= 0;
    defaults.max ??= 1;
  }
  const field = object(panel.fieldConfig);
  return {
    ...panel,
    options: {
      ...rest,
      reduceOptions: defined({
        calcs: list(old.calcs),
        values: flag(old.values),
        limit: number(old.limit),
        fields: text(object(rest.reduceOptions).fields),
      }),
    },
    fieldConfig: {
      defaults: { ...defaults, ...object(field.defaults) },
      overrides: [...objects(field.overrides), ...objects(old.overrides)],
    },
  };
}

const TABLE_TRANSFORMS: Record<string, JsonObject> = {
  timeseries_to_rows: { id: 'seriesToRows', options: {} },
  timeseries_to_columns: { id: 'seriesToColumns', options: {} },
  table: { id: 'merge', options: {} },
};

function columnCalcs(columns: Json | undefined): string[] {
  return objects(columns).map((column) => VALUE_NAMES[text(column.value)] ?? text(column.value));
}

function styleProperties(style: JsonObject): { id: string; value: Json }[] {
  const out: { id: string; value: Json }[] = [];
  const add = (id: string, value: Json | undefined): void => {
    if (value !== undefined && value !== '') out.push({ id, value });
  };
  add('displayName', text(style.alias));
  if (style.type === 'hidden') add('custom.hidden', true);
  if (style.type === 'date') add('unit', `time:${text(style.dateFormat, 'YYYY-MM-DD HH:mm:ss')}`);
  if (style.type === 'number') {
    add('unit', text(style.unit));
    add('decimals', number(style.decimals));
  }
  if (flag(style.link)) {
    add('links', [
      { title: text(style.linkTooltip), url: text(style.linkUrl), targetBlank: flag(style.linkTargetBlank) },
    ]);
  }
  const cell =
    style.colorMode === 'cell' || style.colorMode === 'row'
      ? 'color-background'
      : style.colorMode === 'value'
        ? 'color-text'
        : '';
  if (cell !== '') add('custom.cellOptions', { type: cell });
  if (text(style.align) !== '' && style.align !== 'auto') add('custom.align', text(style.align));
  const steps = thresholdSteps(style.thresholds, style.colors);
  if (steps.length > 0) add('thresholds', { mode: 'absolute', steps });
  return out;
}

export function tableOldToTable(panel: JsonObject): JsonObject {
  const transform = text(panel.transform);
  const isAggregation = transform === 'timeseries_aggregations';
  const known = TABLE_TRANSFORMS[transform];
  const first: JsonObject[] = isAggregation
    ? [{ id: 'reduce', options: { reducers: columnCalcs(panel.columns) } }]
    : known
      ? [known]
      : [];
  const defaults: JsonObject = { custom: {} };
  const overrides: JsonObject[] = [];
  for (const style of objects(panel.styles)) {
    const pattern = text(style.pattern);
    const properties = styleProperties(style);
    if (pattern === '/.*/') {
      for (const { id, value } of properties) if (!id.startsWith('custom.')) defaults[id] = value;
      continue;
    }
    overrides.push({
      matcher: { id: /^\/.*\/[a-z]*$/s.test(pattern) ? 'byRegexp' : 'byName', options: pattern },
      properties,
    });
  }
  return {
    ...panel,
    type: 'table',
    options: { showHeader: panel.showHeader !== false },
    transformations: [...first, ...objects(panel.transformations)],
    fieldConfig: { defaults, overrides },
  };
}

export function textOptions(panel: JsonObject): JsonObject {
  const options = object(panel.options);
  return {
    ...panel,
    type: 'text',
    options: {
      ...options,
      content: options.content ?? text(panel.content),
      mode: options.mode ?? text(panel.mode, 'markdown'),
    },
  };
}
