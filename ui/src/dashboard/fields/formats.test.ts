import { describe, expect, test } from 'vitest';
import { goldenVectors } from '../conformance';
import { formatterOf, readable } from './formats';
import { formattedText } from './number';

interface Vectors {
  rows: [unit: string, value: number | string, decimals: number | null, text: string][];
}

const vectors = goldenVectors<Vectors>('value-formats.json');

/**
 * Grafana writes "∞undefined ops/s" for infinite counts: a slip of its own that we do not repeat. Everything else
 * has to be the same to the letter.
 */
function wanted(text: string): string {
  return text.replace('undefined', '');
}

describe.skipIf(vectors === null)('value formats', () => {
  const units = new Map<string, Vectors['rows']>();
  for (const row of vectors?.rows ?? []) units.set(row[0], [...(units.get(row[0]) ?? []), row]);

  test.each([...units])('%s', (unit, rows) => {
    const wrong: string[] = [];
    for (const [, value, decimals, text] of rows) {
      const got = formattedText(formatterOf(unit)(Number(value), decimals, 'utc'));
      if (got !== wanted(text)) wrong.push(`${value} with ${decimals} decimals: "${got}", not "${text}"`);
    }
    expect(wrong.join('\n')).toBe('');
  });

  test('the vectors are all there', () => {
    expect(vectors?.rows.length).toBeGreaterThan(8000);
  });
});

test.each([
  ['µs', 1500, '1.50 ms'],
  ['bool:up/down', 0, 'down'],
  ['currency:$', -1500, '-$1.50K'],
  ['no such unit', 3, '3 no such unit'],
  ['KiBs', 1024, '1 MiB/s'],
])('%s', (unit, value, text) => {
  expect(formattedText(formatterOf(unit)(value))).toBe(text);
});

test.each([
  [0.1, 'percent', undefined, '0.100%'],
  [9.999, 'short', undefined, '10.0'],
  [99.95, 'short', undefined, '100'],
  [0.1000000001, 'percent', undefined, '0.100%'],
  [1.5, 'short', undefined, '1.50'],
  [-0.5, 's', undefined, '-500 ms'],
  [2, 'short', 3, '2.000'],
  [1000, 'none', undefined, '1000'],
])('%d %s with %s decimals reads %s', (value, unit, decimals, text) => {
  expect(formattedText(readable(value, unit, decimals))).toBe(text);
});
