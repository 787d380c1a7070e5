import { useState } from 'preact/hooks';
import type { Labels, QueryData, Sample } from '../../api/types';
import { CopyButton } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { exactTime } from '../../ui/words';
import css from './explore.module.css';

const CAP = 200;
const SAMPLES = 12;

interface Line {
  labels: Labels;
  values: Sample[];
  note?: string;
}

function lines(data: QueryData): Line[] {
  switch (data.resultType) {
    case 'scalar':
    case 'string':
      return [{ labels: {}, values: [data.result], note: data.resultType }];
    case 'vector':
      return data.result.map((one) => ({
        labels: one.metric,
        values: one.value ? [one.value] : [],
        note: one.histogram ? 'native histogram' : undefined,
      }));
    case 'matrix':
      return data.result.map((one) => ({ labels: one.metric, values: one.values ?? [] }));
  }
}

/** `name{label="value"}` in plain text. */
export function seriesText(labels: Labels): string {
  const { __name__: name = '', ...rest } = labels;
  const inner = Object.entries(rest)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join(', ');
  return inner === '' ? name || '{}' : `${name}{${inner}}`;
}

type Order = 'server' | 'up' | 'down';

function ordered(list: Line[], order: Order): Line[] {
  if (order === 'server') return list;
  const sign = order === 'up' ? 1 : -1;
  const last = (line: Line): number => Number(line.values[line.values.length - 1]?.[1] ?? Number.NaN);
  return [...list].sort((a, b) => {
    const [x, y] = [last(a), last(b)];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number(Number.isNaN(x)) - Number(Number.isNaN(y));
    return sign * (x - y);
  });
}

/** The answer as rows: series left, value right. Long answers are cut until somebody asks for all. */
export function ResultTable({ data }: { data: QueryData }) {
  const [all, setAll] = useState(false);
  const [order, setOrder] = useState<Order>('server');
  const list = ordered(lines(data), order);
  const shown = all ? list : list.slice(0, CAP);
  const next: Record<Order, Order> = { server: 'down', down: 'up', up: 'server' };
  const sorts = { server: 'none', up: 'ascending', down: 'descending' } as const;
  return (
    <div>
      <div class={parts.tableScroll}>
        <table class={parts.table}>
          <thead>
            <tr>
              <th scope="col">Series</th>
              <th scope="col" class={parts.number} aria-sort={sorts[order]}>
                <button type="button" onClick={() => setOrder(next[order])} title="Sort by value">
                  Value{order === 'down' ? ' ↓' : order === 'up' ? ' ↑' : ''}
                </button>
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.map((line, i) => (
              <tr key={`${seriesText(line.labels)} ${i}`} data-test="row">
                <td class={css.series}>
                  <Series labels={line.labels} note={line.note} />
                </td>
                <td class={parts.number}>
                  <Values values={line.values} many={data.resultType === 'matrix'} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <div class={parts.more}>
        {shown.length < list.length && (
          <>
            <span>
              {shown.length} of {list.length} series
            </span>
            <button type="button" class={parts.button} onClick={() => setAll(true)}>
              Show all {list.length}
            </button>
          </>
        )}
        <span class={css.grow} />
        <CopyButton
          label="Copy as text"
          text={list
            .map(
              (line) => `${seriesText(line.labels)} ${line.values.map(([t, v]) => `${v} @${t}`).join(' ')}`,
            )
            .join('\n')}
        />
      </div>
    </div>
  );
}

function Series({ labels, note }: { labels: Labels; note?: string }) {
  const { __name__: name, ...rest } = labels;
  const entries = Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1));
  return (
    <>
      {name && <b>{name}</b>}
      {entries.length > 0 && '{'}
      {entries.map(([key, value], i) => (
        <span key={key}>
          {i > 0 && ', '}
          <i>{key}</i>="{value}"
        </span>
      ))}
      {entries.length > 0 && '}'}
      {!name && entries.length === 0 && <i>{note ?? '{}'}</i>}
      {note && (name || entries.length > 0) && <i> {note}</i>}
    </>
  );
}

function Values({ values, many }: { values: Sample[]; many: boolean }) {
  if (!many) {
    const [only] = values;
    return only ? <span title={exactTime(only[0] * 1000)}>{only[1]}</span> : <>–</>;
  }
  const cut = values.length - SAMPLES;
  return (
    <>
      {cut > 0 && <span class={css.cut}>{cut} older</span>}
      {values.slice(-SAMPLES).map(([t, v]) => (
        <span key={t} class={css.sample}>
          {v} <i>{exactTime(t * 1000).slice(11, 19)}</i>
        </span>
      ))}
    </>
  );
}
