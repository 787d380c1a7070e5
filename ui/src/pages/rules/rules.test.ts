import { expect, test } from 'vitest';
import type { RulesData } from '../../api/types';
import { parseFilter } from '../../ui/filter';
import { counts, isLate, shownGroups, stateOf, waits, type Rule } from './rules';

const evaluated = { evaluationTime: 0.001, lastEvaluation: '2026-11-01T10:00:00Z' };
const disk: Rule = {
  type: 'alerting',
  state: 'firing',
  name: 'DiskFull',
  query: 'disk > 0.9',
  duration: 300,
  keepFiringFor: 60,
  labels: { severity: 'critical' },
  health: 'ok',
  ...evaluated,
};
const ratio: Rule = { type: 'recording', name: 'job:ratio', query: 'a / b', health: 'ok', ...evaluated };
const wrong: Rule = { ...ratio, name: 'job:wrong', health: 'err', lastError: 'many-to-many' };
const data: RulesData = {
  groups: [
    { name: 'disks', file: 'a.yml', interval: 30, rules: [disk, ratio], ...evaluated },
    { name: 'jobs', file: 'b.yml', interval: 30, rules: [wrong], ...evaluated },
  ],
};

const shown = (which: Parameters<typeof shownGroups>[1], filter: string): string =>
  shownGroups(data, which, parseFilter(filter))
    .map(({ group, rules }) => `${group.name}: ${rules.map((rule) => rule.name).join(' ')}`)
    .join('; ');

test('recording rules are rules, too; groups with a broken one come first', () => {
  expect(shown('all', '')).toBe('jobs: job:wrong; disks: DiskFull job:ratio');
  expect(shown('recording', '')).toBe('jobs: job:wrong; disks: job:ratio');
  expect(shown('alerting', '')).toBe('disks: DiskFull');
  expect(shown('broken', '')).toBe('jobs: job:wrong');
});

test('rules are found by name, label, expression, group and file', () => {
  for (const filter of ['diskfull', 'severity=critical', 'alertname="DiskFull"', '0.9']) {
    expect(shown('all', filter), filter).toBe('disks: DiskFull');
  }
  expect(shown('all', '__name__=job:ratio')).toBe('disks: job:ratio');
  expect(shown('all', 'b.yml')).toBe('jobs: job:wrong');
  expect(counts(data, parseFilter('job'))).toEqual({ all: 2, alerting: 0, recording: 2, broken: 1 });
});

test('a rule says what it does and after how long', () => {
  expect([disk, ratio, wrong].map((rule) => stateOf(rule).word)).toEqual(['firing', 'records', 'broken']);
  expect(stateOf(disk).state).toBe('critical');
  expect(stateOf({ ...disk, name: 'Watchdog' })).toEqual({ state: 'ok', word: 'as it should' });
  const fresh: Rule = { ...ratio, lastEvaluation: '0001-01-01T00:00:00Z' };
  expect(stateOf(fresh).state).toBe('unknown');
  expect(waits(disk)).toBe('fires after 5 min, goes on for 1 min');
  expect(waits({ ...disk, duration: 0, keepFiringFor: 0 })).toBe('fires at once');
  expect(waits(ratio)).toBe('');
  const [group] = data.groups;
  expect(group && isLate(group)).toBe(false);
  expect(group && isLate({ ...group, evaluationTime: 31 })).toBe(true);
});
