/**
 * The filter box of lists: label matchers (`job="node"`, `instance=~"10.*"`, `severity!=info`, in braces or
 * not) and plain words, all of which must match.
 */
import type { Labels } from '../api/types';

export interface Matcher {
  name: string;
  op: '=' | '!=' | '=~' | '!~';
  value: string;
}

export interface Filter {
  matchers: Matcher[];
  words: string[];
  /** What is wrong with the filter, in words; the wrong part is left out. */
  error: string | null;
}

const MATCHER = /([a-zA-Z_][\w.]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,{}"]*))/g;

export function parseFilter(text: string): Filter {
  const matchers: Matcher[] = [];
  let error: string | null = null;
  const rest = text.replace(
    MATCHER,
    (_all, name: string, op: Matcher['op'], quoted?: string, bare?: string) => {
      const value = quoted !== undefined ? quoted.replace(/\\(.)/g, '$1') : (bare ?? '');
      if (op === '=~' || op === '!~') {
        try {
          new RegExp(value);
        } catch {
          error = `${name}${op}"${value}" is not a regular expression`;
          return ' ';
        }
      }
      matchers.push({ name, op, value });
      return ' ';
    },
  );
  const words = rest
    .toLowerCase()
    .split(/[\s,{}]+/)
    .filter(Boolean);
  return { matchers, words, error };
}

function holds(matcher: Matcher, labels: Labels): boolean {
  const value = labels[matcher.name] ?? '';
  switch (matcher.op) {
    case '=':
      return value === matcher.value;
    case '!=':
      return value !== matcher.value;
    case '=~':
      return new RegExp(`^(?:${matcher.value})$`).test(value);
    case '!~':
      return !new RegExp(`^(?:${matcher.value})$`).test(value);
  }
}

/** True when `labels` satisfy every matcher and `text` (any case) or a label value holds every word. */
export function matches(filter: Filter, labels: Labels, text = ''): boolean {
  if (!filter.matchers.every((matcher) => holds(matcher, labels))) return false;
  if (filter.words.length === 0) return true;
  const all = `${text} ${Object.values(labels).join(' ')}`.toLowerCase();
  return filter.words.every((word) => all.includes(word));
}

/** The filter with `name="value"` added, or as it was when that stands there already. */
export function withMatcher(text: string, name: string, value: string): string {
  const matcher = `${name}="${value.replace(/["\\]/g, '\\$&')}"`;
  return text.includes(matcher) ? text : `${text.trim()} ${matcher}`.trim();
}
