/** From a value and its field's configuration to what is shown: words, unit, colour. */
import type { FieldConfig } from '../model/types';
import { formatterOf } from './formats';
import { formattedText, tidy, type Formatted } from './number';
import {
  classicColor,
  COLORBLIND,
  colorByName,
  continuousColor,
  resolveColor,
  type ThemeName,
} from './palette';
import { activeStep, mapValue } from './thresholds';

export interface DisplayValue extends Formatted {
  /** Undefined where the configuration has no opinion: the text's own colour. */
  color?: string;
  /** Where the value lies between minimum and maximum, 0 to 1. */
  percent: number;
  /** The value as a number; NaN when it is none. */
  numeric: number;
}

/** What a person reads in a panel: the value without the zeros that automatic decimals leave. */
export function shownValue(value: DisplayValue, decimals: number | null | undefined): DisplayValue {
  return decimals === undefined || decimals === null ? { ...value, ...tidy(value) } : value;
}

export interface Bounds {
  min: number;
  max: number;
}

export interface DisplayContext {
  theme: ThemeName;
  /** What the field's values span, for what has no configured minimum or maximum. */
  bounds?: Bounds;
  /** Place of the series in its panel, for the colours by order. */
  index?: number;
  /** The name shown, for colours by name. */
  name?: string;
  zone?: 'local' | 'utc';
}

/** Minimum and maximum that a value is compared with. */
export function boundsOf(config: FieldConfig, data: Bounds | undefined): Bounds {
  return {
    min: config.min ?? data?.min ?? 0,
    max: config.max ?? data?.max ?? 100,
  };
}

export function percentOf(value: number, { min, max }: Bounds): number {
  const span = max - min;
  return span === 0 || Number.isNaN(value) ? 0 : (value - min) / span;
}

/** The colour of a value, or of the series as a whole where the mode does not look at values. */
export function colorOf(
  config: FieldConfig,
  value: number,
  percent: number,
  { theme, index = 0, name = '' }: DisplayContext,
): string | undefined {
  const mode = config.color?.mode ?? (config.thresholds?.steps?.length ? 'thresholds' : undefined);
  if (mode === undefined) return undefined;
  if (mode === 'fixed' || mode === 'shades') return resolveColor(config.color?.fixedColor ?? 'gray', theme);
  if (mode === 'thresholds') {
    const step = activeStep(config.thresholds, Number.isNaN(value) ? -Infinity : value, percent);
    return step && resolveColor(step.color, theme);
  }
  if (mode === 'palette-classic') return classicColor(index, theme);
  if (mode === 'palette-classic-by-name') return colorByName(name, theme);
  if (mode === 'palette-colorblind') return COLORBLIND[index % COLORBLIND.length];
  if (mode.startsWith('continuous-')) return continuousColor(mode, percent, theme);
  return classicColor(index, theme);
}

/** True where every value of a series has a colour of its own. */
export function isColorByValue(config: FieldConfig): boolean {
  const mode = config.color?.mode ?? '';
  return mode === 'thresholds' || mode.startsWith('continuous-');
}

function toNumber(value: unknown): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return Number(value);
  if (typeof value === 'string' && value.trim() !== '') return Number(value);
  return Number.NaN;
}

/** What `value` looks like under `config`. A mapping's words replace number and unit, its colour the field's. */
export function display(value: unknown, config: FieldConfig, context: DisplayContext): DisplayValue {
  const numeric = toNumber(value);
  const percent = percentOf(numeric, boundsOf(config, context.bounds));
  const mapped = mapValue(config.mappings, value);
  const color = mapped?.color
    ? resolveColor(mapped.color, context.theme)
    : colorOf(config, numeric, percent, context);
  const base = { color, percent, numeric };
  if (mapped?.text !== undefined) return { ...base, text: mapped.text };

  const isEmpty = value === null || value === undefined || value === '';
  if (isEmpty) return { ...base, text: config.noValue ?? '' };
  if (typeof value !== 'number') {
    const isNumeric = typeof value === 'string' && !Number.isNaN(numeric) && config.unit !== undefined;
    if (!isNumeric) return { ...base, text: String(value) };
  }
  const shown = formatterOf(config.unit)(numeric, config.decimals, context.zone);
  if (formattedText(shown) === '' && config.noValue) return { ...base, text: config.noValue };
  return { ...base, ...shown };
}
