/** What happened to an alert, as sentences. Pure functions. */
import type { Labels } from '../../api/types';
import type { State } from '../../ui/StateMark';
import { exactTime, parseTime } from '../../ui/words';
import type { AlertEvent, RuleEvent } from './api';

export interface Step {
  at: number;
  /** What happened, a sentence without its end. */
  words: string;
  /** What more is to be known of it. */
  detail?: string;
  state: State;
  /** Of the silences that kept it quiet. */
  silences: string[];
  /** Of the alerts that kept it quiet. */
  inhibitors: string[];
}

export interface Life {
  fingerprint: string;
  labels: Labels;
  /** The oldest first. */
  steps: Step[];
}

const text = (event: AlertEvent, name: string): string => {
  const value = event[name];
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : '';
};

const list = (event: AlertEvent, name: string): string[] => {
  const value = event[name];
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
};

function time(event: AlertEvent, name: string): string {
  const at = parseTime(text(event, name));
  return at === null ? '' : exactTime(at);
}

function suppressed(event: AlertEvent): string {
  if (list(event, 'silencedBy').length > 0) return 'Kept quiet by a silence';
  if (list(event, 'inhibitedBy').length > 0) {
    const rule = text(event, 'inhibitRule');
    return `Kept quiet, as another alert inhibits it${rule ? ` (rule ${rule})` : ''}`;
  }
  const muted = list(event, 'mutedBy');
  if (muted.length > 0) return `Kept quiet by the time interval ${muted.join(', ')}`;
  return `Kept quiet outside of the time interval ${list(event, 'outsideOf').join(', ')}`;
}

/** One event in words; what is not known is shown as it came. */
export function tellEvent(event: AlertEvent): Omit<Step, 'at'> {
  const rest = { silences: list(event, 'silencedBy'), inhibitors: list(event, 'inhibitedBy') };
  const receiver = text(event, 'receiver');
  const whom = `${receiver}${text(event, 'integration') ? ` by ${text(event, 'integration')}` : ''}`;
  const group = text(event, 'groupKey');
  const attempts = Number(text(event, 'attempts'));
  const how = [
    text(event, 'reason'),
    attempts > 1 ? `attempt ${attempts}` : '',
    text(event, 'answer'),
    text(event, 'error'),
  ]
    .filter(Boolean)
    .join(' · ');
  const by = text(event, 'by');
  switch (event.event) {
    case 'fired':
      return { ...rest, words: 'Began to fire', state: 'critical' };
    case 'refused':
      return { ...rest, words: 'Refused: there are too many alerts of its name', state: 'critical' };
    case 'resolved':
      return { ...rest, words: 'Resolved', state: 'ok' };
    case 'timedOut':
      return { ...rest, words: 'Taken for resolved, as nobody sent it again', state: 'ok' };
    case 'grouped':
      return {
        ...rest,
        words: `Routed to ${receiver}, which is told next at ${time(event, 'flushAt')}`,
        detail: group,
        state: 'info',
      };
    case 'suppressed':
      return { ...rest, words: suppressed(event), detail: group, state: 'silenced' };
    case 'released':
      return { ...rest, words: 'No longer kept quiet', detail: group, state: 'info' };
    case 'sent':
      return { ...rest, words: `Sent to ${whom}`, detail: how, state: 'ok' };
    case 'retrying':
      return {
        ...rest,
        words: `Not sent to ${whom} yet, will be tried again`,
        detail: how,
        state: 'warning',
      };
    case 'failed':
      return { ...rest, words: `Not sent to ${whom}, given up`, detail: how, state: 'critical' };
    case 'acknowledged': {
      const until = time(event, 'endsAt');
      return {
        ...rest,
        words: `Acknowledged by ${by}${until ? ` until ${until}` : ''}`,
        detail: text(event, 'note') || undefined,
        state: 'silenced',
      };
    }
    case 'unacknowledged':
      return {
        ...rest,
        words: by ? `Acknowledgement taken back by ${by}` : 'The time of its acknowledgement is up',
        state: 'info',
      };
    case 'held':
      return {
        ...rest,
        words: `Not repeated: ${by} looks after it`,
        detail: group,
        state: 'silenced',
      };
    default:
      return { ...rest, words: event.event, detail: group || undefined, state: 'unknown' };
  }
}

