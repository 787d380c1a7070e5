import { useMemo, useState } from 'preact/hooks';
import { inkOn, legible } from '../fields/palette';
import css from './panels.module.css';
import { cellColor, cellValue, tableModel, type Column, type SortBy } from './table';
import type { PanelProps } from './types';

/** Rows drawn at once; more are shown on request, so that a long table stays quick. */
const PAGE = 200;

function Cell({ column, row, theme }: { column: Column; row: number; theme: PanelProps['theme'] }) {
  const value = cellValue(column, row, theme);
  const color = cellColor(value, theme);
  const isFilled = column.cell === 'background' && color !== undefined;
  return (
    <td
      style={{
        textAlign: column.align,
        ...(isFilled ? { background: color, color: inkOn(color) } : {}),
        ...(column.cell === 'text' && color ? { color: legible(color, theme) } : {}),
      }}
    >
      {column.cell === 'gauge' && (
        <span class={css.cellTrack}>
          <span
            class={css.barFill}
            style={{
              width: `${Math.min(100, Math.max(0, value.percent * 100)).toFixed(1)}%`,
              background: color,
            }}
          />
        </span>
      )}
      {value.prefix}
      {value.text}
      {value.suffix && <i>{value.suffix}</i>}
    </td>
  );
}

/** Rows and columns of the first frame. */
export function TablePanel({ panel, fields, theme }: PanelProps) {
  const [sort, setSort] = useState<SortBy | null>(null);
  const [shown, setShown] = useState(PAGE);
  const model = useMemo(() => tableModel(fields, panel.options, sort), [fields, panel, sort]);
  return (
    <div class={css.tableScroll} tabIndex={0} role="region" aria-label="Table">
      <table class={css.table}>
        <thead>
          <tr>
            {model.columns.map((column) => {
              const isSorted = sort?.name === column.name;
              return (
                <th
                  key={column.name}
                  scope="col"
                  aria-sort={!isSorted ? 'none' : sort.isDescending ? 'descending' : 'ascending'}
                  style={{ textAlign: column.align, width: column.width ? `${column.width}px` : undefined }}
                >
                  <button
                    type="button"
                    onClick={() =>
                      setSort({
                        name: column.name,
                        isDescending: isSorted ? !sort.isDescending : column.isNumber,
                      })
                    }
                  >
                    {column.name}
                    {isSorted && <span aria-hidden="true">{sort.isDescending ? ' ↓' : ' ↑'}</span>}
                  </button>
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {model.rows.slice(0, shown).map((row) => (
            <tr key={row}>
              {model.columns.map((column) => (
                <Cell key={column.name} column={column} row={row} theme={theme} />
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {model.rows.length > shown && (
        <button type="button" class={css.more} onClick={() => setShown(shown + PAGE)}>
          Show {Math.min(PAGE, model.rows.length - shown)} more of {model.rows.length}
        </button>
      )}
    </div>
  );
}
