import { expect, test } from 'vitest';
import type { ToldMessage } from './alertmanager/api';
import { joined } from './attempts';

const message = (groupKey: string, attempts: number, outcome: ToldMessage['outcome']): ToldMessage => ({
  at: '',
  receiver: 'r',
  integration: 'webhook[0]',
  groupKey,
  reason: '',
  outcome,
  error: '',
  answer: '',
  attempts,
  firing: 1,
  resolved: 0,
  alerts: [],
});

test('the attempts of one message are one entry, also where others come between', () => {
  const found = joined([
    message('a', 3, 'sent'),
    message('b', 1, 'sent'),
    message('a', 2, 'retrying'),
    message('a', 1, 'retrying'),
    message('a', 1, 'failed'),
    message('a', 4, 'failed'),
    message('a', 2, 'retrying'),
  ]);
  expect(found.map((told) => [told.last.groupKey, told.last.outcome, told.attempts.length])).toEqual([
    ['a', 'sent', 3],
    ['b', 'sent', 1],
    ['a', 'failed', 1],
    ['a', 'failed', 1],
    ['a', 'retrying', 1],
  ]);
});
