import { useCallback } from 'preact/hooks';
import { useSearch } from 'wouter-preact';

/** Writes `change` into the page's address: null and "" take a parameter out. Others' parameters stay. */
export function changeUrl(change: Record<string, string | null>, how: 'push' | 'replace' = 'replace'): void {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(change)) {
    if (value === null || value === '') url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  const next = `${url.pathname}${url.search}${url.hash}`;
  if (next === `${location.pathname}${location.search}${location.hash}`) return;
  if (how === 'push') history.pushState(null, '', next);
  else history.replaceState(history.state, '', next);
}

/** The list that a parameter of the page's address holds; the function puts an id into it, or takes it out again. */
export function useList(name: string): [ReadonlySet<string>, (id: string) => void] {
  const [text, set] = useParam<string>(name, '');
  const all = new Set(text.split(',').filter(Boolean));
  const toggle = (id: string): void => {
    const next = new Set(all);
    if (!next.delete(id)) next.add(id);
    set([...next].join(','));
  };
  return [all, toggle];
}

/** Whether `id` is in such a list, and how that changes. */
export function useListed(name: string, id: string): [boolean, () => void] {
  const [all, toggle] = useList(name);
  return [all.has(id), () => toggle(id)];
}

/** A short name for a text, to stand in the page's address. */
export function shortId(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(36);
}

/** One parameter of the page's address as state. `fallback` is what a missing one means; it is never written. */
export function useParam<T extends string>(
  name: string,
  fallback: T,
  how: 'push' | 'replace' = 'replace',
): [T, (value: T) => void] {
  const search = useSearch();
  const value = (new URLSearchParams(search).get(name) ?? fallback) as T;
  const set = useCallback(
    (next: T) => changeUrl({ [name]: next === fallback ? null : next }, how),
    [name, fallback, how],
  );
  return [value, set];
}
