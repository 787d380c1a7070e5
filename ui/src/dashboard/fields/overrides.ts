/** Which overrides of a panel apply to a field, and what its configuration becomes. */
import { reduceNumber, type Value } from '../data/reducers';
import type { FieldConfig, FieldConfigSource, Json, JsonObject, Override } from '../model/types';
import { namePattern } from './thresholds';

/** What matchers look at. */
export interface MatchedField {
  name: string;
  displayName: string;
  type: 'time' | 'number' | 'string' | 'boolean';
  refId?: string;
  values?: readonly Value[];
}

function asObject(value: Json | undefined): JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};
}

function byNames(options: Json | undefined, field: MatchedField): boolean {
  const { names, mode } = asObject(options);
  const list = Array.isArray(names) ? names : [];
  const isIn = list.includes(field.displayName) || list.includes(field.name);
  return mode === 'exclude' ? !isIn && field.type !== 'time' : isIn;
}

function compare(a: number, op: Json | undefined, b: number): boolean {
  switch (op) {
    case 'gt':
    case '>':
      return a > b;
    case 'gte':
    case '>=':
      return a >= b;
    case 'lt':
    case '<':
      return a < b;
    case 'lte':
    case '<=':
      return a <= b;
    case 'neq':
    case '!=':
      return a !== b;
    default:
      return a === b;
  }
}

function byValue(options: Json | undefined, field: MatchedField): boolean {
  const { reducer, op, value } = asObject(options);
  if (field.type !== 'number' || typeof reducer !== 'string') return false;
  const reduced = reduceNumber(reducer, field.values ?? []);
  return reduced !== null && compare(reduced, op, Number(value ?? 0));
}

/** True when the matcher picks the field. A matcher that is not known picks nothing. */
export function matches({ matcher }: Override, field: MatchedField): boolean {
  const { id, options } = matcher;
  const text = typeof options === 'string' ? options : '';
  switch (id) {
    case 'byName':
      return text === field.displayName || text === field.name;
    case 'byRegexp':
      return namePattern(text)?.test(field.displayName) ?? false;
    case 'byType':
      return text === field.type;
    case 'byFrameRefID':
      return (
        field.refId !== undefined && (text === field.refId || (namePattern(text)?.test(field.refId) ?? false))
      );
    case 'byNames':
      return byNames(options, field);
    case 'byValue':
      return byValue(options, field);
    case 'numeric':
      return field.type === 'number';
    case 'time':
    case 'firstTimeField':
      return field.type === 'time';
    default:
      return false;
  }
}

/** Sets `custom.lineWidth` and the like. Lists are put before what is there, nothing takes the value out. */
function setProperty(config: FieldConfig, id: string, value: Json | undefined): void {
  const path = id.split('.');
  const last = path.pop() ?? '';
  let at: JsonObject = config as unknown as JsonObject;
  for (const name of path) {
    const next = asObject(at[name]);
    at[name] = { ...next };
    at = at[name] as JsonObject;
  }
  const old = at[last];
  if (value === null || value === undefined) delete at[last];
  else if (Array.isArray(value) && Array.isArray(old)) at[last] = [...value, ...old];
  else at[last] = value;
}

/** The configuration that is in force for `field`. */
export function configOf(source: FieldConfigSource, field: MatchedField): FieldConfig {
  const config: FieldConfig = { ...source.defaults, custom: { ...source.defaults.custom } };
  for (const override of source.overrides) {
    if (!matches(override, field)) continue;
    for (const { id, value } of override.properties) setProperty(config, id, value);
  }
  return config;
}
