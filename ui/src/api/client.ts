/**
 * The only way the pages talk to the server. All paths are relative to the document's base, so that the
 * pages work below a path prefix too.
 */
import { isGatewayStatus, noteAnswered, noteLost } from './connection';
import type {
  Alerting,
  Bootstrap,
  DashboardHit,
  DeadRule,
  Labels,
  Notice,
  QueryData,
  RelabelStep,
  RulesData,
  TargetsData,
  TsdbBlock,
  TsdbStatus,
  WalReplay,
} from './types';

/** An answer that is an error. `errorType` and `message` are the server's own words where it sent some. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly errorType: string,
    readonly status: number,
    readonly path: string,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

export type Params = Record<string, string | number | undefined | readonly string[]>;

export interface PromAnswer<T> {
  data: T;
  warnings: string[];
  infos: string[];
  /** Milliseconds from sending the request to having parsed the answer. */
  took: number;
}

function encode(params: Params): URLSearchParams {
  const out = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value === undefined) continue;
    if (Array.isArray(value)) for (const one of value) out.append(name, one);
    else out.append(name, String(value));
  }
  return out;
}

/**
 * Sends one request and gives its JSON.
 *
 * Throws {@link ApiError} for an answer that is an error, an answer that is not JSON (errorType "format") and
 * for no answer at all (errorType "connection"). An aborted request rejects with the AbortError of `fetch`.
 */
async function requestJson(path: string, init: RequestInit): Promise<unknown> {
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(path, init);
    text = await answer.text();
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    noteLost();
    throw new ApiError('the server does not answer', 'connection', 0, path);
  }
  if (isGatewayStatus(answer.status)) {
    noteLost();
    throw new ApiError('the server does not answer', 'connection', answer.status, path);
  }
  noteAnswered();
  // Whoever only does something has nothing to say.
  if (answer.ok && text === '') return undefined;
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    const start = text.trim().slice(0, 200);
    throw new ApiError(
      answer.ok
        ? `the answer of ${path} is not JSON`
        : start || `${path} answered with status ${answer.status}`,
      answer.ok ? 'format' : 'http',
      answer.status,
      path,
    );
  }
  if (!answer.ok || (isRecord(body) && body.status === 'error')) {
    const record = isRecord(body) ? body : {};
    // Alertmanager's handlers refuse with a text alone.
    const said = typeof body === 'string' ? body : (record.error ?? record.message ?? record.title);
    throw new ApiError(
      typeof said === 'string' && said !== '' ? said : `${path} answered with status ${answer.status}`,
      typeof record.errorType === 'string' ? record.errorType : 'http',
      answer.status,
      path,
    );
  }
  return body;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** GETs `path` and gives its JSON as `T`; see {@link requestJson} for the errors. */
export async function getJson<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<T> {
  const query = encode(params).toString();
  return (await requestJson(query ? `${path}?${query}` : path, { signal })) as T;
}

/** Sends `body` as JSON and gives the answer as `T`, where there is one; see {@link requestJson} for the errors. */
export async function sendJson<T>(
  method: 'POST' | 'DELETE',
  path: string,
  body?: unknown,
  signal?: AbortSignal,
): Promise<T> {
  const init: RequestInit =
    body === undefined
      ? { method, signal }
      : { method, signal, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
  return (await requestJson(path, init)) as T;
}

/** Asks the Prometheus API. Long queries go as a form by POST, as Prometheus's own page does. */
export async function prom<T>(
  path: string,
  params: Params = {},
  signal?: AbortSignal,
): Promise<PromAnswer<T>> {
  const started = performance.now();
  const query = encode(params);
  const text = query.toString();
  const body = (await (text.length > 1500
    ? requestJson(`api/v1/${path}`, { method: 'POST', body: query, signal })
    : requestJson(text ? `api/v1/${path}?${text}` : `api/v1/${path}`, { signal }))) as {
    data: T;
    warnings?: string[];
    infos?: string[];
  };
  return {
    data: body.data,
    warnings: body.warnings ?? [],
    infos: body.infos ?? [],
    took: performance.now() - started,
  };
}

export const fetchTargets = async (signal?: AbortSignal): Promise<TargetsData> =>
  (await prom<TargetsData>('targets', {}, signal)).data;

/** What each relabelling step of a pool does to these labels. Always by GET: the route knows nothing else. */
export const fetchRelabelSteps = async (
  scrapePool: string,
  labels: Labels,
  signal?: AbortSignal,
): Promise<RelabelStep[]> => {
  const query = encode({ scrapePool, labels: JSON.stringify(labels) });
  const answer = (await requestJson(`api/v1/targets/relabel_steps?${query.toString()}`, { signal })) as {
    data: { steps: RelabelStep[] };
  };
  return answer.data.steps;
};

export const fetchRules = async (signal?: AbortSignal): Promise<RulesData> =>
  (await prom<RulesData>('rules', {}, signal)).data;

export const fetchDeadRules = async (signal?: AbortSignal): Promise<{ rules: DeadRule[] }> =>
  (await prom<{ rules: DeadRule[] }>('rules/dead', {}, signal)).data;

export const fetchNotices = async (signal?: AbortSignal): Promise<Notice[]> =>
  (await prom<Notice[]>('notifications', {}, signal)).data;

export const fetchAlerting = (signal?: AbortSignal): Promise<Alerting> =>
  getJson<Alerting>('api/ui/alerting', {}, signal);

export const fetchBootstrap = (signal?: AbortSignal): Promise<Bootstrap> =>
  getJson<Bootstrap>('api/ui/bootstrap', {}, signal);

export const fetchDashboards = (signal?: AbortSignal): Promise<DashboardHit[]> =>
  getJson<DashboardHit[]>('api/search', {}, signal);

/** Figures of the storage, with the `limit` largest names of each list. */
export const fetchTsdbStatus = async (limit: number, signal?: AbortSignal): Promise<TsdbStatus> =>
  (await prom<TsdbStatus>('status/tsdb', { limit }, signal)).data;

export const fetchTsdbBlocks = async (signal?: AbortSignal): Promise<TsdbBlock[]> =>
  (await prom<{ blocks: TsdbBlock[] }>('status/tsdb/blocks', {}, signal)).data.blocks;

export const fetchWalReplay = async (signal?: AbortSignal): Promise<WalReplay> =>
  (await prom<WalReplay>('status/walreplay', {}, signal)).data;

/** Evaluates `query` at `time` (seconds since the epoch; now when left out). */
export const queryInstant = (
  query: string,
  time?: number,
  signal?: AbortSignal,
): Promise<PromAnswer<QueryData>> => prom<QueryData>('query', { query, time }, signal);

/** Evaluates `query` from `start` to `end` (seconds since the epoch) every `step` seconds. */
export const queryRange = (
  query: string,
  start: number,
  end: number,
  step: number,
  signal?: AbortSignal,
): Promise<PromAnswer<QueryData>> => prom<QueryData>('query_range', { query, start, end, step }, signal);
