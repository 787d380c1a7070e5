import { useEffect, useState } from 'preact/hooks';
import { useSearch } from 'wouter-preact';
import { rangeInput, setRangeInput, useBeat } from '../../app/beat';
import { PlusIcon } from '../../ui/icons';
import parts from '../../ui/parts.module.css';
import css from './explore.module.css';
import { remember } from './history';
import { QueryPanel } from './QueryPanel';
import { EMPTY_QUERY, readExplore, writeExplore, type QueryState } from './state';

/** Takes over the time range of a link in Prometheus's form, unless the link has one of ours too. */
function adoptRange(search: string): void {
  const state = readExplore(search);
  const params = new URLSearchParams(search);
  if (state.rangeInput && !params.has('from') && !params.has('to'))
    setRangeInput(state.rangeInput, state.end);
}

/** Keys of the panels, so that taking one out does not hand its editor to the next. */
let nextKey = 1;

/** Asks anything in PromQL: an editor, a table and a graph per query, everything in the address. */
export function ExplorePage() {
  // Before anything is asked, so that nothing is asked for the wrong window.
  useState(() => adoptRange(location.search));
  const search = useSearch();
  const beat = useBeat();
  const { queries } = readExplore(search);
  const [keys, setKeys] = useState<number[]>(() => queries.map(() => nextKey++));
  const input = rangeInput.value;

  useEffect(() => {
    if (keys.length !== queries.length) setKeys(queries.map((_, i) => keys[i] ?? nextKey++));
  }, [queries.length]);

  const write = (next: QueryState[], how: 'push' | 'replace'): void => {
    const text = writeExplore({ queries: next, rangeInput: input.range, end: input.end }, location.search);
    const url = `${new URL('explore', document.baseURI).pathname}?${text}`;
    if (url === location.pathname + location.search) return;
    if (how === 'push') history.pushState(null, '', url);
    else history.replaceState(history.state, '', url);
  };

  // The header's range is a part of the queries' address too, in Prometheus's spelling.
  useEffect(() => {
    if (queries.some((query) => query.expr !== '')) write(queries, 'replace');
  }, [input.range, input.end]);

  const change = (at: number, next: QueryState): void => {
    const run = next.expr !== queries[at]?.expr;
    if (run) remember(next.expr);
    write(
      queries.map((query, i) => (i === at ? next : query)),
      run ? 'push' : 'replace',
    );
  };

  return (
    <div class={css.page}>
      {queries.map((query, i) => (
        <QueryPanel
          key={keys[i] ?? `new ${i}`}
          query={query}
          beat={beat}
          onChange={(next) => change(i, next)}
          onRemove={
            queries.length > 1
              ? () => {
                  setKeys(keys.filter((_, j) => j !== i));
                  write(
                    queries.filter((_, j) => j !== i),
                    'push',
                  );
                }
              : undefined
          }
        />
      ))}
      <button
        type="button"
        class={`${parts.button} ${css.add}`}
        onClick={() => {
          setKeys([...keys, nextKey++]);
          write([...queries, EMPTY_QUERY], 'push');
        }}
      >
        <PlusIcon size={14} />
        Add a query
      </button>
    </div>
  );
}
