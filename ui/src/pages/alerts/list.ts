/** How the list of alerts is built from what the server knows. Pure functions. */
import type { AlertGroup, Alerting, Labels, Notification, RulesData } from '../../api/types';
import { shortId } from '../../app/url';
import { parseTime } from '../../ui/words';
import {
  activeAlerts,
  alertState,
  badness,
  commonLabels,
  differingLabels,
  sameLabels,
  type FiredAlert,
} from '../alertWords';

/** To whom an alert goes: the group it is in, when that was told last and when it will be told next. */
export interface Route {
  group: AlertGroup;
  told: Notification | undefined;
  nextAt: number | null;
}

export interface Row {
  id: string;
  alert: FiredAlert;
  /** The labels that tell this row from the others of its section. */
  differing: Labels;
  routes: Route[];
  since: number | null;
}

export interface Section {
  key: string;
  title: string;
  /** The labels that all rows share, without the name. */
  common: Labels;
  rows: Row[];
  /** Set where the section is a group of the routing tree. */
  route?: Route;
}

export type Grouping = 'route' | 'rule';

/** A short stable name for a label set, for the page's address. */
export function labelsId(labels: Labels): string {
  const text = JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
  return shortId(text);
}

function routeOf(group: AlertGroup, alerting: Alerting): Route {
  const told = alerting.notifications.find(
    (sent) => sent.groupKey === group.groupKey && sent.receiver === group.receiver,
  );
  return { group, told, nextAt: parseTime(group.nextFlushAt) };
}

/** The routes of every alert in `alerts`, by the alert's id. */
function routesOf(alerts: readonly FiredAlert[], alerting: Alerting | undefined): Map<string, Route[]> {
  const out = new Map<string, Route[]>();
  if (!alerting) return out;
  const routes = alerting.groups.map((group) => routeOf(group, alerting));
  const byId = new Map<string, Route[]>();
  for (const route of routes) {
    for (const routed of route.group.alerts) {
      if (routed.status === 'resolved') continue;
      const id = labelsId(routed.labels);
      byId.set(id, [...(byId.get(id) ?? []), route]);
    }
  }
  for (const alert of alerts) {
    const id = labelsId(alert.labels);
    // External labels may have been added on the way; the alert's own labels are then a part of the routed ones.
    const found =
      byId.get(id) ??
      routes.filter((route) =>
        route.group.alerts.some(
          (routed) =>
            routed.status === 'firing' &&
            sameLabels(
              Object.fromEntries(Object.entries(routed.labels).filter(([name]) => name in alert.labels)),
              alert.labels,
            ),
        ),
      );
    out.set(id, found);
  }
  return out;
}

function order(a: Row, b: Row): number {
  return (
    badness(alertState(a.alert)) - badness(alertState(b.alert)) ||
    (b.since ?? 0) - (a.since ?? 0) ||
    (a.id < b.id ? -1 : 1)
  );
}

/**
 * The sections of the list, worst and newest first.
 *
 * By route, an alert stands in every group it is sent with; pending ones and those that nobody gets have a
 * section of their own. By rule, it stands once.
 */
export function sections(
  rules: RulesData,
  alerting: Alerting | undefined,
  grouping: Grouping,
  keep: (alert: FiredAlert) => boolean,
): Section[] {
  const alerts = activeAlerts(rules).filter(keep);
  const routes = routesOf(alerts, alerting);
  const drafts = new Map<string, { title: string; route?: Route; rows: Row[] }>();
  const add = (key: string, title: string, alert: FiredAlert, route?: Route): void => {
    const id = labelsId(alert.labels);
    const draft = drafts.get(key) ?? { title, route, rows: [] };
    draft.rows.push({
      id,
      alert,
      differing: {},
      routes: routes.get(id) ?? [],
      since: parseTime(alert.activeAt),
    });
    drafts.set(key, draft);
  };

  for (const alert of alerts) {
    if (grouping === 'rule') {
      add(`rule\u0000${alert.group}\u0000${alert.rule.name}`, alert.rule.name, alert);
      continue;
    }
    const found = routes.get(labelsId(alert.labels)) ?? [];
    if (alert.state === 'pending') add('pending', 'Pending, not sent to anybody yet', alert);
    else if (found.length === 0) add('unrouted', 'Not sent to anybody', alert);
    for (const route of alert.state === 'pending' ? [] : found) {
      const labels = Object.entries(route.group.groupLabels).map(([name, value]) => `${name}="${value}"`);
      add(
        `route\u0000${route.group.receiver}\u0000${route.group.groupKey}`,
        route.group.groupLabels.alertname ?? (labels.join(', ') || 'All alerts'),
        alert,
        route,
      );
    }
  }

  const list = [...drafts].map(([key, { title, route, rows }]): Section => {
    const common = commonLabels(rows.map((row) => row.alert.labels));
    for (const row of rows) {
      const differing = rows.length > 1 ? differingLabels(row.alert.labels, common) : row.alert.labels;
      row.differing = Object.fromEntries(
        Object.entries(differing).filter(([name]) => name !== 'alertname' && name !== 'severity'),
      );
    }
    rows.sort(order);
    const shared = rows.length > 1 ? common : {};
    return {
      key,
      title,
      route,
      rows,
      common: Object.fromEntries(
        Object.entries(shared).filter(([name]) => name !== 'alertname' && name !== 'severity'),
      ),
    };
  });
  return list.sort((a, b) => {
    const [first, second] = [a.rows[0], b.rows[0]];
    return first && second ? order(first, second) : 0;
  });
}

/** How far along an age bar is, from 0 to 1: logarithmic, from half a minute to a week. */
export function agePart(ms: number): number {
  const part = Math.log(Math.max(ms, 30_000) / 30_000) / Math.log((7 * 86_400_000) / 30_000);
  return Math.min(1, Math.max(0.04, part));
}
