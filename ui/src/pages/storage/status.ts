/** What the storage page says, worked out from the server's answers. Pure functions. */
import type { LimitScope, NameCount, RefusedSeries, TsdbBlock, TsdbStatus, WalReplay } from '../../api/types';
import type { State } from '../../ui/StateMark';
import { count } from '../../ui/words';

// Scrapes and rules come once a minute at the least; whoever was refused longer ago has stopped.
const ONGOING_MS = 5 * 60_000;
// From this share of a limit on the page warns.
const CLOSE = 0.8;

/** "1,234,567". */
export function grouped(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ',');
}

/** How much of a limit is used. */
export interface Usage {
  scope: LimitScope;
  /** The metric or job; empty for all series. */
  name: string;
  used: number;
  most: number;
  /** From 0 to 1, and above where the limit was lowered. */
  share: number;
}

/** The limits in force, each with those who are closest to it, at most `each` of a kind. */
export function usages(status: TsdbStatus, each = 5): Usage[] {
  const limits = status.seriesLimits ?? { total: 0, metric: 0, job: 0 };
  const all: [LimitScope, NameCount[]][] = [
    ['total', [{ name: '', value: status.headStats.numSeries }]],
    ['metric', status.seriesCountByMetricName],
    ['job', status.seriesCountByJob ?? []],
  ];
  return all.flatMap(([scope, names]) => {
    const most = limits[scope];
    if (!(most > 0)) return [];
    return names
      .slice(0, each)
      .map(({ name, value }) => ({ scope, name, used: value, most, share: value / most }));
  });
}

/** Whether series are refused at present; `now` in milliseconds. */
export function isOngoing(refused: RefusedSeries, now: number): boolean {
  return now - refused.lastTime < ONGOING_MS;
}

export interface Headline {
  state: State;
  sentence: string;
}

/** One sentence: is it well, and who is to blame if not. */
export function headline(status: TsdbStatus, now: number): Headline {
  const refused = (status.refusedSeries ?? []).filter((one) => isOngoing(one, now));
  const [first] = refused;
  if (first) {
    const who =
      first.limit === 'total'
        ? `The limit of ${grouped(first.most)} series is reached`
        : `The ${first.limit} ${first.name || '(none)'} has reached its limit of ${grouped(first.most)} series`;
    const more = refused.length - 1;
    const others = more > 0 ? `, and so ${more === 1 ? 'has' : 'have'} ${count(more, 'other')}` : '';
    return { state: 'critical', sentence: `${who}${others}: new series are refused` };
  }
  const close = usages(status)
    .filter((usage) => usage.share >= CLOSE)
    .sort((a, b) => b.share - a.share)[0];
  if (close) {
    const who =
      close.scope === 'total' ? 'All series together' : `The ${close.scope} ${close.name || '(none)'}`;
    const verb = close.scope === 'total' ? 'fill' : 'fills';
    return {
      state: 'warning',
      sentence: `${who} ${verb} ${Math.floor(close.share * 100)} % of the limit of ${grouped(close.most)} series`,
    };
  }
  return { state: 'ok', sentence: `All well: ${grouped(status.headStats.numSeries)} series, none refused` };
}

export type ListName = 'metric' | 'job' | 'label' | 'pair' | 'memory';

export interface Row {
  name: string;
  value: number;
  /** Of the largest value in the list, from 0 to 1. */
  share: number;
  /** New series of the last hour; undefined where that is not known. */
  fresh?: number;
}

/** The rows of a list whose names hold all `words`; the largest first, or those with the most new series. */
export function rows(status: TsdbStatus, list: ListName, words: readonly string[], byFresh = false): Row[] {
  const lists: Record<ListName, [NameCount[] | undefined, NameCount[] | undefined]> = {
    metric: [status.seriesCountByMetricName, status.newSeriesByMetricName],
    job: [status.seriesCountByJob, status.newSeriesByJob],
    label: [status.labelValueCountByLabelName, undefined],
    pair: [status.seriesCountByLabelValuePair, undefined],
    memory: [status.memoryInBytesByLabelName, undefined],
  };
  const [counts = [], news] = lists[list];
  const fresh = new Map(news?.map(({ name, value }) => [name, value]));
  const largest = Math.max(1, ...counts.map(({ value }) => value));
  const all: Row[] = counts.map(({ name, value }) => ({
    name,
    value,
    share: value / largest,
    fresh: news ? (fresh.get(name) ?? 0) : undefined,
  }));
  const found = all.filter(({ name }) => words.every((word) => name.toLowerCase().includes(word)));
  return byFresh ? found.sort((a, b) => (b.fresh ?? 0) - (a.fresh ?? 0) || b.value - a.value) : found;
}

const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&').replace(/\n/g, '\\n')}"`;
const isPlain = (name: string): boolean => /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name);
const labelName = (name: string): string => (isPlain(name) ? name : quoted(name));

/** The query that tells what a row is made of. */
export function question(list: ListName, name: string): string {
  switch (list) {
    case 'metric':
      return `sort_desc(count by (job) ({__name__=${quoted(name)}}))`;
    case 'job':
      return `topk(20, count by (__name__) ({job=${quoted(name)}}))`;
    case 'pair': {
      const at = name.indexOf('=');
      return `topk(20, count by (__name__, job) ({${labelName(name.slice(0, at))}=${quoted(name.slice(at + 1))}}))`;
    }
    case 'label':
    case 'memory':
      return `topk(20, count by (${labelName(name)}) ({${labelName(name)}!=""}))`;
  }
}

export interface BlockTotals {
  samples: number;
  bytes: number | undefined;
  from: number;
  to: number;
}

/** All blocks together; undefined where there is none. */
export function totals(blocks: readonly TsdbBlock[]): BlockTotals | undefined {
  if (blocks.length === 0) return undefined;
  const isKnown = blocks.every((block) => block.bytes !== undefined);
  return {
    samples: blocks.reduce((sum, block) => sum + block.stats.numSamples, 0),
    bytes: isKnown ? blocks.reduce((sum, block) => sum + (block.bytes ?? 0), 0) : undefined,
    from: Math.min(...blocks.map((block) => block.minTime)),
    to: Math.max(...blocks.map((block) => block.maxTime)),
  };
}

/** Bytes for each sample: "1.31"; a dash where that cannot be told. */
export function bytesPerSample(bytes: number | undefined, samples: number): string {
  return bytes === undefined || samples === 0 ? '–' : (bytes / samples).toFixed(2);
}

/** How much of the log has been read, from 0 to 1; null where nothing is being read. */
export function replayed({ min, max, current, done = current >= max }: WalReplay): number | null {
  if (done) return null;
  return Math.min(1, Math.max(0, (current - min) / (max - min + 1)));
}
