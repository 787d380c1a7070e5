import { expect, it } from 'vitest';
import { thresholdOf } from './threshold';

it.each([
  ['up == 0', { expr: 'up', op: '==', value: 0 }],
  ['rate(x{a="b>c"}[5m]) > 0.95', { expr: 'rate(x{a="b>c"}[5m])', op: '>', value: 0.95 }],
  ['a / b\n  <= 1e3', { expr: 'a / b', op: '<=', value: 1000 }],
  ['x != -5', { expr: 'x', op: '!=', value: -5 }],
  ['x{a!="b"} < 1', { expr: 'x{a!="b"}', op: '<', value: 1 }],
  ['node_order > 3', { expr: 'node_order', op: '>', value: 3 }],
  ['vector(1)', null],
  ['(a > 5)', null],
  ['a > b', null],
  ['a > bool 5', null],
  ['a > 5 and b > 3', null],
  ['0 < a < 5', null],
  ['x{a="unfinished} > 1', null],
])('%s', (expr, expected) => expect(thresholdOf(expr)).toEqual(expected));
