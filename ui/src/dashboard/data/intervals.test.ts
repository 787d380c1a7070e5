import { describe, expect, test } from 'vitest';
import { goldenVectors } from '../conformance';
import { parseDuration } from '../../time/datemath';
import { calculateInterval, formatInterval, roundInterval, stepsOf } from './intervals';

const round = goldenVectors<{ rows: [number, number][] }>('round-interval.json');
const intervals = goldenVectors<{ rows: [number, number, string | null, number, string][] }>(
  'intervals.json',
);

describe.skipIf(round === null)('roundInterval', () => {
  test.each(round?.rows ?? [])('%d', (ms, wanted) => expect(roundInterval(ms)).toBe(wanted));
});

describe.skipIf(intervals === null)('calculateInterval', () => {
  test.each(intervals?.rows ?? [])('%d s on %d points, at least %s', (seconds, points, min, ms, text) => {
    const got = calculateInterval(seconds * 1000, points, min ? (parseDuration(min) ?? 0) : 1);
    expect([got, formatInterval(got)]).toEqual([ms, text]);
  });
});

const hour = { fromMs: 0, toMs: 3_600_000, maxDataPoints: 700, scrapeMs: 30_000 };

test.each([
  ['the panel asks for at least a minute', { panelInterval: '1m' }, 60_000, 120_000],
  ['so does the target', { panelInterval: '1m', targetInterval: '1m' }, 60_000, 240_000],
  ['nothing is asked for', {}, 30_000, 120_000],
  ['the target follows the interval', { targetInterval: '$__interval' }, 30_000, 120_000],
  ['the target follows the rate interval', { targetInterval: '$__rate_interval' }, 120_000, 120_000],
  ['a factor', { intervalFactor: 2 }, 60_000, 120_000],
])('%s', (_words, change, stepMs, rateMs) => {
  const got = stepsOf({ ...hour, ...change });
  expect([got.stepMs, got.rateMs]).toEqual([stepMs, rateMs]);
});

test('a long range never asks for more points than a server gives', () => {
  const year = stepsOf({ ...hour, toMs: 31_536_000_000, targetInterval: '1s', maxDataPoints: 100_000 });
  expect(31_536_000_000 / year.stepMs).toBeLessThan(11_000);
});
