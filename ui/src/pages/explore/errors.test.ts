import { describe, expect, it } from 'vitest';
import { metricNames, readMistake } from './errors';

describe('readMistake', () => {
  it.each([
    [
      'invalid parameter "query": 1:4: parse error: unexpected end of input',
      'up{',
      [2, 3],
      'unexpected end of input',
    ],
    [
      'invalid parameter "query": 1:6: parse error: unknown function',
      'sum((foo))',
      [5, 8],
      'unknown function',
    ],
    ['2:3: parse error: bad', 'up\n+ zap', [5, 8], 'bad'],
    ['invalid parameter "query": 1:11: parse error: bad', 'x{a="ü"} and+', [9, 12], 'bad'],
    ['invalid parameter "query": 9:99: parse error: bad', 'up', [1, 2], 'bad'],
  ])('%s', (error, query, range, message) => {
    const mistake = readMistake(error, query);
    expect(mistake && [mistake.from, mistake.to]).toEqual(range);
    expect(mistake?.message).toBe(message);
  });

  it('knows no place in other errors', () => {
    expect(readMistake('query timed out in expression evaluation', 'up')).toBeNull();
  });
});

it.each([
  ['up', ['up']],
  ['rate(http_requests_total{job="a b"}[5m])', ['http_requests_total']],
  ['sum by (job) (a) / on(instance) group_left(x) b', ['a', 'b']],
  ['topk(5, job:x:rate5m) > 1e3 and bool_metric', ['job:x:rate5m', 'bool_metric']],
  ['{__name__="x"}', []],
  ['1 + 2', []],
])('%s asks for %o', (query, names) => expect(metricNames(query)).toEqual(names));
