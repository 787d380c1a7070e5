import { useMemo, useState } from 'preact/hooks';
import { Link } from 'wouter-preact';
import { fetchDashboards } from '../../api/client';
import type { DashboardHit } from '../../api/types';
import { useData } from '../../api/useData';
import { EmptyState, ErrorNote, SkeletonRows } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import css from './view.module.css';

function matches(hit: DashboardHit, words: readonly string[]): boolean {
  const text = `${hit.title} ${hit.tags.join(' ')}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

/** All dashboards by name, with a filter. */
export function DashboardListPage() {
  const { data, error } = useData('dashboards', fetchDashboards);
  const [filter, setFilter] = useState('');
  const shown = useMemo(() => {
    const words = filter
      .toLowerCase()
      .split(/\s+/)
      .filter((word) => word !== '');
    return (data ?? [])
      .filter((hit) => matches(hit, words))
      .sort((a, b) => a.title.localeCompare(b.title, 'en', { numeric: true }));
  }, [data, filter]);

  if (error && !data) return <ErrorNote what="The list of dashboards could not be loaded." error={error} />;
  if (!data) return <SkeletonRows rows={4} />;
  if (data.length === 0) {
    return (
      <EmptyState title="No dashboards">
        <p>Dashboards in Grafana's JSON form appear here as soon as the server finds some.</p>
      </EmptyState>
    );
  }
  return (
    <div class={css.listPage}>
      {data.length > 6 && (
        <input
          type="search"
          class={parts.field}
          placeholder="Filter by name or tag"
          aria-label="Filter dashboards"
          value={filter}
          onInput={(event) => setFilter(event.currentTarget.value)}
        />
      )}
      <ul class={`${parts.sheet} ${css.hits}`}>
        {shown.map((hit) => (
          <li key={hit.uid}>
            <Link href={hit.url || `/d/${hit.uid}`} data-test="dashboard">
              <span>{hit.title}</span>
              {hit.tags.map((tag) => (
                <small key={tag}>{tag}</small>
              ))}
            </Link>
          </li>
        ))}
        {shown.length === 0 && <li class={css.nothing}>No dashboard matches "{filter}".</li>}
      </ul>
    </div>
  );
}
