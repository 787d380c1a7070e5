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

export interface Bootstrap {
  version: string;
  hostname: string;
  mode: string;
  startTime: string;
  scrapeInterval: string;
  alertmanager: { configured: boolean; receivers: string[] };
}

export interface RoutedAlert {
  labels: Labels;
  annotations: Labels;
  status: 'firing' | 'resolved';
  startsAt: string;
  endsAt: string | null;
}

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

export interface DashboardHit {
  uid: string;
  title: string;
  url: string;
  type: string;
  tags: string[];
}
