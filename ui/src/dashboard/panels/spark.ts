/** Paths of a sparkline in a box of 100 by 100. Pure. */
import type { Value } from '../data/reducers';

export function sparkPaths(
  times: readonly number[],
  values: readonly Value[],
  fromMs: number,
  toMs: number,
  min?: number | null,
  max?: number | null,
): { line: string; area: string } | null {
  const points: { x: number; value: number }[] = [];
  values.forEach((value, i) => {
    const at = times[i];
    if (typeof value !== 'number' || !Number.isFinite(value) || at === undefined) return;
    points.push({ x: ((at - fromMs) / (toMs - fromMs)) * 100, value });
  });
  if (points.length < 2) return null;
  const seen = points.map((point) => point.value);
  const low = min ?? Math.min(...seen);
  const high = max ?? Math.max(...seen);
  const span = high - low;
  // A flat line lies low; room at both ends keeps the stroke inside.
  const y = (value: number): number => (span === 0 ? 88 : 92 - ((value - low) / span) * 84);
  const line = points
    .map(({ x, value }, i) => `${i === 0 ? 'M' : 'L'}${x.toFixed(2)} ${y(value).toFixed(2)}`)
    .join('');
  const first = points[0]?.x ?? 0;
  const last = points[points.length - 1]?.x ?? 100;
  return { line, area: `${line}L${last.toFixed(2)} 100L${first.toFixed(2)} 100Z` };
}
