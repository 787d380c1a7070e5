import { fetchNotices, prom } from '../../api/client';

/** `status/runtimeinfo`, as far as the page shows it. */
interface RuntimeInfo {
  startTime: string;
  CWD: string;
  hostname?: string;
  reloadConfigSuccess: boolean;
  lastConfigTime: string;
  corruptionCount: number;
  GOMAXPROCS: number;
  storageRetention: string;
}

/** Where targets or Alertmanagers are found, `status/discovery`. */
export interface Provider {
  /** "scrape" or "notify". */
  manager: string;
  mechanism: string;
  place: string;
  /** What went wrong last; empty where all is well. */
  lastError: string;
  /** The scrape pools that use it. */
  configs: string[];
  targets: number;
  lastRefresh: string;
}

export interface ServerStatus {
  /** The version of Prometheus whose API it has. */
  prometheus: string;
  runtime: RuntimeInfo;
  /** The addresses alerts are sent to. */
  alertmanagers: string[];
  /** Those that relabelling dropped. */
  droppedAlertmanagers: number;
  providers: Provider[];
  /** Why the newest configuration is not in force; undefined where it is, or the server does not say. */
  mistakes: string | undefined;
}

/** The last reload's mistakes; undefined where it went well. */
async function fetchMistakes(signal: AbortSignal): Promise<string | undefined> {
  const notices = await fetchNotices(signal);
  return notices.find((one) => one.active && one.text.startsWith('Configuration reload'))?.detail;
}

/** What the server says where it may say nothing: a server without the route is no fault of the page. */
async function orElse<T>(asked: Promise<T>, instead: T, signal: AbortSignal): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    if (signal.aborted) throw error;
    return instead;
  }
}

interface Managers {
  activeAlertmanagers: { url: string }[];
  droppedAlertmanagers: unknown[];
}

export async function fetchStatus(signal: AbortSignal): Promise<ServerStatus> {
  const none: Managers = { activeAlertmanagers: [], droppedAlertmanagers: [] };
  const [build, runtime, managers, discovery, mistakes] = await Promise.all([
    prom<{ version: string }>('status/buildinfo', {}, signal),
    prom<RuntimeInfo>('status/runtimeinfo', {}, signal),
    orElse(
      prom<Managers>('alertmanagers', {}, signal).then(({ data }) => data),
      none,
      signal,
    ),
    orElse(
      prom<{ providers: Provider[] }>('status/discovery', {}, signal).then(({ data }) => data.providers),
      [],
      signal,
    ),
    orElse(fetchMistakes(signal), undefined, signal),
  ]);
  return {
    prometheus: build.data.version,
    runtime: runtime.data,
    alertmanagers: managers.activeAlertmanagers.map(({ url }) => url),
    droppedAlertmanagers: managers.droppedAlertmanagers.length,
    providers: discovery,
    mistakes,
  };
}

export interface Configuration {
  yaml: string;
  mistakes: string | undefined;
}

export async function fetchConfiguration(signal: AbortSignal): Promise<Configuration> {
  const [config, mistakes] = await Promise.all([
    prom<{ yaml: string }>('status/config', {}, signal),
    orElse(fetchMistakes(signal), undefined, signal),
  ]);
  return { yaml: config.data.yaml, mistakes };
}

export const fetchFlags = async (signal: AbortSignal): Promise<Record<string, string>> =>
  (await prom<Record<string, string>>('status/flags', {}, signal)).data;
