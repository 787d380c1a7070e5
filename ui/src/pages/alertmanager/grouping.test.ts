import { expect, test } from 'vitest';
import type { ManagedAlert, ManagedGroup } from './api';
import { alertSections, countAlerts, distinct, firstLines, labelsOf, quietWord } from './grouping';

function alert(
  name: string,
  labels: Record<string, string> = {},
  status: Partial<ManagedAlert['status']> = {},
): ManagedAlert {
  return {
    fingerprint: `${name}${Object.values(labels).join('')}`,
    labels: { alertname: name, ...labels },
    annotations: {},
    startsAt: '2026-11-26T10:00:00Z',
    endsAt: '2026-11-26T11:00:00Z',
    updatedAt: '2026-11-26T10:00:00Z',
    receivers: [{ name: 'r' }],
    status: { state: 'active', silencedBy: [], inhibitedBy: [], mutedBy: [], ...status },
  };
}

const group = (labels: Record<string, string>, alerts: ManagedAlert[], receiver = 'r'): ManagedGroup => ({
  labels,
  receiver: { name: receiver },
  alerts,
});

const all = (): boolean => true;

test('what keeps an alert quiet is one word', () => {
  expect(quietWord(alert('A'))).toBe(null);
  expect(quietWord(alert('A', {}, { silencedBy: ['x'], inhibitedBy: ['y'] }))).toBe('silenced');
  expect(quietWord(alert('A', {}, { inhibitedBy: ['y'] }))).toBe('inhibited');
  expect(quietWord(alert('A', {}, { mutedBy: ['night'] }))).toBe('muted');
});

test('an alert that is in two groups counts once, and by time it is muted only where both are', () => {
  const muted = alert('A', {}, { mutedBy: ['night'] });
  const groups = [group({}, [muted, alert('B')]), group({}, [alert('A')], 'other')];
  expect(countAlerts(distinct(groups))).toEqual({ all: 2, active: 2, suppressed: 0 });
  expect(countAlerts(distinct([group({}, [muted])]))).toEqual({ all: 1, active: 0, suppressed: 1 });
});

test('groups are those of the routes, the worst first, and what is looked after later', () => {
  const groups = [
    group({ alertname: 'Info' }, [alert('Info', { severity: 'info' })]),
    group({ alertname: 'Disk' }, [
      alert('Disk', { severity: 'critical', i: '1', job: 'n' }),
      alert('Disk', { severity: 'critical', i: '2', job: 'n' }),
    ]),
  ];
  const ack = { fingerprint: 'Diskcritical1n', labels: {}, by: 'ada', note: '', at: '' };
  const found = alertSections(groups, null, 'all', [ack], all);
  expect(found.map((one) => one.labels.alertname)).toEqual(['Disk', 'Info']);
  expect(found[0]?.lines.map((line) => [line.alert.labels.i, line.ack?.by])).toEqual([
    ['2', undefined],
    ['1', 'ada'],
  ]);
  expect(found[0]?.common).toEqual({ severity: 'critical', job: 'n' });
  expect(found[0]?.lines[0]?.differing).toEqual({ i: '2' });
});

test('of very many alerts the first are shown', () => {
  const many = (name: string, count: number): ManagedGroup =>
    group(
      { alertname: name },
      Array.from({ length: count }, (_, i) => alert(name, { i: String(i) })),
    );
  const sections = alertSections([many('A', 5), many('B', 4), many('C', 1)], null, 'all', [], all);
  const [shown, rest] = firstLines(sections, 7);
  expect(shown.map((one) => [one.lines.length, one.size])).toEqual([
    [5, 5],
    [2, 4],
  ]);
  expect(rest).toBe(3);
  expect(firstLines(sections, 10)[1]).toBe(0);
});

test('other labels make other groups', () => {
  const groups = [
    group({ alertname: 'A' }, [alert('A', { job: 'x' }), alert('A', { job: 'y' })]),
    group({ alertname: 'B' }, [alert('B', { job: 'x' })]),
    group({ alertname: 'B' }, [alert('B', { job: 'x' })], 'other'),
  ];
  const found = alertSections(groups, labelsOf('job'), 'all', [], all);
  expect(found.map((one) => [one.labels.job, one.lines.length])).toEqual([
    ['x', 2],
    ['y', 1],
  ]);
  expect(alertSections(groups, labelsOf(''), 'all', [], all)).toHaveLength(1);
  expect(alertSections(groups, labelsOf('job'), 'suppressed', [], all)).toEqual([]);
  expect(alertSections(groups, null, 'all', [], (one) => one.labels.alertname === 'B')).toHaveLength(2);
  expect(labelsOf('job, instance')).toEqual(['job', 'instance']);
});
