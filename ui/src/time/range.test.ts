import { afterEach, expect, test } from 'vitest';
import {
  range,
  read,
  refresh,
  resolveRange,
  setDefaults,
  setRange,
  setRefresh,
  zoomOut,
  zoomTo,
} from './range';

afterEach(() => {
  setDefaults(null);
  setRange({ from: 'now-1h', to: 'now' });
});

test.each([
  ['?from=now-6h&to=now&refresh=10s', { from: 'now-6h', to: 'now', refresh: '10s' }],
  ['?from=1772334245000&to=1772334246000', { from: '1772334245000', to: '1772334246000' }],
  ['?refresh=off', { refresh: '' }],
  ['?refresh=false', { refresh: '' }],
  ['?from=soon&refresh=often', {}],
])('%s', (search, wanted) => expect(read(search)).toEqual(wanted));

test('a range that is turned round is put right, an empty one has a second', () => {
  const now = 10_000_000;
  expect(resolveRange(now, { from: 'now', to: 'now-1h' })).toEqual({ fromMs: now - 3_600_000, toMs: now });
  expect(resolveRange(now, { from: 'now', to: 'now' })).toEqual({ fromMs: now - 1000, toMs: now });
});

test('zooming out doubles a relative range and widens an absolute one', () => {
  setRange({ from: 'now-3h', to: 'now' });
  zoomOut();
  expect(range.value).toEqual({ from: 'now-6h', to: 'now' });
  zoomTo(1_000_000, 2_000_000);
  zoomOut();
  expect(range.value).toEqual({ from: '500000', to: '2500000' });
});

test('what is no time changes nothing', () => {
  const before = range.value;
  setRange({ from: 'soon', to: 'now' });
  expect(range.value).toEqual(before);
});

test('what was chosen wins over what a dashboard suggests', () => {
  setDefaults({ from: 'now-24h', to: 'now', refresh: '1m' });
  expect(refresh.value).toBe('1m');
  setRefresh('5s');
  expect(refresh.value).toBe('5s');
});
