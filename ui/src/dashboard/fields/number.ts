/** How many decimals a number needs, and numbers scaled by a list of units. The base of all value formats. */

export interface Formatted {
  text: string;
  /** Before the number, such as a currency sign. */
  prefix?: string;
  /** After the number with its own leading space where there is one: " GiB", "%". */
  suffix?: string;
}

export type Decimals = number | null | undefined;

export type Formatter = (value: number, decimals?: Decimals, zone?: 'local' | 'utc') => Formatted;

/** The text of a formatted value as one string. */
export function formattedText(value: Formatted): string {
  return `${value.prefix ?? ''}${value.text}${value.suffix ?? ''}`;
}

/** Takes zeros off the end of what was chosen automatically: "0.1000" and "10.00" say no more than "0.1" and "10.0". */
export function tidy(value: Formatted): Formatted {
  const { text } = value;
  if (!/^-?\d+\.\d*0$/.test(text)) return value;
  let short = text;
  while (short.endsWith('0') && short.replace(/^-?0*\.?0*/, '').replace('.', '').length > 3) {
    short = short.slice(0, -1).replace(/\.$/, '');
    if (!short.includes('.')) break;
  }
  return { ...value, text: short };
}

/** Decimals that show three significant digits: 0.00457, 12.3, 100.0, 1000. None for whole numbers. */
export function autoDecimals(value: number): number {
  if (value % 1 === 0) return 0;
  return Math.max(0, 2 - Math.floor(Math.log(Math.abs(value)) / Math.LN10));
}

/** `value` with that many decimals, or with as many as it needs. Infinity becomes the sign that people know. */
export function fixed(value: number, decimals?: Decimals): string {
  if (value === Infinity) return '∞';
  if (value === -Infinity) return '-∞';
  if (value === 0) return value.toFixed(decimals ?? 0);
  const places = decimals ?? autoDecimals(value);
  if (Number.isNaN(value)) return places > 0 ? `NaN.${'0'.repeat(places)}` : 'NaN';
  const factor = places > 0 ? 10 ** Math.min(100, places) : 1;
  const rounded = String(Math.round(value * factor) / factor);
  if (rounded.includes('e')) return rounded;
  const dot = rounded.indexOf('.');
  const has = dot < 0 ? 0 : rounded.length - dot - 1;
  if (has >= places) return rounded;
  return (has === 0 && dot < 0 ? `${rounded}.` : rounded) + '0'.repeat(places - has);
}

function place(value: number, factor: number, count: number, offset: number): number {
  if (value === 0) return offset;
  const power = Math.floor(Math.log(Math.abs(value)) / Math.log(factor));
  return Math.min(Math.max(power + offset, 0), count - 1);
}

/** A value with a fixed unit behind it. */
export function suffixed(unit: string, asPrefix = false): Formatter {
  return (value, decimals) => {
    const text = fixed(value, decimals);
    if (asPrefix) return { text, prefix: unit };
    return unit === '' ? { text } : { text, suffix: unit };
  };
}

/** Divides by `factor` as often as the list of units allows; `offset` says which unit of the list one is in. */
export function scaled(factor: number, units: readonly string[], offset = 0): Formatter {
  return (value, decimals) => {
    if (!Number.isFinite(value)) return { text: fixed(value, 0), suffix: '' };
    const at = place(value, factor, units.length, offset);
    const shown = at === offset ? value : value / factor ** (at - offset);
    return { text: fixed(shown, decimals), suffix: units[at] };
  };
}
