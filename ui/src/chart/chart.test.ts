import { describe, expect, test } from 'vitest';
import { axisRange, incrementsOf, tickTexts } from './scale';
import { stackSeries } from './stack';
import { summarize } from './summary';
import { timeTexts } from './time-axis';
import type { ChartSeries } from './types';

function series(name: string, values: ChartSeries['values'], change: Partial<ChartSeries> = {}): ChartSeries {
  return { key: name, name, color: '#000000', values, ...change };
}

const stack = { group: 'A', mode: 'normal' } as const;
const all = (): boolean => true;

describe('stacking', () => {
  test('a gap counts as zero where another series has a value', () => {
    const { columns, bands } = stackSeries(
      [series('a', [1, null, null], { stack }), series('b', [2, 3, null], { stack }), series('c', [9, 9, 9])],
      all,
    );
    expect(columns).toEqual([
      [1, 0, null],
      [3, 3, null],
      [9, 9, 9],
    ]);
    expect(bands).toEqual([{ upper: 1, lower: 0, isNegative: false }]);
  });

  test('what is below zero is stacked downwards, on its own', () => {
    const { columns, bands } = stackSeries(
      [
        series('in', [1, 2], { stack }),
        series('out', [3, 4], { stack, isMirrored: true }),
        series('more', [1, 1], { stack, isMirrored: true }),
      ],
      all,
    );
    expect(columns).toEqual([
      [1, 2],
      [-3, -4],
      [-4, -5],
    ]);
    expect(bands).toEqual([{ upper: 2, lower: 1, isNegative: true }]);
  });

  test('shares add up to one', () => {
    const percent = { group: 'A', mode: 'percent' } as const;
    const { columns } = stackSeries(
      [series('a', [1, 0], { stack: percent }), series('b', [3, 0], { stack: percent })],
      all,
    );
    expect(columns).toEqual([
      [0.25, 0],
      [1, 0],
    ]);
  });

  test('hidden series do not take part', () => {
    const { columns } = stackSeries(
      [series('a', [1], { stack }), series('b', [2], { stack }), series('c', [4], { stack })],
      (one) => one.name !== 'b',
    );
    expect(columns[2]).toEqual([5]);
  });
});

describe('axis range', () => {
  test.each([
    ['zero is included where it is near', [1, 10, {}], [0, 10.9]],
    ['nothing to show', [null, null, {}], [0, 100]],
    ['nothing to show of a share', [null, null, { unit: 'percentunit' }], [0, 1]],
    ['one value', [5, 5, {}], [0, 10]],
    ['only zeros', [0, 0, { min: 0 }], [0, 1]],
    ['fixed ends', [1, 10, { min: 0, max: 4 }], [0, 4]],
    ['a soft end that the data stays below', [0, 0.01, { softMax: 0.2 }], [0, 0.2]],
    ['a share ends at the whole', [0, 0.99, { unit: 'percentunit', min: 0 }], [0, 1]],
    ['zero in the middle', [-1, 10, { centeredZero: true }], [-12, 12]],
    ['values far from zero', [100, 110, {}], [99, 111]],
  ] as const)('%s', (_words, [low, high, axis], [min, max]) => {
    const got = axisRange(low, high, axis);
    expect(got[0]).toBeCloseTo(min, 9);
    expect(got[1]).toBeCloseTo(max, 9);
  });
});

test.each([
  [[0, 0.25, 0.5], 'percentunit', ['0%', '25%', '50%']],
  [[0, 0.005, 0.01], 'percentunit', ['0%', '0.5%', '1.0%']],
  [[0, 8 * 1024 ** 3, 16 * 1024 ** 3], 'bytes', ['0 B', '8 GiB', '16 GiB']],
  [[0, 500, 1000, 1500], 'short', ['0', '500', '1 K', '1.5 K']],
  [[0, 30, 60, 90], 's', ['0 s', '30 s', '1 min', '1.5 mins']],
  [[0, null, 10], 'none', ['0', '', '10']],
])('ticks %j in %s', (ticks, unit, texts) => expect(tickTexts(ticks, unit)).toEqual(texts));

test('axes of bytes are divided by powers of two, those of time as a clock', () => {
  expect(incrementsOf('bytes')).toContain(1024);
  expect(incrementsOf('s')).toContain(900);
  expect(incrementsOf('ms')).toContain(15_000);
  expect(incrementsOf('short')).toBeUndefined();
});

test('the date stands where a day begins', () => {
  const midnight = new Date(2026, 2, 1).getTime();
  const hour = 3_600_000;
  expect(timeTexts([midnight - 2 * hour, midnight, midnight + 2 * hour], 2 * hour)).toEqual([
    '22:00',
    '1 Mar',
    '02:00',
  ]);
  expect(timeTexts([midnight + 15_000], 15_000)).toEqual(['00:00:15']);
  expect(timeTexts([midnight], 24 * hour)).toEqual(['1 Mar']);
});

test('the summary names the series and their ends', () => {
  expect(summarize([series('a', [1, 3, null], { unit: 's' })])).toBe(
    '1 series. a: last 3 s, lowest 1 s, highest 3 s.',
  );
  expect(summarize([])).toBe('No series.');
});
