/**
 * The time range and the refresh interval of the whole page, kept in its address (?from=&to=&refresh=).
 *
 * Reading: `range`, `refresh` and `tick` are signals. Writing: {@link setRange}, {@link setRefresh},
 * {@link refreshNow}. Following a link keeps the range; going back in the history brings the older one back.
 */
import { batch, computed, effect, signal, type ReadonlySignal } from '@preact/signals';
import { isRelative, parseDateMath, parseDuration } from './datemath';

export { isRelative, parseDateMath, parseDuration, plainTime, rangeWords } from './datemath';

export interface TimeRange {
  from: string;
  to: string;
}

export interface ResolvedRange {
  /** Milliseconds since the epoch. */
  fromMs: number;
  toMs: number;
}

export interface TimeDefaults extends TimeRange {
  refresh: string;
}

interface Written {
  from?: string;
  to?: string;
  refresh?: string;
}

const OWN: TimeDefaults = { from: 'now-1h', to: 'now', refresh: '30s' };
const OFF = new Set(['', 'off', 'false', 'null']);

const hasPage = typeof window !== 'undefined' && typeof location !== 'undefined';
const defaults = signal<TimeDefaults>(OWN);
const written = signal<Written>(hasPage ? read(location.search) : {});

/** Takes the three parameters out of an address; what is no time counts as absent. */
export function read(search: string): Written {
  const params = new URLSearchParams(search);
  const out: Written = {};
  const from = params.get('from');
  const to = params.get('to');
  if (from !== null && isTime(from)) out.from = from;
  if (to !== null && isTime(to)) out.to = to;
  const every = params.get('refresh');
  if (every !== null && (OFF.has(every) || parseDuration(every) !== null)) {
    out.refresh = OFF.has(every) ? '' : every;
  }
  return out;
}

function isTime(text: string): boolean {
  return parseDateMath(text, { now: 0 }) !== null;
}

/** The range in Grafana's syntax. */
export const range: ReadonlySignal<TimeRange> = computed(() => ({
  from: written.value.from ?? (written.value.to === undefined ? defaults.value.from : 'now-1h'),
  to: written.value.to ?? (written.value.from === undefined ? defaults.value.to : 'now'),
}));

/** "" for off, else a duration such as "30s". */
export const refresh: ReadonlySignal<string> = computed(
  () => written.value.refresh ?? defaults.value.refresh,
);

/** Rises by one whenever what is shown should be asked for again. */
export const tick = signal(0);

/** Rises only when somebody asks by hand: for what time alone does not change, such as a range in the past. */
export const asked = signal(0);

/** The range as milliseconds. A range that ends before it starts is turned round. */
export function resolveRange(now: number = Date.now(), of: TimeRange = range.value): ResolvedRange {
  const a = parseDateMath(of.from, { now }) ?? now - 3_600_000;
  const b = parseDateMath(of.to, { now, roundUp: true }) ?? now;
  if (a === b) return { fromMs: a - 1000, toMs: b };
  return a < b ? { fromMs: a, toMs: b } : { fromMs: b, toMs: a };
}

function writeUrl(how: 'push' | 'replace'): void {
  if (!hasPage) return;
  const url = new URL(location.href);
  const { from, to, refresh: every } = written.value;
  for (const [name, value] of [
    ['from', from],
    ['to', to],
    ['refresh', every === '' ? 'off' : every],
  ] as const) {
    if (value === undefined) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  const next = `${url.pathname}${url.search}${url.hash}`;
  if (next === `${location.pathname}${location.search}${location.hash}`) return;
  if (how === 'push') history.pushState(null, '', next);
  else history.replaceState(history.state, '', next);
}

/** Changes the range; a new entry of the history, so that "back" undoes a zoom. */
export function setRange(next: TimeRange, how: 'push' | 'replace' = 'push'): void {
  if (!isTime(next.from) || !isTime(next.to)) return;
  const now = range.peek();
  if (now.from === next.from && now.to === next.to) return;
  written.value = { ...written.peek(), from: next.from, to: next.to };
  writeUrl(how);
}

/** Changes the refresh interval: "" switches it off. */
export function setRefresh(every: string): void {
  written.value = { ...written.peek(), refresh: every };
  writeUrl('replace');
}

/** What a missing parameter means on this page; null goes back to the program's own defaults. */
export function setDefaults(next: Partial<TimeDefaults> | null): void {
  defaults.value = { ...OWN, ...next };
}

/** Asks for everything again, now. */
export function refreshNow(): void {
  batch(() => {
    tick.value += 1;
    asked.value += 1;
  });
}

/** Sets an absolute range, rounded to whole seconds where it is long enough. */
export function zoomTo(fromMs: number, toMs: number): void {
  const round = toMs - fromMs > 10_000 ? 1000 : 1;
  setRange({
    from: String(Math.floor(fromMs / round) * round),
    to: String(Math.ceil(toMs / round) * round),
  });
}

/** Twice as long a range around the same middle, but never into the future for a range that ends now. */
export function zoomOut(): void {
  const { fromMs, toMs } = resolveRange();
  const length = toMs - fromMs;
  const current = range.peek();
  const last = /^now-(\d+)(ms|[smhdwMy])$/.exec(current.from);
  if (last && current.to === 'now') {
    setRange({ from: `now-${Number(last[1]) * 2}${last[2]}`, to: 'now' });
    return;
  }
  zoomTo(fromMs - length / 2, Math.min(toMs + length / 2, Math.max(Date.now(), toMs)));
}

/** Moves the range by half its length: -1 into the past, 1 towards now. */
export function shift(direction: -1 | 1): void {
  const { fromMs, toMs } = resolveRange();
  const by = ((toMs - fromMs) / 2) * direction;
  zoomTo(fromMs + by, toMs + by);
}

/** True when a refresh can bring anything new. */
export const isLive: ReadonlySignal<boolean> = computed(
  () => isRelative(range.value.from) || isRelative(range.value.to),
);

function sameWritten(a: Written, b: Written): boolean {
  return a.from === b.from && a.to === b.to && a.refresh === b.refresh;
}

/** Follows the address: an older entry means its own range, a followed link without one keeps ours. */
function followUrl(isBack: boolean): void {
  const next = read(location.search);
  const current = written.peek();
  if (isBack) {
    if (!sameWritten(next, current)) written.value = next;
    return;
  }
  const hasOwn = next.from !== undefined || next.to !== undefined;
  const merged: Written = {
    ...(hasOwn ? { from: next.from, to: next.to } : { from: current.from, to: current.to }),
    refresh: next.refresh ?? current.refresh,
  };
  if (!sameWritten(merged, current)) written.value = merged;
  if (!sameWritten(merged, next)) writeUrl('replace');
}

function startTicking(): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = Date.now();
  const beat = (): void => {
    last = Date.now();
    tick.value += 1;
  };
  const plan = (): void => {
    clearTimeout(timer);
    const every = parseDuration(refresh.value);
    if (every === null || every <= 0 || document.visibilityState === 'hidden') return;
    const wait = Math.max(0, last + Math.max(every, 1000) - Date.now());
    timer = setTimeout(() => {
      beat();
      plan();
    }, wait);
  };
  effect(() => {
    void refresh.value;
    plan();
  });
  document.addEventListener('visibilitychange', plan);
}

if (hasPage) {
  window.addEventListener('popstate', () => followUrl(true));
  // wouter announces the two calls that move without a popstate.
  window.addEventListener('pushState', () => followUrl(false));
  window.addEventListener('replaceState', () => followUrl(false));
  startTicking();
}
