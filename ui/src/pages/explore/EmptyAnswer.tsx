import { useEffect, useState } from 'preact/hooks';
import { prom } from '../../api/client';
import { EmptyState } from '../../ui/parts';
import { metricNames } from './errors';
import css from './explore.module.css';
import type { Tab } from './state';

const EXAMPLES: readonly [query: string, words: string][] = [
  ['up', 'Which targets answer'],
  [
    '100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m])))',
    'Processor use of each machine, in percent',
  ],
  ['node_filesystem_avail_bytes / node_filesystem_size_bytes', 'Free part of each filesystem'],
  ['topk(10, count by (__name__) ({__name__=~".+"}))', 'The metrics with most series'],
];

/** What to ask first. */
export function Examples({ onChoose }: { onChoose: (query: string) => void }) {
  return (
    <EmptyState title="Ask something">
      <p>Type an expression above, or start from one of these.</p>
      <ul class={css.examples}>
        {EXAMPLES.map(([query, words]) => (
          <li key={query}>
            <button type="button" onClick={() => onChoose(query)}>
              <code>{query}</code>
              <span>{words}</span>
            </button>
          </li>
        ))}
      </ul>
    </EmptyState>
  );
}

/** An answer without series, with the reason as far as it can be found out. */
export function EmptyAnswer({ expr, from, to, tab }: { expr: string; from: number; to: number; tab: Tab }) {
  const [missing, setMissing] = useState<string[] | null>(null);
  useEffect(() => {
    const controller = new AbortController();
    const names = metricNames(expr).slice(0, 4);
    setMissing(null);
    Promise.all(
      names.map(async (name) => {
        const params = { 'match[]': name, start: Math.floor(from), end: Math.ceil(to) };
        const { data } = await prom<string[]>('label/__name__/values', params, controller.signal);
        return data.length === 0 ? [name] : [];
      }),
    ).then(
      (found) => setMissing(found.flat()),
      () => undefined,
    );
    return () => controller.abort();
  }, [expr, from, to]);

  const when = tab === 'graph' ? 'in this time range' : 'at this time';
  return (
    <EmptyState title="No series">
      <p>
        {missing === null ? (
          `Nothing matches ${when}.`
        ) : missing.length > 0 ? (
          <>
            There is no metric{' '}
            {missing.map((name, i) => (
              <>
                {i > 0 && ' nor '}
                <code>{name}</code>
              </>
            ))}{' '}
            in this time range. It may be misspelt, or its target may be down or not scraped.
          </>
        ) : (
          `The metrics exist, but no series matches ${when}. Look at the labels and at comparisons in the query.`
        )}
      </p>
    </EmptyState>
  );
}
