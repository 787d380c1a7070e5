/** Reading foreign JSON with care: each function gives a value of its type or the fallback. */
import type { Json, JsonObject } from './types';

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function object(value: Json | undefined): JsonObject {
  return isObject(value) ? value : {};
}

export function list(value: Json | undefined): Json[] {
  return Array.isArray(value) ? value : [];
}

export function objects(value: Json | undefined): JsonObject[] {
  return list(value).filter(isObject);
}

export function text(value: Json | undefined, fallback = ''): string {
  return typeof value === 'string' ? value : fallback;
}

/** A number; a text that is one counts too. */
export function number(value: Json | undefined): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  if (typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value)))
    return Number(value);
  return undefined;
}

export function flag(value: Json | undefined, fallback = false): boolean {
  return typeof value === 'boolean' ? value : fallback;
}

/** The value at a path of keys: `at(panel, 'options', 'legend', 'calcs')`. */
export function at(value: Json | undefined, ...path: string[]): Json | undefined {
  let here: Json | undefined = value;
  for (const key of path) here = isObject(here) ? here[key] : undefined;
  return here;
}

/** Leaves out what is undefined, so that it does not hide a default when merged. */
export function defined(value: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined));
}
