/** From a file's JSON to a dashboard that can be drawn. Pure: works on a copy, never writes back. */
import { fillPlaces } from './grid';
import { flag, isObject, list, number, object, objects, text } from './json';
import { allPanels, MIGRATIONS, modernPanel } from './migrations';
import type {
  Dashboard,
  DashboardLink,
  FieldConfig,
  GridPos,
  Json,
  JsonObject,
  Override,
  Panel,
  PanelLink,
  Target,
  Transformation,
  VariableModel,
  VariableOption,
} from './types';

/** A file that is no dashboard, told in words for the page. */
export class LoadError extends Error {
  override name = 'LoadError';
}

/** Takes the dashboard out of the forms it comes in: bare, `{dashboard, meta}`, with `__inputs`. */
function unwrap(source: unknown): JsonObject {
  if (!isObject(source)) throw new LoadError('the file is no JSON object');
  const inner = isObject(source.dashboard) ? source.dashboard : source;
  if (inner.kind === 'Dashboard' || isObject(object(inner.spec).elements) || isObject(inner.elements)) {
    throw new LoadError(
      'this is a dashboard in the v2 form (kind: Dashboard, elements); export it in the classic form instead',
    );
  }
  return inner;
}

const DEFAULT_SOURCE = 'prometheus';

/** Fills `${DS_PROMETHEUS}` and `${VAR_JOB}` of an exported file, as an import by hand would. */
function bindInputs(dashboard: JsonObject): JsonObject {
  const values = new Map<string, string>();
  for (const input of objects(dashboard.__inputs)) {
    const name = text(input.name);
    if (name === '') continue;
    if (input.type === 'datasource') values.set(name, text(input.pluginId) || DEFAULT_SOURCE);
    else if (input.type === 'constant') values.set(name, text(input.value));
  }
  if (values.size === 0) return dashboard;
  const bind = (value: Json | undefined): Json => {
    if (typeof value === 'string') {
      return value.replace(/\$\{(\w+)\}/g, (whole, name: string) => values.get(name) ?? whole);
    }
    if (Array.isArray(value)) return value.map(bind);
    if (!isObject(value)) return value ?? null;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, bind(one)]));
  };
  return object(bind(dashboard));
}

function letters(n: number): string {
  const last = String.fromCharCode(65 + (n % 26));
  return n < 26 ? last : letters(Math.floor(n / 26) - 1) + last;
}

function targetsOf(panel: JsonObject): Target[] {
  const sources = objects(panel.targets);
  const used = new Set(sources.map((target) => text(target.refId)).filter((id) => id !== ''));
  let n = 0;
  const nextFree = (): string => {
    while (used.has(letters(n))) n += 1;
    const id = letters(n);
    used.add(id);
    return id;
  };
  return sources.map((source) => ({
    refId: text(source.refId) || nextFree(),
    expr: text(source.expr),
    legendFormat: text(source.legendFormat),
    format: text(source.format) || undefined,
    interval: text(source.interval) || (number(source.step) ? `${number(source.step)}s` : undefined),
    intervalFactor: number(source.intervalFactor),
    instant: flag(source.instant),
    range: typeof source.range === 'boolean' ? source.range : undefined,
    hide: flag(source.hide),
    datasource: datasourceOf(source.datasource),
    panelId: number(source.panelId),
  }));
}

function datasourceOf(value: Json | undefined): Panel['datasource'] {
  if (typeof value === 'string') return value;
  if (!isObject(value)) return undefined;
  return { type: text(value.type) || undefined, uid: text(value.uid) || undefined };
}

function fieldConfigOf(panel: JsonObject): Panel['fieldConfig'] {
  const source = object(panel.fieldConfig);
  const defaults = { ...object(source.defaults) };
  for (const key of ['min', 'max', 'decimals']) {
    const value = number(defaults[key]);
    if (value === undefined) delete defaults[key];
    else defaults[key] = value;
  }
  return {
    defaults: { ...defaults, custom: { ...object(defaults.custom) } } as FieldConfig,
    overrides: objects(source.overrides)
      .filter((one) => isObject(one.matcher))
      .map((one) => ({
        matcher: { id: text(object(one.matcher).id), options: object(one.matcher).options },
        properties: objects(one.properties).map((p) => ({ id: text(p.id), value: p.value })),
      })) satisfies Override[],
  };
}

function panelOf(source: JsonObject): Panel {
  const panel = modernPanel(source);
  const direction = text(panel.repeatDirection);
  return {
    id: number(panel.id) ?? 0,
    type: text(panel.type, 'unknown'),
    title: text(panel.title),
    description: text(panel.description) || undefined,
    gridPos: object(panel.gridPos) as unknown as GridPos,
    datasource: datasourceOf(panel.datasource),
    targets: targetsOf(panel),
    options: object(panel.options),
    fieldConfig: fieldConfigOf(panel),
    transformations: objects(panel.transformations).map((one) => ({
      id: text(one.id),
      options: object(one.options),
      disabled: flag(one.disabled),
      topic: text(one.topic) || undefined,
    })) satisfies Transformation[],
    transparent: flag(panel.transparent),
    maxDataPoints: number(panel.maxDataPoints) ?? null,
    interval: text(panel.interval) || null,
    timeFrom: text(panel.timeFrom) || null,
    timeShift: text(panel.timeShift) || null,
    hideTimeOverride: flag(panel.hideTimeOverride),
    repeat: text(panel.repeat) || undefined,
    repeatDirection: direction === 'v' ? 'v' : 'h',
    maxPerRow: number(panel.maxPerRow),
    links: objects(panel.links) as PanelLink[],
    collapsed: flag(panel.collapsed),
    panels: objects(panel.panels).map(panelOf),
  };
}

