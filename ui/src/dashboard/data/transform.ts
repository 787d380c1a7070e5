/** Transformations of frames before they are drawn. Those that are not known pass everything through. */
import { flag, list, number, object, objects, text } from '../model/json';
import type { JsonObject, Transformation } from '../model/types';
import type { CellValue, Field, Frame } from './frames';
import { reduceNumber, reducerOf, type Value } from './reducers';

type Transform = (frames: readonly Frame[], options: JsonObject) => Frame[];

/** What a field is called when a transformation names it. */
export function fieldName(field: Field): string {
  return field.config.displayName ?? field.config.displayNameFromDS ?? field.name;
}

function named(field: Field, name: string): boolean {
  return fieldName(field) === name || field.name === name;
}

function pick(field: Field, rows: readonly number[]): Field {
  return { ...field, values: rows.map((row) => field.values[row]) };
}

function keepRows(frame: Frame, rows: readonly number[]): Frame {
  return { ...frame, length: rows.length, fields: frame.fields.map((field) => pick(field, rows)) };
}

const isNothing = (value: CellValue): boolean => value === null || value === undefined;

/** Puts tables into one: rows that agree in all common columns and do not contradict each other become one row. */
const merge: Transform = (frames) => {
  const filled = frames.filter((frame) => frame.fields.length > 0);
  const [head] = filled;
  if (!head || filled.length === 1) return [...frames];
  const names: string[] = [];
  const sample = new Map<string, Field>();
  for (const frame of filled) {
    for (const field of frame.fields) {
      const name = fieldName(field);
      if (!sample.has(name)) {
        names.push(name);
        sample.set(name, field);
      }
    }
  }
  const common = names.filter((name) =>
    filled.every((frame) => frame.fields.some((field) => fieldName(field) === name)),
  );
  const rows: Map<string, CellValue>[] = [];
  const byKey = new Map<string, Map<string, CellValue>[]>();
  for (const frame of filled) {
    for (let i = 0; i < frame.length; i++) {
      const row = new Map(frame.fields.map((field) => [fieldName(field), field.values[i]]));
      const key = JSON.stringify(common.map((name) => row.get(name) ?? null));
      const alike = byKey.get(key) ?? [];
      const target = alike.find((one) =>
        [...row].every(([name, value]) => {
          const there = one.get(name);
          return isNothing(there) || isNothing(value) || there === value;
        }),
      );
      if (target && common.length > 0) {
        for (const [name, value] of row) if (!isNothing(value)) target.set(name, value);
        continue;
      }
      rows.push(row);
      alike.push(row);
      byKey.set(key, alike);
    }
  }
  const fields = names.map((name): Field => {
    const from = sample.get(name);
    return {
      ...(from ?? { type: 'string', config: {} }),
      name,
      values: rows.map((row) => row.get(name)),
    };
  });
  return [{ refId: 'merge', length: rows.length, fields }];
};

const organize: Transform = (frames, options) => {
  const excluded = object(options.excludeByName);
  const included = object(options.includeByName);
  const order = object(options.indexByName);
  const renamed = object(options.renameByName);
  const hasIncluded = Object.values(included).some((one) => one === true);
  return frames.map((frame) => {
    const kept = frame.fields.filter((field) => {
      const name = fieldName(field);
      return hasIncluded ? included[name] === true : excluded[name] !== true;
    });
    const place = (field: Field): number => number(order[fieldName(field)]) ?? Number.MAX_SAFE_INTEGER;
    const sorted = [...kept].sort((a, b) => place(a) - place(b));
    return {
      ...frame,
      fields: sorted.map((field) => {
        const name = text(renamed[fieldName(field)]);
        return name === '' ? field : { ...field, config: { ...field.config, displayName: name } };
      }),
    };
  });
};

/** Joins on a column: every frame adds its other columns. Texts keep the order in which they were first seen. */
const joinByField: Transform = (frames, options) => {
  const wanted = text(options.byField);
  const mode = text(options.mode, 'outer');
  const keyed = frames.flatMap((frame) => {
    const field =
      wanted === ''
        ? frame.fields.find((one) => one.type === 'time')
        : frame.fields.find((one) => named(one, wanted));
    return field ? [{ frame, field }] : [];
  });
  const [head] = keyed;
  if (!head) return [...frames];
  const keys: CellValue[] = [];
  const seen = new Set<CellValue>();
  for (const { field } of keyed) {
    for (const value of field.values) {
      if (seen.has(value)) continue;
      seen.add(value);
      keys.push(value);
    }
  }
  const wantedKeys =
    mode === 'inner' ? keys.filter((key) => keyed.every(({ field }) => field.values.includes(key))) : keys;
  if (head.field.type !== 'string') wantedKeys.sort((a, b) => Number(a) - Number(b));
  const columns = keyed.map(({ frame, field }) => {
    const row = new Map(field.values.map((value, i) => [value, i]));
    return frame.fields
      .filter((one) => one !== field)
      .map((one): Field => ({ ...one, values: wantedKeys.map((key) => one.values[row.get(key) ?? -1]) }));
  });
  return [
    {
      refId: 'join',
      length: wantedKeys.length,
      fields: [{ ...head.field, values: wantedKeys }, ...columns.flat()],
    },
  ];
};

