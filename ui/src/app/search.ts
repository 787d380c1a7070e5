/** What the search dialog finds, and in which order. */

export type Kind = 'Page' | 'Dashboard' | 'Alert' | 'Target' | 'Metric';

export interface Entry {
  kind: Kind;
  title: string;
  detail?: string;
  href: string;
}

const KINDS: readonly Kind[] = ['Page', 'Dashboard', 'Alert', 'Target', 'Metric'];

/** How well `entry` answers the words; 0 when one of them is nowhere in it, larger is better. */
export function score(entry: Entry, words: readonly string[]): number {
  const title = entry.title.toLowerCase();
  const all = `${title} ${entry.detail?.toLowerCase() ?? ''}`;
  let sum = 0;
  for (const word of words) {
    const at = all.indexOf(word);
    if (at < 0) return 0;
    if (title === word) sum += 8;
    else if (title.startsWith(word)) sum += 5;
    else if (at > 0 && /[^a-z0-9]/.test(all[at - 1] ?? '')) sum += 3;
    else sum += 1;
  }
  return sum + 1 / (title.length + 2);
}

/** The best entries for `text`, grouped by kind, at most `each` of one kind. Without text: pages and dashboards. */
export function find(entries: readonly Entry[], text: string, each = 6): Entry[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0)
    return entries.filter((e) => e.kind === 'Page' || e.kind === 'Dashboard').slice(0, 12);
  const found = entries
    .map((entry) => ({ entry, points: score(entry, words) }))
    .filter((one) => one.points > 0)
    .sort((a, b) => b.points - a.points);
  return KINDS.flatMap((kind) =>
    found
      .filter((one) => one.entry.kind === kind)
      .slice(0, each)
      .map((one) => one.entry),
  );
}
