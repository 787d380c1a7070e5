/** Words and order for alerts, shared by the overview and the list of alerts. Pure functions. */
import type { ActiveAlert, AlertingRule, Labels, RulesData } from '../api/types';
import { severityState, type State } from '../ui/StateMark';

/** An alert together with the rule that made it. */
export interface FiredAlert extends ActiveAlert {
  rule: AlertingRule;
  group: string;
}

/** True for alerts that fire on purpose: a dead man's switch, or one whose severity says that it is none. */
export function isHeartbeat(labels: Labels): boolean {
  return (
    /^(watchdog|deadmans?switch|infoinhibitor)$/i.test(labels.alertname ?? '') || labels.severity === 'none'
  );
}

/** True for the dead man's switch itself, which must always fire. */
export function isWatchdog(name: string): boolean {
  return /^(watchdog|deadmans?switch)$/i.test(name);
}

export function activeAlerts(rules: RulesData): FiredAlert[] {
  return rules.groups.flatMap((group) =>
    group.rules.flatMap((rule) =>
      rule.type === 'alerting'
        ? (rule.alerts ?? []).map((alert) => ({
            ...alert,
            annotations: alert.annotations ?? {},
            rule,
            group: group.name,
          }))
        : [],
    ),
  );
}

export function alertingRules(rules: RulesData): { rule: AlertingRule; group: string; file: string }[] {
  return rules.groups.flatMap((group) =>
    group.rules.flatMap((rule) =>
      rule.type === 'alerting' ? [{ rule, group: group.name, file: group.file }] : [],
    ),
  );
}

export function alertState(alert: { labels: Labels; state?: string }): State {
  if (alert.state === 'pending') return 'pending';
  return isHeartbeat(alert.labels) ? 'ok' : severityState(alert.labels.severity);
}

const WORST: readonly State[] = [
  'critical',
  'warning',
  'info',
  'pending',
  'unknown',
  'silenced',
  'off',
  'ok',
];

/** Worst first; smaller is worse. */
export function badness(state: State): number {
  return WORST.indexOf(state);
}

/** What the alert says in plain words; its name when it says nothing. */
export function summaryOf(annotations: Labels, name: string): string {
  return annotations.summary || annotations.message || annotations.title || name;
}

/** The description, where it says more than the summary. */
export function descriptionOf(annotations: Labels): string {
  const text = annotations.description ?? '';
  return text === annotations.summary ? '' : text;
}

/** The labels that all of `all` share with the same value. */
export function commonLabels(all: readonly Labels[]): Labels {
  const [first, ...rest] = all;
  const out: Labels = {};
  for (const [name, value] of Object.entries(first ?? {})) {
    if (rest.every((labels) => labels[name] === value)) out[name] = value;
  }
  return out;
}

/** The labels of `labels` that are not in `common`. */
export function differingLabels(labels: Labels, common: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([name]) => !(name in common)));
}

export function sameLabels(a: Labels, b: Labels): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
