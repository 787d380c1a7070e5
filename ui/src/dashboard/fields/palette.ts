/** Grafana's named colours in its two themes, and the order in which series take them. Facts, not taste. */

export type ThemeName = 'dark' | 'light';

/** Shades from darkest to lightest name, per hue: dark, semi-dark, plain, light, super-light. */
const SHADES = ['dark-', 'semi-dark-', '', 'light-', 'super-light-'] as const;

const HUES: Record<ThemeName, Record<string, readonly [string, string, string, string, string]>> = {
  dark: {
    red: ['#C4162A', '#E02F44', '#F2495C', '#FF7383', '#FFA6B0'],
    orange: ['#FA6400', '#FF780A', '#FF9830', '#FFB357', '#FFCB7D'],
    yellow: ['#E0B400', '#F2CC0C', '#FADE2A', '#FFEE52', '#FFF899'],
    green: ['#37872D', '#56A64B', '#73BF69', '#96D98D', '#C8F2C2'],
    blue: ['#1F60C4', '#3274D9', '#5794F2', '#8AB8FF', '#C0D8FF'],
    purple: ['#8F3BB8', '#A352CC', '#B877D9', '#CA95E5', '#DEB6F2'],
  },
  light: {
    red: ['#AD0317', '#C4162A', '#E02F44', '#F2495C', '#FF7383'],
    orange: ['#E55400', '#FA6400', '#FF780A', '#FF9830', '#FFB357'],
    yellow: ['#CC9D00', '#E0B400', '#F2CC0C', '#FADE2A', '#FFEE52'],
    green: ['#19730E', '#37872D', '#56A64B', '#73BF69', '#96D98D'],
    blue: ['#1250B0', '#1F60C4', '#3274D9', '#5794F2', '#8AB8FF'],
    purple: ['#7C2EA3', '#8F3BB8', '#A352CC', '#B877D9', '#CA95E5'],
  },
};

function table(theme: ThemeName): Map<string, string> {
  const out = new Map<string, string>();
  for (const [hue, shades] of Object.entries(HUES[theme])) {
    SHADES.forEach((shade, i) => out.set(`${shade}${hue}`, shades[i] ?? ''));
  }
  out.set('transparent', 'rgba(0, 0, 0, 0)');
  out.set('text', theme === 'dark' ? '#E7E9EC' : '#15181C');
  out.set('panel-bg', theme === 'dark' ? '#16181B' : '#FFFFFF');
  return out;
}

const TABLES: Record<ThemeName, Map<string, string>> = { dark: table('dark'), light: table('light') };

/** The order of series colours that saved dashboards were made with: 18 named ones, then 46 fixed ones. */
export const CLASSIC: readonly string[] = [
  ...'green semi-dark-yellow blue orange red purple dark-green dark-yellow dark-blue dark-orange'.split(' '),
  ...'dark-red dark-purple super-light-green super-light-yellow super-light-blue'.split(' '),
  ...'super-light-orange super-light-red super-light-purple'.split(' '),
  ...'#447EBC #C15C17 #890F02 #0A437C #6D1F62 #584477 #B7DBAB #F4D598 #70DBED #F9BA8F'.split(' '),
  ...'#F29191 #82B5D8 #E5A8E2 #AEA2E0 #629E51 #E5AC0E #64B0C8 #E0752D #BF1B00 #0A50A1'.split(' '),
  ...'#962D82 #614D93 #9AC48A #F2C96D #65C5DB #F9934E #EA6460 #5195CE #D683CE #806EB7'.split(' '),
  ...'#3F6833 #967302 #2F575E #99440A #58140C #052B51 #511749 #3F2B5B #E0F9D7 #FCEACA'.split(' '),
  ...'#CFFAFF #F9E2D2 #FCE2DE #BADFF4 #F9D9F9 #DEDAF7'.split(' '),
];

/** Okabe and Ito's colours, which nearly everybody can tell apart. */
export const COLORBLIND: readonly string[] = [
  '#0072B2',
  '#E69F00',
  '#009E73',
  '#CC79A7',
  '#56B4E9',
  '#D55E00',
  '#F0E442',
];

/** A colour that CSS and canvas understand. Unknown words are passed on: CSS may know them. */
export function resolveColor(name: string, theme: ThemeName): string {
  return TABLES[theme].get(name) ?? name;
}

/** The colour of the n-th series (from 0) in the classic order. */
export function classicColor(index: number, theme: ThemeName): string {
  return resolveColor(CLASSIC[index % CLASSIC.length] ?? 'green', theme);
}

/** The colour that a name always has, whatever its place: for "palette-classic-by-name". */
export function colorByName(name: string, theme: ThemeName): string {
  let hash = 0;
  for (let i = 0; i < name.length; i++) hash = (hash * 31 + name.charCodeAt(i)) | 0;
  return classicColor(Math.abs(hash), theme);
}

