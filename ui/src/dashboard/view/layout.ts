/** Where every panel stands: rows folded or open, panels and rows repeated for the values of a variable. Pure. */
import { COLUMNS } from '../model/grid';
import type { GridPos, Panel } from '../model/types';
import { interpolate, type Resolved, type Scope } from '../vars/refs';

export interface Placed {
  /** Unique on the page, also among the copies of a repeated panel. */
  key: string;
  panel: Panel;
  pos: GridPos;
  /** Values that hold for this copy only. */
  scoped: ReadonlyMap<string, Resolved>;
  /** Rows only. */
  row?: { isOpen: boolean; count: number };
}

/** The chosen values of a variable that something is repeated for. */
export type RepeatValues = (name: string) => { text: string; value: string }[];

const MOST_COPIES = 50;

interface Section {
  row: Panel | null;
  panels: Panel[];
  /** The line of the grid that is the section's first. */
  base: number;
}

function sections(panels: readonly Panel[]): Section[] {
  const sorted = [...panels].sort((a, b) => a.gridPos.y - b.gridPos.y || a.gridPos.x - b.gridPos.x);
  const out: Section[] = [{ row: null, panels: [], base: 0 }];
  for (const panel of sorted) {
    if (panel.type !== 'row') {
      out[out.length - 1]?.panels.push(panel);
      continue;
    }
    const inside = panel.panels ?? [];
    const base =
      inside.length > 0 ? Math.min(...inside.map((one) => one.gridPos.y)) : panel.gridPos.y + panel.gridPos.h;
    out.push({ row: panel, panels: [...inside], base });
  }
  return out;
}

interface Copy {
  panel: Panel;
  pos: GridPos;
  scoped: ReadonlyMap<string, Resolved>;
  suffix: string;
}

/** Copies of one panel, beside each other or below, and by how many lines they are longer than the panel was. */
function repeatPanel(panel: Panel, values: RepeatValues): { copies: Copy[]; extra: number } {
  const chosen = panel.repeat ? values(panel.repeat).slice(0, MOST_COPIES) : [];
  if (!panel.repeat || chosen.length === 0) {
    return { copies: [{ panel, pos: panel.gridPos, scoped: new Map(), suffix: '' }], extra: 0 };
  }
  const { x, y, w, h } = panel.gridPos;
  const name = panel.repeat;
  const isDown = panel.repeatDirection === 'v';
  const perLine = isDown ? 1 : Math.min(chosen.length, panel.maxPerRow ?? 4);
  const width = isDown ? w : Math.floor(COLUMNS / perLine);
  const copies = chosen.map((value, i): Copy => {
    const line = Math.floor(i / perLine);
    return {
      panel,
      pos: { x: isDown ? x : (i % perLine) * width, y: y + line * h, w: width, h },
      scoped: new Map([[name, { value: value.value, text: value.text }]]),
      suffix: `/${value.value}`,
    };
  });
  return { copies, extra: (Math.ceil(chosen.length / perLine) - 1) * h };
}

function expand(panels: readonly Panel[], values: RepeatValues): Copy[] {
  const out: Copy[] = [];
  let shift = 0;
  let until = -1;
  const sorted = [...panels].sort((a, b) => a.gridPos.y - b.gridPos.y || a.gridPos.x - b.gridPos.x);
  let pending = 0;
  for (const panel of sorted) {
    // What a repeated panel takes in height moves only what stands below it.
    if (panel.gridPos.y >= until) {
      shift += pending;
      pending = 0;
    }
    const { copies, extra } = repeatPanel(panel, values);
    if (extra > 0) {
      pending = Math.max(pending, extra);
      until = panel.gridPos.y + panel.gridPos.h;
    }
    for (const copy of copies) out.push({ ...copy, pos: { ...copy.pos, y: copy.pos.y + shift } });
  }
  return out;
}

/**
 * Places all panels from top to bottom. `isOpen` says whether a row is open; a folded row's panels are left out and
 * what is below moves up.
 */
export function layout(
  panels: readonly Panel[],
  isOpen: (row: Panel) => boolean,
  values: RepeatValues,
): Placed[] {
  const out: Placed[] = [];
  let y = 0;
  for (const section of sections(panels)) {
    const { row } = section;
    const chosen = row?.repeat ? values(row.repeat).slice(0, MOST_COPIES) : [];
    const rounds: { scoped: ReadonlyMap<string, Resolved>; suffix: string }[] =
      row?.repeat && chosen.length > 0
        ? chosen.map((one) => ({
            scoped: new Map([[row.repeat ?? '', { value: one.value, text: one.text }]]),
            suffix: `/${one.value}`,
          }))
        : [{ scoped: new Map(), suffix: '' }];
    for (const { scoped, suffix } of rounds) {
      const open = row === null || isOpen(row);
      if (row) {
        out.push({
          key: `${row.id}${suffix}`,
          panel: row,
          pos: { x: 0, y, w: COLUMNS, h: 1 },
          scoped,
          row: { isOpen: open, count: section.panels.length },
        });
        y += 1;
      }
      if (!open) continue;
      let end = y;
      for (const copy of expand(section.panels, values)) {
        const pos = { ...copy.pos, y: y + Math.max(0, copy.pos.y - section.base) };
        out.push({
          key: `${copy.panel.id}${copy.suffix}${suffix}`,
          panel: copy.panel,
          pos,
          scoped: new Map([...scoped, ...copy.scoped]),
        });
        end = Math.max(end, pos.y + pos.h);
      }
      y = end;
    }
  }
  return out;
}

/** A title with its variables filled in. */
export function titleOf(panel: Panel, scope: Scope): string {
  return interpolate(panel.title ?? '', scope, 'text');
}
