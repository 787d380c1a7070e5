import { useState } from 'preact/hooks';
import { reduceNumber, reducerOf } from '../dashboard/data/reducers';
import { readable } from '../dashboard/fields/formats';
import css from './chart.module.css';
import type { ChartLegend, ChartSeries } from './types';

export interface LegendProps {
  series: readonly ChartSeries[];
  legend: ChartLegend;
  hidden: ReadonlySet<string>;
  /** Isolates, or with `isToggle` hides or shows only this one. */
  onChoose: (key: string, isToggle: boolean) => void;
  onHighlight: (key: string | null) => void;
}

interface Calculated {
  series: ChartSeries;
  numbers: (number | null)[];
}

function calculate(series: readonly ChartSeries[], calcs: readonly string[]): Calculated[] {
  return series
    .filter((one) => !one.hideInLegend)
    .map((one) => {
      const values = one.values.filter((value) => value !== undefined);
      return { series: one, numbers: calcs.map((calc) => reduceNumber(calc, values)) };
    });
}

function sortRows(rows: Calculated[], column: number | null, isDescending: boolean): Calculated[] {
  if (column === null) return rows;
  const sign = isDescending ? -1 : 1;
  return [...rows].sort((a, b) => {
    if (column < 0) return sign * a.series.name.localeCompare(b.series.name, 'en', { numeric: true });
    return sign * ((a.numbers[column] ?? -Infinity) - (b.numbers[column] ?? -Infinity) || 0);
  });
}

function Amount({ value, series }: { value: number | null; series: ChartSeries }) {
  if (value === null || Number.isNaN(value)) return <span class={css.none}>–</span>;
  const { prefix, text, suffix } = readable(value, series.unit, series.decimals);
  return (
    <>
      {prefix}
      {text}
      {suffix && <i>{suffix}</i>}
    </>
  );
}

function Name({
  series,
  hidden,
  onChoose,
  onHighlight,
}: { series: ChartSeries } & Omit<LegendProps, 'series' | 'legend'>) {
  const isOff = hidden.has(series.key);
  return (
    <button
      type="button"
      class={isOff ? css.nameOff : css.name}
      aria-pressed={!isOff}
      title={`${series.name}\nClick: show only this one. Ctrl or Shift click: hide or show it.`}
      onClick={(event) => onChoose(series.key, event.ctrlKey || event.metaKey || event.shiftKey)}
      onPointerEnter={() => onHighlight(isOff ? null : series.key)}
      onPointerLeave={() => onHighlight(null)}
      onFocus={() => onHighlight(isOff ? null : series.key)}
      onBlur={() => onHighlight(null)}
    >
      <span
        class={css.swatch}
        style={{ background: isOff ? 'transparent' : series.color, borderColor: series.color }}
      />
      <span class={css.nameText}>{series.name}</span>
    </button>
  );
}

/** Names and calculations of the series; a list, or a table that can be sorted. */
export function Legend(props: LegendProps) {
  const { legend, series } = props;
  const calcs = legend.calcs ?? [];
  const first = calcs.findIndex((calc) => calc === legend.sortBy || reducerOf(calc)?.name === legend.sortBy);
  const [sort, setSort] = useState<{ column: number | null; isDescending: boolean }>({
    column: first >= 0 ? first : null,
    isDescending: legend.sortDesc ?? true,
  });
  const rows = sortRows(calculate(series, calcs), sort.column, sort.isDescending);

  if (legend.mode !== 'table') {
    return (
      <ul class={css.list} aria-label="Series">
        {rows.map(({ series: one, numbers }) => (
          <li key={one.key}>
            <Name {...props} series={one} />
            {calcs.map((calc, i) => (
              <span key={calc} class={css.listValue}>
                {calcs.length > 1 && <b>{reducerOf(calc)?.name.toLowerCase() ?? calc} </b>}
                <Amount value={numbers[i] ?? null} series={one} />
              </span>
            ))}
          </li>
        ))}
      </ul>
    );
  }

  const head = (column: number, words: string, className?: string) => (
    <th
      scope="col"
      class={className}
      aria-sort={sort.column !== column ? 'none' : sort.isDescending ? 'descending' : 'ascending'}
    >
      <button
        type="button"
        onClick={() =>
          setSort(
            sort.column === column
              ? sort.isDescending
                ? { column, isDescending: false }
                : { column: null, isDescending: true }
              : { column, isDescending: true },
          )
        }
      >
        {words}
        {sort.column === column && <span aria-hidden="true">{sort.isDescending ? ' ↓' : ' ↑'}</span>}
      </button>
    </th>
  );
  return (
    <table class={css.table}>
      <thead>
        <tr>
          {head(-1, 'Name')}
          {calcs.map((calc, i) => head(i, reducerOf(calc)?.name.replace(' *', '') ?? calc, css.number))}
        </tr>
      </thead>
      <tbody>
        {rows.map(({ series: one, numbers }) => (
          <tr key={one.key}>
            <td>
              <Name {...props} series={one} />
            </td>
            {calcs.map((calc, i) => (
              <td key={calc} class={css.number}>
                <Amount value={numbers[i] ?? null} series={one} />
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
