/**
 * Grafana's time range syntax: "now-1h", "now-1d/d", "now/fQ", milliseconds since the epoch, ISO times.
 * Pure functions: the clock and the zone are arguments.
 */

export type Zone = 'local' | 'utc';

export interface DateMathOptions {
  /** Milliseconds since the epoch that "now" stands for. */
  now: number;
  /** True for the end of a range: "/d" then means the last millisecond of the day. */
  roundUp?: boolean;
  zone?: Zone;
}

type Unit = 'ms' | 's' | 'm' | 'h' | 'd' | 'w' | 'M' | 'Q' | 'y';

const FIXED: Partial<Record<Unit, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const STEP = /^([-+])(\d*)(ms|f?[smhdwMQy])/;
const ROUND = /^\/(f?)(ms|[smhdwMQy])/;

/** Year, month, day, hour, minute, second, millisecond in one of the two zones. */
type Parts = [number, number, number, number, number, number, number];

function partsOf(at: number, zone: Zone): Parts {
  const d = new Date(at);
  return zone === 'utc'
    ? [
        d.getUTCFullYear(),
        d.getUTCMonth(),
        d.getUTCDate(),
        d.getUTCHours(),
        d.getUTCMinutes(),
        d.getUTCSeconds(),
        d.getUTCMilliseconds(),
      ]
    : [
        d.getFullYear(),
        d.getMonth(),
        d.getDate(),
        d.getHours(),
        d.getMinutes(),
        d.getSeconds(),
        d.getMilliseconds(),
      ];
}

function fromParts(parts: Parts, zone: Zone): number {
  return zone === 'utc' ? Date.UTC(...parts) : new Date(...parts).getTime();
}

function addMonths(at: number, months: number, zone: Zone): number {
  const parts = partsOf(at, zone);
  const [year, month, day] = parts;
  const lastDay = new Date(Date.UTC(year, month + months + 1, 0)).getUTCDate();
  // 31 March minus one month is the last day of February, not a day of March.
  return fromParts([year, month + months, Math.min(day, lastDay), ...parts.slice(3)] as Parts, zone);
}

function add(at: number, count: number, unit: Unit, zone: Zone): number {
  const fixed = FIXED[unit];
  if (fixed !== undefined) return at + count * fixed;
  if (unit === 'd' || unit === 'w') {
    const parts = partsOf(at, zone);
    parts[2] += count * (unit === 'w' ? 7 : 1);
    return fromParts(parts, zone);
  }
  return addMonths(at, count * (unit === 'y' ? 12 : unit === 'Q' ? 3 : 1), zone);
}

function startOf(at: number, unit: Unit, zone: Zone): number {
  const [year, month, day, hour, minute] = partsOf(at, zone);
  switch (unit) {
    case 'ms':
      return at;
    case 's':
      return Math.floor(at / 1000) * 1000;
    case 'm':
      return fromParts([year, month, day, hour, minute, 0, 0], zone);
    case 'h':
      return fromParts([year, month, day, hour, 0, 0, 0], zone);
    case 'd':
      return fromParts([year, month, day, 0, 0, 0, 0], zone);
    case 'w': {
      const midnight = fromParts([year, month, day, 0, 0, 0, 0], zone);
      const weekday = zone === 'utc' ? new Date(midnight).getUTCDay() : new Date(midnight).getDay();
      return fromParts([year, month, day - weekday, 0, 0, 0, 0], zone);
    }
    case 'M':
      return fromParts([year, month, 1, 0, 0, 0, 0], zone);
    case 'Q':
      return fromParts([year, month - (month % 3), 1, 0, 0, 0, 0], zone);
    case 'y':
      return fromParts([year, 0, 1, 0, 0, 0, 0], zone);
  }
}

function applySteps(at: number, steps: string, roundUp: boolean, zone: Zone): number | null {
  let rest = steps.replace(/\s+/g, '');
  let time = at;
  while (rest !== '') {
    const step = STEP.exec(rest);
    if (step) {
      const count = step[2] === '' ? 1 : Number(step[2]);
      const unit = (step[3] ?? '').replace(/^f(?=.)/, '') as Unit;
      time = add(time, step[1] === '-' ? -count : count, unit, zone);
      rest = rest.slice(step[0].length);
      continue;
    }
    const round = ROUND.exec(rest);
    if (!round) return null;
    const unit = round[2] as Unit;
    const start = startOf(time, unit, zone);
    time = roundUp ? add(start, 1, unit, zone) - 1 : start;
    rest = rest.slice(round[0].length);
  }
  return time;
}

