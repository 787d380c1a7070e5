import { expect, it } from 'vitest';
import { find, type Entry } from './search';

const entries: Entry[] = [
  { kind: 'Metric', title: 'node_load15', href: 'm15' },
  { kind: 'Metric', title: 'node_load1', href: 'm1' },
  { kind: 'Metric', title: 'download_total', href: 'dl' },
  { kind: 'Page', title: 'Overview', href: '/' },
  { kind: 'Dashboard', title: 'Node', detail: 'cupola', href: '/d/cupola-node' },
  { kind: 'Alert', title: 'TargetDown', detail: 'cupola-host', href: '/alerts' },
];

const titles = (text: string, each?: number): string[] => find(entries, text, each).map((e) => e.title);

it.each([
  ['without text, pages and dashboards', '', ['Overview', 'Node']],
  ['word starts before the middle of words', 'load', ['node_load1', 'node_load15', 'download_total']],
  ['all words must match', 'node load15', ['node_load15']],
  ['details count, kinds keep their order', 'cupola', ['Node', 'TargetDown']],
  ['case does not matter', 'targetDOWN', ['TargetDown']],
  ['nothing found', 'zebra', []],
])('%s', (_name, text, expected) => expect(titles(text)).toEqual(expected));

it('caps each kind', () => expect(titles('node', 1)).toEqual(['Node', 'node_load1']));
