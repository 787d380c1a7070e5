import { expect, test } from 'vitest';
import type { FieldConfigSource, Override } from '../model/types';
import { configOf, matches, type MatchedField } from './overrides';

const field: MatchedField = {
  name: 'Value',
  displayName: 'eth0 received',
  type: 'number',
  refId: 'B',
  values: [1, 5],
};
const on = (id: string, options: Override['matcher']['options']): boolean =>
  matches({ matcher: { id, options }, properties: [] }, field);

test.each([
  ['byName', 'eth0 received', true],
  ['byName', 'Value', true],
  ['byName', 'eth0', false],
  ['byRegexp', '/eth\\d/', true],
  ['byRegexp', 'eth0', false],
  ['byRegexp', 'eth.*', true],
  ['byRegexp', '/(/', false],
  ['byType', 'number', true],
  ['byFrameRefID', 'B', true],
  ['byFrameRefID', '/A|B/', true],
  ['byNames', { names: ['eth0 received'], mode: 'include' }, true],
  ['byNames', { names: ['eth0 received'], mode: 'exclude' }, false],
  ['byValue', { reducer: 'max', op: 'gte', value: 5 }, true],
  ['byValue', { reducer: 'max', op: 'gt', value: 5 }, false],
  ['byNoSuchThing', 'x', false],
])('%s %j', (id, options, wanted) => expect(on(id, options)).toBe(wanted));

test('later overrides win, lists are prepended, null removes, the source stays as it was', () => {
  const source: FieldConfigSource = {
    defaults: {
      unit: 'bytes',
      mappings: [{ type: 'value', options: { '0': { text: 'a' } } }],
      custom: { lineWidth: 1 },
    },
    overrides: [
      {
        matcher: { id: 'byName', options: 'Value' },
        properties: [
          { id: 'custom.lineWidth', value: 3 },
          { id: 'unit', value: null },
          { id: 'mappings', value: [{ type: 'value', options: { '0': { text: 'b' } } }] },
          { id: 'custom.hideFrom', value: { viz: true } },
        ],
      },
    ],
  };
  const before = JSON.stringify(source);
  const config = configOf(source, field);
  expect(config.unit).toBeUndefined();
  expect(config.custom).toEqual({ lineWidth: 3, hideFrom: { viz: true } });
  expect(config.mappings?.map((m) => (m.type === 'value' ? m.options['0']?.text : ''))).toEqual(['b', 'a']);
  expect(JSON.stringify(source)).toBe(before);
});
