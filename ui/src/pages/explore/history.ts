/** The queries that were run in this browser, newest first. Kept in localStorage; nothing leaves the browser. */

const KEY = 'cupola.explore.history';
const MOST = 50;

export function readHistory(): string[] {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(KEY) ?? '[]');
    return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
  } catch {
    return [];
  }
}

/** The list with `query` in front; empty queries are not kept. Pure. */
export function withQuery(list: readonly string[], query: string): string[] {
  const text = query.trim();
  if (text === '') return [...list];
  return [text, ...list.filter((one) => one !== text)].slice(0, MOST);
}

export function remember(query: string): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(withQuery(readHistory(), query)));
  } catch {
    // Storage may be full or forbidden; then there is no history.
  }
}
