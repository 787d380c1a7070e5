/** What the overview says, from what the server knows. Pure functions. */
import type { Alerting, Labels, Notice, RulesData, Target, TargetsData } from '../../api/types';
import type { State } from '../../ui/StateMark';
import { count, parseTime } from '../../ui/words';
import {
  activeAlerts,
  alertingRules,
  alertState,
  badness,
  commonLabels,
  descriptionOf,
  differingLabels,
  isHeartbeat,
  isWatchdog,
  summaryOf,
  type FiredAlert,
} from '../alertWords';
import { quietOf, quietWord, routedFinder } from '../quiet';

/** Something that a person may have to look at. */
export interface Thing {
  key: string;
  state: State;
  /** Instead of the state's own word. */
  word?: string;
  title: string;
  detail: string;
  /** Further lines: the single members where one thing stands for several. */
  members: string[];
  /** Milliseconds since the epoch; null when nobody knows. */
  since: number | null;
  /** Null where there is nothing more to see. */
  href: string | null;
  /** The rule's expression, for a link to its graph. */
  expr?: string;
}

export interface Summary {
  tone: 'ok' | 'attention' | 'unknown';
  sentence: string;
  things: Thing[];
  /** What is not wrong yet, not urgent, or known to somebody: pending, notices, silenced and acknowledged ones. */
  quiet: Thing[];
}

const alertsLink = (name: string): string => `/alerts?filter=${encodeURIComponent(`alertname="${name}"`)}`;

function groupAlerts(alerts: readonly FiredAlert[], quiet?: (alert: FiredAlert) => string | null): Thing[] {
  const groups = new Map<string, FiredAlert[]>();
  for (const alert of alerts) {
    const key = `${alert.labels.alertname ?? ''}\u0000${alert.labels.severity ?? ''}\u0000${alert.state}\u0000${quiet?.(alert) ?? ''}`;
    const group = groups.get(key);
    if (group) group.push(alert);
    else groups.set(key, [alert]);
  }
  return [...groups].flatMap(([key, members]) => {
    const first = members[0];
    if (!first) return [];
    const name = first.labels.alertname ?? first.rule.name;
    const times = members.map((m) => parseTime(m.activeAt)).filter((t) => t !== null);
    const one = members.length === 1;
    const word = quiet?.(first) ?? undefined;
    return {
      key,
      state: word === undefined ? alertState(first) : 'silenced',
      word,
      title: one ? summaryOf(first.annotations, name) : `${name}: ${members.length} at once`,
      detail: one ? descriptionOf(first.annotations) : '',
      members: one ? [] : memberWords(members),
      since: times.length > 0 ? Math.min(...times) : null,
      href: alertsLink(name),
      expr: first.rule.query,
    };
  });
}

function describe(labels: Labels): string {
  return Object.entries(labels)
    .filter(([name]) => name !== 'alertname' && name !== 'severity')
    .map(([name, value]) => `${name}=${value}`)
    .join(', ');
}

/** A line for each; where their summaries do not tell them apart, their labels do. */
function memberWords(members: readonly FiredAlert[]): string[] {
  const words = members.map((m) => summaryOf(m.annotations, describe(m.labels)));
  if (new Set(words).size === words.length) return words;
  const common = commonLabels(members.map((m) => m.labels));
  return members.map((m) => {
    const own = describe(differingLabels(m.labels, common));
    const said = summaryOf(m.annotations, '');
    return said && own ? `${said}: ${own}` : own || said || describe(m.labels);
  });
}

/** True when a firing alert already tells of this target's failure, so that it is not told twice. */
function isTold(target: Target, firing: readonly FiredAlert[]): boolean {
  return firing.some(
    ({ labels }) =>
      /down|absent|unreachable/i.test(labels.alertname ?? '') &&
      labels.job === target.labels.job &&
      (labels.instance === undefined || labels.instance === target.labels.instance),
  );
}

function downTargets(targets: readonly Target[], firing: readonly FiredAlert[]): Thing[] {
  const pools = new Map<string, Target[]>();
  for (const target of targets) {
    if (target.health !== 'down' || isTold(target, firing)) continue;
    pools.set(target.scrapePool, [...(pools.get(target.scrapePool) ?? []), target]);
  }
  return [...pools].map(([pool, down]) => {
    const [first] = down;
    const one = down.length === 1;
    // What is wrong with all of them is said once; else each says what is wrong with it.
    const isSame = down.every((target) => target.lastError === first?.lastError);
    return {
      key: `target\u0000${pool}`,
      state: 'critical',
      title: one
        ? `${first?.labels.instance ?? first?.scrapeUrl} (${pool}) is down`
        : `${down.length} targets of ${pool} are down`,
      detail: isSame ? (first?.lastError ?? '') : '',
      members: one
        ? []
        : down.map((t) => `${t.labels.instance ?? t.scrapeUrl}${isSame ? '' : `: ${t.lastError}`}`),
      since: null,
      href: `/targets?health=down&filter=${encodeURIComponent(pool)}`,
    };
  });
}

