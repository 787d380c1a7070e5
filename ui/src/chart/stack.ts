/** Puts series on top of each other. Pure. */
import type { ChartSeries } from './types';

export type Column = (number | null | undefined)[];

export interface Stacked {
  columns: Column[];
  /** Pairs of series (from 0) between which the upper one's fill reaches. */
  bands: { upper: number; lower: number; isNegative: boolean }[];
}

function isPresent(value: number | null | undefined): value is number {
  return value !== null && value !== undefined;
}

function mirrored(values: readonly (number | null | undefined)[]): Column {
  return values.map((value) => (isPresent(value) ? -value : value));
}

/** A series counts as negative when no value of it is above zero and some are below. */
function isNegativeSeries(values: readonly (number | null | undefined)[]): boolean {
  let hasBelow = false;
  for (const value of values) {
    if (!isPresent(value)) continue;
    if (value > 0) return false;
    if (value < 0) hasBelow = true;
  }
  return hasBelow;
}

/**
 * The values as they are drawn: those of a stacked series include what lies below it.
 *
 * A gap counts as zero where another series of the group has a value; a row in which none has one stays a gap.
 * Series that `isShown` refuses do not take part.
 */
export function stackSeries(series: readonly ChartSeries[], isShown: (s: ChartSeries) => boolean): Stacked {
  const drawn = series.map((one) => (one.isMirrored ? mirrored(one.values) : one.values));
  const columns: Column[] = drawn.map((values) => values as Column);
  const groups = new Map<string, { members: number[]; isNegative: boolean; isPercent: boolean }>();
  series.forEach((one, i) => {
    if (!one.stack || !isShown(one)) return;
    const isNegative = isNegativeSeries(drawn[i] ?? []);
    const key = [
      isNegative,
      one.stack.mode,
      one.stack.group,
      one.axis ?? 'y',
      one.draw ?? 'line',
      one.interpolation ?? 'linear',
    ].join('|');
    const group = groups.get(key) ?? { members: [], isNegative, isPercent: one.stack.mode === 'percent' };
    group.members.push(i);
    groups.set(key, group);
  });

  const bands: Stacked['bands'] = [];
  for (const { members, isNegative, isPercent } of groups.values()) {
    const rows = Math.max(0, ...members.map((i) => drawn[i]?.length ?? 0));
    const total = new Float64Array(rows);
    const count = new Uint16Array(rows);
    for (const i of members) {
      drawn[i]?.forEach((value, row) => {
        if (!isPresent(value)) return;
        total[row] = (total[row] ?? 0) + value;
        count[row] = (count[row] ?? 0) + 1;
      });
    }
    const sums = new Float64Array(rows);
    members.forEach((i, place) => {
      const values = drawn[i] ?? [];
      const column: Column = new Array<number | null>(rows).fill(null);
      for (let row = 0; row < rows; row++) {
        if (count[row] === 0) {
          column[row] = values[row] === undefined ? undefined : null;
          continue;
        }
        const whole = total[row] ?? 0;
        const value = values[row] ?? 0;
        sums[row] = (sums[row] ?? 0) + (isPercent ? (whole === 0 ? 0 : value / Math.abs(whole)) : value);
        column[row] = sums[row];
      }
      columns[i] = column;
      const lower = members[place - 1];
      if (lower !== undefined) bands.push({ upper: i, lower, isNegative });
    });
  }

  series.forEach((one, upper) => {
    if (!one.fillBelowTo || !isShown(one)) return;
    const lower = series.findIndex((other) => other.name === one.fillBelowTo && isShown(other));
    if (lower >= 0) bands.push({ upper, lower, isNegative: false });
  });
  return { columns, bands };
}