/**
 * Milliseconds since the epoch of `text`, or null when it is no time.
 *
 * Fiscal units (`/fQ`, `/fy`) follow the calendar year, Grafana's own default; weeks start on Sunday.
 */
export function parseDateMath(text: string, options: DateMathOptions): number | null {
  const { now, roundUp = false, zone = 'local' } = options;
  const trimmed = text.trim();
  if (trimmed.startsWith('now')) return applySteps(now, trimmed.slice(3), roundUp, zone);
  const bars = trimmed.indexOf('||');
  if (bars >= 0) {
    const start = parseAbsolute(trimmed.slice(0, bars), zone);
    return start === null ? null : applySteps(start, trimmed.slice(bars + 2), roundUp, zone);
  }
  return parseAbsolute(trimmed, zone);
}

const ISO_PLAIN = /^(\d{4})-(\d{2})-(\d{2})(?:[ T](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,3}))?)?)?$/;

function parseAbsolute(text: string, zone: Zone): number | null {
  if (/^-?\d+$/.test(text)) return Number(text);
  const plain = ISO_PLAIN.exec(text);
  if (plain) {
    const [, y, mo, d, h, mi, s, ms] = plain;
    return fromParts(
      [
        Number(y),
        Number(mo) - 1,
        Number(d),
        Number(h ?? 0),
        Number(mi ?? 0),
        Number(s ?? 0),
        Number((ms ?? '0').padEnd(3, '0')),
      ],
      zone,
    );
  }
  const at = /\d{4}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? null : at;
}

const DURATION_UNITS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  M: 2_592_000_000,
  y: 31_536_000_000,
};

/** Milliseconds of a duration as Grafana and Prometheus write it ("15s", "1m30s", "500ms", "1d"); null if it is none. */
export function parseDuration(text: string): number | null {
  const rest = text.trim();
  if (!/^(\d+(\.\d+)?(ms|[smhdwMy]))+$/.test(rest)) return null;
  let total = 0;
  for (const [, count, unit] of rest.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdwMy])/g)) {
    total += Number(count) * (DURATION_UNITS[unit ?? ''] ?? 0);
  }
  return total;
}

/** True when the range moves with the clock, so that asking again brings newer data. */
export function isRelative(text: string): boolean {
  return text.trim().startsWith('now');
}

const WORDS: Record<string, string> = {
  s: 'second',
  m: 'minute',
  h: 'hour',
  d: 'day',
  w: 'week',
  M: 'month',
  y: 'year',
};

function two(n: number): string {
  return String(n).padStart(2, '0');
}

/** "2026-03-01 03:12" (with seconds where they are not zero), in the browser's zone. */
export function plainTime(at: number): string {
  const [y, mo, d, h, mi, s] = partsOf(at, 'local');
  const seconds = s === 0 ? '' : `:${two(s)}`;
  return `${y}-${two(mo + 1)}-${two(d)} ${two(h)}:${two(mi)}${seconds}`;
}

/** The range in words: "Last 6 hours", "Today", "2026-03-01 03:00 to 04:00". */
export function rangeWords(from: string, to: string, now: number): string {
  const last = /^now-(\d+)([smhdwMy])$/.exec(from);
  if (last && to === 'now') {
    const count = Number(last[1]);
    const word = WORDS[last[2] ?? ''] ?? '';
    return `Last ${count === 1 ? '' : `${count} `}${word}${count === 1 ? '' : 's'}`;
  }
  if (from === 'now/d' && to === 'now/d') return 'Today';
  if (from === 'now/d' && to === 'now') return 'Today so far';
  if (from === 'now-1d/d' && to === 'now-1d/d') return 'Yesterday';
  if (from === 'now/w' && to === 'now') return 'This week so far';
  if (isRelative(from) || isRelative(to)) return `${from} to ${to}`;
  const a = parseDateMath(from, { now });
  const b = parseDateMath(to, { now, roundUp: true });
  if (a === null || b === null) return `${from} to ${to}`;
  const start = plainTime(a);
  const end = plainTime(b);
  return `${start} to ${start.slice(0, 10) === end.slice(0, 10) ? end.slice(11) : end}`;
}
