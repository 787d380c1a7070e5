import { expect, test } from 'vitest';
import type { Frame } from '../data/frames';
import type { FieldConfigSource, Panel } from '../model/types';
import { prepareFields } from './fields';
import { slicePath, slices } from './pie';
import { reduceToTiles } from './reduce';
import { sparkPaths } from './spark';
import { tableModel, cellValue } from './table';
import { chartModel } from './timeseries';

function frame(name: string, values: (number | null)[], refId = 'A'): Frame {
  return {
    refId,
    length: values.length,
    fields: [
      { name: 'Time', type: 'time', values: values.map((_, i) => i * 1000), config: {}, stepMs: 1000 },
      { name: 'Value', type: 'number', values, labels: { pod: name }, config: { displayNameFromDS: name } },
    ],
  };
}

const plain: FieldConfigSource = { defaults: { unit: 'bytes' }, overrides: [] };
const panel = (fieldConfig: FieldConfigSource, options: Panel['options'] = {}): Panel => ({
  id: 1,
  type: 'timeseries',
  gridPos: { x: 0, y: 0, w: 12, h: 8 },
  options,
  fieldConfig,
});

test('names come from the configuration first, colours from the place', () => {
  const source: FieldConfigSource = {
    defaults: {},
    overrides: [
      {
        matcher: { id: 'byName', options: 'b' },
        properties: [{ id: 'displayName', value: 'Pod ${__field.labels.pod}' }],
      },
    ],
  };
  const fields = prepareFields([frame('a', [1]), frame('b', [2])], source, 'dark', new Map());
  const numbers = fields.filter(({ field }) => field.type === 'number');
  expect(numbers.map(({ name, color }) => [name, color])).toEqual([
    ['a', '#73BF69'],
    ['Pod b', '#F2CC0C'],
  ]);
});

test('a series of another unit gets an axis at the right', () => {
  const source: FieldConfigSource = {
    defaults: { unit: 'bytes', custom: { stacking: { mode: 'normal', group: 'A' }, fillOpacity: 30 } },
    overrides: [
      {
        matcher: { id: 'byName', options: 'b' },
        properties: [
          { id: 'unit', value: 'percent' },
          { id: 'custom.transform', value: 'negative-Y' },
          { id: 'custom.hideFrom', value: { legend: true } },
        ],
      },
    ],
  };
  const fields = prepareFields([frame('a', [1, null]), frame('b', [2, 3])], source, 'light', new Map());
  const model = chartModel(panel(source), fields, 'light');
  expect(Object.values(model.axes).map((axis) => [axis.side, axis.unit])).toEqual([
    ['left', 'bytes'],
    ['right', 'percent'],
  ]);
  expect(model.series[0]).toMatchObject({
    name: 'a',
    values: [1, null],
    stack: { mode: 'normal' },
    fillOpacity: 30,
  });
  expect(model.series[1]).toMatchObject({ isMirrored: true, hideInLegend: true });
});

test('series of the same name keep different keys', () => {
  const fields = prepareFields([frame('a', [1]), frame('a', [2])], plain, 'dark', new Map());
  const keys = chartModel(panel(plain), fields, 'dark').series.map((one) => one.key);
  expect(new Set(keys).size).toBe(2);
});

test('empty series are left out where an old graph asked for it', () => {
  const fields = prepareFields([frame('a', [null]), frame('b', [0])], plain, 'dark', new Map());
  const names = (legend: Panel['options']): string[] =>
    chartModel(panel(plain, { legend }), fields, 'dark').series.map((one) => one.name);
  expect(names({ hideEmpty: true })).toEqual(['b']);
  expect(names({ hideEmpty: true, hideZero: true })).toEqual([]);
});

test('a tile per series, reduced and coloured by thresholds', () => {
  const source: FieldConfigSource = {
    defaults: {
      unit: 'percent',
      thresholds: {
        steps: [
          { color: 'green', value: null },
          { color: 'red', value: 5 },
        ],
      },
    },
    overrides: [],
  };
  const fields = prepareFields([frame('a', [1, 2, null]), frame('b', [9])], source, 'dark', new Map());
  const tiles = reduceToTiles(fields, { reduceOptions: { calcs: ['lastNotNull'] } }, 'dark');
  expect(tiles.map((tile) => [tile.name, tile.value.text, tile.value.suffix, tile.color])).toEqual([
    ['a', '2', '%', '#73BF69'],
    ['b', '9', '%', '#F2495C'],
  ]);
});

test('the values themselves, up to a limit', () => {
  const fields = prepareFields([frame('a', [1, 2, 3])], plain, 'dark', new Map());
  const tiles = reduceToTiles(fields, { reduceOptions: { values: true, limit: 2 } }, 'dark');
  expect(tiles.map((tile) => tile.value.text)).toEqual(['1', '2']);
});

test('a table is sorted as asked and formats its cells', () => {
  const table: Frame = {
    refId: 'A',
    length: 2,
    fields: [
      { name: 'pod', type: 'string', values: ['a', 'b'], config: {} },
      { name: 'Value', type: 'number', values: [1024, 2048], config: {} },
      { name: 'gone', type: 'number', values: [1, 2], config: {} },
    ],
  };
  const source: FieldConfigSource = {
    defaults: { unit: 'bytes' },
    overrides: [
      { matcher: { id: 'byName', options: 'gone' }, properties: [{ id: 'custom.hidden', value: true }] },
    ],
  };
  const fields = prepareFields([table], source, 'dark', new Map());
  const model = tableModel(fields, { sortBy: [{ displayName: 'Value', desc: true }] });
  expect(model.columns.map((column) => [column.name, column.align])).toEqual([
    ['pod', 'left'],
    ['Value', 'right'],
  ]);
  expect(model.rows).toEqual([1, 0]);
  const [, value] = model.columns;
  expect(value && cellValue(value, 1, 'dark')).toMatchObject({ text: '2', suffix: ' KiB' });
});

test('a sparkline spans the window and leaves out what is no number', () => {
  const paths = sparkPaths([0, 50, 100], [0, Number.NaN, 10], 0, 100);
  expect(paths?.line).toBe('M0.00 92.00L100.00 8.00');
  expect(sparkPaths([0], [1], 0, 100)).toBeNull();
});

test('slices are parts of the sum of what is above zero', () => {
  const fields = prepareFields(
    [frame('a', [1]), frame('b', [3]), frame('c', [-2]), frame('d', [null])],
    plain,
    'dark',
    new Map(),
  );
  const parts = slices(reduceToTiles(fields, {}, 'dark'), 'desc');
  expect(parts.map(({ name, from, to }) => [name, from, to])).toEqual([
    ['b', 0, 0.75],
    ['a', 0.75, 1],
  ]);
  expect(slicePath(0, 0.25, 40, 0)).toBe('M50 50L50.000 10.000A40 40 0 0 1 90.000 50.000Z');
});
