/** Where an axis starts and ends, how it is divided, and what stands at its lines. Pure but for uPlot's own maths. */
import uPlot from 'uplot';
import { formatterOf, isBinaryUnit, secondsPerUnit } from '../dashboard/fields/formats';
import { formattedText } from '../dashboard/fields/number';
import type { ChartAxis } from './types';

/** The ends of a linear axis: some air around the data, zero included where it is near, limits kept. */
export function axisRange(
  low: number | null | undefined,
  high: number | null | undefined,
  axis: ChartAxis,
): [number, number] {
  let min = low ?? null;
  let max = high ?? null;
  if (min === null || max === null || !Number.isFinite(min) || !Number.isFinite(max)) {
    return [
      axis.min ?? axis.softMin ?? 0,
      axis.max ?? axis.softMax ?? (axis.unit === 'percentunit' ? 1 : 100),
    ];
  }
  if (axis.centeredZero) {
    max = Math.max(Math.abs(min), Math.abs(max));
    min = -max;
  }
  if (min === 0 && max === 0) {
    const end =
      axis.max ?? axis.softMax ?? (isBinaryUnit(axis.unit) ? 1024 : axis.unit === 'percent' ? 100 : 1);
    const start = axis.min ?? axis.softMin ?? 0;
    if (start < end) return [start, end];
  }
  if (min === max && axis.min === undefined && axis.max === undefined) {
    const ends: [number, number] = max > 0 ? [0, 2 * max] : [2 * max, 0];
    return [Math.min(ends[0], axis.softMin ?? ends[0]), Math.max(ends[1], axis.softMax ?? ends[1])];
  }
  const [a, b] = uPlot.rangeNum(min, max, {
    min: {
      pad: 0.1,
      hard: axis.min ?? -Infinity,
      soft: axis.softMin ?? 0,
      mode: axis.softMin === undefined ? 3 : 1,
    },
    max: {
      pad: 0.1,
      hard: axis.max ?? Infinity,
      soft: axis.softMax ?? 0,
      mode: axis.softMax === undefined ? 3 : 1,
    },
  });
  let start = axis.min ?? a ?? min;
  let end = axis.max ?? b ?? max;
  // Zero says more than a start just above it.
  if (axis.min === undefined && min > 0 && min < 0.25 * (max - min)) start = 0;
  if (axis.max === undefined && max < 0 && -max < 0.25 * (max - min)) end = 0;
  // A share that does not go beyond the whole needs no room above it; a thousandth more is rounding.
  const whole = axis.unit === 'percentunit' ? 1 : axis.unit === 'percent' ? 100 : Infinity;
  if (axis.max === undefined && max <= whole * 1.001 && end > whole) end = whole;
  return start < end ? [start, end] : [start, start + Math.max(1, Math.abs(start))];
}

const BINARY: number[] = Array.from({ length: 90 }, (_, i) => 2 ** (i - 20));

/** Divisions of a clock, in seconds; below a second decimal ones. */
const CLOCK: readonly number[] = [
  ...Array.from({ length: 9 }, (_, i) => [1, 2, 5].map((n) => n * 10 ** (i - 9))).flat(),
  ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200],
  ...[1, 2, 5, 7, 14, 30, 60, 90, 180, 365, 730, 1825, 3650].map((days) => days * 86_400),
];

/** Distances between an axis's lines that are round in its unit; undefined for the decimal ones. */
export function incrementsOf(unit: string | undefined): number[] | undefined {
  if (isBinaryUnit(unit)) return BINARY;
  const seconds = secondsPerUnit(unit);
  return seconds === null ? undefined : CLOCK.map((one) => one / seconds);
}

function trimZeros(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

/**
 * Texts for an axis's lines: as few decimals as tell them exactly, the same number for all that share a unit.
 *
 * A line without a text is null: on a logarithmic axis most of them.
 */
export function tickTexts(ticks: readonly (number | null)[], unit: string | undefined): string[] {
  const format = formatterOf(unit);
  const written = ticks.filter((tick): tick is number => tick !== null && tick !== undefined);
  const isNumeric = written.every((tick) => !Number.isNaN(Number(format(tick, 3).text)));
  const needed = (tick: number): number => trimZeros(format(tick, 6).text).split('.')[1]?.length ?? 0;
  const suffixes = new Set(written.filter((tick) => tick !== 0).map((tick) => format(tick).suffix));
  const common = suffixes.size <= 1 ? Math.max(0, ...written.map(needed)) : null;
  return ticks.map((tick) => {
    if (tick === null || tick === undefined) return '';
    if (!isNumeric) return formattedText(format(tick));
    return formattedText(format(tick, tick === 0 ? 0 : (common ?? needed(tick))));
  });
}
