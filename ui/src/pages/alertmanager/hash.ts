/**
 * The addresses of Alertmanager's own pages (`/#/alerts?filter={…}`, `/#/silences/new?…`), which stand in every message that
 * it ever sent, and of the pages here that they lead to.
 */
import { quoted } from './matchers';

const BELOW = '/alertmanager';

function withQuery(path: string, query: Record<string, string | null | undefined>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value) params.set(name, value);
  const text = params.toString();
  return text ? `${path}?${text}` : path;
}

/** `{a="b", c=~"d"}` without its braces. */
function bare(filter: string | null): string {
  return (filter ?? '').trim().replace(/^\{/, '').replace(/\}$/, '').replace(/,\s*$/, '').trim();
}

/** Which alerts: Alertmanager's switches are more than the three states of the page. */
function stateOf(params: URLSearchParams): string | null {
  if (params.get('active') === 'false') return 'suppressed';
  return params.get('silenced') === 'false' && params.get('inhibited') !== 'true' ? 'active' : null;
}

/** The page that an address behind the # leads to, without the base; null where it is none of Alertmanager's. */
export function pageOf(hash: string): string | null {
  const text = hash.replace(/^#!?/, '');
  if (!text.startsWith('/')) return null;
  const [path = '', search = ''] = text.split('?', 2) as [string, string?];
  const params = new URLSearchParams(search);
  const filter = bare(params.get('filter'));
  const [, first = '', second = '', third = ''] = path.split('/').map(decode);
  switch (first) {
    case '':
    case 'alerts': {
      const custom = params.get('customGrouping') === 'true' || params.has('group');
      const group = custom ? (params.get('group') ?? '') : null;
      return withQuery(BELOW, { filter, receiver: params.get('receiver'), state: stateOf(params), group });
    }
    case 'silences':
      if (second === '') return withQuery(`${BELOW}/silences`, { filter, state: params.get('state') });
      if (second === 'new') {
        return withQuery(`${BELOW}/silences/new`, { filter, comment: params.get('comment') });
      }
      return `${BELOW}/silences/${encodeURIComponent(second)}${third === 'edit' ? '/edit' : ''}`;
    case 'status':
    case 'settings':
      return `${BELOW}/status`;
    default:
      return null;
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The list of alerts with these labels. */
export function alertsPage(labels: Record<string, string>): string {
  return withQuery(BELOW, { filter: matcherText(labels) });
}

/** The form of a new silence for these labels. */
export function silencePage(labels: Record<string, string>): string {
  return withQuery(`${BELOW}/silences/new`, { filter: matcherText(labels) });
}

/** The life of the alert with these labels. */
export function whyPage(labels: Record<string, string>): string {
  return withQuery(`${BELOW}/why`, { filter: matcherText(labels) });
}

export function matcherText(labels: Record<string, string>): string {
  return Object.entries(labels)
    .sort(([a], [b]) => (a === 'alertname' ? -1 : b === 'alertname' ? 1 : a < b ? -1 : 1))
    .map(([name, value]) => `${quoted(name)}="${value.replace(/["\\]/g, '\\$&').replace(/\n/g, '\\n')}"`)
    .join(', ');
}
