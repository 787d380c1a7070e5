/** Colours of the theme for what is drawn on a canvas, where CSS does not reach. */
import { signal } from '@preact/signals';
import type { ThemeName } from './types';

function current(): ThemeName {
  if (typeof document === 'undefined') return 'light';
  return document.documentElement.dataset.theme === 'dark' ? 'dark' : 'light';
}

/** The theme in force; follows `data-theme` of the page's root. */
export const themeName = signal<ThemeName>(current());

if (typeof MutationObserver !== 'undefined') {
  new MutationObserver(() => {
    themeName.value = current();
  }).observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });
}

export interface CanvasColors {
  text: string;
  grid: string;
  gridFaint: string;
  surface: string;
}

/** Reads the custom properties once per theme and chart. */
export function canvasColors(theme: ThemeName): CanvasColors {
  const style = getComputedStyle(document.documentElement);
  const read = (name: string, fallback: string): string => style.getPropertyValue(name).trim() || fallback;
  const isDark = theme === 'dark';
  return {
    text: read('--text-3', isDark ? '#8f969f' : '#5e666f'),
    grid: isDark ? 'rgba(231, 233, 236, 0.10)' : 'rgba(21, 24, 28, 0.10)',
    gridFaint: isDark ? 'rgba(231, 233, 236, 0.05)' : 'rgba(21, 24, 28, 0.05)',
    surface: read('--surface', isDark ? '#16181b' : '#ffffff'),
  };
}

export const CANVAS_FONT =
  '11px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif';

let measuring: CanvasRenderingContext2D | null = null;

/** Width of a label on the canvas in pixels. */
export function textWidth(text: string): number {
  measuring ??= document.createElement('canvas').getContext('2d');
  if (!measuring) return text.length * 6;
  measuring.font = CANVAS_FONT;
  return measuring.measureText(text).width;
}
