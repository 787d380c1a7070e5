/** How far apart the points of an answer are, and what `$__interval` and `$__rate_interval` become. */
import { parseDuration } from '../../time/datemath';

const S = 1000;
const M = 60 * S;
const H = 60 * M;
const D = 24 * H;

/** Below the first number an interval is rounded to the second. */
const ROUNDED: readonly [under: number, to: number][] = [
  [10, 1],
  [15, 10],
  [35, 20],
  [75, 50],
  [150, 100],
  [350, 200],
  [750, 500],
  [1500, S],
  [3500, 2 * S],
  [7500, 5 * S],
  [12_500, 10 * S],
  [17_500, 15 * S],
  [25 * S, 20 * S],
  [45 * S, 30 * S],
  [90 * S, M],
  [210 * S, 2 * M],
  [7.5 * M, 5 * M],
  [12.5 * M, 10 * M],
  [17.5 * M, 15 * M],
  [25 * M, 20 * M],
  [45 * M, 30 * M],
  [1.5 * H, H],
  [2.5 * H, 2 * H],
  [4.5 * H, 3 * H],
  [9 * H, 6 * H],
  [24 * H, 12 * H],
  [7 * D, D],
  [21 * D, 7 * D],
  [42 * D, 30 * D],
];

/** Rounds milliseconds to an interval that people would choose. */
export function roundInterval(ms: number): number {
  return ROUNDED.find(([under]) => ms < under)?.[1] ?? 365 * D;
}

const UNITS: readonly [ms: number, name: string][] = [
  [365 * D, 'y'],
  [D, 'd'],
  [H, 'h'],
  [M, 'm'],
  [S, 's'],
  [1, 'ms'],
];

/** "90000" becomes "1m": the largest unit that fits, cut off. */
export function formatInterval(ms: number): string {
  const [size, name] = UNITS.find(([one]) => ms >= one) ?? [1, 'ms'];
  return `${Math.max(1, Math.floor(ms / size))}${name}`;
}

/** The distance between points for a panel so wide, never below `minMs`. */
export function calculateInterval(rangeMs: number, maxDataPoints: number, minMs: number): number {
  return Math.max(minMs, roundInterval(rangeMs / maxDataPoints));
}

const INTERVAL_MACRO = /^\$(?:__interval|\{__interval\})$/;
const RATE_MACRO = /^\$(?:__rate_interval|\{__rate_interval\})$/;

/** "15s" or ">15s" in milliseconds; null for nothing and for what is no duration. */
export function parseMinInterval(text: string | null | undefined): number | null {
  return text ? parseDuration(text.replace(/^\s*>\s*/, '')) : null;
}

export interface StepInput {
  fromMs: number;
  toMs: number;
  maxDataPoints: number;
  /** The panel's own minimum, interpolated; "" for none. */
  panelInterval?: string | null;
  /** The target's minimum, interpolated except for the two macros; "" for none. */
  targetInterval?: string | null;
  intervalFactor?: number;
  /** How often the data source scrapes, in milliseconds. */
  scrapeMs: number;
}

export interface Steps {
  /** The panel's interval in milliseconds. */
  intervalMs: number;
  /** The distance between points of this target in milliseconds. */
  stepMs: number;
  /** `$__rate_interval` in milliseconds. */
  rateMs: number;
}

/** More points than this no server answers with. */
const MAX_POINTS = 11_000;

/** The intervals of one target, by Grafana's rules. */
export function stepsOf(input: StepInput): Steps {
  const rangeMs = Math.max(1, input.toMs - input.fromMs);
  const { scrapeMs } = input;
  const panelMin = parseMinInterval(input.panelInterval) ?? scrapeMs;
  const intervalMs = calculateInterval(rangeMs, input.maxDataPoints, panelMin);

  const own = (input.targetInterval ?? '').trim();
  const isInterval = INTERVAL_MACRO.test(own);
  const isRate = RATE_MACRO.test(own);
  const targetMin = isInterval || isRate ? null : parseMinInterval(own);
  const min = targetMin ?? intervalMs;
  const wanted = rangeMs / input.maxDataPoints;
  const rounded = wanted < min ? min : roundInterval(wanted);
  const safe = roundInterval(rangeMs / MAX_POINTS);
  const base = Math.max(rounded, safe);

  if (isRate) {
    const stepMs = Math.max(base + scrapeMs, 4 * scrapeMs);
    return { intervalMs, stepMs, rateMs: stepMs };
  }
  const stepMs = base * (input.intervalFactor || 1);
  const scrape = isInterval ? stepMs : (targetMin ?? scrapeMs);
  return { intervalMs, stepMs, rateMs: Math.max(intervalMs + scrape, 4 * scrape) };
}

/** Start and end on whole multiples of the step, so that a refresh asks for the same points again. */
export function alignRange(fromMs: number, toMs: number, stepMs: number): { fromMs: number; toMs: number } {
  const offset = -new Date(toMs).getTimezoneOffset() * M;
  const align = (at: number): number => Math.floor((at + offset) / stepMs) * stepMs - offset;
  return { fromMs: align(fromMs), toMs: align(toMs) };
}
