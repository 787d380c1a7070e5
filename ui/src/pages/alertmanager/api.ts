/** Alertmanager's API v2, and what Cupola adds to it, as the pages ask it. */
import { ApiError, getJson, sendJson } from '../../api/client';
import type { Labels } from '../../api/types';
import type { ApiMatcher } from './matchers';

export interface ManagedAlert {
  fingerprint: string;
  labels: Labels;
  annotations: Labels;
  startsAt: string;
  endsAt: string;
  updatedAt: string;
  generatorURL?: string;
  receivers: { name: string }[];
  status: { state: 'active' | 'suppressed'; silencedBy: string[]; inhibitedBy: string[]; mutedBy?: string[] };
}

export interface ManagedGroup {
  labels: Labels;
  receiver: { name: string };
  alerts: ManagedAlert[];
}

export interface Silence {
  id: string;
  status: { state: 'active' | 'pending' | 'expired' };
  matchers: ApiMatcher[];
  /** All sets, of which any may match, where there are several; the first one is `matchers`. */
  matcherSets?: ApiMatcher[][];
  startsAt: string;
  endsAt: string;
  updatedAt: string;
  createdBy: string;
  comment: string;
  annotations?: Labels;
}

export interface RecurringSilence {
  id: string;
  matchers: ApiMatcher[];
  days: string[];
  from: string;
  to: string;
  timeZone: string;
  startsAt: string;
  endsAt: string;
  updatedAt: string;
  createdBy: string;
  comment: string;
  next: { startsAt: string; endsAt: string }[];
}

export interface Acknowledgement {
  fingerprint: string;
  labels: Labels;
  by: string;
  note: string;
  at: string;
  endsAt?: string;
}

export interface Preview {
  firing: number;
  muted: number;
  firedLately: number;
  alerts: ManagedAlert[];
  matchers: { matcher: string; matched: number; matchesAbsent: boolean }[];
  warnings: string[];
}

export type Outcome = 'sent' | 'retrying' | 'failed';

export interface ToldMessage {
  at: string;
  receiver: string;
  integration: string;
  groupKey: string;
  reason: string;
  outcome: Outcome;
  error: string;
  answer: string;
  attempts: number;
  firing: number;
  resolved: number;
  alerts: { fingerprint: string; labels: Labels }[];
}

/** One thing that happened to an alert. Which fields there are depends on `event`. */
export interface AlertEvent {
  at: string;
  fingerprint: string;
  labels: Labels;
  event: string;
  [field: string]: unknown;
}

/** What a rule did to an alert before any Alertmanager had it (`/api/v1/alerts/history`). */
export interface RuleEvent {
  /** Seconds since the epoch. */
  at: number;
  fingerprint: string;
  labels: Labels;
  rule?: { file: string; group: string; name: string; query: string };
  event: string;
  value?: string;
  since?: number;
  error?: string;
  alertmanager?: string;
  resolved?: boolean;
  /** The fingerprint of the labels with which it was sent. */
  sentAs?: string;
}

export interface ManagerStatus {
  cluster: { name?: string; status: string; peers?: { name: string; address: string }[] };
  config: { original: string };
  uptime: string;
  versionInfo: { version: string; revision: string };
}

/** The annotation by which a silence names the recurring silence that it was made of. */
export const RECURRING = 'recurring_silence';

const V2 = 'api/v2';

export const fetchGroups = (
  filter: readonly string[],
  receiver: string,
  signal?: AbortSignal,
): Promise<ManagedGroup[]> =>
  getJson(`${V2}/alerts/groups`, { filter, receiver: receiver ? exactly(receiver) : undefined }, signal);

/** The API takes a regular expression; a name is meant. */
function exactly(name: string): string {
  return name.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

export const fetchReceivers = (signal?: AbortSignal): Promise<{ name: string }[]> =>
  getJson(`${V2}/receivers`, {}, signal);

export const fetchSilences = (signal?: AbortSignal): Promise<Silence[]> =>
  getJson(`${V2}/silences`, {}, signal);

export const fetchSilence = async (id: string, signal?: AbortSignal): Promise<Silence | null> => {
  try {
    return await getJson<Silence>(`${V2}/silence/${encodeURIComponent(id)}`, {}, signal);
  } catch (error) {
    if (error instanceof ApiError && (error.status === 404 || error.status === 422)) return null;
    throw error;
  }
};

export const fetchRecurring = (signal?: AbortSignal): Promise<RecurringSilence[]> =>
  getJson(`${V2}/recurring-silences`, {}, signal);

export const fetchAcknowledgements = (signal?: AbortSignal): Promise<Acknowledgement[]> =>
  getJson(`${V2}/acknowledgements`, {}, signal);

export const fetchMessages = (
  filter: readonly string[],
  receiver: string,
  outcome: string,
  limit: number,
  signal?: AbortSignal,
): Promise<ToldMessage[]> =>
  getJson(
    `${V2}/notifications`,
    { filter, receiver: receiver || undefined, outcome: outcome || undefined, limit },
    signal,
  );

export const fetchEvents = (
  filter: readonly string[],
  limit: number,
  signal?: AbortSignal,
): Promise<AlertEvent[]> => getJson(`${V2}/history`, { filter, limit }, signal);

/** What rules did; nothing where the server has no rules. */
export const fetchRuleEvents = async (
  filter: readonly string[],
  limit: number,
  signal?: AbortSignal,
): Promise<RuleEvent[]> => {
  const match = filter.length > 0 ? { 'match[]': `{${filter.join(',')}}` } : {};
  return (
    await getJson<{ data: { events: RuleEvent[] } }>('api/v1/alerts/history', { ...match, limit }, signal)
  ).data.events;
};

export const fetchStatus = (signal?: AbortSignal): Promise<ManagerStatus> =>
  getJson(`${V2}/status`, {}, signal);

export const fetchPreview = (matchers: readonly ApiMatcher[], signal?: AbortSignal): Promise<Preview> =>
  sendJson<Preview>('POST', `${V2}/silences/preview`, { matchers }, signal);

export type PostedSilence = Pick<
  Silence,
  'matchers' | 'matcherSets' | 'startsAt' | 'endsAt' | 'createdBy' | 'comment'
> & {
  id?: string;
};

/** Makes or changes a silence; returns its id. */
export const postSilence = async (silence: PostedSilence): Promise<string> =>
  (await sendJson<{ silenceID: string }>('POST', `${V2}/silences`, silence)).silenceID;

export const expireSilence = (id: string): Promise<void> =>
  sendJson('DELETE', `${V2}/silence/${encodeURIComponent(id)}`);

export type PostedRecurring = Omit<RecurringSilence, 'id' | 'updatedAt' | 'next' | 'startsAt'> & {
  id?: string;
  startsAt?: string;
};

export const postRecurring = (one: PostedRecurring): Promise<RecurringSilence> =>
  sendJson('POST', `${V2}/recurring-silences`, one);

export const deleteRecurring = (id: string): Promise<void> =>
  sendJson('DELETE', `${V2}/recurring-silence/${encodeURIComponent(id)}`);

export const acknowledge = (
  fingerprint: string,
  by: string,
  note: string,
  endsAt: string | undefined,
): Promise<Acknowledgement> =>
  sendJson('POST', `${V2}/acknowledgements`, { fingerprint, by, note, ...(endsAt ? { endsAt } : {}) });

export const unacknowledge = (fingerprint: string, by: string): Promise<void> =>
  sendJson('DELETE', `${V2}/acknowledgement/${fingerprint}?${new URLSearchParams({ by }).toString()}`);
