import {
  AlertsIcon,
  DashboardsIcon,
  ExploreIcon,
  OverviewIcon,
  PauseIcon,
  SendIcon,
  StorageIcon,
  TargetsIcon,
  type Icon,
} from '../ui/icons';

export interface Place {
  path: string;
  word: string;
  /** Follows `g` on the keyboard. */
  key: string;
  Icon: Icon;
}

/** Whether the pages belong to an Alertmanager that is a server of its own. The server writes it into the page. */
export const IS_ALERTMANAGER =
  document.querySelector<HTMLMetaElement>('meta[name="cupola-mode"]')?.content === 'alertmanager';

const MONITORING: readonly Place[] = [
  { path: '/', word: 'Overview', key: 'o', Icon: OverviewIcon },
  { path: '/dashboards', word: 'Dashboards', key: 'd', Icon: DashboardsIcon },
  { path: '/explore', word: 'Explore', key: 'e', Icon: ExploreIcon },
  { path: '/alerts', word: 'Alerts', key: 'a', Icon: AlertsIcon },
  { path: '/targets', word: 'Targets', key: 't', Icon: TargetsIcon },
  { path: '/storage', word: 'Storage', key: 's', Icon: StorageIcon },
];

/** The pages of the Alertmanager: places of their own in its server, tabs of Alerts beside Prometheus. */
export const ALERTMANAGER: readonly Place[] = [
  { path: '/alertmanager', word: 'Alerts', key: 'a', Icon: AlertsIcon },
  { path: '/alertmanager/silences', word: 'Silences', key: 's', Icon: PauseIcon },
  { path: '/alertmanager/notifications', word: 'Notifications', key: 'n', Icon: SendIcon },
  { path: '/alertmanager/status', word: 'Status', key: 't', Icon: OverviewIcon },
];

/** The places of the left rail, in its order. */
export const PLACES = IS_ALERTMANAGER ? ALERTMANAGER : MONITORING;

/** The page of the Alertmanager that `path` (without the base) belongs to. */
export function alertmanagerPlaceOf(path: string): Place | undefined {
  const [, first, second = ''] = path.split('/');
  if (first !== 'alertmanager') return undefined;
  if (second === '' || second === 'why') return ALERTMANAGER[0];
  if (second === 'recurring') return ALERTMANAGER[1];
  return ALERTMANAGER.find((place) => place.path === `/alertmanager/${second}`);
}

/** What the tab of `place` says beside Prometheus, whose alerts are others. */
export function tabWord(place: Place): string {
  return place === ALERTMANAGER[0] ? 'Alertmanager' : place.word;
}

/** What the window is called while `path` (without the base) is shown: the tab's word where the page is one of several. */
export function titleOf(path: string): string {
  const tab = IS_ALERTMANAGER ? undefined : alertmanagerPlaceOf(path);
  return tab ? tabWord(tab) : (placeOf(path)?.word ?? 'Not found');
}

/** The place that `path` (without the base) belongs to; undefined for a page that does not exist. */
export function placeOf(path: string): Place | undefined {
  if (path === '/') return PLACES[0];
  if (IS_ALERTMANAGER) return alertmanagerPlaceOf(path);
  const first = path.split('/')[1] ?? '';
  if (first === 'd' || first === 'dashboards') return MONITORING[1];
  if (first === 'explore' || first === 'query' || first === 'graph') return MONITORING[2];
  if (first === 'alertmanager') return alertmanagerPlaceOf(path) && MONITORING[3];
  if (first === 'rules') return MONITORING[3];
  if (first === 'service-discovery') return MONITORING[4];
  if (first === 'tsdb-status') return MONITORING[5];
  return MONITORING.find((place) => place.path === `/${first}`);
}

/** The path prefix below which the pages are served, without a trailing slash: "" or "/monitoring". */
export const BASE = new URL(document.baseURI).pathname.replace(/\/[^/]*$/, '');
