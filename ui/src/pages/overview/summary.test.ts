import { describe, expect, it } from 'vitest';
import type {
  ActiveAlert,
  Alerting,
  AlertingRule,
  Labels,
  RulesData,
  Target,
  TargetsData,
} from '../../api/types';
import { summarise } from './summary';

function alert(
  labels: Labels,
  state: ActiveAlert['state'] = 'firing',
  annotations: Labels = {},
): ActiveAlert {
  return { labels, annotations, state, activeAt: '2026-01-01T00:00:00Z', value: '1e+00' };
}

function rule(name: string, alerts: ActiveAlert[], more: Partial<AlertingRule> = {}): AlertingRule {
  return {
    type: 'alerting',
    state: alerts[0]?.state ?? 'inactive',
    name,
    query: 'up == 0',
    duration: 0,
    alerts,
    health: 'ok',
    evaluationTime: 0,
    lastEvaluation: '2026-01-01T00:00:00Z',
    ...more,
  };
}

function rules(...list: AlertingRule[]): RulesData {
  return {
    groups: [
      {
        name: 'g',
        file: 'f',
        interval: 15,
        rules: list,
        evaluationTime: 0,
        lastEvaluation: '2026-01-01T00:00:00Z',
      },
    ],
  };
}

function target(job: string, instance: string, health: Target['health'] = 'up'): Target {
  return {
    discoveredLabels: {},
    labels: { job, instance },
    scrapePool: job,
    scrapeUrl: `http://${instance}/metrics`,
    globalUrl: '',
    lastError: health === 'down' ? 'connection refused' : '',
    lastScrape: '2026-01-01T00:00:00Z',
    lastScrapeDuration: 0.01,
    health,
    scrapeInterval: '15s',
    scrapeTimeout: '10s',
  };
}

const targets = (...activeTargets: Target[]): TargetsData => ({ activeTargets, droppedTargets: [] });
const watchdog = rule('Watchdog', [alert({ alertname: 'Watchdog', severity: 'none' })]);
const up = target('node', 'a');

describe('the sentence', () => {
  it.each<[string, RulesData, TargetsData, string, string]>([
    [
      'all well',
      rules(watchdog, rule('X', [])),
      targets(up, target('node', 'b')),
      'ok',
      'All well: 2 targets up, 1 alert rule watching',
    ],
    ['no rules', rules(), targets(up), 'ok', 'All well: 1 target up'],
    ['no targets', rules(), targets(), 'unknown', 'Nothing is watched yet: there are no targets'],
    [
      'just started',
      rules(),
      targets(target('node', 'a', 'unknown')),
      'unknown',
      'Just started: the first samples are on their way',
    ],
    [
      'one alert',
      rules(watchdog, rule('X', [alert({ alertname: 'X' })])),
      targets(up),
      'attention',
      '1 thing needs you',
    ],
    ['a silent watchdog', rules(rule('Watchdog', [])), targets(up), 'attention', '1 thing needs you'],
    [
      'a watchdog not evaluated yet',
      rules(rule('Watchdog', [], { lastEvaluation: '0001-01-01T00:00:00Z' })),
      targets(up),
      'ok',
      'All well: 1 target up',
    ],
    [
      'a broken rule',
      rules(rule('X', [], { health: 'err', lastError: 'no' })),
      targets(up),
      'attention',
      '1 thing needs you',
    ],
    [
      'pending only',
      rules(rule('X', [alert({ alertname: 'X' }, 'pending')])),
      targets(up),
      'ok',
      'All well: 1 target up, 1 alert rule watching',
    ],
    [
      'info only',
      rules(rule('X', [alert({ alertname: 'X', severity: 'info' })])),
      targets(up),
      'ok',
      'All well: 1 target up, 1 alert rule watching',
    ],
  ])('%s', (_name, r, t, tone, sentence) => {
    const told = summarise(r, t, undefined);
    expect([told.tone, told.sentence]).toEqual([tone, sentence]);
  });
});

it('tells of a down target once, by its alert when that fires already', () => {
  const down = target('node', 'b', 'down');
  expect(summarise(rules(), targets(up, down), undefined).things.map((t) => [t.title, t.detail])).toEqual([
    ['b (node) is down', 'connection refused'],
  ]);
  const told = rules(
    rule('TargetDown', [
      alert({ alertname: 'TargetDown', job: 'node', instance: 'b' }, 'firing', {
        summary: 'b does not answer',
      }),
    ]),
  );
  expect(summarise(told, targets(up, down), undefined).things.map((t) => t.title)).toEqual([
    'b does not answer',
  ]);
});

