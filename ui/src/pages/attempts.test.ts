import { expect, test } from 'vitest';
import type { ToldMessage } from './alertmanager/api';
import { joined, runs } from './attempts';

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

test('what fails again and again for the same reason is one entry, until something comes through', () => {
  const failed = (at: string, groupKey = 'a', error = 'status 503'): ToldMessage => ({
    ...message(groupKey, 6, 'failed'),
    at,
    error,
  });
  const all = joined([
    { ...message('a', 1, 'retrying'), at: '9', error: 'status 503' },
    failed('8'),
    failed('7'),
    failed('6', 'b'),
    failed('5'),
    failed('4', 'a', 'timeout'),
    { ...message('a', 1, 'sent'), at: '3' },
    failed('2', 'a', 'timeout'),
  ]);
  const words = (found: ReturnType<typeof runs<ToldMessage>>): string[] =>
    found.map(({ told, times, since }) => `${told.last.groupKey}${told.last.at} ${times} ${since}`);
  expect(words(runs(all))).toEqual(['a9 1 9', 'a8 3 5', 'b6 1 6', 'a4 1 4', 'a3 1 3', 'a2 1 2']);
  // One that somebody looks at stays where it is.
  expect(words(runs(all, (told) => told.last.at === '7'))).toEqual([
    'a9 1 9',
    'a8 1 8',
    'a7 1 7',
    'b6 1 6',
    'a5 1 5',
    'a4 1 4',
    'a3 1 3',
    'a2 1 2',
  ]);
});
