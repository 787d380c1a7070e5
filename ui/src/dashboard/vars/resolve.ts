/** The choices and values of all variables of a dashboard, one after the other as they depend on each other. */
import type { QueryData } from '../../api/types';
import { prom } from '../../api/client';
import { metricName } from '../data/legend';
import type { Dashboard, VariableModel, VariableOption } from '../model/types';
import {
  ALL_VALUE,
  chooseValues,
  customOptions,
  filterOptions,
  intervalOptions,
  sortOptions,
} from './options';
import { dependencyText, parseVariableQuery, queryText } from './queries';
import { interpolate, referencesIn, type Resolved, type Scope } from './refs';

export interface Variable {
  model: VariableModel;
  options: VariableOption[];
  /** Values that are chosen; [ALL_VALUE] for all. */
  chosen: string[];
  error?: Error;
}

export interface Window {
  fromMs: number;
  toMs: number;
}

/** Fetches what a query variable asks for. Separate, so that tests answer themselves. */
export type FetchOptions = (query: string, window: Window, signal: AbortSignal) => Promise<VariableOption[]>;

const plain = (values: readonly string[]): VariableOption[] =>
  values.map((value) => ({ text: value, value }));

function seriesText(labels: Record<string, string>, value?: string, at?: number): string {
  return value === undefined ? metricName(labels) : `${metricName(labels)} ${value} ${(at ?? 0) * 1000}`;
}

export const fetchOptions: FetchOptions = async (source, { fromMs, toMs }, signal) => {
  const query = parseVariableQuery(source);
  if (!query) return [];
  const time = { start: Math.floor(fromMs / 1000), end: Math.ceil(toMs / 1000) };
  switch (query.kind) {
    case 'labelNames':
      return plain((await prom<string[]>('labels', { 'match[]': query.match, ...time }, signal)).data);
    case 'labelValues':
      return plain(
        (await prom<string[]>(`label/${query.label}/values`, { 'match[]': query.match, ...time }, signal))
          .data,
      );
    case 'metrics': {
      const { data } = await prom<string[]>('label/__name__/values', time, signal);
      const pattern = new RegExp(query.pattern);
      return plain(data.filter((name) => pattern.test(name)));
    }
    case 'queryResult': {
      const { data } = await prom<QueryData>('query', { query: query.expr, time: toMs / 1000 }, signal);
      if (data.resultType === 'vector') {
        return plain(data.result.map(({ metric, value }) => seriesText(metric, value?.[1], value?.[0])));
      }
      return data.resultType === 'scalar' ? plain([data.result[1]]) : [];
    }
    case 'series': {
      const { data } = await prom<Record<string, string>[]>(
        'series',
        { 'match[]': query.match, ...time },
        signal,
      );
      return plain(data.map((labels) => seriesText(labels)));
    }
  }
};

/** Puts variables after those that they name. A circle keeps the order of the file. */
export function inOrder(models: readonly VariableModel[]): VariableModel[] {
  const byName = new Map(models.map((model) => [model.name, model]));
  const out: VariableModel[] = [];
  const state = new Map<string, 'open' | 'done'>();
  const visit = (model: VariableModel): void => {
    if (state.has(model.name)) return;
    state.set(model.name, 'open');
    for (const name of referencesIn(dependencyText(model))) {
      const other = byName.get(name);
      if (other && state.get(name) !== 'open') visit(other);
    }
    state.set(model.name, 'done');
    out.push(model);
  };
  for (const model of models) visit(model);
  return out;
}

