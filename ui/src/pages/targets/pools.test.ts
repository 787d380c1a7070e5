import { expect, it } from 'vitest';
import type { Target, TargetsData } from '../../api/types';
import { parseFilter } from '../../ui/filter';
import { isOpen, pools, type Health } from './pools';

function target(scrapePool: string, instance: string, health: Health): Target {
  return {
    discoveredLabels: {},
    labels: { job: scrapePool, instance },
    scrapePool,
    scrapeUrl: `http://${instance}/metrics`,
    globalUrl: '',
    lastError: health === 'down' ? 'connection refused' : '',
    lastScrape: '',
    lastScrapeDuration: 0,
    health,
    scrapeInterval: '15s',
    scrapeTimeout: '10s',
  };
}

const data: TargetsData = {
  activeTargets: [
    target('alpha', 'a1', 'up'),
    target('alpha', 'a2', 'up'),
    target('beta', 'b1', 'up'),
    target('beta', 'b2', 'down'),
    target('gamma', 'c1', 'unknown'),
  ],
  droppedTargets: [],
  droppedTargetCounts: { alpha: 7 },
};

const shape = (health: Health | 'all', text: string): string[] =>
  pools(data, health, parseFilter(text)).map(
    (p) => `${p.name}: ${p.shown.map((t) => t.labels.instance).join(' ')}`,
  );

it.each<[Health | 'all', string, string[]]>([
  ['all', '', ['beta: b2 b1', 'gamma: c1', 'alpha: a1 a2']],
  ['down', '', ['beta: b2']],
  ['all', 'refused', ['beta: b2']],
  ['up', 'job=~"a.*"', ['alpha: a1 a2']],
  ['all', 'zebra', []],
])('%s %s', (health, text, expected) => expect(shape(health, text)).toEqual(expected));

it('counts every target of a pool, also those that the filter hides', () => {
  const [beta] = pools(data, 'down', parseFilter(''));
  expect(beta).toMatchObject({ all: 2, up: 1, down: 1 });
  expect(pools(data, 'all', parseFilter('alpha'))[0]?.dropped).toBe(7);
});

it('folds pools that are well and large', () => {
  const big = { name: 'x', shown: [], all: 9, up: 9, down: 0, unknown: 0, dropped: 0, gone: [] };
  expect(isOpen(big, new Set(), false)).toBe(false);
  expect(isOpen(big, new Set(['x']), false)).toBe(true);
  expect(isOpen(big, new Set(), true)).toBe(true);
  expect(isOpen({ ...big, down: 1 }, new Set(), false)).toBe(true);
});

it('shows a pool of which everything was dropped, before those that are well', () => {
  const gone = { __address__: 'z:1', job: 'zeta', team: 'ops' };
  const all: TargetsData = { ...data, droppedTargets: [{ discoveredLabels: gone, scrapePool: 'zeta' }] };
  const names = (health: Health | 'all', text: string): string[] =>
    pools(all, health, parseFilter(text)).map((p) => p.name);
  expect(names('all', '')).toEqual(['beta', 'gamma', 'zeta', 'alpha']);
  expect(names('all', 'team="ops"')).toEqual(['zeta']);
  expect(names('down', '')).toEqual(['beta']);
  expect(pools(all, 'all', parseFilter('z:1'))[0]?.gone).toEqual([gone]);
});
