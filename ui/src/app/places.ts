import { AlertsIcon, DashboardsIcon, ExploreIcon, OverviewIcon, StorageIcon, TargetsIcon } from '../ui/icons';

/** The places of the left rail, in its order. `key` follows `g` on the keyboard. */
export const PLACES = [
  { path: '/', word: 'Overview', key: 'o', Icon: OverviewIcon },
  { path: '/dashboards', word: 'Dashboards', key: 'd', Icon: DashboardsIcon },
  { path: '/explore', word: 'Explore', key: 'e', Icon: ExploreIcon },
  { path: '/alerts', word: 'Alerts', key: 'a', Icon: AlertsIcon },
  { path: '/targets', word: 'Targets', key: 't', Icon: TargetsIcon },
  { path: '/storage', word: 'Storage', key: 's', Icon: StorageIcon },
] as const;

export type Place = (typeof PLACES)[number];

/** The place that `path` (without the base) belongs to; undefined for a page that does not exist. */
export function placeOf(path: string): Place | undefined {
  if (path === '/') return PLACES[0];
  const first = path.split('/')[1] ?? '';
  if (first === 'd' || first === 'dashboards') return PLACES[1];
  if (first === 'explore' || first === 'query' || first === 'graph') return PLACES[2];
  if (first === 'tsdb-status') return PLACES[5];
  return PLACES.find((place) => place.path === `/${first}`);
}

/** The path prefix below which the pages are served, without a trailing slash: "" or "/monitoring". */
export const BASE = new URL(document.baseURI).pathname.replace(/\/[^/]*$/, '');
