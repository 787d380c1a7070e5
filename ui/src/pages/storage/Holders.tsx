import { Link } from 'wouter-preact';
import { useState } from 'preact/hooks';
import type { TsdbStatus } from '../../api/types';
import { useParam } from '../../app/url';
import { EmptyState, Segments } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { walkRows } from '../../ui/walk';
import { bytes, count } from '../../ui/words';
import pages from '../pages.module.css';
import { grouped, question, rows, type ListName, type Row } from './status';
import css from './storage.module.css';

const SHOWN = 15;

const LISTS: readonly { value: ListName; word: string; of: string; unit: string }[] = [
  { value: 'metric', word: 'Metrics', of: 'metric', unit: 'series' },
  { value: 'job', word: 'Jobs', of: 'job', unit: 'series' },
  { value: 'label', word: 'Labels', of: 'label', unit: 'values' },
  { value: 'pair', word: 'Pairs', of: 'pair', unit: 'series' },
  { value: 'memory', word: 'Label bytes', of: 'label', unit: 'bytes of values' },
];

/** Who has the series: the largest metrics, jobs, labels and pairs, to be filtered by name. */
export function Holders({ status }: { status: TsdbStatus }) {
  const [list, setList] = useParam<ListName>('list', 'metric');
  const [text, setText] = useParam<string>('filter', '');
  const [order, setOrder] = useParam<'size' | 'new'>('order', 'size');
  const [isLong, setLong] = useState(false);
  const kind = LISTS.find((one) => one.value === list) ?? LISTS[0]!;
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const hasFresh = kind.value === 'metric' || kind.value === 'job';
  const found = rows(status, kind.value, words, hasFresh && order === 'new');
  const shown = isLong ? found : found.slice(0, SHOWN);
  const isCounted = found.some((row) => row.fresh !== undefined);

  return (
    <section aria-labelledby="holders">
      <h2 id="holders" class={pages.sectionTitle}>
        Who has the series
      </h2>
      <div class={`${pages.filterBar} ${css.bar2}`}>
        <input
          type="text"
          class={parts.field}
          aria-label="Filter names"
          placeholder="Filter: words of the name"
          spellcheck={false}
          autocomplete="off"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <div class={css.choices}>
          <Segments
            label="What to count"
            value={kind.value}
            onChange={setList}
            options={LISTS.filter((one) => one.value !== 'job' || status.seriesCountByJob)}
          />
        </div>
        {isCounted && (
          <Segments
            label="Order"
            value={order}
            onChange={setOrder}
            options={[
              { value: 'size', word: 'Largest' },
              { value: 'new', word: 'Newest' },
            ]}
          />
        )}
      </div>
      <div class={parts.sheet}>
        {found.length === 0 ? (
          <EmptyState title={text ? 'No name matches' : 'Nothing is stored yet'}>
            {text && <p>Only the largest {kind.of}s are listed here.</p>}
          </EmptyState>
        ) : (
          <div onKeyDown={(event) => walkRows(event, event.currentTarget, 'a')}>
            <p class={css.listHead} aria-hidden="true">
              <span>{kind.of}</span>
              <span />
              <span>{kind.unit}</span>
              {isCounted && <span>new, 1 h</span>}
            </p>
            <ul>
              {shown.map((row) => (
                <Holder key={row.name} row={row} list={kind.value} unit={kind.unit} isCounted={isCounted} />
              ))}
            </ul>
          </div>
        )}
        {found.length > shown.length && (
          <p class={parts.more}>
            {count(found.length - shown.length, 'more', 'more')}
            <button type="button" class={parts.button} onClick={() => setLong(true)}>
              Show all
            </button>
          </p>
        )}
      </div>
    </section>
  );
}

function Holder(props: { row: Row; list: ListName; unit: string; isCounted: boolean }) {
  const { row, list } = props;
  const amount = list === 'memory' ? bytes(row.value) : undefined;
  const href = `/explore?g0.expr=${encodeURIComponent(question(list, row.name))}&g0.tab=table`;
  return (
    <li class={css.holder} data-test="holder">
      <Link href={href} title="Ask what it is made of">
        {row.name || '(none)'}
      </Link>
      <span class={css.bar} aria-hidden="true">
        <span style={{ width: `${Math.max(0.5, row.share * 100)}%` }} />
      </span>
      <span class={css.amount}>
        {amount ? (
          <>
            {amount.number} <small>{amount.unit}</small>
          </>
        ) : (
          <>
            {grouped(row.value)} <small class={css.unit}>{props.unit}</small>
          </>
        )}
      </span>
      {props.isCounted && (
        <span class={css.fresh}>
          {row.fresh ? `+${grouped(row.fresh)}` : '–'} <small class={css.unit}>new</small>
        </span>
      )}
    </li>
  );
}
