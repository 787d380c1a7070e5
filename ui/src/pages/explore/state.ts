/**
 * The state of Explore as it stands in the address, in Prometheus's spelling: `g0.expr`, `g0.tab`,
 * `g0.range_input`, `g0.end_input`, `g0.step_input`, `g0.res_type`, `g0.res_step`, then `g1.…` and so on.
 * Pure functions.
 */
import { durationSeconds } from '../../ui/duration';

export type Tab = 'graph' | 'table';

export interface QueryState {
  expr: string;
  tab: Tab;
  /** A fixed resolution in seconds; null lets the page choose. */
  step: number | null;
}

export interface ExploreState {
  queries: QueryState[];
  /** As written, "1h"; null when the address does not say. */
  rangeInput: string | null;
  /** Milliseconds since the epoch; null means now. */
  end: number | null;
}

export const EMPTY_QUERY: QueryState = { expr: '', tab: 'graph', step: null };

const PARAM = /^g(\d+)\.(\w+)$/;

/** Prometheus 2 wrote 0 for the graph and 1 for the table; explain and tree are not drawn here: the table is. */
function readTab(text: string | undefined): Tab {
  return text === undefined || text === '0' || text === 'graph' ? 'graph' : 'table';
}

function readStep(params: Map<string, string>): number | null {
  const fixed = params.get('res_type');
  const text =
    fixed === undefined || fixed === 'fixed' ? (params.get('res_step') ?? params.get('step_input')) : '';
  const seconds = Number(text);
  return Number.isFinite(seconds) && seconds > 0 ? seconds : null;
}

/** Reads a time as Prometheus's page writes it ("2026-03-01 03:12:45", UTC), RFC 3339 or milliseconds. */
export function readEnd(text: string | undefined): number | null {
  if (!text) return null;
  if (/^\d{12,}$/.test(text)) return Number(text);
  const plain = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)$/.exec(text);
  const at = Date.parse(plain ? `${plain[1]}T${plain[2]}Z` : text);
  return Number.isNaN(at) ? null : at;
}

export function readExplore(search: string): ExploreState {
  const panels = new Map<number, Map<string, string>>();
  for (const [name, value] of new URLSearchParams(search)) {
    const match = PARAM.exec(name);
    if (!match?.[1] || !match[2]) continue;
    const at = Number(match[1]);
    const panel = panels.get(at) ?? new Map<string, string>();
    panel.set(match[2], value);
    panels.set(at, panel);
  }
  const sorted = [...panels].sort(([a], [b]) => a - b).map(([, params]) => params);
  const queries = sorted.map((params): QueryState => ({
    expr: params.get('expr') ?? '',
    tab: readTab(params.get('tab')),
    step: readStep(params),
  }));
  const first = sorted[0];
  const rangeInput = first?.get('range_input') ?? null;
  return {
    queries: queries.length > 0 ? queries : [EMPTY_QUERY],
    rangeInput: rangeInput !== null && durationSeconds(rangeInput) !== null ? rangeInput : null,
    end: readEnd(first?.get('end_input') ?? first?.get('moment_input')),
  };
}

/** `search` with the queries of `state` in it and everything else as it was. */
export function writeExplore(state: ExploreState, search: string): string {
  const out = new URLSearchParams();
  state.queries.forEach((query, i) => {
    out.set(`g${i}.expr`, query.expr);
    out.set(`g${i}.tab`, query.tab);
    if (state.rangeInput) out.set(`g${i}.range_input`, state.rangeInput);
    if (state.end !== null) out.set(`g${i}.end_input`, new Date(state.end).toISOString());
    if (query.step !== null) {
      out.set(`g${i}.res_type`, 'fixed');
      out.set(`g${i}.res_step`, String(query.step));
    }
  });
  for (const [name, value] of new URLSearchParams(search)) if (!PARAM.test(name)) out.append(name, value);
  return out.toString();
}

const STEPS = [
  1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
];

/** The resolution for a graph: a round number of seconds that gives at most about `points` points. */
export function autoStep(rangeSeconds: number, points = 480): number {
  const least = rangeSeconds / points;
  return STEPS.find((step) => step >= least) ?? Math.ceil(least / 86400) * 86400;
}