function brokenRules(rules: RulesData): Thing[] {
  const broken = rules.groups.flatMap((group) =>
    group.rules.filter((rule) => rule.health === 'err').map((rule) => ({ rule, group: group.name })),
  );
  return broken.map(({ rule, group }) => ({
    key: `rule\u0000${group}\u0000${rule.name}`,
    state: 'warning',
    title: `Rule ${rule.name} cannot be evaluated`,
    detail: rule.lastError ?? '',
    members: [],
    since: null,
    href: `/rules?kind=broken&filter=${encodeURIComponent(rule.name)}`,
    expr: rule.query,
  }));
}

/** A watchdog rule that has been evaluated and does not fire: alerts would not reach anybody either. */
function silentWatchdogs(rules: RulesData): Thing[] {
  return alertingRules(rules)
    .filter(
      ({ rule }) =>
        isWatchdog(rule.name) &&
        rule.health === 'ok' &&
        parseTime(rule.lastEvaluation) !== null &&
        (rule.alerts ?? []).length === 0,
    )
    .map(({ rule }) => ({
      key: `watchdog\u0000${rule.name}`,
      state: 'critical',
      title: `${rule.name} does not fire`,
      detail: 'It must always fire. While it does not, other alerts may be missing too.',
      members: [],
      since: null,
      href: alertsLink(rule.name),
      expr: rule.query,
    }));
}

/** Receivers whose newest notification was not delivered, since the first one after the last that was. */
function failedReceivers(alerting: Alerting | undefined): Thing[] {
  const all = new Map<string, Thing>();
  // Newest first: what comes after one that was delivered is over.
  const reached = new Set<string>();
  for (const sent of alerting?.notifications ?? []) {
    const key = `${sent.receiver}\u0000${sent.integration}`;
    if (sent.outcome === 'sent') reached.add(key);
    if (reached.has(key)) continue;
    const known = all.get(key);
    if (known) {
      known.since = parseTime(sent.at) ?? known.since;
      continue;
    }
    all.set(key, {
      key: `receiver\u0000${key}`,
      state: 'critical',
      title:
        sent.outcome === 'failed'
          ? `The last notification to ${sent.receiver} (${sent.integration}) was not delivered`
          : `A notification to ${sent.receiver} (${sent.integration}) is being tried again`,
      detail: sent.error,
      members: [],
      since: parseTime(sent.at),
      href: `/alertmanager/notifications?receiver=${encodeURIComponent(sent.receiver)}`,
    });
  }
  return [...all.values()];
}

/** A configuration that does not load: the server runs on, with an older one than people think. */
function failedReloads(notices: readonly Notice[]): Thing[] {
  return notices
    .filter((notice) => notice.active && notice.text.startsWith('Configuration reload'))
    .map((notice) => ({
      key: `notice\u0000${notice.text}`,
      state: 'critical',
      title: 'The changed configuration cannot be used; the one before stays in force',
      detail: notice.detail ?? '',
      members: [],
      since: parseTime(notice.date),
      href: '/config',
    }));
}

/** Says whether all is well and, if not, what needs somebody. */
export function summarise(
  rules: RulesData,
  targets: TargetsData,
  alerting: Alerting | undefined,
  notices: readonly Notice[] = [],
): Summary {
  const alerts = activeAlerts(rules).filter((alert) => !isHeartbeat(alert.labels));
  const firing = alerts.filter((alert) => alert.state === 'firing');
  const routedOf = routedFinder(alerting);
  const kept = new Map(firing.map((alert) => [alert, quietWord(quietOf(routedOf(alert.labels)))]));
  const told = groupAlerts(firing.filter((alert) => !kept.get(alert)));
  const things = [
    ...told.filter((thing) => thing.state !== 'info'),
    ...failedReloads(notices),
    ...silentWatchdogs(rules),
    ...failedReceivers(alerting),
    ...downTargets(targets.activeTargets, firing),
    ...brokenRules(rules),
  ].sort((a, b) => badness(a.state) - badness(b.state) || (b.since ?? 0) - (a.since ?? 0));
  const quiet = [
    ...told.filter((thing) => thing.state === 'info'),
    ...groupAlerts(alerts.filter((alert) => alert.state === 'pending')),
    ...groupAlerts(
      firing.filter((alert) => kept.get(alert)),
      (alert) => kept.get(alert) ?? null,
    ),
  ];

  if (things.length > 0) {
    const n = things.length;
    return {
      tone: 'attention',
      sentence: n === 1 ? '1 thing needs you' : `${n} things need you`,
      things,
      quiet,
    };
  }
  const active = targets.activeTargets;
  if (active.length === 0) {
    return { tone: 'unknown', sentence: 'Nothing is watched yet: there are no targets', things, quiet };
  }
  const up = active.filter((target) => target.health === 'up').length;
  if (up === 0)
    return { tone: 'unknown', sentence: 'Just started: the first samples are on their way', things, quiet };
  // Somebody knows of those that are down: the alerts that tell of them are kept quiet.
  if (active.some((target) => target.health === 'down')) {
    const sentence = `Nothing needs you: ${up} of ${count(active.length, 'target')} up`;
    return { tone: 'ok', sentence, things, quiet };
  }
  const watching = alertingRules(rules).filter(({ rule }) => !isWatchdog(rule.name)).length;
  const rest = watching > 0 ? `, ${count(watching, 'alert rule')} watching` : '';
  return { tone: 'ok', sentence: `All well: ${count(up, 'target')} up${rest}`, things, quiet };
}
