import { describe, expect, test } from 'vitest';
import { goldenVectors } from '../conformance';
import type { FieldConfig } from '../model/types';
import { display } from './display';
import { formattedText } from './number';
import { CLASSIC, continuousColor, inkOn, legible, resolveColor, type ThemeName } from './palette';

interface Case {
  value: number | string | null;
  text: string;
  color?: string;
  percent?: number;
}

const processor = goldenVectors<{ type: string; config: FieldConfig; cases: Case[] }[]>(
  'display-processor-dark.json',
);
const palette = goldenVectors<{ classic: string[] } & Record<ThemeName, Record<string, string>>>(
  'palette.json',
);

/** Grafana's grey for "no colour": we leave the text's own colour instead. */
const NO_COLOR = '#808080';

function stored(value: Case['value'], type: string): unknown {
  if (value === 'undefined') return undefined;
  return type === 'number' && value === 'NaN' ? Number.NaN : value;
}

describe.skipIf(processor === null)('display processor', () => {
  (processor ?? []).forEach(({ type, config, cases }, i) => {
    const numbers = cases.map((c) => c.value).filter((v): v is number => typeof v === 'number');
    const bounds = { min: Math.min(...numbers), max: Math.max(...numbers) };
    test.each(cases)(`field ${i}: $value`, ({ value, text, color, percent }) => {
      const got = display(stored(value, type), config, { theme: 'dark', bounds });
      expect(formattedText(got)).toBe(text);
      expect(got.color ?? NO_COLOR).toBe(color);
      if (percent !== undefined && value !== null && typeof value === 'number') {
        expect(got.percent).toBeCloseTo(percent, 9);
      }
    });
  });
});

describe.skipIf(palette === null)('palette', () => {
  test('classic order', () => expect(CLASSIC).toEqual(palette?.classic));
  test.each(['dark', 'light'] as const)('%s', (theme) => {
    for (const [name, hex] of Object.entries(palette?.[theme] ?? {})) {
      expect(`${name} ${resolveColor(name, theme).toUpperCase()}`).toBe(`${name} ${hex.toUpperCase()}`);
    }
  });
});

test('a continuous scale starts and ends near its own colours', () => {
  expect(continuousColor('continuous-GrYlRd', 0, 'dark')).toBe('rgb(115, 191, 105)');
  expect(continuousColor('continuous-GrYlRd', 1, 'dark')).toBe('rgb(242, 73, 92)');
});

test.each([
  ['#FF780A', 'light', 'rgb(179, 84, 7)'],
  ['#15181C', 'light', '#15181C'],
  ['#C4162A', 'dark', 'rgb(214, 92, 106)'],
  ['#73BF69', 'dark', '#73BF69'],
  ['orange', 'light', 'orange'],
] as const)('%s as a text of the %s theme', (color, theme, wanted) =>
  expect(legible(color, theme)).toBe(wanted),
);

test.each([
  ['#56A64B', '#101418'],
  ['#37872D', '#ffffff'],
  ['#FADE2A', '#101418'],
])('on %s one writes in %s', (color, ink) => expect(inkOn(color)).toBe(ink));