it('needs nobody for what is silenced or looked after, and says so', () => {
  const routed = (instance: string, more: object): Alerting['groups'][number]['alerts'][number] => ({
    labels: { alertname: 'TargetDown', job: 'node', instance, site: 'berlin' },
    annotations: {},
    status: 'firing',
    startsAt: '2026-01-01T00:00:00Z',
    endsAt: null,
    ...more,
  });
  const fired = ['b', 'c'].map((instance) =>
    alert({ alertname: 'TargetDown', job: 'node', instance }, 'firing', {
      summary: `${instance} does not answer`,
    }),
  );
  const told = summarise(
    rules(rule('TargetDown', fired)),
    targets(up, target('node', 'b', 'down'), target('node', 'c', 'down')),
    {
      configured: true,
      groups: [
        {
          receiver: 'team',
          groupKey: '{}',
          groupLabels: {},
          nextFlushAt: null,
          alerts: [routed('b', { suppressed: 'silenced' }), routed('c', { acknowledgedBy: 'carol' })],
        },
      ],
      notifications: [],
    },
  );
  expect(told.sentence).toBe('Nothing needs you: 1 of 3 targets up');
  expect(told.things).toEqual([]);
  expect(told.quiet.map((t) => [t.state, t.word, t.title])).toEqual([
    ['silenced', 'silenced', 'b does not answer'],
    ['silenced', 'acknowledged', 'c does not answer'],
  ]);
});

it('puts the worst first and several alerts of one name into one thing', () => {
  const r = rules(
    rule('Slow', [
      alert({ alertname: 'Slow', severity: 'warning', instance: 'a' }),
      alert({ alertname: 'Slow', severity: 'warning', instance: 'b' }),
    ]),
    rule('Gone', [alert({ alertname: 'Gone', severity: 'critical' })]),
  );
  const told = summarise(r, targets(up), undefined);
  expect(told.things.map((t) => [t.state, t.title, t.members])).toEqual([
    ['critical', 'Gone', []],
    ['warning', 'Slow: 2 at once', ['instance=a', 'instance=b']],
  ]);
});

it('tells members apart whose summaries do not', () => {
  const one = (instance: string): ActiveAlert =>
    alert({ alertname: 'X', job: 'a', instance }, 'firing', { summary: 'Slow' });
  const { things } = summarise(rules(rule('X', [one('a:1'), one('b:1')])), targets(up), undefined);
  expect(things[0]?.members).toEqual(['Slow: instance=a:1', 'Slow: instance=b:1']);
});

it('says of each target that is down why, unless all say the same', () => {
  const [a, b] = [target('node', 'a:1', 'down'), target('node', 'b:1', 'down')];
  const same = summarise(rules(), targets(a, b), undefined).things[0];
  expect([same?.detail, same?.members]).toEqual(['connection refused', ['a:1', 'b:1']]);
  const other = summarise(rules(), targets(a, { ...b, lastError: 'status 500' }), undefined).things[0];
  expect([other?.detail, other?.members]).toEqual(['', ['a:1: connection refused', 'b:1: status 500']]);
});

it('says what is wrong with a configuration that does not load', () => {
  const notice = {
    text: 'Configuration reload has failed.',
    date: '2026-01-01T00:00:00Z',
    detail: 'prometheus.yml:3:1: unknown field "x"',
    active: true,
  };
  const { sentence, things } = summarise(rules(), targets(target('a', 'a:1')), undefined, [notice]);
  expect(sentence).toBe('1 thing needs you');
  expect(things[0]).toMatchObject({ state: 'critical', detail: notice.detail, href: '/config' });
  const over = summarise(rules(), targets(target('a', 'a:1')), undefined, [{ ...notice, active: false }]);
  expect(over.things).toEqual([]);
});

it('counts a receiver whose newest notification failed, not one that recovered', () => {
  const sent = (
    receiver: string,
    outcome: 'sent' | 'failed',
    minute: number,
  ): Alerting['notifications'][number] => ({
    at: `2026-01-01T00:0${minute}:00Z`,
    receiver,
    integration: 'webhook[0]',
    groupKey: '{}',
    groupLabels: {},
    status: 'firing',
    firing: 1,
    resolved: 0,
    outcome,
    error: outcome === 'failed' ? 'status 500' : '',
    attempts: 1,
    reason: 'first notification',
  });
  const alerting: Alerting = {
    configured: true,
    groups: [],
    notifications: [
      sent('a', 'sent', 6),
      sent('b', 'failed', 5),
      sent('a', 'failed', 4),
      sent('b', 'failed', 3),
      sent('b', 'sent', 2),
      sent('b', 'failed', 1),
    ],
  };
  expect(
    summarise(rules(), targets(up), alerting).things.map((t) => [t.title, t.detail, t.since, t.href]),
  ).toEqual([
    [
      'The last notification to b (webhook[0]) was not delivered',
      'status 500',
      Date.parse('2026-01-01T00:03:00Z'),
      '/alertmanager/notifications?receiver=b',
    ],
  ]);
});