/** What a rule did, in words. */
export function tellRuleEvent(event: RuleEvent): Omit<Step, 'at'> {
  const rest = { silences: [], inhibitors: [] };
  const value = event.value === undefined ? '' : ` (${event.value})`;
  const to = event.alertmanager ?? 'the Alertmanager';
  const what = event.resolved ? 'its end' : 'it';
  switch (event.event) {
    case 'pending':
      return {
        ...rest,
        words: `Its rule gives it${value}: pending`,
        detail: event.rule?.query,
        state: 'pending',
      };
    case 'firing':
      return { ...rest, words: `Its rule fires${value}`, detail: event.rule?.query, state: 'critical' };
    case 'kept':
      return {
        ...rest,
        words: 'Its rule gives it no more, and keeps it firing for a while',
        state: 'warning',
      };
    case 'given':
      return { ...rest, words: `Its rule gives it again${value}`, state: 'warning' };
    case 'resolved':
      return { ...rest, words: 'Its rule gives it no more: resolved', state: 'ok' };
    case 'ended':
      return { ...rest, words: 'Its rule gives it no more: it never fired', state: 'ok' };
    case 'restored':
      return { ...rest, words: 'Goes on as it was before the server started', state: 'info' };
    case 'forgotten':
      return {
        ...rest,
        words: 'Forgotten: its rule gives more alerts than its limit',
        detail: event.error,
        state: 'warning',
      };
    case 'sent':
      return { ...rest, words: `Rules sent ${what} to ${to}`, state: 'info' };
    case 'sendFailed':
      return {
        ...rest,
        words: `Rules could not send ${what} to ${to}`,
        detail: event.error,
        state: 'critical',
      };
    case 'dropped':
      return { ...rest, words: `Not sent to ${to}: relabelling dropped it`, state: 'warning' };
    case 'lost':
      return { ...rest, words: `Lost ${what} on the way to ${to}`, detail: event.error, state: 'critical' };
    case 'nobody':
      return { ...rest, words: 'Sent to nobody: there is no Alertmanager', state: 'critical' };
    default:
      return { ...rest, words: event.event, state: 'unknown' };
  }
}

/** The lives of all alerts in `events` (newest first), the one to which something happened last first. */
export function lives(events: readonly AlertEvent[], byRules: readonly RuleEvent[] = []): Life[] {
  const all = new Map<string, Life>();
  const add = (fingerprint: string, labels: Labels, step: Step): void => {
    const life = all.get(fingerprint) ?? { fingerprint, labels, steps: [] };
    life.steps.push(step);
    all.set(fingerprint, life);
  };
  for (const event of events) {
    const at = parseTime(event.at);
    if (at !== null) add(event.fingerprint, event.labels, { at, ...tellEvent(event) });
  }
  // On its way to the Alertmanager an alert may have got other labels.
  const sentAs = new Map(byRules.flatMap((one) => (one.sentAs ? [[one.fingerprint, one.sentAs]] : [])));
  for (const event of byRules) {
    const print = sentAs.get(event.fingerprint) ?? event.fingerprint;
    add(print, event.labels, { at: event.at * 1000, ...tellRuleEvent(event) });
  }
  const last = (life: Life): number => Math.max(...life.steps.map((step) => step.at));
  for (const life of all.values()) {
    // What rules did at a moment comes before what the Alertmanager made of it.
    life.steps.reverse();
    life.steps.sort((a, b) => a.at - b.at);
  }
  return [...all.values()].sort((a, b) => last(b) - last(a));
}
