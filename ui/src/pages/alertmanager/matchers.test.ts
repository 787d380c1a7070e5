import { expect, test } from 'vitest';
import { fromApi, parseMatchers, toApi, writeMatchers } from './matchers';

test('matchers are read as Alertmanager writes them', () => {
  expect(parseMatchers('{alertname="Disk full", job=~"a.*", x!=y,}')).toEqual([
    { name: 'alertname', op: '=', value: 'Disk full' },
    { name: 'job', op: '=~', value: 'a.*' },
    { name: 'x', op: '!=', value: 'y' },
  ]);
  expect(parseMatchers(' a!~"x|y" ')).toEqual([{ name: 'a', op: '!~', value: 'x|y' }]);
  expect(parseMatchers('"room name"="a \\"b\\"\\n"')).toEqual([
    { name: 'room name', op: '=', value: 'a "b"\n' },
  ]);
  expect(parseMatchers('')).toEqual([]);
  expect(parseMatchers('{}')).toEqual([]);
  for (const bad of ['a', 'a=b c', '="x"', 'a="b', 'a==b,,']) expect(parseMatchers(bad), bad).toBe(null);
});

test('what is written is read again', () => {
  const all = [
    { name: 'a', op: '=', value: 'x, "y" {z}\\' },
    { name: 'ä b', op: '!~', value: '\n' },
    { name: '_c', op: '!=', value: '' },
  ] as const;
  expect(parseMatchers(writeMatchers(all))).toEqual(all);
  expect(all.map(toApi).map(fromApi)).toEqual(all);
  expect(fromApi({ name: 'a', value: 'b', isRegex: true })).toEqual({ name: 'a', op: '=~', value: 'b' });
});
