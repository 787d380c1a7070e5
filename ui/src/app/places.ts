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

/** What the pages are called: what the server wrote into the page (`--web.page-title`). */
export const BRAND = document.title || 'Cupola';

const MONITORING: readonly Place[] = [
  { path: '/', word: 'Overview', key: 'o', Icon: OverviewIcon },
  { path: '/dashboards', word: 'Dashboards', key: 'd', Icon: DashboardsIcon },
  { path: '/explore', word: 'Explore', key: 'e', Icon: ExploreIcon },
  { path: '/alerts', word: 'Alerts', key: 'a', Icon: AlertsIcon },
  { path: '/targets', word: 'Targets', key: 't', Icon: TargetsIcon },
  { path: '/status', word: 'Server', key: 's', Icon: StorageIcon },
];

/** A page that shares its place in the rail with others. */
export interface Tab {
  path: string;
  word: string;
}

/** Under Alerts: what rules give, and the rules. The pages of the Alertmanager come after them, where there is one. */
export const RULE_TABS: readonly Tab[] = [
  { path: '/alerts', word: 'Alerts' },
  { path: '/rules', word: 'Rules' },
];

/** Under Server, at Prometheus's addresses where it has such a page. */
export const SERVER_TABS: readonly Tab[] = [
  { path: '/status', word: 'Status' },
  { path: '/config', word: 'Configuration' },
  { path: '/flags', word: 'Flags' },
  { path: '/storage', word: 'Storage' },
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

// Pages below a tab that are about something of their own.
const WITHIN: readonly [RegExp, string][] = [
  [/^\/alertmanager\/why$/, 'Why'],
  [/^\/alertmanager\/silences\/new$/, 'New silence'],
  [/^\/alertmanager\/(silences|recurring)\/[^/]+\/edit$/, 'Edit silence'],
  [/^\/alertmanager\/silences\/[^/]+$/, 'Silence'],
];

/** What the window and the page are called while `path` (without the base) is shown: the page's own name, or its tab's. */
export function titleOf(path: string): string {
  const within = WITHIN.find(([pattern]) => pattern.test(path));
  if (within && placeOf(path)) return within[1];
  if (IS_ALERTMANAGER) return placeOf(path)?.word ?? 'Not found';
  const tab = alertmanagerPlaceOf(path);
  if (tab) return tabWord(tab);
  const plain = [...RULE_TABS, ...SERVER_TABS].find((one) => one.path === path);
  return plain?.word ?? placeOf(path)?.word ?? 'Not found';
}

/** The place that `path` (without the base) belongs to; undefined for a page that does not exist. */
export function placeOf(path: string): Place | undefined {
  if (path === '/') return PLACES[0];
  if (IS_ALERTMANAGER) return alertmanagerPlaceOf(path);
  const first = path.split('/')[1] ?? '';
  if (first === 'd' || first === 'dashboards') return MONITORING[1];
  if (first === 'explore' || first === 'query' || first === 'graph') return MONITORING[2];
  if (first === 'alertmanager') return alertmanagerPlaceOf(path) && MONITORING[3];
  if (RULE_TABS.some((tab) => tab.path === path)) return MONITORING[3];
  if (SERVER_TABS.some((tab) => tab.path === path)) return MONITORING[5];
  return MONITORING.find((place) => place.path === `/${first}`);
}

/** The path prefix below which the pages are served, without a trailing slash: "" or "/monitoring". */
export const BASE = new URL(document.baseURI).pathname.replace(/\/[^/]*$/, '');
