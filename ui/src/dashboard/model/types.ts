/**
 * Grafana's dashboard JSON, classic form, as far as it is drawn. Everything is optional: the files come from
 * many hands and many years. Unknown keys are kept in `options` and `custom` and read with care.
 */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json | undefined };
export type JsonObject = { [key: string]: Json | undefined };

export interface DataSourceRef {
  type?: string;
  uid?: string;
}

export interface GridPos {
  x: number;
  y: number;
  w: number;
  h: number;
}

export interface Target {
  refId: string;
  expr?: string;
  legendFormat?: string;
  format?: string;
  interval?: string;
  intervalFactor?: number;
  instant?: boolean;
  range?: boolean;
  hide?: boolean;
  datasource?: DataSourceRef | string | null;
  /** For "-- Dashboard --": the panel whose answer is shown again. */
  panelId?: number;
}

export interface ThresholdStep {
  color: string;
  value: number | null;
}

export interface Thresholds {
  mode?: 'absolute' | 'percentage';
  steps?: ThresholdStep[];
}

export interface MappingResult {
  text?: string;
  color?: string;
  icon?: string;
  index?: number;
}

export type ValueMapping =
  | { type: 'value'; options: Record<string, MappingResult> }
  | { type: 'range'; options: { from?: number | null; to?: number | null; result: MappingResult } }
  | { type: 'regex'; options: { pattern: string; result: MappingResult } }
  | { type: 'special'; options: { match: string; result: MappingResult } };

export interface FieldColor {
  mode?: string;
  fixedColor?: string;
  seriesBy?: string;
}

export interface DataLink {
  title?: string;
  url?: string;
  targetBlank?: boolean;
}

export interface FieldConfig {
  displayName?: string;
  displayNameFromDS?: string;
  unit?: string;
  decimals?: number | null;
  min?: number | null;
  max?: number | null;
  fieldMinMax?: boolean;
  noValue?: string;
  mappings?: ValueMapping[];
  thresholds?: Thresholds;
  color?: FieldColor;
  links?: DataLink[];
  custom?: JsonObject;
}

export interface Override {
  matcher: { id: string; options?: Json };
  properties: { id: string; value?: Json }[];
  __systemRef?: string;
}

export interface FieldConfigSource {
  defaults: FieldConfig;
  overrides: Override[];
}

export interface Transformation {
  id: string;
  options?: JsonObject;
  disabled?: boolean;
  topic?: string;
}

export interface PanelLink {
  title?: string;
  url?: string;
  targetBlank?: boolean;
}

export interface Panel {
  id: number;
  type: string;
  title?: string;
  description?: string;
  gridPos: GridPos;
  datasource?: DataSourceRef | string | null;
  targets?: Target[];
  options: JsonObject;
  fieldConfig: FieldConfigSource;
  transformations?: Transformation[];
  transparent?: boolean;
  maxDataPoints?: number | null;
  interval?: string | null;
  timeFrom?: string | null;
  timeShift?: string | null;
  hideTimeOverride?: boolean;
  repeat?: string;
  repeatDirection?: 'h' | 'v';
  maxPerRow?: number;
  links?: PanelLink[];
  /** Rows only. */
  collapsed?: boolean;
  panels?: Panel[];
}

export interface VariableOption {
  text: string;
  value: string;
  selected?: boolean;
}

export interface VariableModel {
  name: string;
  type: string;
  label?: string;
  /** 0 shown, 1 without its label, 2 not shown. */
  hide: number;
  query?: Json;
  definition?: string;
  datasource?: DataSourceRef | string | null;
  regex?: string;
  sort: number;
  /** 0 never, 1 when the dashboard is loaded, 2 also when the time range changes. */
  refresh: number;
  multi: boolean;
  includeAll: boolean;
  allValue?: string | null;
  auto?: boolean;
  auto_count?: number;
  auto_min?: string;
  current?: { text?: string | string[]; value?: string | string[] };
  options: VariableOption[];
}

export interface DashboardLink {
  type?: string;
  title?: string;
  url?: string;
  tags?: string[];
  keepTime?: boolean;
  includeVars?: boolean;
  targetBlank?: boolean;
}

export interface Dashboard {
  uid: string;
  title: string;
  description?: string;
  tags: string[];
  schemaVersion: number;
  /** 0 nothing shared, 1 crosshair, 2 crosshair and tooltip. */
  graphTooltip: number;
  timezone?: string;
  time?: { from: string; to: string };
  refresh?: string;
  panels: Panel[];
  variables: VariableModel[];
  links: DashboardLink[];
}
