/** The words at the crosshair. Plain DOM: it changes with every move of the pointer. */
import type { Formatted } from '../dashboard/fields/number';
import css from './chart.module.css';

export interface TooltipRow {
  name: string;
  color: string;
  value: Formatted;
  isNearest: boolean;
}

/** More rows than this help nobody; the rest is counted. */
const MOST_ROWS = 20;

function element(tag: string, className: string | undefined, text?: string): HTMLElement {
  const out = document.createElement(tag);
  if (className) out.className = className;
  if (text !== undefined) out.textContent = text;
  return out;
}

/** Which rows stay when there are too many: those around the nearest one. */
function visibleRows(rows: readonly TooltipRow[]): readonly TooltipRow[] {
  if (rows.length <= MOST_ROWS) return rows;
  const nearest = Math.max(
    0,
    rows.findIndex((row) => row.isNearest),
  );
  const start = Math.min(Math.max(0, nearest - MOST_ROWS / 2), rows.length - MOST_ROWS);
  return rows.slice(start, start + MOST_ROWS);
}

export class Tooltip {
  private box: HTMLElement | null = null;

  /** Shows the rows beside a point of the window (CSS pixels). */
  show(time: string, rows: readonly TooltipRow[], x: number, y: number): void {
    if (!this.box) {
      this.box = element('div', css.tooltip);
      this.box.setAttribute('aria-hidden', 'true');
      document.body.append(this.box);
    }
    const box = this.box;
    box.replaceChildren(element('div', css.tooltipTime, time));
    const table = element('div', css.tooltipRows);
    for (const { name, color, value, isNearest } of visibleRows(rows)) {
      const row = element('div', isNearest && rows.length > 1 ? css.tooltipNearest : css.tooltipRow);
      const swatch = element('span', css.swatch);
      swatch.style.background = color;
      const number = element('span', css.tooltipValue, `${value.prefix ?? ''}${value.text}`);
      if (value.suffix) number.append(element('i', undefined, value.suffix));
      row.append(swatch, element('span', css.tooltipName, name), number);
      table.append(row);
    }
    box.append(table);
    if (rows.length > MOST_ROWS) {
      box.append(element('div', css.tooltipMore, `${rows.length - MOST_ROWS} more`));
    }
    box.hidden = false;
    const { offsetWidth: width, offsetHeight: height } = box;
    const isLeft = x + width + 24 > window.innerWidth && x - width - 16 > 0;
    const left = isLeft ? x - width - 16 : Math.min(x + 16, window.innerWidth - width - 4);
    const top = Math.min(Math.max(4, y + 12), window.innerHeight - height - 4);
    box.style.transform = `translate(${Math.round(Math.max(4, left))}px, ${Math.round(Math.max(4, top))}px)`;
  }

  hide(): void {
    if (this.box) this.box.hidden = true;
  }

  destroy(): void {
    this.box?.remove();
    this.box = null;
  }
}