const groupBy: Transform = (frames, options) => {
  const wanted = object(options.fields);
  return frames.map((frame) => {
    const keys = frame.fields.filter((field) => object(wanted[fieldName(field)]).operation === 'groupby');
    if (keys.length === 0) return frame;
    const groups = new Map<string, number[]>();
    for (let row = 0; row < frame.length; row++) {
      const key = JSON.stringify(keys.map((field) => field.values[row] ?? null));
      groups.set(key, [...(groups.get(key) ?? []), row]);
    }
    const rows = [...groups.values()];
    const fields = keys.map((field) =>
      pick(
        field,
        rows.map((one) => one[0] ?? 0),
      ),
    );
    for (const field of frame.fields) {
      const { operation, aggregations } = object(wanted[fieldName(field)]);
      if (operation !== 'aggregate') continue;
      for (const calc of list(aggregations).filter((one): one is string => typeof one === 'string')) {
        fields.push({
          name: `${fieldName(field)} (${calc})`,
          type: 'number',
          config: { ...field.config, displayName: undefined, displayNameFromDS: undefined },
          values: rows.map((one) =>
            reduceNumber(
              calc,
              one.map((row) => field.values[row] as Value),
            ),
          ),
        });
      }
    }
    return { ...frame, length: rows.length, fields };
  });
};

function test(value: CellValue, id: string, options: JsonObject): boolean {
  const wanted = options.value;
  const n = Number(value);
  switch (id) {
    case 'equal':
      return typeof value === 'number' ? value === Number(wanted) : value === wanted;
    case 'notEqual':
      return typeof value === 'number' ? value !== Number(wanted) : value !== wanted;
    case 'greater':
      return n > Number(wanted);
    case 'greaterOrEqual':
      return n >= Number(wanted);
    case 'lower':
      return n < Number(wanted);
    case 'lowerOrEqual':
      return n <= Number(wanted);
    case 'between':
      return n > Number(options.from) && n < Number(options.to);
    case 'isNull':
      return isNothing(value);
    case 'isNotNull':
      return !isNothing(value);
    case 'regex':
      return new RegExp(text(wanted)).test(String(value));
    case 'substring':
      return String(value).includes(text(wanted));
    case 'notSubstring':
      return !String(value).includes(text(wanted));
    default:
      return true;
  }
}

const filterByValue: Transform = (frames, options) => {
  const filters = objects(options.filters);
  if (filters.length === 0) return [...frames];
  return frames.map((frame) => {
    const checks = filters.flatMap((filter) => {
      const field = frame.fields.find((one) => named(one, text(filter.fieldName)));
      const config = object(filter.config);
      return field ? [(row: number) => test(field.values[row], text(config.id), object(config.options))] : [];
    });
    if (checks.length === 0) return frame;
    const isAll = options.match === 'all';
    const isInclude = options.type !== 'exclude';
    const rows = Array.from({ length: frame.length }, (_, i) => i).filter((row) => {
      const hit = isAll ? checks.every((check) => check(row)) : checks.some((check) => check(row));
      return hit === isInclude;
    });
    return keepRows(frame, rows);
  });
};

const sortBy: Transform = (frames, options) => {
  const [sort] = objects(options.sort);
  const name = text(sort?.field);
  if (name === '') return [...frames];
  const sign = flag(sort?.desc) ? -1 : 1;
  return frames.map((frame) => {
    const field = frame.fields.find((one) => named(one, name));
    if (!field) return frame;
    const rows = Array.from({ length: frame.length }, (_, i) => i).sort((a, b) => {
      const x = field.values[a];
      const y = field.values[b];
      if (typeof x === 'number' && typeof y === 'number') return sign * (x - y || 0);
      return sign * String(x ?? '').localeCompare(String(y ?? ''), 'en', { numeric: true });
    });
    return keepRows(frame, rows);
  });
};

const reduce: Transform = (frames, options) => {
  const calcs = list(options.reducers).filter((one): one is string => typeof one === 'string');
  const numeric = frames.flatMap((frame) => frame.fields.filter((field) => field.type === 'number'));
  if (options.mode === 'reduceFields') {
    const [calc = 'max'] = calcs;
    return frames.map((frame) => ({
      ...frame,
      length: 1,
      fields: frame.fields
        .filter((field) => field.type === 'number')
        .map((field) => ({ ...field, values: [reduceNumber(calc, field.values as Value[])] })),
    }));
  }
  const labels = flag(options.labelsToFields)
    ? [...new Set(numeric.flatMap((field) => Object.keys(field.labels ?? {})))]
    : [];
  return [
    {
      refId: 'reduce',
      length: numeric.length,
      fields: [
        { name: 'Field', type: 'string', values: numeric.map(fieldName), config: {} },
        ...labels.map((label): Field => ({
          name: label,
          type: 'string',
          values: numeric.map((field) => field.labels?.[label] ?? ''),
          config: {},
        })),
        ...calcs.map((calc): Field => ({
          name: reducerOf(calc)?.name ?? calc,
          type: 'number',
          values: numeric.map((field) => reduceNumber(calc, field.values as Value[])),
          config: {},
        })),
      ],
    },
  ];
};

