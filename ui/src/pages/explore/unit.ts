/** In what a graph of Explore is measured, as far as names tell it. Pure functions. */

const AGGREGATION =
  /^(?:sum|avg|min|max|topk|bottomk|quantile)\s*(?:(?:by|without)\s*\([^()]*\)\s*)?\(\s*(?:[\d.]+\s*,\s*)?(.*?)\)\s*(?:(?:by|without)\s*\([^()]*\)\s*)?$/s;
const OVER_TIME = /^(?:avg|min|max|sum|last)_over_time\s*\((.*)\[[^\]]*\]\s*\)$/s;
const SELECTOR = /^([a-zA-Z_:][\w:]*)\s*(?:\{[^{}]*\})?(?:\s+offset\s+-?\w+)?$/;

/** Grafana's unit of what `expr` gives: that of its metric, where nothing is done that changes it. */
export function unitOf(expr: string): string | undefined {
  let rest = expr.trim();
  for (let depth = 0; depth < 8; depth++) {
    const inner = (AGGREGATION.exec(rest) ?? OVER_TIME.exec(rest))?.[1];
    if (inner === undefined) break;
    rest = inner.trim();
  }
  const name = SELECTOR.exec(rest)?.[1];
  if (name === undefined) return undefined;
  if (name.endsWith('_bytes')) return 'bytes';
  // A time since the epoch is no duration.
  if (name.endsWith('_seconds') && !/time_seconds$|timestamp_seconds$/.test(name)) return 's';
  return undefined;
}

const LARGE = 100_000;

/** The unit of the axis: large numbers without one have their thousands as a letter, "23.4 G". */
export function axisUnit(
  unit: string | undefined,
  series: readonly { values: readonly (number | null | undefined)[] }[],
): string | undefined {
  if (unit !== undefined) return unit;
  const isLarge = series.some(({ values }) =>
    values.some((value) => typeof value === 'number' && Number.isFinite(value) && Math.abs(value) >= LARGE),
  );
  return isLarge ? 'sishort' : undefined;
}
