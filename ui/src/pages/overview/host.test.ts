import { expect, it } from 'vitest';
import type { Labels } from '../../api/types';
import { chooseHost, intervalSeconds, matchers } from './host';

const host = (instance: string, nodename: string): Labels => ({ job: 'node-exporter', instance, nodename });

it.each<[string, Labels[], string | null]>([
  ['by node name', [host('10.0.0.1:9100', 'other'), host('10.0.0.2:9100', 'box')], '10.0.0.2:9100'],
  ['by instance', [host('box', '?'), host('x', 'y')], 'box'],
  ['over loopback', [host('10.0.0.1:9100', 'a'), host('localhost:9100', 'b')], 'localhost:9100'],
  ['the only one', [host('10.0.0.1:9100', 'a')], '10.0.0.1:9100'],
  ['several strangers', [host('10.0.0.1:9100', 'a'), host('10.0.0.2:9100', 'b')], null],
  ['none', [], null],
])('chooses this machine: %s', (_name, known, instance) =>
  expect(chooseHost(known, 'box')?.instance ?? null).toBe(instance),
);

it('quotes label values for PromQL', () =>
  expect(matchers({ job: 'a"b', instance: 'c\\d' })).toBe('job="a\\"b",instance="c\\\\d"'));

it.each([
  ['15s', 15],
  ['1m30s', 90],
  ['500ms', 0.5],
  ['', 15],
  [undefined, 15],
])('reads the interval %s', (text, seconds) => expect(intervalSeconds(text)).toBe(seconds));
