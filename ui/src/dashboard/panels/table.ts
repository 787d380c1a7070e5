/** A table's columns and rows from the frames of a panel. Pure. */
import { display, shownValue, type DisplayValue } from '../fields/display';
import { resolveColor, type ThemeName } from '../fields/palette';
import { flag, number, object, objects, text } from '../model/json';
import type { JsonObject } from '../model/types';
import type { Prepared } from './fields';

export interface Column {
  name: string;
  isNumber: boolean;
  align: 'left' | 'right' | 'center';
  width: number | undefined;
  /** How cells are drawn. */
  cell: 'plain' | 'text' | 'background' | 'gauge';
  prepared: Prepared;
}

export interface TableModel {
  columns: Column[];
  /** Indices of rows in their order. */
  rows: number[];
}

function cellOf(custom: JsonObject): Column['cell'] {
  switch (text(object(custom.cellOptions).type)) {
    case 'color-text':
      return 'text';
    case 'color-background':
      return 'background';
    case 'gauge':
      return 'gauge';
    default:
      return 'plain';
  }
}

function columnOf(prepared: Prepared): Column {
  const custom = object(prepared.config.custom);
  const isNumber = prepared.field.type === 'number';
  const align = text(custom.align);
  return {
    name: prepared.name,
    isNumber,
    align: align === 'left' || align === 'right' || align === 'center' ? align : isNumber ? 'right' : 'left',
    width: number(custom.width),
    cell: cellOf(custom),
    prepared,
  };
}

/** The first frame's columns that are not hidden, its rows sorted as the options ask. */
export function tableModel(
  fields: readonly Prepared[],
  options: JsonObject,
  own?: SortBy | null,
): TableModel {
  const frame = fields[number(options.frameIndex) ?? 0]?.frame ?? fields[0]?.frame;
  const columns = fields
    .filter((one) => one.frame === frame && !flag(object(one.config.custom).hidden))
    .map(columnOf);
  const rows = Array.from({ length: frame?.length ?? 0 }, (_, i) => i);
  const sort = own ?? sortOf(options);
  const by = sort && columns.find((column) => column.name === sort.name)?.prepared.field;
  if (by) {
    const sign = sort.isDescending ? -1 : 1;
    rows.sort((a, b) => {
      const x = by.values[a];
      const y = by.values[b];
      if (typeof x === 'number' && typeof y === 'number') return sign * (x - y || 0);
      return sign * String(x ?? '').localeCompare(String(y ?? ''), 'en', { numeric: true });
    });
  }
  return { columns, rows };
}

export interface SortBy {
  name: string;
  isDescending: boolean;
}

function sortOf(options: JsonObject): SortBy | null {
  const [first] = objects(options.sortBy);
  const name = text(first?.displayName);
  return name === '' ? null : { name, isDescending: flag(first?.desc) };
}

/** What stands in one cell. Times are written out. */
export function cellValue({ prepared }: Column, row: number, theme: ThemeName): DisplayValue {
  const { config, field, bounds, index, name } = prepared;
  const value = field.values[row];
  if (field.type === 'time') {
    return display(value, { ...config, unit: config.unit ?? 'dateTimeAsIso' }, { theme });
  }
  return shownValue(display(value, config, { theme, bounds, index, name }), config.decimals);
}

export function cellColor(value: DisplayValue, theme: ThemeName): string | undefined {
  return value.color && resolveColor(value.color, theme);
}
