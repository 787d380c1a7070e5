/** Sends planned queries: each different one once, whoever asks for it. */
import { effect } from '@preact/signals';
import { ApiError, prom, type PromAnswer } from '../../api/client';
import type { QueryData } from '../../api/types';
import { tick } from '../../time/range';
import { tableFrame, seriesFrames, type Frame } from './frames';
import { seriesNames } from './legend';
import type { Planned } from './plan';

interface Shared {
  answer: Promise<PromAnswer<QueryData>>;
  controller: AbortController;
  waiting: number;
  isDone: boolean;
}

const shared = new Map<string, Shared>();
const MOST_KEPT = 300;

if (typeof window !== 'undefined') {
  // What was answered before a refresh is old afterwards; what is still under way is as new as can be.
  effect(() => {
    void tick.value;
    for (const [key, one] of shared) if (one.isDone) shared.delete(key);
  });
}

function start(query: Planned): Shared {
  const controller = new AbortController();
  const answer =
    query.kind === 'range'
      ? prom<QueryData>(
          'query_range',
          {
            query: query.expr,
            start: query.fromMs / 1000,
            end: query.toMs / 1000,
            step: query.stepMs / 1000,
          },
          controller.signal,
        )
      : prom<QueryData>('query', { query: query.expr, time: query.toMs / 1000 }, controller.signal);
  const one: Shared = { answer, controller, waiting: 0, isDone: false };
  return one;
}

/** The answer to one query. It is only given up when nobody waits for it any more. */
export async function ask(query: Planned, signal: AbortSignal): Promise<PromAnswer<QueryData>> {
  const time = query.kind === 'range' ? `${query.fromMs} ${query.toMs} ${query.stepMs}` : String(query.toMs);
  const key = `${query.kind} ${time} ${query.expr}`;
  let one = shared.get(key);
  if (!one) {
    const started = start(query);
    one = started;
    shared.set(key, started);
    if (shared.size > MOST_KEPT) shared.delete(shared.keys().next().value ?? '');
    started.answer.then(
      () => {
        started.isDone = true;
      },
      () => {
        if (shared.get(key) === started) shared.delete(key);
      },
    );
  }
  const mine = one;
  mine.waiting += 1;
  const leave = (): void => {
    mine.waiting -= 1;
    if (mine.waiting > 0 || mine.isDone) return;
    if (shared.get(key) === mine) shared.delete(key);
    mine.controller.abort();
  };
  signal.addEventListener('abort', leave, { once: true });
  try {
    return await mine.answer;
  } finally {
    signal.removeEventListener('abort', leave);
    if (!signal.aborted) mine.waiting -= 1;
  }
}

/** A query that failed, with what was asked. */
export class QueryError extends Error {
  override name = 'QueryError';
  constructor(
    override readonly cause: Error,
    readonly query: Planned,
  ) {
    super(cause.message);
  }

  /** True when the server did not answer at all: what was shown before is then still the best there is. */
  get isLoss(): boolean {
    return this.cause instanceof ApiError && this.cause.errorType === 'connection';
  }
}

export interface Answered {
  frames: Frame[];
  warnings: string[];
  queries: readonly Planned[];
  fromMs: number;
  toMs: number;
}

/** Asks for all of a panel. The first query that fails fails the panel. */
export async function askAll(
  queries: readonly Planned[],
  signal: AbortSignal,
): Promise<Omit<Answered, 'fromMs' | 'toMs'>> {
  const tables = queries.filter((query) => query.format === 'table').length;
  const answers = await Promise.all(
    queries.map(async (query) => {
      try {
        return await ask(query, signal);
      } catch (error) {
        if (error instanceof DOMException && error.name === 'AbortError') throw error;
        throw new QueryError(error instanceof Error ? error : new Error(String(error)), query);
      }
    }),
  );
  const frames = answers.flatMap(({ data }, i) => {
    const query = queries[i];
    if (!query) return [];
    if (query.format === 'table') return [tableFrame(data, query.refId, tables === 1)];
    return seriesFrames(
      data,
      query.refId,
      (all) => seriesNames(query.legendFormat, query.expr, all),
      query.kind === 'range' ? query.stepMs : undefined,
    );
  });
  return { frames, warnings: answers.flatMap((answer) => [...answer.warnings]), queries };
}