/** The colour scales that `continuous-*` modes name, from low to high. */
const CONTINUOUS: Record<string, readonly string[]> = {
  GrYlRd: ['green', 'yellow', 'red'],
  RdYlGr: ['red', 'yellow', 'green'],
  BlYlRd: ['dark-blue', 'super-light-yellow', 'dark-red'],
  YlRd: ['super-light-yellow', 'dark-red'],
  BlPu: ['blue', 'purple'],
  YlBl: ['super-light-yellow', 'dark-blue'],
  blues: ['panel-bg', 'dark-blue'],
  reds: ['panel-bg', 'dark-red'],
  greens: ['panel-bg', 'dark-green'],
  purples: ['panel-bg', 'dark-purple'],
  viridis: ['#440154', '#414487', '#2A788E', '#22A884', '#7AD151', '#FDE725'],
  magma: ['#000004', '#3B0F70', '#8C2981', '#DE4968', '#FE9F6D', '#FCFDBF'],
  plasma: ['#0D0887', '#6A00A8', '#B12A90', '#E16462', '#FCA636', '#F0F921'],
  inferno: ['#000004', '#420A68', '#932667', '#DD513A', '#FCA50A', '#FCFFA4'],
  cividis: ['#00224E', '#35456C', '#666970', '#948E77', '#C8B866', '#FEE838'],
};

export function hexToRgb(color: string): [number, number, number] | null {
  const long = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})/i.exec(color);
  if (long) {
    return [parseInt(long[1] ?? '', 16), parseInt(long[2] ?? '', 16), parseInt(long[3] ?? '', 16)];
  }
  const short = /^#([0-9a-f])([0-9a-f])([0-9a-f])$/i.exec(color);
  if (short) {
    const twice = (s: string | undefined): number => parseInt(`${s}${s}`, 16);
    return [twice(short[1]), twice(short[2]), twice(short[3])];
  }
  const rgb = /^rgba?\(\s*([\d.]+)[\s,]+([\d.]+)[\s,]+([\d.]+)/i.exec(color);
  return rgb ? [Number(rgb[1]), Number(rgb[2]), Number(rgb[3])] : null;
}

/** `color` with another opacity, where it is hexadecimal or rgb(); other notations come back as they are. */
export function withAlpha(color: string, alpha: number): string {
  const rgb = hexToRgb(color);
  return rgb ? `rgba(${rgb[0]}, ${rgb[1]}, ${rgb[2]}, ${alpha})` : color;
}

/** Relative luminance by WCAG; null for a notation that is not understood. */
function luminance(color: string): number | null {
  const rgb = hexToRgb(color);
  if (!rgb) return null;
  const [r = 0, g = 0, b = 0] = rgb.map((c) => {
    const s = c / 255;
    return s <= 0.03928 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: number, b: number): number {
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}

const SURFACES: Record<ThemeName, number> = { light: 1, dark: 0.0092 };

/** Least contrast between text and what is behind it. */
const LEGIBLE = 4.5;

/** The colour as a text of the theme: darker or lighter until it can be read, and no more than that. */
export function legible(color: string, theme: ThemeName): string {
  const rgb = hexToRgb(color);
  if (!rgb) return color;
  const target = theme === 'light' ? 0 : 255;
  let shown = color;
  for (let share = 0; share <= 1; share += 0.05) {
    shown = share === 0 ? color : `rgb(${rgb.map((c) => Math.round(c + (target - c) * share)).join(', ')})`;
    if (contrast(luminance(shown) ?? 0, SURFACES[theme]) >= LEGIBLE) break;
  }
  return shown;
}

/** Nearly black or white, whichever can be read on the colour. */
export function inkOn(color: string): string {
  const under = luminance(color);
  if (under === null) return 'inherit';
  return contrast(under, 1) > contrast(under, 0.007) ? '#ffffff' : '#101418';
}

/** A uniform cubic B-spline through the control values, clamped at its ends; `at` is 0 to 1. */
function basis(values: readonly number[], at: number): number {
  const n = values.length - 1;
  const i = at <= 0 ? 0 : at >= 1 ? n - 1 : Math.floor(at * n);
  const t = Math.min(Math.max(at, 0), 1) * n - i;
  const v1 = values[i] ?? 0;
  const v2 = values[i + 1] ?? 0;
  const v0 = i > 0 ? (values[i - 1] ?? 0) : 2 * v1 - v2;
  const v3 = i < n - 1 ? (values[i + 2] ?? 0) : 2 * v2 - v1;
  const t2 = t * t;
  const t3 = t2 * t;
  return (
    ((1 - 3 * t + 3 * t2 - t3) * v0 +
      (4 - 6 * t2 + 3 * t3) * v1 +
      (1 + 3 * t + 3 * t2 - 3 * t3) * v2 +
      t3 * v3) /
    6
  );
}

/** The colour at `percent` (0 to 1) of a mode such as "continuous-GrYlRd". */
export function continuousColor(mode: string, percent: number, theme: ThemeName): string {
  const stops = CONTINUOUS[mode.replace(/^continuous-/, '')] ?? CONTINUOUS.GrYlRd ?? [];
  const rgb = stops.map((stop) => hexToRgb(resolveColor(stop, theme)) ?? [128, 128, 128]);
  const channel = (c: 0 | 1 | 2): number =>
    Math.round(
      Math.min(
        255,
        Math.max(
          0,
          basis(
            rgb.map((one) => one[c] ?? 0),
            percent,
          ),
        ),
      ),
    );
  return `rgb(${channel(0)}, ${channel(1)}, ${channel(2)})`;
}