const limit: Transform = (frames, options) => {
  const most = number(options.limitField) ?? 10;
  return frames.map((frame) =>
    frame.length <= most
      ? frame
      : keepRows(
          frame,
          Array.from({ length: most }, (_, i) => i),
        ),
  );
};

/** Labels become columns; each frame stays a table of its own until it is merged. */
const labelsToFields: Transform = (frames, options) => {
  const valueLabel = text(options.valueLabel);
  const kept = list(options.keepLabels);
  return frames.map((frame) => {
    const fields: Field[] = [];
    const labels = new Map<string, string>();
    for (const field of frame.fields) {
      if (!field.labels) {
        fields.push(field);
        continue;
      }
      for (const [name, value] of Object.entries(field.labels)) {
        if (name !== valueLabel && (kept.length === 0 || kept.includes(name))) labels.set(name, value);
      }
    }
    const words = [...labels].map(([name, value]): Field => ({
      name,
      type: 'string',
      values: new Array<string>(frame.length).fill(value),
      config: {},
    }));
    const values = frame.fields
      .filter((field) => field.labels)
      .map((field): Field => ({
        ...field,
        name: valueLabel === '' ? field.name : (field.labels?.[valueLabel] ?? field.name),
        labels: undefined,
        config: { ...field.config, displayNameFromDS: undefined },
      }));
    return { ...frame, fields: [...fields, ...values, ...words] };
  });
};

const EMPTY: Record<string, CellValue> = { zero: 0, null: null, true: true, false: false, empty: '' };

/** Values of one column become columns, those of another rows. */
const groupingToMatrix: Transform = (frames, options) => {
  const [frame] = frames;
  const find = (name: string): Field | undefined => frame?.fields.find((field) => named(field, name));
  const column = find(text(options.columnField, 'Time'));
  const row = find(text(options.rowField, 'Time'));
  const value = find(text(options.valueField, 'Value'));
  if (!frame || !column || !row || !value) return [...frames];
  const columns = [...new Set(column.values)];
  const rows = [...new Set(row.values)];
  const cells = new Map(
    value.values.map((one, i) => [JSON.stringify([row.values[i], column.values[i]]), one]),
  );
  const empty = EMPTY[text(options.emptyValue, 'empty')] ?? null;
  return [
    {
      refId: frame.refId,
      length: rows.length,
      fields: [
        { name: `${fieldName(row)}\\${fieldName(column)}`, type: row.type, values: rows, config: {} },
        ...columns.map((one): Field => ({
          name: String(one),
          type: value.type,
          config: value.config,
          values: rows.map((key) => cells.get(JSON.stringify([key, one])) ?? empty),
        })),
      ],
    },
  ];
};

const filterFieldsByName: Transform = (frames, options) => {
  const include = object(options.include);
  const names = list(include.names);
  const pattern = text(include.pattern).replace(/^\/|\/$/g, '');
  const by = pattern === '' ? null : new RegExp(pattern);
  const wants = (field: Field): boolean =>
    names.includes(fieldName(field)) || (by?.test(fieldName(field)) ?? false);
  if (names.length === 0 && !by) return [...frames];
  return frames
    .map((frame) => ({ ...frame, fields: frame.fields.filter(wants) }))
    .filter((frame) => frame.fields.length > 0);
};

const renameByRegex: Transform = (frames, options) => {
  const source = text(options.regex).replace(/^\/|\/$/g, '');
  if (source === '') return [...frames];
  const by = new RegExp(source);
  return frames.map((frame) => ({
    ...frame,
    fields: frame.fields.map((field) => {
      const name = fieldName(field);
      const next = name.replace(by, text(options.renamePattern));
      return next === name || field.type === 'time'
        ? field
        : { ...field, config: { ...field.config, displayName: next } };
    }),
  }));
};

const TRANSFORMS: Record<string, Transform> = {
  merge,
  organize,
  joinByField,
  seriesToColumns: (frames, options) =>
    joinByField(frames, { byField: options.byField ?? 'Time', mode: 'outer' }),
  groupBy,
  filterByValue,
  sortBy,
  reduce,
  limit,
  labelsToFields,
  groupingToMatrix,
  filterFieldsByName,
  renameByRegex,
};

/** Runs the transformations in order. The frames that come in are never changed. */
export function transformFrames(
  frames: readonly Frame[],
  transformations: readonly Transformation[],
): Frame[] {
  let current = [...frames];
  for (const { id, options, disabled, topic } of transformations) {
    if (disabled || topic === 'annotations') continue;
    const run = TRANSFORMS[id];
    if (run) current = run(current, options ?? {});
  }
  return current;
}
