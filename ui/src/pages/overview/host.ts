/** The few numbers about this machine: which series, how they are asked and how they read. */
import { queryInstant, queryRange } from '../../api/client';
import type { Labels, QueryData } from '../../api/types';
import type { Point } from '../../ui/Sparkline';
import { bitsPerSecond, bytes, shortNumber, type Quantity } from '../../ui/words';

/** One line of a tile: a value and where it came from over the last hour. */
export interface HostSeries {
  name: string;
  points: Point[];
}

export interface HostData {
  /** The labels that select this machine; null when no target tells about it. */
  selector: Labels | null;
  from: number;
  to: number;
  step: number;
  series: Record<SeriesId, Point[]>;
  cpus: number | null;
  memoryBytes: number | null;
  rootBytes: number | null;
  /** Milliseconds since the epoch. */
  bootAt: number | null;
}

export type SeriesId =
  'cpu' | 'memory' | 'root' | 'load' | 'pressureCpu' | 'pressureIo' | 'pressureMemory' | 'in' | 'out';

const SPAN = 3600;
const STEP = 15;
/** Shorter histories than this are drawn at the right edge of it, so that a young server's lines are readable. */
const LEAST_SPAN = 600;
const NO_SERIES: Record<SeriesId, Point[]> = {
  cpu: [],
  memory: [],
  root: [],
  load: [],
  pressureCpu: [],
  pressureIo: [],
  pressureMemory: [],
  in: [],
  out: [],
};

/** `job="node-exporter", instance="…"`, quoted for PromQL. */
export function matchers(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${value.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`))}"`)
    .join(',');
}

function expressions(sel: string, window: string): Record<SeriesId, string> {
  const devices = 'device!~"lo|veth.*|br-.*|docker.*|cali.*|cni.*|flannel.*"';
  return {
    cpu: `100 * (1 - avg(rate(node_cpu_seconds_total{${sel},mode="idle"}[${window}])))`,
    memory: `100 * (1 - node_memory_MemAvailable_bytes{${sel}} / node_memory_MemTotal_bytes{${sel}})`,
    root: `100 * (1 - node_filesystem_avail_bytes{${sel},mountpoint="/"} / node_filesystem_size_bytes{${sel},mountpoint="/"})`,
    load: `node_load1{${sel}}`,
    pressureCpu: `100 * rate(node_pressure_cpu_waiting_seconds_total{${sel}}[${window}])`,
    pressureIo: `100 * rate(node_pressure_io_waiting_seconds_total{${sel}}[${window}])`,
    pressureMemory: `100 * rate(node_pressure_memory_waiting_seconds_total{${sel}}[${window}])`,
    in: `8 * sum(rate(node_network_receive_bytes_total{${sel},${devices}}[${window}]))`,
    out: `8 * sum(rate(node_network_transmit_bytes_total{${sel},${devices}}[${window}]))`,
  };
}

/** Parses "15s", "1m30s" to seconds; 15 when it cannot. */
export function intervalSeconds(text: string | undefined): number {
  const units: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };
  let sum = 0;
  for (const [, n, unit] of (text ?? '').matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    sum += Number(n) * (units[unit ?? ''] ?? 0);
  }
  return sum > 0 ? sum : 15;
}

/**
 * Chooses the machine that the server runs on among those that tell about themselves: the one of its name,
 * else one scraped over loopback, else the only one.
 */
export function chooseHost(known: readonly Labels[], hostname: string): Labels | null {
  const short = hostname.split('.')[0];
  const found =
    known.find((labels) => labels.nodename === hostname || labels.instance === hostname) ??
    known.find((labels) => labels.nodename === short) ??
    known.find((labels) => /^(localhost|127\.0\.0\.1|\[::1\])(:|$)/.test(labels.instance ?? '')) ??
    (known.length === 1 ? known[0] : undefined);
  if (!found?.instance) return null;
  return found.job ? { job: found.job, instance: found.instance } : { instance: found.instance };
}

function firstSeries(data: QueryData): Point[] {
  if (data.resultType !== 'matrix') return [];
  return (data.result[0]?.values ?? []).map(([t, v]) => ({ t, v: Number(v) }));
}

function firstValue(data: QueryData): number | null {
  if (data.resultType !== 'vector') return null;
  const value = data.result[0]?.value?.[1];
  return value === undefined ? null : Number(value);
}

