/** Texts along the time axis: 24 hours, ISO order, the date where a day begins. */
import { formatDate } from '../dashboard/fields/durations';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Texts for the lines at `splits` (milliseconds), which are `incr` apart. */
export function timeTexts(splits: readonly number[], incr: number): string[] {
  let before = '';
  return splits.map((at) => {
    const date = new Date(at);
    const day = formatDate(date, 'D MMM');
    if (incr >= 28 * DAY) return formatDate(date, date.getMonth() === 0 ? 'YYYY' : 'MMM');
    if (incr >= DAY) return day;
    const isMidnight = date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
    const isNewDay = before !== '' && before !== day;
    before = day;
    if (isMidnight && (isNewDay || incr >= HOUR)) return day;
    if (incr < 1000) return formatDate(date, 'HH:mm:ss.SSS');
    return formatDate(date, incr < MINUTE ? 'HH:mm:ss' : 'HH:mm');
  });
}

/** The time in a tooltip: exact to the second, to the millisecond where points are that near. */
export function pointTime(at: number, isFine = false): string {
  return formatDate(new Date(at), isFine ? 'ddd D MMM HH:mm:ss.SSS' : 'ddd D MMM YYYY HH:mm:ss');
}

/** Distances between lines of the time axis in milliseconds. */
export const TIME_INCREMENTS: number[] = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((s) => s * 1000),
  ...[1, 2, 5, 10, 15, 30].map((m) => m * MINUTE),
  ...[1, 2, 3, 4, 6, 8, 12].map((h) => h * HOUR),
  ...[1, 2, 3, 5, 7, 10, 14, 28].map((d) => d * DAY),
  ...[1, 2, 3, 6, 12].map((m) => m * 30 * DAY + (m === 12 ? 5 * DAY : 0)),
  ...[2, 5, 10].map((y) => y * 365 * DAY),
];
