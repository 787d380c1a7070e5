/** From frames to fields with their configuration in force: names, colours, bounds. Pure. */
import type { CellValue, Field, Frame } from '../data/frames';
import { reduceNumber, type Value } from '../data/reducers';
import { colorOf, percentOf, boundsOf, isColorByValue, type Bounds } from '../fields/display';
import { configOf } from '../fields/overrides';
import { classicColor, type ThemeName } from '../fields/palette';
import type { FieldConfig, FieldConfigSource } from '../model/types';
import { interpolate, type Resolved, type Scope } from '../vars/refs';

export interface Prepared {
  frame: Frame;
  field: Field;
  config: FieldConfig;
  name: string;
  /** Among the numeric fields of the panel, from 0. */
  index: number;
  /** The series' own colour. */
  color: string;
  bounds: Bounds | undefined;
}

export function numbersOf(values: readonly CellValue[]): Value[] {
  return values.map((value) => (typeof value === 'number' ? value : null));
}

/** What a field is called before its own configuration has a say. */
function ownName(field: Field): string {
  return field.config.displayName ?? field.config.displayNameFromDS ?? field.name;
}

function fieldScope(field: Field, name: string, scope: Scope): Scope {
  const out = new Map<string, Resolved>(scope);
  out.set('__field.name', { value: field.name });
  out.set('__field.displayName', { value: name });
  out.set('__series.name', { value: name });
  for (const [label, value] of Object.entries(field.labels ?? {})) {
    out.set(`__field.labels.${label}`, { value });
    out.set(`__field.labels["${label}"]`, { value });
  }
  return out;
}

function span(fields: readonly Field[]): Bounds | undefined {
  let min = Infinity;
  let max = -Infinity;
  for (const field of fields) {
    if (field.type !== 'number') continue;
    for (const value of field.values) {
      if (typeof value !== 'number' || !Number.isFinite(value)) continue;
      if (value < min) min = value;
      if (value > max) max = value;
    }
  }
  return min <= max ? { min, max } : undefined;
}

/** All fields of the frames with what is to be shown of them. */
export function prepareFields(
  frames: readonly Frame[],
  source: FieldConfigSource,
  theme: ThemeName,
  scope: Scope,
): Prepared[] {
  const all = frames.flatMap((frame) => frame.fields.map((field) => ({ frame, field })));
  const global = span(all.map(({ field }) => field));
  let index = 0;
  return all.map(({ frame, field }) => {
    const dsName = ownName(field);
    const matched = configOf(source, {
      name: field.name,
      displayName: dsName,
      type: field.type,
      refId: frame.refId,
      values: field.type === 'number' ? (field.values as Value[]) : undefined,
    });
    // What the source says loses against defaults and overrides.
    const config: FieldConfig = { ...field.config, ...matched };
    const name =
      matched.displayName && matched.displayName !== ''
        ? interpolate(matched.displayName, fieldScope(field, dsName, scope), 'text')
        : dsName;
    const bounds = config.fieldMinMax ? span([field]) : global;
    const own = field.type === 'number' ? index++ : index;
    return {
      frame,
      field,
      config,
      name,
      index: own,
      bounds,
      color: seriesColor(config, field, own, name, bounds, theme),
    };
  });
}

/** One colour for a whole series: by place or name, or by one value of it where colours follow values. */
function seriesColor(
  config: FieldConfig,
  field: Field,
  index: number,
  name: string,
  bounds: Bounds | undefined,
  theme: ThemeName,
): string {
  let value = Number.NaN;
  if (isColorByValue(config) && field.type === 'number') {
    const by = config.color?.seriesBy ?? 'last';
    value = reduceNumber(by === 'last' ? 'lastNotNull' : by, field.values as Value[]) ?? Number.NaN;
  }
  const percent = percentOf(value, boundsOf(config, bounds));
  const hasMode = config.color?.mode !== undefined;
  if (!hasMode) return classicColor(index, theme);
  return colorOf(config, value, percent, { theme, index, name }) ?? classicColor(index, theme);
}
