/** What a query variable asks for, understood from its text or its object. */
import { isObject, text } from '../model/json';
import type { Json, VariableModel } from '../model/types';

export type VariableQuery =
  | { kind: 'labelNames'; match?: string }
  | { kind: 'labelValues'; label: string; match?: string }
  | { kind: 'metrics'; pattern: string }
  | { kind: 'queryResult'; expr: string }
  | { kind: 'series'; match: string };

/** The query's text, whichever form it was saved in. */
export function queryText(query: Json | undefined): string {
  if (typeof query === 'string') return query;
  return isObject(query) ? text(query.query) : '';
}

/** Understands `label_values(…)`, `query_result(…)` and the others; null for an empty query. */
export function parseVariableQuery(source: string): VariableQuery | null {
  const query = source.trim();
  if (query === '') return null;
  const names = /^label_names\((?:(.+))?\)\s*$/s.exec(query);
  if (names) return { kind: 'labelNames', match: names[1]?.trim() || undefined };
  const values = /^label_values\((?:(.+),\s*)?([^,)]+)\)\s*$/s.exec(query);
  if (values) {
    return { kind: 'labelValues', label: (values[2] ?? '').trim(), match: values[1]?.trim() || undefined };
  }
  const metrics = /^metrics\((.+)\)\s*$/s.exec(query);
  if (metrics) return { kind: 'metrics', pattern: (metrics[1] ?? '').trim() };
  const result = /^query_result\((.+)\)\s*$/s.exec(query);
  if (result) return { kind: 'queryResult', expr: (result[1] ?? '').trim() };
  return { kind: 'series', match: query };
}

/** All text of a variable in which another one may be named. */
export function dependencyText(model: VariableModel): string {
  const source = model.datasource;
  const uid = typeof source === 'string' ? source : (source?.uid ?? '');
  return `${queryText(model.query)} ${model.regex ?? ''} ${uid}`;
}
