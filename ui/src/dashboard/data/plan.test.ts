import { expect, test } from 'vitest';
import type { Panel } from '../model/types';
import type { Resolved } from '../vars/refs';
import { planKey, planPanel, type PlanInput } from './plan';

const HOUR = 3_600_000;

function panel(change: Partial<Panel>): Panel {
  return {
    id: 1,
    type: 'timeseries',
    gridPos: { x: 0, y: 0, w: 12, h: 8 },
    options: {},
    fieldConfig: { defaults: {}, overrides: [] },
    ...change,
  };
}

const input: PlanInput = {
  fromMs: 100 * HOUR + 7000,
  toMs: 101 * HOUR + 7000,
  width: 700,
  scrapeMs: 15_000,
  scope: new Map<string, Resolved>([['job', { value: 'node' }]]),
  now: 101 * HOUR + 7000,
};

test('macros and variables are filled in, start and end lie on the step', () => {
  const { queries } = planPanel(
    panel({ targets: [{ refId: 'A', expr: 'rate(x{job="$job"}[$__rate_interval]) / $__interval_ms' }] }),
    input,
  );
  expect(queries).toMatchObject([
    {
      refId: 'A',
      kind: 'range',
      expr: 'rate(x{job="node"}[1m]) / 15000',
      stepMs: 15_000,
      fromMs: 100 * HOUR,
      toMs: 101 * HOUR,
    },
  ]);
});

test('hidden and empty targets are not asked for, both kinds are two queries', () => {
  const { queries } = planPanel(
    panel({
      targets: [
        { refId: 'A', expr: 'a', hide: true },
        { refId: 'B', expr: ' ' },
        { refId: 'C', expr: 'c', instant: true },
        { refId: 'D', expr: 'd', instant: true, range: true },
      ],
    }),
    input,
  );
  expect(queries.map((q) => `${q.refId} ${q.kind}`)).toEqual(['C instant', 'D range', 'D-Instant instant']);
});

test('a panel may have its own window', () => {
  const plan = planPanel(
    panel({ timeFrom: '24h', timeShift: '1h', targets: [{ refId: 'A', expr: 'a' }] }),
    input,
  );
  expect([plan.toMs - plan.fromMs, input.now - plan.toMs]).toEqual([24 * HOUR, HOUR]);
});

test('a data source of another kind is named', () => {
  const plan = planPanel(
    panel({ targets: [{ refId: 'A', expr: '{app="x"}', datasource: { type: 'loki', uid: 'loki' } }] }),
    input,
  );
  expect([plan.missing, plan.queries]).toEqual([['loki'], []]);
});

test('an unknown uid of the right kind is the built-in source', () => {
  const ref = { type: 'prometheus', uid: 'P1809F7CD0C75ACF3' };
  expect(
    planPanel(panel({ datasource: ref, targets: [{ refId: 'A', expr: 'a' }] }), input).queries,
  ).toHaveLength(1);
});

test('the key stays the same while time passes', () => {
  const one = panel({ targets: [{ refId: 'A', expr: 'a' }] });
  const later = {
    ...input,
    fromMs: input.fromMs + 60_000,
    toMs: input.toMs + 60_000,
    now: input.now + 60_000,
  };
  expect(planKey(planPanel(one, later), 'now-1h')).toBe(planKey(planPanel(one, input), 'now-1h'));
});
