import { Link, useSearch } from 'wouter-preact';
import { changeUrl } from '../../app/url';
import css from './view.module.css';

/** The panel that is shown alone, as Grafana's links name it; null for all of them. */
export function useViewedPanel(): string | null {
  return new URLSearchParams(useSearch()).get('viewPanel');
}

/** The address of Explore with these queries and the range of the page. */
export function exploreHref(queries: readonly string[], search: string): string {
  const out = new URLSearchParams();
  queries.forEach((expr, i) => {
    out.set(`g${i}.expr`, expr);
    out.set(`g${i}.tab`, 'graph');
  });
  const now = new URLSearchParams(search);
  for (const name of ['from', 'to', 'refresh']) {
    const value = now.get(name);
    if (value !== null) out.set(name, value);
  }
  return `/explore?${out.toString()}`;
}

/** Small buttons at a panel's title: look at it alone, and go on asking. */
export function PanelActions({
  id,
  title,
  queries,
}: {
  id: string;
  title: string;
  queries: readonly string[];
}) {
  const search = useSearch();
  const isAlone = useViewedPanel() === id;
  const name = title || 'this panel';
  return (
    <span class={css.actions}>
      {queries.length > 0 && (
        <Link
          href={exploreHref(queries, search)}
          aria-label={`Explore the queries of ${name}`}
          title="Explore the queries"
        >
          <svg width="14" height="14" viewBox="0 0 16 16" aria-hidden="true">
            <path d="M2 13.5h12M2.5 10.5l3.2-4 3 2.5 4.8-6" />
          </svg>
        </Link>
      )}
      <button
        type="button"
        aria-label={isAlone ? 'Show all panels' : `Show ${name} alone`}
        title={isAlone ? 'Show all panels' : 'Show this panel alone'}
        onClick={() => changeUrl({ viewPanel: isAlone ? null : id }, 'push')}
      >
        <svg width="14" height="14" viewBox="0 0 16 16" aria-hidden="true">
          <path
            d={
              isAlone
                ? 'M6.5 2.5v4h-4M9.5 13.5v-4h4M6.5 6.5l-4-4M9.5 9.5l4 4'
                : 'M9.5 2.5h4v4M6.5 13.5h-4v-4M13.5 2.5l-4.5 4.5M2.5 13.5 7 9'
            }
          />
        </svg>
      </button>
    </span>
  );
}
