import { expect, test } from 'vitest';
import { alertsPage, pageOf, silencePage } from './hash';

test('addresses of Alertmanager lead to the right page', () => {
  const of = (hash: string): string | null => {
    const page = pageOf(hash);
    return page === null ? null : decodeURIComponent(page.replace(/\+/g, ' '));
  };
  for (const [hash, page] of [
    ['#/alerts', '/alertmanager'],
    ['#/', '/alertmanager'],
    ['#/alerts?receiver=on-call', '/alertmanager?receiver=on-call'],
    [
      '#/alerts?silenced=false&inhibited=false&active=true&filter=%7Balertname%3D%22Disk%20full%22%2C%20job%3D~%22a.*%22%7D',
      '/alertmanager?filter=alertname="Disk full", job=~"a.*"&state=active',
    ],
    ['#/alerts?active=false&silenced=true', '/alertmanager?state=suppressed'],
    ['#/alerts?customGrouping=true&group=job%2Cinstance', '/alertmanager?group=job,instance'],
    ['#/silences', '/alertmanager/silences'],
    ['#/silences?filter=%7Ba%3D%22b%22%7D', '/alertmanager/silences?filter=a="b"'],
    [
      '#/silences/new?filter=%7Ba%3D%22b%22%7D&comment=so',
      '/alertmanager/silences/new?filter=a="b"&comment=so',
    ],
    ['#/silences/4ab0-1', '/alertmanager/silences/4ab0-1'],
    ['#/silences/4ab0-1/edit', '/alertmanager/silences/4ab0-1/edit'],
    ['#/status', '/alertmanager/status'],
    ['#/settings', '/alertmanager/status'],
    ['#main', null],
    ['#/nowhere', null],
    ['', null],
  ] as const) {
    expect(of(hash), hash).toBe(page);
  }
});

test('links carry the labels, the name first', () => {
  const text = (page: string): string | null => new URLSearchParams(page.split('?')[1]).get('filter');
  const labels = { z: 'a "b"\\', alertname: 'X', 'room name': 'ä\nb' };
  expect(text(alertsPage(labels))).toBe('alertname="X", "room name"="ä\\nb", z="a \\"b\\"\\\\"');
  expect(text(silencePage({}))).toBe(null);
});
