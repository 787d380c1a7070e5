/** What a panel asks for: its targets with everything filled in. Pure. */
import { parseDateMath, parseDuration } from '../../time/datemath';
import type { DataSourceRef, Panel, Target } from '../model/types';
import { interpolate, type Resolved, type Scope } from '../vars/refs';
import { alignRange, formatInterval, stepsOf } from './intervals';

export interface PlanInput {
  fromMs: number;
  toMs: number;
  /** Width of the panel's content in pixels. */
  width: number;
  scrapeMs: number;
  scope: Scope;
  now: number;
}

export interface Planned {
  refId: string;
  kind: 'range' | 'instant';
  expr: string;
  /** Milliseconds; for an instant query `toMs` is the time. */
  fromMs: number;
  toMs: number;
  stepMs: number;
  legendFormat: string | undefined;
  format: string;
}

export interface Plan {
  queries: Planned[];
  /** Kinds of data sources that targets name and that are not here. */
  missing: string[];
  /** The window that the panel shows. */
  fromMs: number;
  toMs: number;
}

/** Values of the built-in variables that do not depend on a target. */
export function globalScope(fromMs: number, toMs: number): [string, Resolved][] {
  const seconds = Math.round((toMs - fromMs) / 1000);
  const plain = (name: string, value: string): [string, Resolved] => [name, { value }];
  return [
    plain('__range', `${seconds}s`),
    plain('__range_s', String(seconds)),
    plain('__range_ms', String(toMs - fromMs)),
    plain('__from', String(fromMs)),
    plain('__to', String(toMs)),
    plain('__timezone', 'browser'),
    plain('timeFilter', ''),
    plain('__url_time_range', `from=${fromMs}&to=${toMs}`),
    plain('__org.id', '1'),
    plain('__user.login', ''),
  ];
}

/** A panel's own window: "timeFrom" replaces the length, "timeShift" moves it into the past. */
export function panelWindow(
  panel: Panel,
  input: PlanInput,
): { fromMs: number; toMs: number; words?: string } {
  let { fromMs, toMs } = input;
  const words: string[] = [];
  const own = panel.timeFrom ? interpolate(panel.timeFrom, input.scope, 'text') : '';
  if (own !== '') {
    const from = own.startsWith('now') ? own : `now-${own}`;
    const start = parseDateMath(from, { now: input.now });
    if (start !== null) {
      fromMs = start;
      toMs = parseDateMath(from.includes('/') ? from : 'now', { now: input.now, roundUp: true }) ?? input.now;
      words.push(`Last ${own.replace(/^now-/, '')}`);
    }
  }
  const shift = panel.timeShift ? interpolate(panel.timeShift, input.scope, 'text') : '';
  const by = shift === '' ? null : parseDuration(shift);
  if (by !== null) {
    fromMs -= by;
    toMs -= by;
    words.push(`${shift} earlier`);
  }
  return { fromMs, toMs, words: words.length > 0 && !panel.hideTimeOverride ? words.join(', ') : undefined };
}

const BUILT_IN = new Set(['', 'default', 'prometheus', '-- Mixed --', '-- Grafana --', 'grafana']);

function refUid(ref: DataSourceRef | string | null | undefined): { uid: string; type: string } {
  if (typeof ref === 'string') return { uid: ref, type: '' };
  return { uid: ref?.uid ?? '', type: ref?.type ?? '' };
}

/** The kind of a data source that is not here, or null when the built-in one answers. */
function missingKind(target: Target, panel: Panel, scope: Scope): string | null {
  const own = target.datasource ?? panel.datasource;
  const { uid, type } = refUid(own);
  const name = interpolate(uid, scope, 'text');
  if (type !== '' && type !== 'prometheus' && !['datasource', 'mixed', 'grafana'].includes(type)) return type;
  if (BUILT_IN.has(name) || type === 'prometheus' || /^prom/i.test(name) || uid.startsWith('$')) return null;
  return (
    /loki|postgres|mysql|influx|elastic|tempo|cloudwatch|graphite/i.exec(name)?.[0].toLowerCase() ?? null
  );
}

/** Everything that `panel` has to ask for; targets that are hidden or empty are left out. */
export function planPanel(panel: Panel, input: PlanInput): Plan {
  const window = panelWindow(panel, input);
  const scope: Scope = new Map([...input.scope, ...globalScope(window.fromMs, window.toMs)]);
  const missing = new Set<string>();
  const queries: Planned[] = [];
  for (const target of panel.targets ?? []) {
    if (target.hide || !target.expr?.trim()) continue;
    const kind = missingKind(target, panel, scope);
    if (kind !== null) {
      missing.add(kind);
      continue;
    }
    queries.push(...planTarget(target, panel, window, input, scope));
  }
  return { queries, missing: [...missing], fromMs: window.fromMs, toMs: window.toMs };
}

function planTarget(
  target: Target,
  panel: Panel,
  window: { fromMs: number; toMs: number },
  input: PlanInput,
  scope: Scope,
): Planned[] {
  const own = target.interval ?? '';
  const isMacro = /^\$\{?__(rate_)?interval\}?$/.test(own.trim());
  const steps = stepsOf({
    ...window,
    maxDataPoints: panel.maxDataPoints || Math.max(50, Math.floor(input.width)),
    panelInterval: interpolate(panel.interval ?? '', scope, 'text'),
    targetInterval: isMacro ? own : interpolate(own, scope, 'text'),
    intervalFactor: target.intervalFactor,
    scrapeMs: input.scrapeMs,
  });
  const full: Scope = new Map<string, Resolved>([
    ...scope,
    ['__interval', { value: formatInterval(steps.stepMs) }],
    ['__interval_ms', { value: String(steps.stepMs) }],
    ['__rate_interval', { value: formatInterval(steps.rateMs) }],
    ['__rate_interval_ms', { value: String(steps.rateMs) }],
  ]);
  const base = {
    expr: interpolate(target.expr ?? '', full, 'promql'),
    stepMs: steps.stepMs,
    legendFormat: target.legendFormat && interpolate(target.legendFormat, full, 'text'),
    format: target.format ?? 'time_series',
  };
  const out: Planned[] = [];
  const isRange = target.range ?? !target.instant;
  if (isRange) {
    out.push({
      ...base,
      refId: target.refId,
      kind: 'range',
      ...alignRange(window.fromMs, window.toMs, steps.stepMs),
    });
  }
  if (target.instant) {
    const refId = isRange ? `${target.refId}-Instant` : target.refId;
    out.push({ ...base, refId, kind: 'instant', fromMs: window.fromMs, toMs: window.toMs });
  }
  return out;
}

/** Changes when a panel asks for something else, not when time passes. */
export function planKey(plan: Plan, rangeKey: string): string {
  return JSON.stringify([
    rangeKey,
    plan.queries.map((q) => [q.refId, q.kind, q.expr, q.stepMs, q.format, q.legendFormat]),
  ]);
}
