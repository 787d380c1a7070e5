/** The choices of a variable: from text, from answers, sorted and filtered. Pure functions. */
import { parseDuration } from '../../time/datemath';
import { calculateInterval, formatInterval } from '../data/intervals';
import type { VariableModel, VariableOption } from '../model/types';

export const ALL_VALUE = '$__all';

/** "a, b : c, d\, e": values, with words where a colon stands between spaces. */
export function customOptions(query: string): VariableOption[] {
  const parts = query.match(/(?:\\,|[^,])+/g) ?? [];
  return parts.map((part) => {
    const plain = part.replace(/\\,/g, ',').trim();
    const [, words, value] = /^(.+)\s:\s(.+)$/.exec(plain) ?? [];
    return words !== undefined && value !== undefined
      ? { text: words.trim(), value: value.trim() }
      : { text: plain, value: plain };
  });
}

/** The list of an interval variable; "auto" first where it is offered. */
export function intervalOptions(model: VariableModel, rangeMs: number): VariableOption[] {
  const query = typeof model.query === 'string' ? model.query : '';
  const written = query
    .split(',')
    .map((one) => one.trim().replace(/^["']|["']$/g, ''))
    .filter((one) => one !== '');
  const options = written.map((one) => ({ text: one, value: one }));
  if (!model.auto) return options;
  const min = parseDuration((model.auto_min ?? '10s').replace('>', '')) ?? 10_000;
  const ms = calculateInterval(rangeMs, model.auto_count ?? 30, min);
  return [{ text: 'auto', value: formatInterval(ms) }, ...options];
}

function pattern(regex: string): RegExp | null {
  const slashed = /^\/(.*)\/([a-z]*)$/s.exec(regex);
  try {
    return slashed ? new RegExp(slashed[1] ?? '', slashed[2]) : new RegExp(`^${regex}$`);
  } catch {
    return null;
  }
}

/** Keeps what matches `regex` and cuts out its groups: `value` and `text`, or the first one. */
export function filterOptions(options: VariableOption[], regex: string): VariableOption[] {
  const by = regex === '' ? null : pattern(regex);
  const out = new Map<string, VariableOption>();
  const add = (value: string | undefined, text: string | undefined): void => {
    const one = value ?? text;
    if (one !== undefined && one !== '' && !out.has(one)) out.set(one, { value: one, text: text ?? one });
  };
  for (const option of options) {
    if (!by) {
      add(option.value, option.text);
      continue;
    }
    const matches = by.global
      ? [...option.text.matchAll(by)]
      : [by.exec(option.text)].filter((m) => m !== null);
    for (const match of matches) {
      const { value, text } = match.groups ?? {};
      if (value !== undefined || text !== undefined) add(value ?? text, text ?? value);
      else if (match[1] !== undefined) add(match[1], match[1]);
      else add(option.value, option.text);
    }
  }
  return [...out.values()];
}

function leadingNumber(text: string): number {
  return Number(/\d+/.exec(text)?.[0] ?? Number.NaN);
}

const NATURAL = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });
const plain = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Sorts by Grafana's number for it: 0 not, 1/2 by letters, 3/4 by number, 5/6 without case, 7/8 naturally. */
export function sortOptions(options: VariableOption[], sort: number): VariableOption[] {
  if (sort === 0) return options;
  const compare = (a: VariableOption, b: VariableOption): number => {
    switch (Math.ceil(sort / 2)) {
      case 1:
        return plain(a.text, b.text);
      case 2: {
        const x = leadingNumber(a.text);
        const y = leadingNumber(b.text);
        if (Number.isNaN(x) || Number.isNaN(y)) return Number(Number.isNaN(x)) - Number(Number.isNaN(y));
        return x - y;
      }
      case 3:
        return plain(a.text.toLowerCase(), b.text.toLowerCase());
      default:
        return NATURAL.compare(a.text, b.text);
    }
  };
  const sorted = [...options].sort(compare);
  return sort % 2 === 0 ? sorted.reverse() : sorted;
}

/**
 * What is chosen: of `wanted` (from the address, else what was saved) the values that exist. Nothing left means
 * All where it is offered, else the first choice.
 */
export function chooseValues(model: VariableModel, options: VariableOption[], wanted: string[]): string[] {
  if (model.includeAll && (wanted.includes(ALL_VALUE) || wanted.includes('All'))) return [ALL_VALUE];
  const known = new Set(options.map((option) => option.value));
  const byText = new Map(options.map((option) => [option.text, option.value]));
  const valid = wanted
    .map((one) => (known.has(one) ? one : byText.get(one)))
    .filter((one): one is string => one !== undefined);
  if (valid.length > 0) return model.multi ? [...new Set(valid)] : valid.slice(0, 1);
  if (model.includeAll) return [ALL_VALUE];
  return options.slice(0, 1).map((option) => option.value);
}
