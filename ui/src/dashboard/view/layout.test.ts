import { expect, test } from 'vitest';
import type { Panel } from '../model/types';
import { layout, type RepeatValues } from './layout';

function panel(id: number, x: number, y: number, w: number, h: number, change: Partial<Panel> = {}): Panel {
  return {
    id,
    type: 'timeseries',
    gridPos: { x, y, w, h },
    options: {},
    fieldConfig: { defaults: {}, overrides: [] },
    ...change,
  };
}

const row = (id: number, y: number, change: Partial<Panel> = {}): Panel =>
  panel(id, 0, y, 24, 1, { type: 'row', ...change });
const none: RepeatValues = () => [];
const places = (placed: ReturnType<typeof layout>): string[] =>
  placed.map(({ key, pos }) => `${key}@${pos.x},${pos.y} ${pos.w}x${pos.h}`);

const board = [
  panel(1, 0, 0, 24, 4),
  row(2, 4),
  panel(3, 0, 5, 12, 8),
  row(4, 13, { collapsed: true, panels: [panel(5, 0, 14, 12, 6)] }),
  row(6, 14),
  panel(7, 0, 15, 12, 8),
];

test('a folded row takes one line', () => {
  expect(places(layout(board, (r) => !r.collapsed, none))).toEqual([
    '1@0,0 24x4',
    '2@0,4 24x1',
    '3@0,5 12x8',
    '4@0,13 24x1',
    '6@0,14 24x1',
    '7@0,15 12x8',
  ]);
});

test('opening it moves what is below, folding another one pulls it up', () => {
  expect(places(layout(board, (r) => r.id !== 2, none))).toEqual([
    '1@0,0 24x4',
    '2@0,4 24x1',
    '4@0,5 24x1',
    '5@0,6 12x6',
    '6@0,12 24x1',
    '7@0,13 12x8',
  ]);
});

const three: RepeatValues = () => ['a', 'b', 'c'].map((value) => ({ text: value, value }));

test('a repeated panel shares the width and moves what is below', () => {
  const placed = layout(
    [panel(1, 0, 0, 24, 5, { repeat: 'v', maxPerRow: 2 }), panel(2, 0, 5, 24, 5)],
    () => true,
    three,
  );
  expect(places(placed)).toEqual(['1/a@0,0 12x5', '1/b@12,0 12x5', '1/c@0,5 12x5', '2@0,10 24x5']);
  expect(placed[1]?.scoped.get('v')).toEqual({ value: 'b', text: 'b' });
});

test('a repeated row takes its panels with it', () => {
  expect(places(layout([row(1, 0, { repeat: 'v' }), panel(2, 0, 1, 24, 5)], () => true, three))).toEqual([
    '1/a@0,0 24x1',
    '2/a@0,1 24x5',
    '1/b@0,6 24x1',
    '2/b@0,7 24x5',
    '1/c@0,12 24x1',
    '2/c@0,13 24x5',
  ]);
});
