/** From rows of old dashboards to the grid of 24 columns, and from a grid with gaps to places. */
import { flag, number, object, objects, text } from './json';
import type { JsonObject } from './types';

export const COLUMNS = 24;
/** Height of a grid cell and the gap between two, in pixels. */
export const CELL = 30;
export const GAP = 8;

const MIN_HEIGHT = 90;

function pixels(value: JsonObject['height'], fallback: number): number {
  if (typeof value === 'string') return number(value.replace('px', '')) ?? fallback;
  return number(value) ?? fallback;
}

function cells(px: number): number {
  return Math.ceil(Math.max(MIN_HEIGHT, px) / (CELL + GAP));
}

/**
 * Puts the panels of `rows` on the grid, from left to right and line by line. Rows become panels of their own
 * where a row was folded, named or repeated; folded rows keep their panels inside.
 */
export function rowsToPanels(rows: JsonObject[], nextId: () => number): JsonObject[] {
  const out: JsonObject[] = [];
  const hasRows = rows.some((row) => flag(row.collapse) || flag(row.showTitle) || text(row.repeat) !== '');
  let y = 0;
  for (const row of rows) {
    if (row.repeatIteration) continue;
    const height = cells(pixels(row.height, 250));
    const isCollapsed = flag(row.collapse);
    const inside: JsonObject[] = [];
    if (hasRows) {
      out.push({
        id: nextId(),
        type: 'row',
        title: text(row.title),
        collapsed: isCollapsed,
        repeat: row.repeat,
        panels: inside,
        gridPos: { x: 0, y, w: COLUMNS, h: 1 },
      });
      y += 1;
    }
    let x = 0;
    let lineY = y;
    let end = y;
    for (const panel of objects(row.panels)) {
      const w = Math.min(COLUMNS, Math.max(1, Math.floor(number(panel.span) ?? 4) * 2));
      const h =
        panel.height === undefined || panel.height === null ? height : cells(pixels(panel.height, 250));
      if (x + w > COLUMNS) {
        x = 0;
        lineY = end;
      }
      const { span: _span, ...rest } = panel;
      (isCollapsed ? inside : out).push({ ...rest, gridPos: { x, y: lineY, w, h } });
      x += w;
      end = Math.max(end, lineY + h);
    }
    if (!isCollapsed) y = end;
  }
  return out;
}

/** Gives every panel without a place one below the others, two beside each other. */
export function fillPlaces(panels: JsonObject[]): void {
  let y = 0;
  let x = 0;
  for (const panel of panels) {
    const at = object(panel.gridPos);
    if (number(at.w) !== undefined && number(at.h) !== undefined) {
      y = Math.max(y, (number(at.y) ?? 0) + (number(at.h) ?? 0));
    }
  }
  for (const panel of panels) {
    const at = object(panel.gridPos);
    const h = number(at.h);
    const w = number(at.w);
    if (h !== undefined && w !== undefined) {
      panel.gridPos = { x: number(at.x) ?? 0, y: number(at.y) ?? 0, w, h };
      continue;
    }
    const isRow = panel.type === 'row';
    if (isRow) {
      if (x > 0) y += 8;
      x = 0;
    }
    panel.gridPos = isRow ? { x: 0, y, w: COLUMNS, h: 1 } : { x, y, w: 12, h: 8 };
    if (isRow) y += 1;
    else if (x === 12) {
      x = 0;
      y += 8;
    } else x = 12;
  }
}
