import { expect, test } from 'vitest';
import type { AlertEvent, RuleEvent } from './api';
import { lives, tellEvent, tellRuleEvent } from './steps';

const event = (
  what: string,
  more: Record<string, unknown> = {},
  at = '2026-11-26T10:00:00Z',
): AlertEvent => ({
  at,
  fingerprint: '0a',
  labels: { alertname: 'A' },
  event: what,
  ...more,
});

test('every event is a sentence', () => {
  for (const [one, words, detail] of [
    [event('fired'), 'Began to fire', undefined],
    [event('timedOut'), 'Taken for resolved, as nobody sent it again', undefined],
    [event('suppressed', { silencedBy: ['x'], groupKey: '{}' }), 'Kept quiet by a silence', '{}'],
    [
      event('suppressed', { inhibitedBy: ['0b'], inhibitRule: 'node' }),
      'Kept quiet, as another alert inhibits it (rule node)',
      '',
    ],
    [
      event('suppressed', { mutedBy: ['night', 'weekend'] }),
      'Kept quiet by the time interval night, weekend',
      '',
    ],
    [event('suppressed', { outsideOf: ['office'] }), 'Kept quiet outside of the time interval office', ''],
    [
      event('sent', {
        receiver: 'r',
        integration: 'webhook[0]',
        reason: 'first notification',
        attempts: 2,
        answer: 'POST x: 200',
      }),
      'Sent to r by webhook[0]',
      'first notification · attempt 2 · POST x: 200',
    ],
    [
      event('failed', { receiver: 'r', integration: 'email[1]', reason: 'a', attempts: 1, error: 'refused' }),
      'Not sent to r by email[1], given up',
      'a · refused',
    ],
    [event('acknowledged', { by: 'ada', note: 'on it' }), 'Acknowledged by ada', 'on it'],
    [event('unacknowledged', { by: '' }), 'The time of its acknowledgement is up', undefined],
    [event('held', { by: 'ada', groupKey: '{}' }), 'Not repeated: ada looks after it', '{}'],
    [event('of tomorrow'), 'of tomorrow', undefined],
  ] as const) {
    const told = tellEvent(one);
    expect([told.words, told.detail], one.event).toEqual([words, detail]);
  }
  expect(tellEvent(event('suppressed', { silencedBy: ['x'] })).silences).toEqual(['x']);
});

test('what rules did comes before, also where the labels have changed on the way', () => {
  const rule = { file: 'r.yml', group: 'g', name: 'A', query: 'up == 0' };
  const at = Date.parse('2026-11-26T10:00:00Z') / 1000;
  const byRules: RuleEvent[] = [
    {
      at: at + 0.1,
      fingerprint: '0c',
      labels: { alertname: 'A' },
      event: 'sent',
      alertmanager: 'inside',
      sentAs: '0a',
    },
    { at, fingerprint: '0c', labels: { alertname: 'A' }, rule, event: 'firing', value: '0', since: at },
  ];
  const [life, ...others] = lives([event('fired', {}, '2026-11-26T10:00:00.100Z')], byRules);
  expect(others).toEqual([]);
  expect(life?.steps.map((step) => step.words)).toEqual([
    'Its rule fires (0)',
    'Rules sent it to inside',
    'Began to fire',
  ]);
  expect(life?.steps[0]?.detail).toBe('up == 0');
  for (const what of [
    'pending',
    'kept',
    'given',
    'resolved',
    'ended',
    'restored',
    'forgotten',
    'sendFailed',
    'dropped',
    'lost',
    'nobody',
  ]) {
    expect(tellRuleEvent({ at, fingerprint: '0c', labels: {}, event: what }).words).not.toBe(what);
  }
});

test('a life is read from its beginning, and the liveliest comes first', () => {
  const other = { ...event('fired', {}, '2026-11-26T09:00:00Z'), fingerprint: '0b' };
  const found = lives([event('resolved', {}, '2026-11-26T11:00:00Z'), event('fired'), other]);
  expect(found.map((life) => [life.fingerprint, life.steps.map((step) => step.words)])).toEqual([
    ['0a', ['Began to fire', 'Resolved']],
    ['0b', ['Began to fire']],
  ]);
});