function optionOf(value: Json): VariableOption | null {
  if (typeof value === 'string') return { text: value, value };
  if (!isObject(value)) return null;
  const one = text(value.value) || String(value.value ?? '');
  return { text: text(value.text) || one, value: one, selected: flag(value.selected) };
}

function textOrTexts(value: Json | undefined): string | string[] | undefined {
  if (Array.isArray(value)) return value.map((one) => String(one ?? ''));
  return value === undefined || value === null ? undefined : String(value);
}

function variableOf(source: JsonObject): VariableModel {
  const current = object(source.current);
  return {
    name: text(source.name),
    type: text(source.type, 'query'),
    label: text(source.label) || undefined,
    hide: number(source.hide) ?? 0,
    query: source.query,
    definition: text(source.definition),
    datasource: datasourceOf(source.datasource),
    regex: text(source.regex),
    sort: number(source.sort) ?? 0,
    refresh: number(source.refresh) ?? 0,
    multi: flag(source.multi),
    includeAll: flag(source.includeAll),
    allValue: text(source.allValue) || null,
    auto: flag(source.auto),
    auto_count: number(source.auto_count),
    auto_min: text(source.auto_min) || undefined,
    current: { text: textOrTexts(current.text), value: textOrTexts(current.value) },
    options: list(source.options)
      .map(optionOf)
      .filter((one): one is VariableOption => one !== null),
  };
}

/** The same text gives the same id, for files without one. */
function stableUid(dashboard: JsonObject): string {
  let hash = 0x811c9dc5;
  for (const char of text(dashboard.title) +
    JSON.stringify(dashboard.panels ?? dashboard.rows ?? '').length) {
    hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  }
  return hash.toString(36);
}

function giveIds(dashboard: JsonObject): void {
  const panels = allPanels(dashboard);
  let id = Math.max(0, ...panels.map((panel) => number(panel.id) ?? 0));
  const seen = new Set<number>();
  for (const panel of panels) {
    const own = number(panel.id);
    if (own === undefined || seen.has(own)) panel.id = ++id;
    seen.add(number(panel.id) ?? 0);
  }
}

/**
 * Reads a dashboard in any of its classic versions.
 *
 * Throws {@link LoadError} when the source is no dashboard at all; everything else is made the best of.
 */
export function loadDashboard(source: unknown): Dashboard {
  const copy = bindInputs(structuredClone(unwrap(source)));
  const version = number(copy.schemaVersion) ?? 0;
  if (!Array.isArray(copy.panels) && !Array.isArray(copy.rows)) {
    throw new LoadError('the file has neither panels nor rows');
  }
  // Files without a version that have panels are written by hand in today's form.
  const from = version === 0 && Array.isArray(copy.panels) && copy.rows === undefined ? Infinity : version;
  for (const migration of MIGRATIONS) if (from < migration.below) migration.run(copy);
  if (Array.isArray(copy.rows) && !Array.isArray(copy.panels)) {
    MIGRATIONS.find((one) => one.below === 16)?.run(copy);
  }
  giveIds(copy);
  const panels = objects(copy.panels);
  fillPlaces(panels);
  const time = object(copy.time);
  const drawn = panels.map((panel) => ({ ...panelOf(panel), panels: insideOf(panel) }));
  shareTargets(drawn);
  return {
    uid: text(copy.uid) || stableUid(copy),
    title: text(copy.title) || 'Untitled',
    description: text(copy.description) || undefined,
    tags: list(copy.tags).filter((tag): tag is string => typeof tag === 'string'),
    schemaVersion: version,
    graphTooltip: number(copy.graphTooltip) ?? 0,
    timezone: text(copy.timezone) || undefined,
    time: time.from && time.to ? { from: String(time.from), to: String(time.to) } : undefined,
    refresh: typeof copy.refresh === 'string' ? copy.refresh : undefined,
    panels: drawn,
    variables: objects(object(copy.templating).list)
      .map(variableOf)
      .filter((one) => one.name !== ''),
    links: objects(copy.links) as DashboardLink[],
  };
}

const SHARED = '-- Dashboard --';

function isShared(ref: Panel['datasource']): boolean {
  return (typeof ref === 'string' ? ref : ref?.uid) === SHARED;
}

/** Panels that show another panel's answer again ask for the same; equal queries are sent once. */
function shareTargets(panels: readonly Panel[]): void {
  const all = panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]);
  const byId = new Map(all.map((panel) => [panel.id, panel]));
  for (const panel of all) {
    const [first] = panel.targets ?? [];
    if (!isShared(first?.datasource ?? panel.datasource)) continue;
    const source = byId.get(first?.panelId ?? -1);
    if (!source || source === panel || isShared(source.datasource)) continue;
    panel.targets = source.targets;
    panel.datasource = source.datasource;
    panel.interval ??= source.interval;
  }
}

/** The panels of a folded row, in places of their own. */
function insideOf(row: JsonObject): Panel[] {
  const inside = objects(row.panels);
  fillPlaces(inside);
  return inside.map(panelOf);
}
