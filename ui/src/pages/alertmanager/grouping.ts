/** How the Alertmanager's alerts are counted, grouped and sorted for its page. Pure functions. */
import type { Labels } from '../../api/types';
import { severityState, type State } from '../../ui/StateMark';
import { parseTime } from '../../ui/words';
import { badness, commonLabels, differingLabels, isHeartbeat } from '../alertWords';
import type { Acknowledgement, ManagedAlert, ManagedGroup } from './api';

export type Which = 'all' | 'active' | 'suppressed';

export interface AlertLine {
  alert: ManagedAlert;
  differing: Labels;
  ack: Acknowledgement | undefined;
}

export interface AlertSection {
  key: string;
  /** The labels that make the group. */
  labels: Labels;
  /** What all have in common beyond those. */
  common: Labels;
  receivers: string[];
  lines: AlertLine[];
  /** How many alerts are in it; not all need be among the lines. */
  size: number;
}

export interface Counts {
  all: number;
  active: number;
  suppressed: number;
}

/** What keeps an alert quiet, in one word; null where nothing does. */
export function quietWord(alert: ManagedAlert): string | null {
  const { silencedBy, inhibitedBy, mutedBy = [] } = alert.status;
  if (silencedBy.length > 0) return 'silenced';
  if (inhibitedBy.length > 0) return 'inhibited';
  return mutedBy.length > 0 ? 'muted' : null;
}

export function stateOf(alert: ManagedAlert): State {
  if (quietWord(alert)) return 'silenced';
  return isHeartbeat(alert.labels) ? 'ok' : severityState(alert.labels.severity);
}

/** Each alert once, however many groups it is in. One that any group tells of is not muted by time. */
export function distinct(groups: readonly ManagedGroup[]): ManagedAlert[] {
  const all = new Map<string, ManagedAlert>();
  for (const { alerts } of groups) {
    for (const alert of alerts) {
      const known = all.get(alert.fingerprint);
      if (!known || (known.status.mutedBy ?? []).length > (alert.status.mutedBy ?? []).length) {
        all.set(alert.fingerprint, alert);
      }
    }
  }
  return [...all.values()];
}

export function countAlerts(alerts: readonly ManagedAlert[]): Counts {
  const suppressed = alerts.filter((alert) => quietWord(alert) !== null).length;
  return { all: alerts.length, active: alerts.length - suppressed, suppressed };
}

function wanted(alert: ManagedAlert, which: Which): boolean {
  return which === 'all' || (quietWord(alert) !== null) === (which === 'suppressed');
}

/** Which of the labels a group is made by; null groups as the routes do. */
export function labelsOf(group: string | null): string[] | null {
  return group === null
    ? null
    : group
        .split(/[\s,]+/)
        .filter(Boolean)
        .slice(0, 12);
}

export function alertSections(
  groups: readonly ManagedGroup[],
  by: readonly string[] | null,
  which: Which,
  acks: readonly Acknowledgement[],
  matches: (alert: ManagedAlert) => boolean,
): AlertSection[] {
  const byPrint = new Map(acks.map((ack) => [ack.fingerprint, ack]));
  const sections: AlertSection[] = [];
  const add = (labels: Labels, receivers: string[], alerts: readonly ManagedAlert[], key: string): void => {
    const shown = alerts.filter((alert) => wanted(alert, which) && matches(alert));
    if (shown.length === 0) return;
    const common = shown.length > 1 ? commonLabels(shown.map((alert) => alert.labels)) : {};
    const lines = shown.map((alert) => ({
      alert,
      differing: differingLabels(alert.labels, { ...labels, ...common, alertname: '' }),
      ack: byPrint.get(alert.fingerprint),
    }));
    sections.push({
      key,
      labels,
      common: differingLabels(common, { ...labels, alertname: '' }),
      receivers,
      lines: lines.sort(worseFirst),
      size: lines.length,
    });
  };
  if (by === null) {
    for (const { labels, receiver, alerts } of groups) {
      add(labels, [receiver.name], alerts, `${receiver.name} ${JSON.stringify(labels)}`);
    }
  } else {
    const parts = new Map<string, { labels: Labels; alerts: ManagedAlert[] }>();
    for (const alert of distinct(groups)) {
      const labels = Object.fromEntries(by.flatMap((name) => pairOf(alert.labels, name)));
      const key = JSON.stringify(labels);
      const part = parts.get(key) ?? { labels, alerts: [] };
      part.alerts.push(alert);
      parts.set(key, part);
    }
    for (const [key, { labels, alerts }] of parts) {
      add(
        labels,
        [...new Set(alerts.flatMap((alert) => alert.receivers.map((one) => one.name)))],
        alerts,
        key,
      );
    }
  }
  return sections.sort((a, b) => worst(a) - worst(b) || b.size - a.size || (a.key < b.key ? -1 : 1));
}

/** The first `most` alerts of `sections`, in their groups, and how many are left out. */
export function firstLines(sections: readonly AlertSection[], most: number): [AlertSection[], number] {
  const out: AlertSection[] = [];
  let left = most;
  for (const section of sections) {
    if (left > 0) out.push({ ...section, lines: section.lines.slice(0, left) });
    left -= section.lines.length;
  }
  return [out, Math.max(0, -left)];
}

function pairOf(labels: Labels, name: string): [string, string][] {
  const value = labels[name];
  return value === undefined ? [] : [[name, value]];
}

function weight(line: AlertLine): number {
  // What somebody looks after comes after what nobody does.
  return badness(stateOf(line.alert)) + (line.ack ? 0.5 : 0);
}

function worst(section: AlertSection): number {
  return Math.min(...section.lines.map(weight));
}

function worseFirst(a: AlertLine, b: AlertLine): number {
  const since = (line: AlertLine): number => parseTime(line.alert.startsAt) ?? 0;
  return weight(a) - weight(b) || since(b) - since(a) || (a.alert.fingerprint < b.alert.fingerprint ? -1 : 1);
}
