import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { conformanceDir } from '../conformance';
import { seriesFrames, tableFrame, type Frame } from '../data/frames';
import { seriesNames } from '../data/legend';
import { planPanel, type Planned } from '../data/plan';
import { transformFrames } from '../data/transform';
import { loadDashboard } from '../model/load';
import type { Panel } from '../model/types';
import { prepareFields } from '../panels/fields';
import { reduceToTiles } from '../panels/reduce';
import { tableModel } from '../panels/table';
import { chartModel } from '../panels/timeseries';
import type { Resolved } from '../vars/refs';
import { layout } from './layout';
import { exploreHref } from './PanelActions';

function files(dir: string | null): string[] {
  if (dir === null) return [];
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.json') && /dashboard/.test(join(dir, name)))
    .map((name) => join(dir, name));
}

const corpus = [...files(conformanceDir('dashboards')), ...files(conformanceDir('dome'))];

/** Two series with every label that dashboards group by, one of them with a hole. */
function answer(query: Planned, tables: number): Frame[] {
  const labels = { instance: 'a', namespace: 'n', pod: 'p', node: 'x', job: 'j' };
  const data = {
    resultType: 'matrix' as const,
    result: [
      {
        metric: labels,
        values: [
          [1, '1'],
          [2, 'NaN'],
          [3, '+Inf'],
          [9, '4'],
        ] as [number, string][],
      },
      {
        metric: { ...labels, pod: 'q' },
        values: [
          [1, '0'],
          [2, '-3'],
        ] as [number, string][],
      },
    ],
  };
  if (query.format === 'table') return [tableFrame(data, query.refId, tables === 1)];
  return seriesFrames(data, query.refId, (all) => seriesNames(query.legendFormat, query.expr, all), 1000);
}

function draw(panel: Panel, scope: ReadonlyMap<string, Resolved>): number {
  const plan = planPanel(panel, {
    fromMs: 0,
    toMs: 3_600_000,
    width: 500,
    scrapeMs: 15_000,
    scope,
    now: 3_600_000,
  });
  const tables = plan.queries.filter((query) => query.format === 'table').length;
  const frames = transformFrames(
    plan.queries.flatMap((query) => answer(query, tables)),
    panel.transformations ?? [],
  );
  const fields = prepareFields(frames, panel.fieldConfig, 'dark', scope);
  const chart = chartModel(panel, fields, 'dark');
  const tiles = reduceToTiles(fields, panel.options, 'light');
  const table = tableModel(fields, panel.options);
  for (const query of plan.queries) expect(query.expr).not.toMatch(/\$__(rate_)?interval|\$__range/);
  return chart.series.length + tiles.length + table.columns.length + plan.missing.length;
}

describe.skipIf(corpus.length === 0)('every panel of the corpus can be drawn', () => {
  test.each(corpus)('%s', (path) => {
    const dashboard = loadDashboard(JSON.parse(readFileSync(path, 'utf8')));
    const scope = new Map<string, Resolved>(
      dashboard.variables.map((variable) => [variable.name, { value: ['a', 'b'], isMulti: true }]),
    );
    const placed = layout(
      dashboard.panels,
      () => true,
      () => [{ text: 'a', value: 'a' }],
    );
    expect(new Set(placed.map(({ key }) => key)).size).toBe(placed.length);
    let drawn = 0;
    for (const { panel } of placed) drawn += draw(panel, scope);
    expect(drawn).toBeGreaterThan(0);
  });
});

test('a panel goes on in Explore, with the range', () => {
  expect(exploreHref(['up', 'a{b="c"}'], '?from=now-6h&to=now&var-x=y')).toBe(
    '/explore?g0.expr=up&g0.tab=graph&g1.expr=a%7Bb%3D%22c%22%7D&g1.tab=graph&from=now-6h&to=now',
  );
});