function texts(value: string | string[] | undefined): string[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

const MARKS_ALL = /^\$__all$|^All$/;

/** What a variable stands for in expressions and titles. */
export function resolvedOf({ model, options, chosen }: Variable): Resolved {
  const isMulti = model.multi || model.includeAll;
  if (chosen.length === 1 && chosen[0] === ALL_VALUE) {
    if (model.allValue) return { value: model.allValue, text: 'All', isVerbatim: true, isMulti };
    return { value: options.map((option) => option.value), text: 'All', isMulti };
  }
  const words = chosen.map((one) => options.find((option) => option.value === one)?.text ?? one);
  return chosen.length === 1 && !model.multi
    ? { value: chosen[0] ?? '', text: words[0] ?? '', isMulti }
    : { value: chosen, text: words, isMulti };
}

/** All variables as a scope for references. */
export function scopeOf(variables: readonly Variable[], dashboard: Dashboard): Scope {
  const scope = new Map<string, Resolved>();
  scope.set('__dashboard', { value: dashboard.title });
  scope.set('__dashboard.uid', { value: dashboard.uid });
  for (const variable of variables) scope.set(variable.model.name, resolvedOf(variable));
  const all = variables
    .filter(({ model }) => model.type !== 'constant')
    .flatMap(({ model, chosen }) => chosen.map((one) => `var-${model.name}=${encodeURIComponent(one)}`));
  scope.set('__all_variables', { value: all.join('&') });
  return scope;
}

/** Values named in the address, by variable. */
export function urlValues(search: string): Map<string, string[]> {
  const out = new Map<string, string[]>();
  for (const [key, value] of new URLSearchParams(search)) {
    if (!key.startsWith('var-')) continue;
    const name = key.slice(4);
    out.set(name, [...(out.get(name) ?? []), value]);
  }
  return out;
}

const DATA_SOURCES: readonly VariableOption[] = [{ text: 'default', value: 'prometheus' }];

async function optionsOf(
  model: VariableModel,
  scope: Scope,
  window: Window,
  fetch: FetchOptions,
  signal: AbortSignal,
): Promise<VariableOption[]> {
  const query = queryText(model.query);
  switch (model.type) {
    case 'datasource':
      return query === '' || query === 'prometheus' ? [...DATA_SOURCES] : [];
    case 'custom':
      return query === '' ? model.options.filter((one) => one.value !== ALL_VALUE) : customOptions(query);
    case 'interval':
      return intervalOptions(model, window.toMs - window.fromMs);
    case 'query': {
      const seconds = Math.round((window.toMs - window.fromMs) / 1000);
      const full: Scope = new Map<string, Resolved>([
        ...scope,
        ['__range', { value: `${seconds}s` }],
        ['__range_s', { value: String(seconds) }],
        ['__interval', { value: '1m' }],
        ['__rate_interval', { value: '5m' }],
      ]);
      const found = await fetch(interpolate(query, full, 'promql'), window, signal);
      const regex = interpolate(model.regex ?? '', full, 'text');
      return sortOptions(filterOptions(found, regex), model.sort);
    }
    default:
      return [];
  }
}

/** Values that need no list to be valid. */
function freeValue(model: VariableModel, wanted: string[] | undefined): string | null {
  const query = queryText(model.query);
  if (model.type === 'constant') return query || (texts(model.current?.value)[0] ?? '');
  if (model.type === 'textbox') return wanted?.[0] ?? texts(model.current?.value)[0] ?? query;
  if (model.type === 'switch') return wanted?.[0] ?? texts(model.current?.value)[0] ?? 'false';
  return null;
}

/** Finds the choices and values of all variables. A variable whose query fails has none, and says so. */
export async function resolveVariables(
  dashboard: Dashboard,
  wanted: ReadonlyMap<string, string[]>,
  window: Window,
  fetch: FetchOptions,
  signal: AbortSignal,
): Promise<Variable[]> {
  const done: Variable[] = [];
  for (const model of inOrder(dashboard.variables)) {
    const asked = wanted.get(model.name);
    const free = freeValue(model, asked);
    if (free !== null) {
      done.push({ model, options: [{ text: free, value: free }], chosen: [free] });
      continue;
    }
    const saved = texts(model.current?.value).map((one) => (MARKS_ALL.test(one) ? ALL_VALUE : one));
    try {
      const options = await optionsOf(model, scopeOf(done, dashboard), window, fetch, signal);
      done.push({ model, options, chosen: chooseValues(model, options, asked ?? saved) });
    } catch (error) {
      if (signal.aborted) throw error;
      done.push({
        model,
        options: [],
        chosen: asked ?? saved,
        error: error instanceof Error ? error : new Error(String(error)),
      });
    }
  }
  const place = new Map(dashboard.variables.map((model, i) => [model.name, i]));
  return done.sort((a, b) => (place.get(a.model.name) ?? 0) - (place.get(b.model.name) ?? 0));
}
