/** Which alerts of rules need nobody now, as the Alertmanager inside has it. Pure functions. */
import type { AlertGroup, Alerting, Labels, RoutedAlert, Suppressed } from '../api/types';
import { sameLabels } from './alertWords';

/** An alert in one of the groups in which it is sent. */
export interface Routed {
  group: AlertGroup;
  alert: RoutedAlert;
}

function keyOf(labels: Labels): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Finds where an alert with the labels of its rule is sent; those that are resolved are not found. */
export function routedFinder(alerting: Alerting | undefined): (labels: Labels) => Routed[] {
  const all = (alerting?.groups ?? []).flatMap((group) =>
    group.alerts.filter((alert) => alert.status === 'firing').map((alert): Routed => ({ group, alert })),
  );
  const byLabels = new Map<string, Routed[]>();
  for (const routed of all) {
    const key = keyOf(routed.alert.labels);
    const known = byLabels.get(key);
    if (known) known.push(routed);
    else byLabels.set(key, [routed]);
  }
  return (labels) =>
    byLabels.get(keyOf(labels)) ??
    // External labels may have been added on the way; the alert's own labels are then a part of the routed ones.
    all.filter(({ alert }) =>
      sameLabels(Object.fromEntries(Object.entries(alert.labels).filter(([name]) => name in labels)), labels),
    );
}

export interface Quiet {
  /** Why nobody at all is told. */
  suppressed: Suppressed | null;
  acknowledgedBy: string | null;
}

export function quietOf(routed: readonly Routed[]): Quiet {
  return {
    suppressed: routed.every(({ alert }) => alert.suppressed) ? (routed[0]?.alert.suppressed ?? null) : null,
    acknowledgedBy: routed.find(({ alert }) => alert.acknowledgedBy)?.alert.acknowledgedBy ?? null,
  };
}

/** The word for it: "silenced", "acknowledged"; null where somebody is needed. */
export function quietWord({ suppressed, acknowledgedBy }: Quiet): string | null {
  return suppressed ?? (acknowledgedBy === null ? null : 'acknowledged');
}
