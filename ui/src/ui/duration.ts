/** Prometheus's durations as text. Pure functions. */

const UNITS: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400, w: 604800, y: 31536000 };

/** Reads a Prometheus duration ("1h30m") to seconds; null when it is none. */
export function durationSeconds(text: string): number | null {
  if (!/^(\d+(?:ms|[smhdwy]))+$/.test(text)) return null;
  let sum = 0;
  for (const [, n, unit] of text.matchAll(/(\d+)(ms|[smhdwy])/g)) sum += Number(n) * (UNITS[unit ?? ''] ?? 0);
  return sum > 0 ? sum : null;
}

/** Writes seconds as the shortest Prometheus duration: 5400 is "1h30m". */
export function writeDuration(seconds: number): string {
  let rest = Math.max(1, Math.round(seconds));
  let out = '';
  for (const [unit, size] of [
    ['d', 86400],
    ['h', 3600],
    ['m', 60],
    ['s', 1],
  ] as const) {
    const n = Math.floor(rest / size);
    if (n > 0) out += `${n}${unit}`;
    rest -= n * size;
  }
  return out;
}
