import { expect, it } from 'vitest';
import { tell } from './steps';

it('tells what each step changed, up to the one that drops', () => {
  const discovered = { __address__: 'a:1', team: 'db-ops' };
  const named = { ...discovered, owner: 'db' };
  const told = tell(discovered, [
    {
      rule: {
        action: 'replace',
        sourceLabels: ['team'],
        separator: ';',
        regex: '(.*)-ops',
        targetLabel: 'owner',
      },
      output: named,
      keep: true,
    },
    { rule: { action: 'labeldrop', regex: 'team' }, output: { __address__: 'b:1', owner: 'db' }, keep: true },
    {
      rule: { action: 'keep', sourceLabels: ['owner', 'none'], separator: ';', regex: 'web;' },
      output: {},
      keep: false,
    },
    { rule: { action: 'drop' }, output: {}, keep: false },
  ]);
  expect(told.map((step) => step.changes)).toEqual([
    ['+ owner="db"'],
    ['__address__: "a:1" → "b:1"', '- team="db-ops"'],
    ['dropped: [owner, none] is "db;", which web; does not match'],
  ]);
  expect(told[0]?.rule).toBe('replace [team] regex=(.*)-ops target_label=owner');
  expect(told.map((step) => step.keep)).toEqual([true, true, false]);
});
