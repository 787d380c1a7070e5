import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { conformanceDir } from '../conformance';
import { loadDashboard, LoadError } from './load';
import type { Panel } from './types';

/** Every dashboard in a file: the file itself, or the JSON inside a ConfigMap's block scalars. */
function dashboardsIn(path: string): [name: string, json: string][] {
  const body = readFileSync(path, 'utf8');
  if (path.endsWith('.json')) return [[path, body]];
  const out: [string, string][] = [];
  const lines = body.split('\n');
  for (let i = 0; i < lines.length; i++) {
    const start = /^(\s*)([\w.-]+\.json): *[|>][-+]?\s*$/.exec(lines[i] ?? '');
    if (!start) continue;
    const block: string[] = [];
    const indent = (start[1] ?? '').length;
    for (let j = i + 1; j < lines.length; j++) {
      const line = lines[j] ?? '';
      if (line.trim() !== '' && line.length - line.trimStart().length <= indent) break;
      block.push(line);
    }
    out.push([`${path}: ${start[2]}`, block.join('\n')]);
  }
  return out;
}

function filesBelow(dir: string | null): string[] {
  if (dir === null) return [];
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((name) => /dashboard/.test(join(dir, name)) && /\.(json|ya?ml)$/.test(name))
    .map((name) => join(dir, name));
}

const files = [...filesBelow(conformanceDir('dashboards')), ...filesBelow(conformanceDir('dome'))];
const dashboards = files.flatMap(dashboardsIn);

function every(panels: Panel[]): Panel[] {
  return panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]);
}

const OLD = new Set(['graph', 'singlestat', 'table-old', 'text2']);

describe.skipIf(dashboards.length === 0)('the corpus', () => {
  test('is large', () => expect(dashboards.length).toBeGreaterThan(50));

  test.each(dashboards)('%s', (_name, json) => {
    const loaded = loadDashboard(JSON.parse(json));
    const panels = every(loaded.panels);
    expect(panels.length).toBeGreaterThan(0);
    expect(panels.filter((panel) => OLD.has(panel.type)).map((panel) => panel.title)).toEqual([]);
    expect(new Set(panels.map((panel) => panel.id)).size).toBe(panels.length);
    for (const panel of panels) {
      expect(panel.gridPos.x + panel.gridPos.w).toBeLessThanOrEqual(24);
      expect(panel.gridPos.h).toBeGreaterThan(0);
      const refs = (panel.targets ?? []).map((target) => target.refId);
      expect(refs.every((ref) => ref !== '')).toBe(true);
    }
  });
});

const own = ['node.json', 'cupola.json'].map(
  (file) => [file, join(import.meta.dirname, '../../../dashboards', file)] as const,
);

test.each(own)('our own %s loads, with unique ids and no overlap', (_file, path) => {
  const loaded = loadDashboard(JSON.parse(readFileSync(path, 'utf8')));
  const taken = new Set<string>();
  for (const { gridPos, title } of loaded.panels) {
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        expect(taken.has(`${x},${y}`), `${title} overlaps at ${x},${y}`).toBe(false);
        taken.add(`${x},${y}`);
      }
    }
  }
});

test('rows of old dashboards become lines of the grid', () => {
  const { panels } = loadDashboard({
    schemaVersion: 14,
    rows: [
      {
        title: 'A',
        showTitle: true,
        height: '250px',
        panels: [
          { type: 'graph', span: 6 },
          { type: 'graph', span: 8 },
        ],
      },
      { title: 'B', collapse: true, panels: [{ type: 'singlestat', span: 12, valueName: 'current' }] },
    ],
  });
  expect(panels.map((p) => [p.type, p.gridPos.x, p.gridPos.y, p.gridPos.w, p.gridPos.h])).toEqual([
    ['row', 0, 0, 24, 1],
    ['timeseries', 0, 1, 12, 7],
    ['timeseries', 0, 8, 16, 7],
    ['row', 0, 15, 24, 1],
  ]);
  expect(panels[3]?.panels?.[0]).toMatchObject({
    type: 'stat',
    options: { reduceOptions: { calcs: ['lastNotNull'] } },
  });
});

