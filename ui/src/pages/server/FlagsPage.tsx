import { useData } from '../../api/useData';
import { SERVER_TABS } from '../../app/places';
import { useParam } from '../../app/url';
import { EmptyState, Waiting } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import list from '../list.module.css';
import pages from '../pages.module.css';
import { TabBar } from '../TabBar';
import { fetchFlags } from './api';
import css from './server.module.css';

/** The flags the server was started with, those that were left out included. */
export function FlagsPage() {
  const { data, error } = useData('flags', fetchFlags);
  const [filter, setFilter] = useParam<string>('filter', '');
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = Object.entries(data ?? {})
    .filter(([name, value]) => words.every((word) => `--${name}=${value}`.toLowerCase().includes(word)))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return (
    <div class={list.page}>
      <TabBar label="Server" tabs={SERVER_TABS} here="/flags" />
      <div class={pages.filterBar}>
        <input
          type="text"
          class={parts.field}
          aria-label="Filter flags"
          placeholder="Filter: words of a flag or of its value"
          spellcheck={false}
          autocomplete="off"
          value={filter}
          onInput={(event) => setFilter(event.currentTarget.value)}
        />
      </div>
      <Waiting data={data} error={error} what="The flags could not be asked for." rows={8} />
      {data && (
        <div class={parts.sheet}>
          {shown.length === 0 ? (
            <EmptyState title="No flag matches">
              <button type="button" class={parts.button} onClick={() => setFilter('')}>
                Show all
              </button>
            </EmptyState>
          ) : (
            <dl class={css.flags}>
              {shown.map(([name, value]) => (
                <div key={name} data-test="flag">
                  <dt>--{name}</dt>
                  <dd>{value === '' ? <span class={list.dim}>empty</span> : value}</dd>
                </div>
              ))}
            </dl>
          )}
        </div>
      )}
    </div>
  );
}
