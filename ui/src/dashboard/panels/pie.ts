/** Slices of a pie. Pure. */
import type { Tile } from './reduce';
import type { DisplayValue } from '../fields/display';

export interface Slice {
  key: string;
  name: string;
  color: string;
  value: DisplayValue;
  /** Where it starts and ends, as parts of the whole. */
  from: number;
  to: number;
}

/** Values above zero as parts of their sum, sorted as asked. */
export function slices(tiles: readonly Tile[], sort: string): Slice[] {
  const positive = tiles.filter((tile) => tile.value.numeric > 0 && Number.isFinite(tile.value.numeric));
  const total = positive.reduce((sum, tile) => sum + tile.value.numeric, 0);
  const sign = sort === 'asc' ? 1 : sort === 'desc' ? -1 : 0;
  const sorted = [...positive].sort((a, b) => sign * (a.value.numeric - b.value.numeric));
  let at = 0;
  return sorted.map((tile, i) => {
    const from = at;
    at += tile.value.numeric / total;
    return { key: `${tile.name} ${i}`, name: tile.name, color: tile.color, value: tile.value, from, to: at };
  });
}

function point(part: number, radius: number): string {
  const angle = (part - 0.25) * 2 * Math.PI;
  return `${(50 + radius * Math.cos(angle)).toFixed(3)} ${(50 + radius * Math.sin(angle)).toFixed(3)}`;
}

/** One slice in a box of 100 by 100; with an inner radius a piece of a ring. */
export function slicePath(from: number, to: number, outer: number, inner: number): string {
  // A whole circle has no two different ends: it is drawn as two halves.
  if (to - from > 0.9999) {
    const circle = (r: number): string =>
      r === 0 ? '' : `M${point(0, r)}A${r} ${r} 0 1 1 ${point(0.5, r)}A${r} ${r} 0 1 1 ${point(1, r)}Z`;
    return circle(outer) + circle(inner);
  }
  const large = to - from > 0.5 ? 1 : 0;
  const edge = `${point(from, outer)}A${outer} ${outer} 0 ${large} 1 ${point(to, outer)}`;
  return inner === 0
    ? `M50 50L${edge}Z`
    : `M${edge}L${point(to, inner)}A${inner} ${inner} 0 ${large} 0 ${point(from, inner)}Z`;
}