/** Asks for everything about this machine. One series that fails is empty; the others are still shown. */
export async function loadHost(
  hostname: string,
  scrapeInterval: string,
  signal: AbortSignal,
): Promise<HostData> {
  const to = Math.floor(Date.now() / 1000);
  const from = to - SPAN;
  const known = await queryInstant('node_uname_info', undefined, signal);
  const selector =
    known.data.resultType === 'vector'
      ? chooseHost(
          known.data.result.map((sample) => sample.metric),
          hostname,
        )
      : null;
  const out: HostData = {
    selector,
    from,
    to,
    step: STEP,
    series: { ...NO_SERIES },
    cpus: null,
    memoryBytes: null,
    rootBytes: null,
    bootAt: null,
  };
  if (!selector) return out;
  const sel = matchers(selector);
  const window = `${Math.max(60, Math.ceil(4 * intervalSeconds(scrapeInterval)))}s`;
  const jobs = (Object.entries(expressions(sel, window)) as [SeriesId, string][]).map(async ([id, expr]) => {
    out.series[id] = firstSeries((await queryRange(expr, from, to, STEP, signal)).data);
  });
  const one = async (expr: string): Promise<number | null> =>
    firstValue((await queryInstant(expr, undefined, signal)).data);
  const facts = [
    one(`count(node_cpu_seconds_total{${sel},mode="idle"})`).then((v) => (out.cpus = v)),
    one(`node_memory_MemTotal_bytes{${sel}}`).then((v) => (out.memoryBytes = v)),
    one(`node_filesystem_size_bytes{${sel},mountpoint="/"}`).then((v) => (out.rootBytes = v)),
    one(`node_boot_time_seconds{${sel}}`).then((v) => (out.bootAt = v === null ? null : v * 1000)),
  ];
  const done = await Promise.allSettled([...jobs, ...facts]);
  const first = Math.min(...Object.values(out.series).map((points) => points[0]?.t ?? to));
  out.from = Math.min(Math.max(from, first), to - LEAST_SPAN);
  const failed = done.find((result) => result.status === 'rejected');
  if (failed && done.every((result) => result.status === 'rejected')) throw failed.reason;
  return out;
}

export interface Tile {
  id: string;
  word: string;
  value: Quantity | null;
  detail: string;
  points: Point[];
  /** The value of the sparkline's upper edge. */
  top?: number;
  expr: string;
}

const last = (points: readonly Point[]): number | null => points[points.length - 1]?.v ?? null;
const percent = (value: number | null): Quantity | null =>
  value === null ? null : { number: shortNumber(Math.max(0, value)), unit: '%' };
const text = (quantity: Quantity | null): string => (quantity ? `${quantity.number} ${quantity.unit}` : '–');

/** The tiles of the strip, in its order. */
export function tiles(data: HostData, scrapeInterval: string): Tile[] {
  const { series } = data;
  const window = `${Math.max(60, Math.ceil(4 * intervalSeconds(scrapeInterval)))}s`;
  const expr = expressions(data.selector ? matchers(data.selector) : '', window);
  const load = last(series.load);
  const pressures: [string, Point[], string][] = [
    ['processor', series.pressureCpu, expr.pressureCpu],
    ['disk', series.pressureIo, expr.pressureIo],
    ['memory', series.pressureMemory, expr.pressureMemory],
  ];
  const known = pressures.filter(([, points]) => points.length > 0);
  const highest = known.reduce<[string, Point[], string] | undefined>(
    (best, one) => (best && (last(best[1]) ?? 0) >= (last(one[1]) ?? 0) ? best : one),
    undefined,
  );
  const inward = last(series.in);
  const outward = last(series.out);
  const of = (total: number | null): string => (total === null ? '' : `of ${text(bytes(total))}`);
  return [
    {
      id: 'cpu',
      word: 'Processor',
      value: percent(last(series.cpu)),
      detail: data.cpus === null ? '' : `of ${data.cpus} ${data.cpus === 1 ? 'core' : 'cores'}`,
      points: series.cpu,
      top: 100,
      expr: expr.cpu,
    },
    {
      id: 'memory',
      word: 'Memory',
      value: percent(last(series.memory)),
      detail: of(data.memoryBytes),
      points: series.memory,
      top: 100,
      expr: expr.memory,
    },
    {
      id: 'root',
      word: 'Root filesystem',
      value: percent(last(series.root)),
      detail: of(data.rootBytes),
      points: series.root,
      top: 100,
      expr: expr.root,
    },
    {
      id: 'load',
      word: 'Load',
      value: load === null ? null : { number: load.toFixed(2), unit: '' },
      detail: '1 min average',
      points: series.load,
      top: Math.max(data.cpus ?? 1, ...series.load.map((p) => p.v)),
      expr: expr.load,
    },
    {
      id: 'pressure',
      word: 'Pressure',
      value: highest ? percent(last(highest[1])) : null,
      detail: highest ? `waiting for ${highest[0]}` : 'not told by this kernel',
      points: highest?.[1] ?? [],
      top: Math.max(10, ...(highest?.[1] ?? []).map((p) => p.v)),
      expr: highest?.[2] ?? expr.pressureCpu,
    },
    {
      id: 'network',
      word: 'Network',
      value: inward === null ? null : bitsPerSecond(inward),
      detail: outward === null ? '' : `in, ${text(bitsPerSecond(outward))} out`,
      points: series.in,
      expr: expr.in,
    },
  ];
}
