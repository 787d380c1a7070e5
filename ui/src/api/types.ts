/** The shapes of the server's answers, as Prometheus's HTTP API v1 and Cupola's api/ui/* write them. */

export type Labels = Record<string, string>;

/** A sample: seconds since the epoch and the value as text ("NaN", "+Inf" are possible). */
export type Sample = [number, string];

export interface VectorSample {
  metric: Labels;
  value?: Sample;
  histogram?: [number, unknown];
}

export interface MatrixSeries {
  metric: Labels;
  values?: Sample[];
  histograms?: [number, unknown][];
}

export type QueryData =
  | { resultType: 'vector'; result: VectorSample[] }
  | { resultType: 'matrix'; result: MatrixSeries[] }
  | { resultType: 'scalar'; result: Sample }
  | { resultType: 'string'; result: Sample };

export interface Target {
  discoveredLabels: Labels;
  labels: Labels;
  scrapePool: string;
  scrapeUrl: string;
  globalUrl: string;
  lastError: string;
  /** RFC 3339; the zero time "0001-01-01T00:00:00Z" before the first scrape. */
  lastScrape: string;
  /** Seconds. */
  lastScrapeDuration: number;
  health: 'up' | 'down' | 'unknown';
  scrapeInterval: string;
  scrapeTimeout: string;
}

export interface TargetsData {
  activeTargets: Target[];
  droppedTargets: { discoveredLabels: Labels; scrapePool?: string }[];
  droppedTargetCounts?: Record<string, number>;
}

/** One relabelling rule and the labels after it. */
export interface RelabelStep {
  rule: {
    sourceLabels?: string[];
    separator?: string;
    regex?: string;
    modulus?: number;
    targetLabel?: string;
    replacement?: string;
    action: string;
  };
  output: Labels;
  keep: boolean;
}

export interface ActiveAlert {
  labels: Labels;
  annotations: Labels;
  state: 'firing' | 'pending' | 'inactive';
  activeAt: string;
  value: string;
}

export interface AlertingRule {
  type: 'alerting';
  state: 'firing' | 'pending' | 'inactive' | 'unknown';
  name: string;
  query: string;
  /** Seconds. */
  duration: number;
  keepFiringFor?: number;
  labels?: Labels;
  annotations?: Labels;
  alerts?: ActiveAlert[];
  health: string;
  lastError?: string;
  evaluationTime: number;
  lastEvaluation: string;
}

export interface RecordingRule {
  type: 'recording';
  name: string;
  query: string;
  labels?: Labels;
  health: string;
  lastError?: string;
  evaluationTime: number;
  lastEvaluation: string;
}

export interface RuleGroup {
  name: string;
  file: string;
  interval: number;
  rules: (AlertingRule | RecordingRule)[];
  evaluationTime: number;
  lastEvaluation: string;
}

export interface RulesData {
  groups: RuleGroup[];
}

export interface DeadRule {
  file: string;
  group: string;
  name: string;
  type: 'alerting' | 'recording';
  query: string;
  /** Whether the whole expression can give nothing. */
  dead: boolean;
  selectors: { selector: string; reason: string; label?: string; nearest?: string }[];
}

export interface Bootstrap {
  version: string;
  hostname: string;
  mode: string;
  startTime: string;
  scrapeInterval: string;
  /** `running`: whether there is an Alertmanager inside; `configured`: whether it tells anybody. */
  alertmanager: { configured: boolean; receivers: string[]; running: boolean };
}

export interface RoutedAlert {
  labels: Labels;
  annotations: Labels;
  status: 'firing' | 'resolved';
  startsAt: string;
  endsAt: string | null;
  /** Why nobody is told of it now. */
  suppressed?: Suppressed;
  /** Who looks after it. */
  acknowledgedBy?: string;
}

export type Suppressed = 'silenced' | 'inhibited' | 'muted';

export interface AlertGroup {
  receiver: string;
  groupKey: string;
  groupLabels: Labels;
  nextFlushAt: string | null;
  alerts: RoutedAlert[];
}

export interface Notification {
  at: string;
  receiver: string;
  integration: string;
  groupKey: string;
  groupLabels: Labels;
  status: 'firing' | 'resolved';
  firing: number;
  resolved: number;
  outcome: 'sent' | 'failed' | 'retrying';
  error: string;
  attempts: number;
  reason: string;
}

export interface Alerting {
  configured: boolean;
  groups: AlertGroup[];
  notifications: Notification[];
}

/** What is to be known of the server itself. */
export interface Notice {
  text: string;
  /** RFC 3339. */
  date: string;
  /** What went wrong in particular. */
  detail?: string;
  active: boolean;
}

export interface DashboardHit {
  uid: string;
  title: string;
  url: string;
  type: string;
  tags: string[];
}

/** A name and how many. */
export interface NameCount {
  name: string;
  value: number;
}

export type LimitScope = 'total' | 'metric' | 'job';

/** New series that a limit keeps out. */
export interface RefusedSeries {
  limit: LimitScope;
  /** The limit. */
  most: number;
  /** The metric or the job. */
  name: string;
  /** Samples of new series that were refused since the server started. */
  value: number;
  /** Milliseconds since the epoch. */
  firstTime: number;
  lastTime: number;
  /** The series that was refused last. */
  example: Labels;
}

/** `status/tsdb`. What Prometheus does not have is optional. */
export interface TsdbStatus {
  headStats: {
    numSeries: number;
    numLabelPairs: number;
    chunkCount: number;
    /** Milliseconds since the epoch. */
    minTime: number;
    maxTime: number;
  };
  seriesCountByMetricName: NameCount[];
  labelValueCountByLabelName: NameCount[];
  memoryInBytesByLabelName: NameCount[];
  /** Named `name=value`. */
  seriesCountByLabelValuePair: NameCount[];
  seriesCountByJob?: NameCount[];
  /** Of the last hour. */
  newSeriesByMetricName?: NameCount[];
  newSeriesByJob?: NameCount[];
  refusedSeries?: RefusedSeries[];
  /** 0 is no limit. */
  seriesLimits?: Record<LimitScope, number>;
  storage?: { logBytes: number; blockBytes: number; memoryBytes: number; retention: string };
}

export interface TsdbBlock {
  ulid: string;
  /** Milliseconds since the epoch; `maxTime` is one past the newest sample. */
  minTime: number;
  maxTime: number;
  stats: { numSamples: number; numSeries: number };
  compaction?: { level: number };
  /** On disk; Prometheus does not say. */
  bytes?: number;
  /** Where it is not Prometheus's own. */
  format?: string;
}

/** How far the log is read again: segment numbers. */
export interface WalReplay {
  min: number;
  max: number;
  current: number;
  /** Whether everything is in answers by now; Prometheus does not say. */
  done?: boolean;
}
