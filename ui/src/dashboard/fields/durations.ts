/** Value formats for durations and dates. */
import { fixed, type Decimals, type Formatted, type Formatter } from './number';

export type Zone = 'local' | 'utc';

/** A step of a duration format: below `under`, the value is divided by `size` and called `name`. */
type Step = readonly [under: number, size: number, name: string, isCounted?: boolean];

function many(shown: number, name: string): string {
  return Math.abs(shown) > 1 ? ` ${name}s` : ` ${name}`;
}

function stepped(steps: readonly Step[]): Formatter {
  return (value, decimals) => {
    const size = Math.abs(value);
    const step = steps.find(([under]) => size < under) ?? steps[steps.length - 1];
    if (!step) return { text: fixed(value, decimals) };
    const [, divisor, name, isCounted] = step;
    const shown = divisor < 1 ? value * Math.round(1 / divisor) : value / divisor;
    return { text: fixed(shown, decimals), suffix: isCounted ? many(shown, name) : ` ${name}` };
  };
}

const YEAR_S = 3.15569e7;

const stepsOfSeconds = stepped([
  [1e-6, 1e-9, 'ns'],
  [1e-3, 1e-6, 'µs'],
  [1, 1e-3, 'ms'],
  [60, 1, 's'],
  [3600, 60, 'min', true],
  [86_400, 3600, 'hour', true],
  [604_800, 86_400, 'day', true],
  [31_536_000, 604_800, 'week', true],
  [Infinity, YEAR_S, 'year', true],
]);

/** Nothing is no time at all, whatever decimals are asked for. */
export const seconds: Formatter = (value, decimals) =>
  value === 0 ? { text: '0', suffix: ' s' } : stepsOfSeconds(value, decimals);

export const milliseconds = stepped([
  [1e3, 1, 'ms'],
  [6e4, 1e3, 's'],
  [3.6e6, 6e4, 'min', true],
  [8.64e7, 3.6e6, 'hour', true],
  [3.1536e10, 8.64e7, 'day', true],
  [Infinity, 3.1536e10, 'year', true],
]);

export const microseconds = stepped([
  [1e3, 1, 'µs'],
  [1e6, 1e3, 'ms'],
  [Infinity, 1e6, 's'],
]);

export const nanoseconds = stepped([
  [1e3, 1, 'ns'],
  [1e6, 1e3, 'µs'],
  [1e9, 1e6, 'ms'],
  [6e10, 1e9, 's'],
  [3.6e12, 6e10, 'min', true],
  [8.64e13, 3.6e12, 'hour', true],
  [Infinity, 8.64e13, 'day', true],
]);

export const minutes = stepped([
  [60, 1, 'min'],
  [1440, 60, 'hour', true],
  [10_080, 1440, 'day', true],
  [604_800, 10_080, 'week', true],
  [Infinity, 525_948, 'year', true],
]);

export const hours = stepped([
  [24, 1, 'hour'],
  [168, 24, 'day', true],
  [8760, 168, 'week', true],
  [Infinity, 8760, 'year', true],
]);

export const days = stepped([
  [7, 1, 'day', true],
  [365, 7, 'week', true],
  [Infinity, 365, 'year', true],
]);

const PIECES: readonly [name: string, ms: number][] = [
  ['year', 31_536_000_000],
  ['month', 2_592_000_000],
  ['week', 604_800_000],
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1000],
  ['millisecond', 1],
];

/** "1 day, 10 hours": the largest unit and as many more as `decimals` asks for; "ago" when negative. */
function spelled(ms: number, decimals: Decimals, zero: string): string {
  if (ms === 0) return zero;
  if (ms < 0) return `${spelled(-ms, decimals, zero)} ago`;
  const out: string[] = [];
  let rest = ms;
  let left = decimals ?? 0;
  for (const [name, size] of PIECES) {
    const count = Math.floor(rest / size);
    if (!(rest / size >= 1) && out.length === 0) continue;
    out.push(`${count} ${name}${count === 1 ? '' : 's'}`);
    rest %= size;
    left -= 1;
    if (left < 0) break;
  }
  return out.join(', ');
}

export const durationSeconds: Formatter = (value, decimals) => ({
  text: spelled(value * 1000, decimals, '0 seconds'),
});

export const durationMilliseconds: Formatter = (value, decimals) => ({
  text: spelled(value, decimals, '0 milliseconds'),
});

const two = (n: number): string => (n > 9 ? String(n) : `0${n}`);

/** "34:17:36" */
export function hms(value: number): Formatted {
  if (value < 0) return { text: `${hms(-value).text} ago` };
  const h = Math.floor(value / 3600);
  const m = Math.floor((value % 3600) / 60);
  const s = Math.floor((value % 3600) % 60);
  return { text: `${two(h)}:${two(m)}:${two(s)}` };
}

/** "1 d 10:17:36" */
export function dhms(value: number): Formatted {
  if (value < 0) return { text: `${dhms(-value).text} ago` };
  const d = Math.floor(value / 86_400);
  const rest = hms(value % 86_400).text;
  return { text: d > 0 ? `${d} d ${rest}` : rest };
}

function clockPart(ms: number, pattern: string): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? 'Invalid date' : formatDate(date, pattern, 'utc');
}

