import { expect, test } from 'vitest';
import { loadDashboard } from '../model/load';
import { interpolate } from './refs';
import { resolveVariables, scopeOf, urlValues, type FetchOptions } from './resolve';

const board = loadDashboard({
  schemaVersion: 39,
  panels: [],
  templating: {
    list: [
      { name: 'pod', type: 'query', query: 'label_values(x{ns="$ns"}, pod)', multi: true, includeAll: true },
      {
        name: 'ns',
        type: 'query',
        query: { query: 'label_values(ns)', refId: 'A' },
        current: { value: 'b' },
      },
      { name: 'ds', type: 'datasource', query: 'prometheus' },
      { name: 'free', type: 'textbox', query: 'abc' },
    ],
  },
});

const asked: string[] = [];
const answer: FetchOptions = (query) => {
  asked.push(query);
  const values = query.includes('pod') ? ['p1', 'p2'] : ['a', 'b'];
  return Promise.resolve(values.map((value) => ({ text: value, value })));
};

const resolve = (search: string, fetch = answer) =>
  resolveVariables(
    board,
    urlValues(search),
    { fromMs: 0, toMs: 3_600_000 },
    fetch,
    new AbortController().signal,
  );

test('a variable is asked for after the one it names', async () => {
  asked.length = 0;
  const variables = await resolve('');
  expect(asked).toEqual(['label_values(ns)', 'label_values(x{ns="b"}, pod)']);
  expect(variables.map((v) => [v.model.name, v.chosen])).toEqual([
    ['pod', ['$__all']],
    ['ns', ['b']],
    ['ds', ['prometheus']],
    ['free', ['abc']],
  ]);
});

test('the address decides, several values become a pattern', async () => {
  const variables = await resolve('?var-ns=a&var-pod=p1&var-pod=p2&var-free=x%20y');
  const scope = scopeOf(variables, board);
  expect(interpolate('{ns="$ns",pod=~"$pod"} $free', scope, 'promql')).toBe('{ns="a",pod=~"(p1|p2)"} x y');
});

test('a failing variable says so and the others go on', async () => {
  const variables = await resolve('', (query) =>
    query.includes('pod')
      ? Promise.reject(new Error('boom'))
      : answer(query, { fromMs: 0, toMs: 1 }, new AbortController().signal),
  );
  expect(variables[0]?.error?.message).toBe('boom');
  expect(variables[1]?.chosen).toEqual(['b']);
});
