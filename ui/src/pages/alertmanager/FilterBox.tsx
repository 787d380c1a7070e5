import type { ComponentChildren } from 'preact';
import { parseFilter } from '../../ui/filter';
import parts from '../../ui/parts.module.css';
import pages from '../pages.module.css';
import { parseMatchers, writeMatcher } from './matchers';
import list from '../list.module.css';

export interface Asked {
  /** For the server, which knows Go's regular expressions. */
  matchers: string[];
  /** Must all occur. */
  words: string[];
  error: string | null;
}

/** What was typed: Alertmanager's matchers, or matchers and plain words mixed. */
export function readFilter(text: string): Asked {
  const whole = parseMatchers(text);
  const { matchers, words, error } = whole ? { matchers: whole, words: [], error: null } : parseFilter(text);
  return { matchers: matchers.map(writeMatcher), words, error };
}

export function hasWords(words: readonly string[], ...texts: string[]): boolean {
  const all = texts.join(' ').toLowerCase();
  return words.every((word) => all.includes(word));
}

/** The row above a list: the filter, and what else narrows it down. */
export function FilterBox({
  label,
  placeholder,
  value,
  error,
  onChange,
  children,
}: {
  label: string;
  placeholder: string;
  value: string;
  error?: string | null;
  onChange: (text: string) => void;
  children?: ComponentChildren;
}) {
  return (
    <>
      <div class={pages.filterBar}>
        <input
          type="text"
          class={parts.field}
          aria-label={label}
          placeholder={placeholder}
          spellcheck={false}
          autocomplete="off"
          value={value}
          onInput={(event) => onChange(event.currentTarget.value)}
        />
        {children}
      </div>
      {error && <p class={list.filterError}>{error}</p>}
    </>
  );
}