test('a graph keeps its axes, stacking, colours and thresholds', () => {
  const { panels } = loadDashboard({
    schemaVersion: 27,
    panels: [
      {
        type: 'graph',
        gridPos: { x: 0, y: 0, w: 24, h: 8 },
        stack: true,
        fill: 4,
        linewidth: 2,
        yaxes: [{ format: 'bytes', min: 0 }, { format: 'percent' }],
        aliasColors: { free: '#123456' },
        seriesOverrides: [{ alias: '/used.*/', yaxis: 2, fill: 0 }],
        thresholds: [{ value: 80, op: 'gt', colorMode: 'critical', fill: true, line: true }],
        legend: {
          show: true,
          alignAsTable: true,
          rightSide: true,
          values: true,
          current: true,
          sort: 'current',
          sortDesc: true,
        },
        tooltip: { shared: true, sort: 2 },
        targets: [{ expr: 'a' }, { expr: 'b', refId: 'A' }],
      },
    ],
  });
  const panel = panels[0];
  expect(panel?.fieldConfig.defaults).toMatchObject({
    unit: 'bytes',
    min: 0,
    custom: {
      fillOpacity: 40,
      lineWidth: 2,
      stacking: { mode: 'normal' },
      thresholdsStyle: { mode: 'line+area' },
    },
    thresholds: {
      steps: [
        { color: 'transparent', value: null },
        { color: 'red', value: 80 },
      ],
    },
  });
  expect(panel?.fieldConfig.overrides).toMatchObject([
    { matcher: { id: 'byName', options: 'free' } },
    { matcher: { id: 'byRegexp', options: '/used.*/' } },
  ]);
  expect(panel?.options).toMatchObject({
    legend: {
      displayMode: 'table',
      placement: 'right',
      calcs: ['lastNotNull'],
      sortBy: 'lastNotNull',
      sortDesc: true,
    },
    tooltip: { mode: 'multi', sort: 'desc' },
  });
  expect(panel?.targets?.map((target) => target.refId)).toEqual(['B', 'A']);
});

test('inputs of an exported file are bound', () => {
  const { panels } = loadDashboard({
    schemaVersion: 39,
    __inputs: [{ name: 'DS_PROM', type: 'datasource', pluginId: 'prometheus' }],
    panels: [{ type: 'stat', datasource: { uid: '${DS_PROM}' }, targets: [] }],
  });
  expect(panels[0]?.datasource).toEqual({ uid: 'prometheus' });
});

test.each([
  ['a list', []],
  ['nothing', null],
  ['the v2 form', { kind: 'Dashboard', spec: { elements: {} } }],
  ['an empty object', {}],
])('%s is refused in words', (_name, source) => expect(() => loadDashboard(source)).toThrow(LoadError));

test('a panel that shows the answer of another one asks for the same', () => {
  const { panels } = loadDashboard({
    schemaVersion: 39,
    panels: [
      { id: 1, type: 'table', targets: [{ expr: 'up', format: 'table' }] },
      { id: 2, type: 'stat', datasource: { uid: '-- Dashboard --' }, targets: [{ panelId: 1 }] },
      { id: 3, type: 'stat', datasource: { uid: '-- Dashboard --' }, targets: [{ panelId: 3 }] },
    ],
  });
  expect(panels.map((panel) => panel.targets?.map((target) => target.expr))).toEqual([['up'], ['up'], ['']]);
});

test('the source stays as it was', () => {
  const source = { schemaVersion: 14, rows: [{ panels: [{ type: 'graph', span: 12 }] }] };
  const before = JSON.stringify(source);
  loadDashboard(source);
  expect(JSON.stringify(source)).toBe(before);
});