/** "02m:03s:456ms", shortened to `decimals` + 1 parts. */
function clock(ms: number, decimals: Decimals): string {
  if (ms < 1000) return clockPart(ms, 'SSS[ms]');
  if (ms < 60_000) return clockPart(ms, decimals === 0 ? 'ss[s]' : 'ss[s]:SSS[ms]');
  if (ms < 3_600_000) {
    return clockPart(ms, decimals === 0 ? 'mm[m]' : decimals === 1 ? 'mm[m]:ss[s]' : 'mm[m]:ss[s]:SSS[ms]');
  }
  const whole = `${Math.floor(ms / 3_600_000)}h`;
  if (decimals === 0) return whole;
  return `${whole}:${clockPart(
    ms,
    decimals === 1 ? 'mm[m]' : decimals === 2 ? 'mm[m]:ss[s]' : 'mm[m]:ss[s]:SSS[ms]',
  )}`;
}

export const clockSeconds: Formatter = (value, decimals) => ({ text: clock(value * 1000, decimals) });
export const clockMilliseconds: Formatter = (value, decimals) => ({ text: clock(value, decimals) });

const MONTHS = 'January February March April May June July August September October November December'.split(
  ' ',
);
const WEEKDAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

const TOKEN = /\[([^\]]*)\]|YYYY|YY|MMMM|MMM|MM|M|DD|D|dddd|ddd|HH|H|hh|h|mm|m|ss|s|SSS|A|a|ZZ|Z|X|x/g;

/** Writes `date` by a pattern of moment's tokens ("YYYY-MM-DD HH:mm:ss"); text in brackets stays as it is. */
export function formatDate(date: Date, pattern: string, zone: Zone = 'local'): string {
  const utc = zone === 'utc';
  const year = utc ? date.getUTCFullYear() : date.getFullYear();
  const month = utc ? date.getUTCMonth() : date.getMonth();
  const day = utc ? date.getUTCDate() : date.getDate();
  const weekday = utc ? date.getUTCDay() : date.getDay();
  const hour = utc ? date.getUTCHours() : date.getHours();
  const minute = utc ? date.getUTCMinutes() : date.getMinutes();
  const second = utc ? date.getUTCSeconds() : date.getSeconds();
  const ms = utc ? date.getUTCMilliseconds() : date.getMilliseconds();
  const offset = utc ? 0 : -date.getTimezoneOffset();
  const offsetText = (colon: string): string =>
    `${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}${colon}${two(Math.abs(offset) % 60)}`;
  const values: Record<string, () => string> = {
    YYYY: () => String(year),
    YY: () => two(year % 100),
    MMMM: () => MONTHS[month] ?? '',
    MMM: () => (MONTHS[month] ?? '').slice(0, 3),
    MM: () => two(month + 1),
    M: () => String(month + 1),
    DD: () => two(day),
    D: () => String(day),
    dddd: () => WEEKDAYS[weekday] ?? '',
    ddd: () => (WEEKDAYS[weekday] ?? '').slice(0, 3),
    HH: () => two(hour),
    H: () => String(hour),
    hh: () => two(hour % 12 || 12),
    h: () => String(hour % 12 || 12),
    mm: () => two(minute),
    m: () => String(minute),
    ss: () => two(second),
    s: () => String(second),
    SSS: () => String(ms).padStart(3, '0'),
    A: () => (hour < 12 ? 'AM' : 'PM'),
    a: () => (hour < 12 ? 'am' : 'pm'),
    Z: () => offsetText(':'),
    ZZ: () => offsetText(''),
    X: () => String(Math.floor(date.getTime() / 1000)),
    x: () => String(date.getTime()),
  };
  return pattern.replace(TOKEN, (token: string, literal: string | undefined) =>
    literal === undefined ? (values[token]?.() ?? token) : literal,
  );
}

/** A date format; numbers are milliseconds since the epoch. */
export function dated(pattern: string, todayPattern?: string): Formatter {
  return (value, _decimals, zone = 'local') => {
    const date = new Date(value);
    if (Number.isNaN(date.getTime())) return { text: 'Invalid date' };
    const isToday = formatDate(date, 'YYYY-MM-DD', zone) === formatDate(new Date(), 'YYYY-MM-DD', zone);
    return { text: formatDate(date, isToday && todayPattern ? todayPattern : pattern, zone) };
  };
}

const AGO: readonly [under: number, size: number, name: string][] = [
  [90, 1, 'second'],
  [5400, 60, 'minute'],
  [172_800, 3600, 'hour'],
  [3_888_000, 86_400, 'day'],
  [47_304_000, 2_628_000, 'month'],
  [Infinity, 31_536_000, 'year'],
];

/** "12 minutes ago", "in 3 hours" */
export const fromNow: Formatter = (value) => {
  const away = (Date.now() - value) / 1000;
  const step = AGO.find(([under]) => Math.abs(away) < under);
  if (!step) return { text: 'Invalid date' };
  const count = Math.round(Math.abs(away) / step[1]);
  const words = `${count} ${step[2]}${count === 1 ? '' : 's'}`;
  return { text: away >= 0 ? `${words} ago` : `in ${words}` };
};
