import { describe, expect, test } from 'vitest';
import type { Labels } from '../../api/types';
import { goldenVectors } from '../conformance';
import { joinSeries, sampleNumber, seriesFrames, tableFrame } from './frames';
import { autoNames, seriesNames } from './legend';

const vectors = goldenVectors<{ labels: Labels[]; names: string[] }[]>('auto-legend.json');

describe.skipIf(vectors === null)('automatic legends', () => {
  test.each(vectors ?? [])('$labels', ({ labels, names }) => expect(autoNames(labels)).toEqual(names));
});

test.each([
  ['{{a}} and {{ b }}', ['1 and ']],
  ['', ['up{a="1"}']],
  ['plain', ['plain']],
])('legend %j', (format, wanted) => {
  expect(seriesNames(format, 'up', [{ __name__: 'up', a: '1' }])).toEqual(wanted);
});

test('a series without labels is called by its expression', () => {
  expect(seriesNames('__auto', 'sum(up)', [{}])).toEqual(['sum(up)']);
  expect(seriesNames('', 'sum(up)', [{}])).toEqual(['sum(up)']);
});

test.each([
  ['+Inf', Infinity],
  ['-Inf', -Infinity],
  ['1e3', 1000],
])('%s', (text, wanted) => expect(sampleNumber(text)).toBe(wanted));

test('a pause longer than the step is a gap, a point of another series is not', () => {
  const joined = joinSeries([
    { times: [0, 10, 20, 60], values: [1, 2, 3, 4], stepMs: 10 },
    { times: [0, 30, 60], values: [7, Number.NaN, 9], stepMs: 30 },
  ]);
  expect(joined.times).toEqual([0, 10, 20, 30, 60]);
  expect(joined.columns[0]).toEqual([1, 2, 3, null, 4]);
  expect(joined.columns[1]).toEqual([7, undefined, undefined, null, 9]);
});

test('a table has a column for each label and the value last', () => {
  const frame = tableFrame(
    {
      resultType: 'vector',
      result: [
        { metric: { b: '1' }, value: [5, '2'] },
        { metric: { a: 'x', b: '2' }, value: [5, '3'] },
      ],
    },
    'A',
    false,
  );
  expect(frame.fields.map((f) => [f.name, f.values])).toEqual([
    ['Time', [5000, 5000]],
    ['a', ['', 'x']],
    ['b', ['1', '2']],
    ['Value #A', [2, 3]],
  ]);
});

test('each series of a range is a frame with its name and step', () => {
  const [frame] = seriesFrames(
    {
      resultType: 'matrix',
      result: [
        {
          metric: { a: '1' },
          values: [
            [1, '2'],
            [2, '3'],
          ],
        },
      ],
    },
    'A',
    (all) => seriesNames('{{a}}', '', all),
    1000,
  );
  expect(frame?.fields[0]?.stepMs).toBe(1000);
  expect(frame?.fields[1]).toMatchObject({ values: [2, 3], config: { displayNameFromDS: '1' } });
});
