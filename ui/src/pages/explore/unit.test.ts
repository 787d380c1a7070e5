import { expect, test } from 'vitest';
import { axisUnit, unitOf } from './unit';

test('a metric tells its unit, unless something is made of it', () => {
  for (const [expr, unit] of [
    ['node_memory_MemAvailable_bytes', 'bytes'],
    ['node_memory_MemAvailable_bytes{instance="a"} offset 1h', 'bytes'],
    ['sum by (job) (process_resident_memory_bytes{job!=""})', 'bytes'],
    ['sum(process_resident_memory_bytes) without (job)', 'bytes'],
    ['topk(3, max_over_time(process_resident_memory_bytes[1h]))', 'bytes'],
    ['scrape_duration_seconds', 's'],
    ['process_start_time_seconds', undefined],
    ['node_boot_time_seconds', undefined],
    ['rate(node_disk_read_bytes[5m])', undefined],
    ['a_bytes / b_bytes', undefined],
    ['sum(a_bytes) / sum(b_bytes)', undefined],
    ['count(a_bytes)', undefined],
    ['node_cpu_seconds_total', undefined],
    ['up', undefined],
    ['', undefined],
  ] as const) {
    expect(unitOf(expr), expr).toBe(unit);
  }
});

test('only large numbers get letters for their thousands', () => {
  const of = (...values: (number | null | undefined)[]): { values: typeof values }[] => [{ values }];
  expect(axisUnit(undefined, of(0.002, 99_999, null, undefined, Infinity, NaN))).toBe(undefined);
  expect(axisUnit(undefined, of(1, -100_000))).toBe('sishort');
  expect(axisUnit('bytes', of(1))).toBe('bytes');
  expect(axisUnit(undefined, [])).toBe(undefined);
});
