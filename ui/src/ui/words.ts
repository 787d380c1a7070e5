/** Times, durations and quantities in words. Pure functions; the clock is always an argument. */

const ZERO_TIME = /^0001-01-01/;

/** Parses an RFC 3339 time to milliseconds; null for nothing, Go's zero time and what is no time. */
export function parseTime(text: string | null | undefined): number | null {
  if (!text || ZERO_TIME.test(text)) return null;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : at;
}

const STEPS: readonly [name: string, seconds: number][] = [
  ['y', 31_536_000],
  ['d', 86400],
  ['h', 3600],
  ['min', 60],
  ['s', 1],
];

/** A duration in its largest unit, or two where the second still says something: "3 d 4 h", "12 min", "8 s". */
export function durationWords(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const at = STEPS.findIndex(([, size]) => seconds >= size);
  const [name, size] = STEPS[at] ?? ['s', 1];
  const whole = Math.floor(seconds / size);
  const next = STEPS[at + 1];
  if (!next || whole >= 10 || name === 'min') return `${whole} ${name}`;
  const rest = Math.floor((seconds - whole * size) / next[1]);
  return rest > 0 ? `${whole} ${name} ${rest} ${next[0]}` : `${whole} ${name}`;
}

/** "just now", "4 min ago", "in 20 s". */
export function relativeWords(at: number, now: number): string {
  const away = now - at;
  if (Math.abs(away) < 2000) return 'just now';
  return away > 0 ? `${durationWords(away)} ago` : `in ${durationWords(-away)}`;
}

/** The exact time with its zone, ISO order, 24 hours: "2026-03-01 03:12:45 UTC+01:00". */
export function exactTime(at: number): string {
  const date = new Date(at);
  const two = (n: number): string => String(n).padStart(2, '0');
  const offset = -date.getTimezoneOffset();
  const zone =
    offset === 0
      ? 'UTC'
      : `UTC${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  return (
    `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())} ${zone}`
  );
}

/** "03:12:45". */
export function clockTime(at: number): string {
  return exactTime(at).slice(11, 19);
}

/** "1 target", "2 targets". */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}

/** Three significant digits, no trailing zeros cut: "0.52", "7.41", "83.2", "412". */
export function shortNumber(value: number): string {
  const size = Math.abs(value);
  if (!Number.isFinite(value)) return '–';
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return value.toFixed(2);
}

export interface Quantity {
  number: string;
  unit: string;
}

function scaled(value: number, base: number, units: readonly string[]): Quantity {
  let at = 0;
  let rest = Math.abs(value);
  while (rest >= base && at < units.length - 1) {
    rest /= base;
    at += 1;
  }
  const number = at === 0 ? rest.toFixed(0) : shortNumber(rest);
  return { number: value < 0 ? `-${number}` : number, unit: units[at] ?? '' };
}

export const bytes = (value: number): Quantity =>
  scaled(value, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']);

export const bitsPerSecond = (value: number): Quantity =>
  scaled(value, 1000, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s']);

/** A duration in seconds as machines measure it: "1.24 ms", "350 µs", "2.10 s". */
export function secondsQuantity(seconds: number): Quantity {
  if (seconds >= 1) return { number: shortNumber(seconds), unit: 's' };
  if (seconds >= 0.001) return { number: shortNumber(seconds * 1e3), unit: 'ms' };
  return { number: (seconds * 1e6).toFixed(0), unit: 'µs' };
}
