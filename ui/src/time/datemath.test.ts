import { describe, expect, test } from 'vitest';
import { goldenVectors } from '../dashboard/conformance';
import { parseDateMath, parseDuration, rangeWords } from './datemath';

const vectors = goldenVectors<{ now: string; rows: [string, boolean, string][] }>('date-math.json');

describe.skipIf(vectors === null)('date math', () => {
  const now = Date.parse(vectors?.now ?? '');
  test.each(vectors?.rows ?? [])('%s rounded up: %s', (expr, roundUp, iso) => {
    const got = parseDateMath(expr, { now, roundUp, zone: 'utc' });
    expect(got === null ? null : new Date(got).toISOString()).toBe(iso);
  });
});

test.each([
  ['2026-03-01 03:04', '2026-03-01T03:04:00.000Z'],
  ['2026-03-01T03:04:05.5', '2026-03-01T03:04:05.500Z'],
  ['2026-03-01T03:04:05+01:00', '2026-03-01T02:04:05.000Z'],
  ['1772334245000', '2026-03-01T03:04:05.000Z'],
  ['2026-03-31||-1M', '2026-02-28T00:00:00.000Z'],
])('%s', (text, iso) => {
  expect(new Date(parseDateMath(text, { now: 0, zone: 'utc' }) ?? 0).toISOString()).toBe(iso);
});

test.each(['', 'yesterday', 'now-1x', 'now--', '12:30'])('%j is no time', (text) => {
  expect(parseDateMath(text, { now: 0 })).toBeNull();
});

test.each([
  ['15s', 15_000],
  ['1m30s', 90_000],
  ['500ms', 500],
  ['1d', 86_400_000],
  ['1', null],
  ['', null],
])('%j', (text, ms) => expect(parseDuration(text)).toBe(ms));

test.each([
  ['now-6h', 'now', 'Last 6 hours'],
  ['now-1h', 'now', 'Last hour'],
  ['now-1d/d', 'now-1d/d', 'Yesterday'],
  ['now-2h', 'now-1h', 'now-2h to now-1h'],
  ['2026-03-01 03:00', '2026-03-01 04:00', '2026-03-01 03:00 to 04:00'],
])('%s to %s', (from, to, words) => expect(rangeWords(from, to, 0)).toBe(words));
