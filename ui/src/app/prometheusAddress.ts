/**
 * The addresses of Prometheus's own pages that are spelt otherwise here (`/targets?search=…&pool=…`, `/tsdb-status`).
 * `/graph?g0.expr=…` is not among them: Explore reads and writes that form itself. Pure functions.
 */

/** Prometheus's pages that are parts of others here. */
const PATHS: Record<string, string> = {
  '/service-discovery': '/targets',
  '/alertmanager-discovery': '/status',
  '/tsdb-status': '/storage',
};

/** What narrows Prometheus's lists down, by page: parameters that are words of the filter here. */
const WORDS: Record<string, readonly string[]> = {
  '/targets': ['pool', 'scrapePool', 'search'],
  '/alerts': ['search'],
  '/rules': ['search'],
};

/** The parameters that may come several times there and choose one of a few states here. */
const CHOICES: Record<string, Record<string, readonly string[]>> = {
  '/targets': { health: ['up', 'down', 'unknown'] },
  '/alerts': { state: ['firing', 'pending'] },
};

/** The page that such an address leads to, without the base; null where it is none, or is right as it is. */
export function prometheusPageOf(path: string, search: string): string | null {
  const old = path.replace(/\/$/, '') || '/';
  const page = PATHS[old] ?? old;
  const params = new URLSearchParams(search);
  let isOld = page !== old;
  const words = (WORDS[page] ?? []).flatMap((name) => params.getAll(name)).filter(Boolean);
  for (const name of WORDS[page] ?? []) {
    isOld ||= params.has(name);
    params.delete(name);
  }
  if (words.length > 0) params.set('filter', [params.get('filter'), ...words].filter(Boolean).join(' '));
  for (const [name, known] of Object.entries(CHOICES[page] ?? {})) {
    const [first, ...more] = params.getAll(name);
    if (first === undefined || (more.length === 0 && known.includes(first))) continue;
    // Two of three cannot be chosen here: better too much than too little.
    isOld = true;
    params.delete(name);
    const only = first.toLowerCase();
    if (more.length === 0 && known.includes(only)) params.set(name, only);
  }
  if (!isOld) return null;
  const text = params.toString();
  return text ? `${page}?${text}` : page;
}
