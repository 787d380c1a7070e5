import { expect, test } from 'vitest';
import type { VariableModel } from '../model/types';
import { chooseValues, customOptions, filterOptions, intervalOptions, sortOptions } from './options';
import { parseVariableQuery } from './queries';
import { interpolate, referencesIn, type Resolved } from './refs';

const scope = new Map<string, Resolved>([
  ['job', { value: 'node', isMulti: false }],
  ['one', { value: 'a.b', isMulti: true }],
  ['many', { value: ['a.b', 'c'], text: ['A', 'C'], isMulti: true }],
  ['all', { value: '.*', text: 'All', isVerbatim: true, isMulti: true }],
  ['path', { value: "C:\\it's" }],
  ['__rate_interval', { value: '1m' }],
  ['__dashboard.uid', { value: 'x1' }],
]);

test.each([
  ['up{job="$job"}', 'up{job="node"}'],
  ['up{job=~"$one"}', 'up{job=~"a\\\\.b"}'],
  ['up{job=~"$many"}', 'up{job=~"(a\\\\.b|c)"}'],
  ['up{job=~"$all"}', 'up{job=~".*"}'],
  ['up{p="$path"}', 'up{p="C:\\\\it\\\\\'s"}'],
  ['rate(x[$__rate_interval])', 'rate(x[1m])'],
  ['${many:pipe} [[many:csv]] ${many:json}', 'a.b|c a.b,c ["a.b","c"]'],
  ['${many:queryparam} ${many:text} ${many:glob}', 'var-many=a.b&var-many=c A + C {a.b,c}'],
  ['${many:regex} ${one:doublequote} ${many:join:;}', '(a\\.b|c) "a.b" a.b;c'],
  ['${__dashboard.uid}', 'x1'],
  ['$unknown ${unknown} $1 [[x]]', '$unknown ${unknown} $1 [[x]]'],
])('%s', (source, wanted) => expect(interpolate(source, scope, 'promql')).toBe(wanted));

test('titles use words', () => expect(interpolate('$many and $all', scope, 'text')).toBe('A + C and All'));

test('references are found in every form', () => {
  expect([...referencesIn('$a ${b:csv} [[c]] ${d.e}')]).toEqual(['a', 'b', 'c', 'd']);
});

test.each([
  [
    'label_values(up{job="a",x=~"b"}, instance)',
    { kind: 'labelValues', label: 'instance', match: 'up{job="a",x=~"b"}' },
  ],
  ['label_values(job)', { kind: 'labelValues', label: 'job', match: undefined }],
  ['label_names()', { kind: 'labelNames', match: undefined }],
  ['metrics(node_.*)', { kind: 'metrics', pattern: 'node_.*' }],
  ['query_result(topk(5, up))', { kind: 'queryResult', expr: 'topk(5, up)' }],
  ['up{job="a"}', { kind: 'series', match: 'up{job="a"}' }],
  ['  ', null],
])('%s', (source, wanted) => expect(parseVariableQuery(source)).toEqual(wanted));

test('custom values have words where a colon stands between spaces', () => {
  expect(customOptions('1m, a\\,b ,five : 5, http://x:1')).toEqual([
    { text: '1m', value: '1m' },
    { text: 'a,b', value: 'a,b' },
    { text: 'five', value: '5' },
    { text: 'http://x:1', value: 'http://x:1' },
  ]);
});

const options = (...values: string[]) => values.map((value) => ({ text: value, value }));
const values = (list: { value: string }[]): string[] => list.map((one) => one.value);

test.each([
  ['', ['b1', 'a2']],
  ['/^a/', ['a2']],
  ['/(\\d)/', ['1', '2']],
  ['a.*', ['a2']],
  ['/(?<text>\\w)(?<value>\\d)/', ['1', '2']],
])('regex %j', (regex, wanted) =>
  expect(values(filterOptions(options('b1', 'a2', 'b1'), regex))).toEqual(wanted),
);

test.each([
  [0, ['b10', 'A', 'b9']],
  [1, ['A', 'b10', 'b9']],
  [3, ['b9', 'b10', 'A']],
  [5, ['A', 'b10', 'b9']],
  [7, ['A', 'b9', 'b10']],
  [8, ['b10', 'b9', 'A']],
])('sort %d', (sort, wanted) => expect(values(sortOptions(options('b10', 'A', 'b9'), sort))).toEqual(wanted));

const model = (change: Partial<VariableModel>): VariableModel => ({
  name: 'v',
  type: 'query',
  hide: 0,
  sort: 0,
  refresh: 1,
  multi: false,
  includeAll: false,
  options: [],
  ...change,
});

test.each([
  ['what was asked for', {}, ['b'], ['b']],
  ['the first of several', {}, ['b', 'a'], ['b']],
  ['the valid ones', { multi: true }, ['b', 'x', 'a'], ['b', 'a']],
  ['the first where nothing is valid', {}, ['x'], ['a']],
  ['all where nothing is valid', { includeAll: true }, ['x'], ['$__all']],
  ['all when asked for', { includeAll: true, multi: true }, ['$__all'], ['$__all']],
])('chooses %s', (_words, change, wanted, chosen) => {
  expect(chooseValues(model(change), options('a', 'b'), wanted)).toEqual(chosen);
});

test('an automatic interval follows the range', () => {
  const got = intervalOptions(model({ type: 'interval', query: '1m,5m', auto: true }), 3_600_000);
  expect(got.map((one) => `${one.text}=${one.value}`)).toEqual(['auto=2m', '1m=1m', '5m=5m']);
});
