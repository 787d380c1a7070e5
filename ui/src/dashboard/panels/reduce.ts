/** From frames to single values: what stat, gauge and bar gauge show. Pure. */
import { reduceNumber, type Value } from '../data/reducers';
import { display, shownValue, type DisplayValue } from '../fields/display';
import type { ThemeName } from '../fields/palette';
import { namePattern } from '../fields/thresholds';
import { list, number, object, text } from '../model/json';
import type { FieldConfig, JsonObject } from '../model/types';
import type { Prepared } from './fields';

export interface Tile {
  name: string;
  value: DisplayValue;
  config: FieldConfig;
  color: string;
  /** The values over time, for a sparkline. */
  times: readonly number[];
  values: readonly Value[];
  bounds: Prepared['bounds'];
}

const MOST_ROWS = 25;

function isWanted(prepared: Prepared, fields: string): boolean {
  if (fields === '') return prepared.field.type === 'number';
  return namePattern(fields)?.test(prepared.name) ?? prepared.name === fields;
}

function tile(prepared: Prepared, value: unknown, theme: ThemeName, name: string): Tile {
  const { config, bounds, index, color, frame, field } = prepared;
  const shown = shownValue(display(value, config, { theme, bounds, index, name }), config.decimals);
  const time = frame.fields.find((one) => one.type === 'time');
  return {
    name,
    value: shown,
    config,
    color: shown.color ?? color,
    times: (time?.values ?? []) as number[],
    values: field.type === 'number' ? (field.values as Value[]) : [],
    bounds,
  };
}

/** One tile per series and calculation, or per row where the values themselves are wanted. */
export function reduceToTiles(prepared: readonly Prepared[], options: JsonObject, theme: ThemeName): Tile[] {
  const reduce = object(options.reduceOptions);
  const calcs = list(reduce.calcs).filter((calc): calc is string => typeof calc === 'string');
  const fields = text(reduce.fields);
  const wanted = prepared.filter((one) => isWanted(one, fields));
  if (reduce.values === true) {
    const limit = number(reduce.limit) ?? MOST_ROWS;
    return wanted
      .flatMap((one) => {
        const words = one.frame.fields.filter((field) => field.type === 'string');
        return one.field.values.map((value, row) => {
          const name = words.map((field) => String(field.values[row] ?? '')).join(' ') || one.name;
          return tile(one, value, theme, name);
        });
      })
      .slice(0, limit);
  }
  const used = calcs.length > 0 ? calcs : ['last'];
  return wanted.flatMap((one) =>
    used.map((calc) => {
      if (one.field.type !== 'number')
        return tile(one, one.field.values[one.field.values.length - 1], theme, one.name);
      return tile(one, reduceNumber(calc, one.field.values as Value[]), theme, one.name);
    }),
  );
}
