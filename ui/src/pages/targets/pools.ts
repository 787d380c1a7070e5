/** Targets by scrape pool, as the page shows them. Pure functions. */
import type { Labels, Target, TargetsData } from '../../api/types';
import { matches, type Filter } from '../../ui/filter';

export type Health = Target['health'];

export interface Pool {
  name: string;
  /** The targets that pass the filter, down ones first. */
  shown: Target[];
  all: number;
  up: number;
  down: number;
  unknown: number;
  dropped: number;
  /** What was discovered of dropped targets that pass the filter; the server may know fewer than it counts. */
  gone: Labels[];
}

const ORDER: Record<Health, number> = { down: 0, unknown: 1, up: 2 };

/** The pools with at least one target that passes, be it dropped, those with trouble first, then by name. */
export function pools(data: TargetsData, health: Health | 'all', filter: Filter): Pool[] {
  const out = new Map<string, Pool>();
  const pool = (name: string): Pool => {
    const found = out.get(name) ?? {
      name,
      shown: [],
      all: 0,
      up: 0,
      down: 0,
      unknown: 0,
      dropped: 0,
      gone: [],
    };
    out.set(name, found);
    return found;
  };
  for (const target of data.activeTargets) {
    const into = pool(target.scrapePool);
    into.all += 1;
    into[target.health] += 1;
    const text = `${target.scrapePool} ${target.scrapeUrl} ${target.lastError}`;
    if ((health === 'all' || target.health === health) && matches(filter, target.labels, text)) {
      into.shown.push(target);
    }
  }
  for (const { scrapePool, discoveredLabels } of health === 'all' ? data.droppedTargets : []) {
    const name = scrapePool ?? discoveredLabels.job ?? '';
    if (matches(filter, discoveredLabels, `${name} ${Object.values(discoveredLabels).join(' ')}`)) {
      pool(name).gone.push(discoveredLabels);
    }
  }
  for (const [name, dropped] of Object.entries(droppedCounts(data))) {
    const into = out.get(name);
    if (into) into.dropped = dropped;
  }
  for (const one of out.values()) {
    one.shown.sort(
      (a, b) =>
        ORDER[a.health] - ORDER[b.health] || compare(a.labels.instance ?? '', b.labels.instance ?? ''),
    );
  }
  return [...out.values()]
    .filter((one) => one.shown.length > 0 || one.gone.length > 0)
    .sort(
      (a, b) =>
        Number(b.down > 0) - Number(a.down > 0) ||
        Number(b.unknown > 0) - Number(a.unknown > 0) ||
        Number(b.all === 0) - Number(a.all === 0) ||
        compare(a.name, b.name),
    );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Dropped targets by pool: Prometheus counts them, or lists them where it is told to keep them. */
export function droppedCounts(data: TargetsData): Record<string, number> {
  if (data.droppedTargetCounts) return data.droppedTargetCounts;
  const out: Record<string, number> = {};
  for (const target of data.droppedTargets) {
    const name = target.scrapePool ?? target.discoveredLabels.job ?? '';
    out[name] = (out[name] ?? 0) + 1;
  }
  return out;
}

/** A pool is folded when nothing in it asks for attention; `toggled` names the pools somebody turned over. */
export function isOpen(pool: Pool, toggled: ReadonlySet<string>, narrowed: boolean): boolean {
  const byItself = narrowed || pool.down > 0 || pool.unknown > 0 || pool.all <= 3;
  return toggled.has(pool.name) ? !byItself : byItself;
}
