import { describe, expect, it } from 'vitest';
import type { NameCount, RefusedSeries, TsdbStatus } from '../../api/types';
import { bytesPerSample, grouped, headline, question, replayed, rows, totals, usages } from './status';

const NOW = 1_800_000_000_000;

function counts(all: Record<string, number>): NameCount[] {
  return Object.entries(all).map(([name, value]) => ({ name, value }));
}

function status(more: Partial<TsdbStatus> = {}): TsdbStatus {
  return {
    headStats: { numSeries: 4200, numLabelPairs: 90, chunkCount: 4300, minTime: NOW - 60_000, maxTime: NOW },
    seriesCountByMetricName: counts({ up: 700, down: 300 }),
    labelValueCountByLabelName: counts({ pod: 80 }),
    memoryInBytesByLabelName: counts({ pod: 2000 }),
    seriesCountByLabelValuePair: counts({ 'job=a': 900 }),
    seriesCountByJob: counts({ a: 900, b: 100 }),
    newSeriesByMetricName: counts({ down: 30 }),
    newSeriesByJob: [],
    refusedSeries: [],
    seriesLimits: { total: 0, metric: 0, job: 0 },
    ...more,
  };
}

function refused(more: Partial<RefusedSeries> = {}): RefusedSeries {
  return {
    limit: 'metric',
    most: 700,
    name: 'up',
    value: 9,
    firstTime: NOW - 3_600_000,
    lastTime: NOW - 15_000,
    example: { __name__: 'up', pod: 'x' },
    ...more,
  };
}

describe('headline', () => {
  it.each([
    [status(), 'ok', 'All well: 4,200 series, none refused'],
    [
      status({ seriesLimits: { total: 5000, metric: 1000, job: 1000 } }),
      'warning',
      'The job a fills 90 % of the limit of 1,000 series',
    ],
    [
      status({ seriesLimits: { total: 5000, metric: 0, job: 0 } }),
      'warning',
      'All series together fill 84 % of the limit of 5,000 series',
    ],
    [
      status({ refusedSeries: [refused()] }),
      'critical',
      'The metric up has reached its limit of 700 series: new series are refused',
    ],
    [
      status({ refusedSeries: [refused({ limit: 'total', most: 4200 }), refused({ name: 'b' })] }),
      'critical',
      'The limit of 4,200 series is reached, and so has 1 other: new series are refused',
    ],
    [
      status({ refusedSeries: [refused({ lastTime: NOW - 3_000_000 })] }),
      'ok',
      'All well: 4,200 series, none refused',
    ],
  ] as const)('says how it is (%#)', (given, state, sentence) => {
    expect(headline(given, NOW)).toEqual({ state, sentence });
  });
});

describe('usages', () => {
  it('names those that are closest to the limits there are', () => {
    const all = usages(status({ seriesLimits: { total: 8400, metric: 700, job: 0 } }), 1);
    expect(all).toEqual([
      { scope: 'total', name: '', used: 4200, most: 8400, share: 0.5 },
      { scope: 'metric', name: 'up', used: 700, most: 700, share: 1 },
    ]);
    expect(usages(status())).toEqual([]);
  });
});

describe('rows', () => {
  it('are filtered, and ordered by size or by what is new', () => {
    const names = (list: ReturnType<typeof rows>) => list.map((row) => row.name);
    expect(names(rows(status(), 'metric', []))).toEqual(['up', 'down']);
    expect(names(rows(status(), 'metric', [], true))).toEqual(['down', 'up']);
    expect(names(rows(status(), 'metric', ['ow']))).toEqual(['down']);
    expect(rows(status(), 'metric', [])[0]).toEqual({ name: 'up', value: 700, share: 1, fresh: 0 });
    expect(rows(status({ newSeriesByJob: undefined }), 'job', [])[0]?.fresh).toBeUndefined();
  });
});

describe('question', () => {
  it.each([
    ['metric', 'a:b', 'sort_desc(count by (job) ({__name__="a:b"}))'],
    ['job', 'x"y', 'topk(20, count by (__name__) ({job="x\\"y"}))'],
    ['pair', 'pod=a=b', 'topk(20, count by (__name__, job) ({pod="a=b"}))'],
    ['label', 'room.name', 'topk(20, count by ("room.name") ({"room.name"!=""}))'],
  ] as const)('asks what %s %s is made of', (list, name, query) => {
    expect(question(list, name)).toBe(query);
  });
});

describe('figures', () => {
  it('group thousands', () => {
    expect([0, 999, 1000, 1234567].map(grouped)).toEqual(['0', '999', '1,000', '1,234,567']);
  });

  it('sum blocks up', () => {
    const block = (minTime: number, bytes?: number) => ({
      ulid: 'x',
      minTime,
      maxTime: minTime + 10,
      stats: { numSamples: 100, numSeries: 5 },
      bytes,
    });
    expect(totals([])).toBeUndefined();
    expect(totals([block(10, 100), block(0, 30)])).toEqual({ samples: 200, bytes: 130, from: 0, to: 20 });
    expect(totals([block(10)])?.bytes).toBeUndefined();
    expect([bytesPerSample(130, 100), bytesPerSample(undefined, 1), bytesPerSample(1, 0)]).toEqual([
      '1.30',
      '–',
      '–',
    ]);
  });

  it('tell how far the log is read', () => {
    expect(replayed({ min: 0, max: 0, current: 0 })).toBeNull();
    expect(replayed({ min: 2, max: 5, current: 3 })).toBe(0.25);
    expect(replayed({ min: 4, max: 4, current: 4, done: false })).toBe(0);
    expect(replayed({ min: 2, max: 5, current: 5, done: true })).toBeNull();
    expect(replayed({ min: 2, max: 6, current: 6 })).toBeNull();
  });
});
