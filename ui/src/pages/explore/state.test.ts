import { describe, expect, it } from 'vitest';
import { durationSeconds, writeDuration } from '../../ui/duration';
import { autoStep, readEnd, readExplore, writeExplore } from './state';

describe('readExplore', () => {
  it.each([
    ['', [{ expr: '', tab: 'graph', step: null }], null],
    ['?g0.expr=up&g0.tab=1&g0.range_input=1h', [{ expr: 'up', tab: 'table', step: null }], '1h'],
    ['?g0.expr=up&g0.tab=0', [{ expr: 'up', tab: 'graph', step: null }], null],
    ['?g0.expr=up&g0.tab=explain', [{ expr: 'up', tab: 'table', step: null }], null],
    [
      '?g1.expr=b&g1.tab=table&g0.expr=a%20%2B%201&from=now-1h',
      [
        { expr: 'a + 1', tab: 'graph', step: null },
        { expr: 'b', tab: 'table', step: null },
      ],
      null,
    ],
    ['?g0.expr=up&g0.step_input=30', [{ expr: 'up', tab: 'graph', step: 30 }], null],
    ['?g0.expr=up&g0.res_type=auto&g0.res_step=30', [{ expr: 'up', tab: 'graph', step: null }], null],
    ['?g0.expr=up&g0.range_input=soon', [{ expr: 'up', tab: 'graph', step: null }], null],
  ])('%s', (search, queries, rangeInput) => {
    const state = readExplore(search);
    expect(state.queries).toEqual(queries);
    expect(state.rangeInput).toBe(rangeInput);
  });
});

it('writes what it reads and leaves other parameters alone', () => {
  const search =
    'g0.expr=rate%28x%5B5m%5D%29&g0.tab=table&g0.range_input=2h&g1.expr=up&g1.tab=graph&from=now-2h&to=now';
  const state = readExplore(search);
  const written = writeExplore(state, search);
  expect(readExplore(written)).toEqual(state);
  const params = new URLSearchParams(written);
  expect([params.get('from'), params.get('to'), params.get('g1.range_input')]).toEqual([
    'now-2h',
    'now',
    '2h',
  ]);
  expect(
    new URLSearchParams(writeExplore({ ...state, queries: state.queries.slice(0, 1) }, written)).has(
      'g1.expr',
    ),
  ).toBe(false);
});

it.each([
  ['2026-03-01 03:12:45', Date.UTC(2026, 2, 1, 3, 12, 45)],
  ['2026-03-01 03:12', Date.UTC(2026, 2, 1, 3, 12)],
  ['2026-03-01T03:12:45+01:00', Date.UTC(2026, 2, 1, 2, 12, 45)],
  ['1772334765000', 1772334765000],
  ['never', null],
  ['', null],
])('reads the end %s', (text, at) => expect(readEnd(text)).toBe(at));

it.each([
  ['1h', 3600],
  ['1h30m', 5400],
  ['250ms', 0.25],
  ['2w', 1209600],
  ['90', null],
  ['', null],
  ['1h later', null],
])('reads the duration %s', (text, seconds) => expect(durationSeconds(text)).toBe(seconds));

it.each([
  [3600, '1h'],
  [5400, '1h30m'],
  [86400 * 2 + 60, '2d1m'],
  [0.2, '1s'],
])('writes %d seconds as %s', (seconds, text) => expect(writeDuration(seconds)).toBe(text));

it.each([
  [300, 1],
  [3600, 10],
  [6 * 3600, 60],
  [86400, 300],
  [7 * 86400, 1800],
  [3650 * 86400, 8 * 86400],
])('chooses for %d seconds a step of %d', (range, step) => expect(autoStep(range)).toBe(step));
