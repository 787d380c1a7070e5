/** How the list of alerts is built from what the server knows. Pure functions. */
import type { AlertGroup, Alerting, Labels, Notification, RulesData } from '../../api/types';
import { shortId } from '../../app/url';
import type { State } from '../../ui/StateMark';
import { parseTime } from '../../ui/words';
import {
  activeAlerts,
  alertState,
  badness,
  commonLabels,
  differingLabels,
  type FiredAlert,
} from '../alertWords';
import { quietOf, routedFinder, type Quiet } from '../quiet';

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
  quiet: Quiet;
  since: number | null;
}

type Routes = Pick<Row, 'routes' | 'quiet'>;

export interface Section {
  key: string;
  title: string;
  /** The labels that all rows share, without the name. */
  common: Labels;
  rows: Row[];
  /** How many rows there are, where not all are shown. */
  all?: number;
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

/** As the alert's severity says, unless nobody is told of it. */
export function rowState({ alert, quiet }: Row): State {
  return quiet.suppressed ? 'silenced' : alertState(alert);
}

function order(a: Row, b: Row): number {
  return (
    badness(rowState(a)) - badness(rowState(b)) || (b.since ?? 0) - (a.since ?? 0) || (a.id < b.id ? -1 : 1)
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
  const routedOf = routedFinder(alerting);
  const drafts = new Map<string, { title: string; route?: Route; rows: Row[] }>();
  const add = (key: string, title: string, alert: FiredAlert, all: Routes, route?: Route): void => {
    const id = labelsId(alert.labels);
    const draft = drafts.get(key) ?? { title, route, rows: [] };
    draft.rows.push({
      id,
      alert,
      differing: {},
      ...all,
      since: parseTime(alert.activeAt),
    });
    drafts.set(key, draft);
  };

  for (const alert of alerts) {
    const routed = routedOf(alert.labels);
    const routes = alerting ? routed.map(({ group }) => routeOf(group, alerting)) : [];
    const all = { routes, quiet: quietOf(alert.state === 'firing' ? routed : []) };
    if (grouping === 'rule') {
      add(`rule\u0000${alert.group}\u0000${alert.rule.name}`, alert.rule.name, alert, all);
      continue;
    }
    if (alert.state === 'pending') add('pending', 'Pending, not sent to anybody yet', alert, all);
    else if (routes.length === 0) add('unrouted', 'Not sent to anybody', alert, all);
    for (const route of alert.state === 'pending' ? [] : routes) {
      const labels = Object.entries(route.group.groupLabels).map(([name, value]) => `${name}="${value}"`);
      add(
        `route\u0000${route.group.receiver}\u0000${route.group.groupKey}`,
        route.group.groupLabels.alertname ?? (labels.join(', ') || 'All alerts'),
        alert,
        all,
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

/** The first `most` rows in their sections, which keep the number of all of theirs, and how many are left out. */
export function firstRows(list: readonly Section[], most: number): [Section[], number] {
  let room = most;
  let left = 0;
  const out = list.flatMap((section) => {
    const rows = section.rows.slice(0, Math.max(0, room));
    room -= rows.length;
    left += section.rows.length - rows.length;
    return rows.length > 0 ? [{ ...section, rows, all: section.rows.length }] : [];
  });
  return [out, left];
}

/** How far along an age bar is, from 0 to 1: logarithmic, from half a minute to a week. */
export function agePart(ms: number): number {
  const part = Math.log(Math.max(ms, 30_000) / 30_000) / Math.log((7 * 86_400_000) / 30_000);
  return Math.min(1, Math.max(0.04, part));
}
