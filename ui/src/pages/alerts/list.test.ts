import { expect, it } from 'vitest';
import type { ActiveAlert, Alerting, Labels, RulesData } from '../../api/types';
import { agePart, firstRows, labelsId, rowState, sections } from './list';

const at = (minute: number): string => new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString();

function active(labels: Labels, minute: number, state: ActiveAlert['state'] = 'firing'): ActiveAlert {
  return { labels, annotations: {}, state, activeAt: at(minute), value: '1' };
}

const diskA = active({ alertname: 'Disk', severity: 'warning', job: 'node', instance: 'a' }, 1);
const diskB = active({ alertname: 'Disk', severity: 'warning', job: 'node', instance: 'b' }, 5);
const down = active({ alertname: 'Down', severity: 'critical', instance: 'c' }, 2);
const soon = active({ alertname: 'Slow', severity: 'critical' }, 9, 'pending');

const rule = (name: string, alerts: ActiveAlert[]): RulesData['groups'][number]['rules'][number] => ({
  type: 'alerting',
  state: 'firing',
  name,
  query: 'x',
  duration: 0,
  alerts,
  health: 'ok',
  evaluationTime: 0,
  lastEvaluation: at(0),
});

const rules: RulesData = {
  groups: [
    {
      name: 'g',
      file: 'f',
      interval: 15,
      evaluationTime: 0,
      lastEvaluation: at(0),
      rules: [rule('Slow', [soon]), rule('Disk', [diskA, diskB]), rule('Down', [down])],
    },
  ],
};

const alerting: Alerting = {
  configured: true,
  groups: [
    {
      receiver: 'team',
      groupKey: '{}:{alertname="Disk"}',
      groupLabels: { alertname: 'Disk' },
      nextFlushAt: at(10),
      alerts: [diskA, diskB].map((a) => ({
        labels: { ...a.labels, cluster: 'x' },
        annotations: {},
        status: 'firing' as const,
        startsAt: a.activeAt,
        endsAt: null,
      })),
    },
  ],
  notifications: [
    {
      at: at(6),
      receiver: 'team',
      integration: 'webhook[0]',
      groupKey: '{}:{alertname="Disk"}',
      groupLabels: { alertname: 'Disk' },
      status: 'firing',
      firing: 2,
      resolved: 0,
      outcome: 'sent',
      error: '',
      attempts: 1,
      reason: 'first notification',
    },
  ],
};

const shape = (list: ReturnType<typeof sections>): unknown =>
  list.map((section) => [section.title, section.rows.map((row) => Object.values(row.differing).join())]);

it('groups by rule, worst and newest first', () => {
  const list = sections(rules, alerting, 'rule', () => true);
  expect(shape(list)).toEqual([
    ['Down', ['c']],
    ['Disk', ['b', 'a']],
    ['Slow', ['']],
  ]);
  expect(list[1]?.common).toEqual({ job: 'node' });
  expect(list[1]?.rows[0]?.routes[0]?.told?.at).toBe(at(6));
});

it('groups as it is routed, also when external labels were added on the way', () => {
  const list = sections(rules, alerting, 'route', () => true);
  expect(shape(list)).toEqual([
    ['Not sent to anybody', ['c']],
    ['Disk', ['b', 'a']],
    ['Pending, not sent to anybody yet', ['']],
  ]);
  expect(list[1]?.route?.nextAt).toBe(Date.parse(at(10)));
});

it('shows what nobody is told of as silenced, after what somebody is', () => {
  const [group] = alerting.groups;
  if (!group) throw new Error('there is a group');
  const alerts = group.alerts.map((one, i) =>
    i === 1 ? { ...one, suppressed: 'silenced' as const } : { ...one, acknowledgedBy: 'carol' },
  );
  const [, disk] = sections(rules, { ...alerting, groups: [{ ...group, alerts }] }, 'rule', () => true);
  expect(disk?.rows.map((row) => [row.alert.labels.instance, rowState(row), row.quiet])).toEqual([
    ['a', 'warning', { suppressed: null, acknowledgedBy: 'carol' }],
    ['b', 'silenced', { suppressed: 'silenced', acknowledgedBy: null }],
  ]);
  // One who is told is enough.
  const two = [
    { ...group, alerts },
    { ...group, receiver: 'other' },
  ];
  const [, told] = sections(rules, { ...alerting, groups: two }, 'rule', () => true);
  expect(told?.rows.map(rowState)).toEqual(['warning', 'warning']);
});

it('leaves out what the filter does not keep', () => {
  expect(shape(sections(rules, undefined, 'rule', (a) => a.labels.instance === 'a'))).toEqual([
    ['Disk', ['node,a']],
  ]);
});

it('names label sets whatever their order', () => {
  expect(labelsId({ a: '1', b: '2' })).toBe(labelsId({ b: '2', a: '1' }));
  expect(labelsId({ a: '1' })).not.toBe(labelsId({ a: '2' }));
});

it('draws ages between half a minute and a week', () => {
  expect([agePart(0), agePart(7 * 86_400_000), agePart(1e12)]).toEqual([0.04, 1, 1]);
  expect(agePart(3_600_000)).toBeGreaterThan(agePart(600_000));
});

it('draws no more rows than asked for, and knows how many are left', () => {
  const many = Array.from({ length: 5 }, (_, i) => active({ alertname: 'Many', instance: String(i) }, i));
  const [first] = rules.groups;
  const data = {
    groups: first ? [{ ...first, rules: [rule('Disk', [diskA, diskB]), rule('Many', many)] }] : [],
  };
  const list = sections(data, undefined, 'rule', () => true);
  const shown = (most: number): string => {
    const [some, left] = firstRows(list, most);
    return [...some.map((one) => `${one.title} ${one.rows.length} of ${one.all}`), left].join(', ');
  };
  expect(shown(10)).toBe('Disk 2 of 2, Many 5 of 5, 0');
  expect(shown(3)).toBe('Disk 2 of 2, Many 1 of 5, 4');
  expect(shown(2)).toBe('Disk 2 of 2, 5');
});
