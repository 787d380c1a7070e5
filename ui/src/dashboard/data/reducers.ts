/** Grafana's calculations over the values of one field. Fixed by golden vectors, see the test. */

export type Value = number | null | undefined;
export type Reduced = number | boolean | null;

type Reducer = (values: readonly Value[]) => Reduced;

function isNumber(value: Value): value is number {
  return value !== null && value !== undefined && !Number.isNaN(value);
}

function numbers(values: readonly Value[]): number[] {
  return values.filter(isNumber);
}

/** Values that are there; NaN counts as there for the statistics that Grafana lets it spoil. */
function present(values: readonly Value[]): number[] {
  return values.filter((value): value is number => value !== null && value !== undefined);
}

const first: Reducer = (values) => values[0] ?? null;
const last: Reducer = (values) => values[values.length - 1] ?? null;
const firstNotNull: Reducer = (values) => numbers(values)[0] ?? null;

const lastNotNull: Reducer = (values) => {
  for (let i = values.length - 1; i >= 0; i--) {
    const value = values[i];
    if (isNumber(value)) return value;
  }
  return null;
};

function extreme(values: readonly Value[], better: (a: number, b: number) => boolean): number | null {
  let best: number | null = null;
  for (const value of values) if (isNumber(value) && (best === null || better(value, best))) best = value;
  return best;
}

const min: Reducer = (values) => extreme(values, (a, b) => a < b);
const max: Reducer = (values) => extreme(values, (a, b) => a > b);

const sum: Reducer = (values) => numbers(values).reduce((a, b) => a + b, 0);

const mean: Reducer = (values) => {
  const all = numbers(values);
  return all.length === 0 ? null : all.reduce((a, b) => a + b, 0) / all.length;
};

function variance(values: readonly Value[]): number | null {
  if (values.length === 0) return null;
  const all = present(values);
  if (all.length === 0) return 0;
  const middle = all.reduce((a, b) => a + b, 0) / all.length;
  return all.reduce((a, b) => a + (b - middle) ** 2, 0) / all.length;
}

const stdDev: Reducer = (values) => {
  const spread = variance(values);
  return spread === null ? null : Math.sqrt(spread);
};

const median: Reducer = (values) => {
  if (values.length === 0) return null;
  const all = present(values);
  if (all.length === 0 || all.some(Number.isNaN)) return Number.NaN;
  const sorted = [...all].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? null)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
};

/** The value below which `percent` of the values lie: nearest rank, no interpolation. */
function percentile(values: readonly Value[], percent: number): number | null {
  const sorted = present(values).sort((a, b) => a - b);
  if (sorted.length === 0) return null;
  const rank = Math.round((sorted.length - 1) * (percent / 100));
  return sorted[rank] ?? null;
}

const range: Reducer = (values) => {
  const low = extreme(values, (a, b) => a < b);
  const high = extreme(values, (a, b) => a > b);
  return low === null || high === null ? null : high - low;
};

const diff: Reducer = (values) => {
  const all = numbers(values);
  const a = all[0];
  const b = all[all.length - 1];
  return a === undefined || b === undefined ? null : b - a;
};

const diffperc: Reducer = (values) => {
  if (values.length === 0) return null;
  const all = numbers(values);
  const a = all[0];
  const b = all[all.length - 1];
  if (a === undefined || b === undefined) return 0;
  return ((b - a) / a) * 100;
};

/** The sum of all rises, except the first one after a fall: Grafana takes that for a counter's restart. */
const delta: Reducer = (values) => {
  if (values.length === 0) return null;
  const all = numbers(values);
  let total = 0;
  let isRising = true;
  for (let i = 1; i < all.length; i++) {
    const rise = (all[i] ?? 0) - (all[i - 1] ?? 0);
    if (rise >= 0 && isRising) total += rise;
    isRising = rise >= 0;
  }
  return total;
};

/** The smallest step between neighbours. */
const step: Reducer = (values) => {
  const all = numbers(values);
  let smallest: number | null = null;
  for (let i = 1; i < all.length; i++) {
    const one = (all[i] ?? 0) - (all[i - 1] ?? 0);
    if (smallest === null || one < smallest) smallest = one;
  }
  return smallest;
};

const logmin: Reducer = (values) => {
  if (values.length === 0) return null;
  return (
    extreme(
      values.filter((value) => isNumber(value) && value > 0),
      (a, b) => a < b,
    ) ?? Number.MAX_VALUE
  );
};

const count: Reducer = (values) => present(values).length;
const countAll: Reducer = (values) => values.length;

const changeCount: Reducer = (values) => {
  if (values.length === 0) return null;
  const all = present(values);
  let changes = 0;
  for (let i = 1; i < all.length; i++) if (all[i] !== all[i - 1]) changes += 1;
  return changes;
};

const distinctCount: Reducer = (values) => (values.length === 0 ? null : new Set(present(values)).size);

const allIsZero: Reducer = (values) =>
  values.length > 0 && present(values).length > 0 && values.every((value) => value === 0);
const allIsNull: Reducer = (values) => present(values).length === 0;

interface Info {
  name: string;
  reduce: Reducer;
}

const TABLE: Record<string, Info> = {
  lastNotNull: { name: 'Last *', reduce: lastNotNull },
  last: { name: 'Last', reduce: last },
  firstNotNull: { name: 'First *', reduce: firstNotNull },
  first: { name: 'First', reduce: first },
  min: { name: 'Min', reduce: min },
  max: { name: 'Max', reduce: max },
  mean: { name: 'Mean', reduce: mean },
  median: { name: 'Median', reduce: median },
  variance: { name: 'Variance', reduce: variance },
  stdDev: { name: 'StdDev', reduce: stdDev },
  sum: { name: 'Total', reduce: sum },
  count: { name: 'Count', reduce: count },
  countAll: { name: 'Count all', reduce: countAll },
  range: { name: 'Range', reduce: range },
  delta: { name: 'Delta', reduce: delta },
  step: { name: 'Step', reduce: step },
  diff: { name: 'Difference', reduce: diff },
  diffperc: { name: 'Difference percent', reduce: diffperc },
  logmin: { name: 'Min (above zero)', reduce: logmin },
  allIsZero: { name: 'All Zeros', reduce: allIsZero },
  allIsNull: { name: 'All Nulls', reduce: allIsNull },
  changeCount: { name: 'Change Count', reduce: changeCount },
  distinctCount: { name: 'Distinct Count', reduce: distinctCount },
};

const ALIASES: Record<string, string> = { current: 'lastNotNull', avg: 'mean', total: 'sum' };

/** The calculation called `id`; undefined for one that does not exist. */
export function reducerOf(id: string): Info | undefined {
  const known = TABLE[ALIASES[id] ?? id];
  if (known) return known;
  const at = /^p([1-9]\d?)$/.exec(id);
  if (!at) return undefined;
  const percent = Number(at[1]);
  const ordinal =
    percent % 10 === 1 && percent !== 11 ? 'st' : percent % 10 === 2 && percent !== 12 ? 'nd' : 'th';
  return { name: `${percent}${ordinal} %`, reduce: (values) => percentile(values, percent) };
}

/** Applies `id` to the values; null for a calculation that does not exist and for truths that are no numbers. */
export function reduceNumber(id: string, values: readonly Value[]): number | null {
  const result = reducerOf(id)?.reduce(values) ?? null;
  return typeof result === 'boolean' ? Number(result) : result;
}
