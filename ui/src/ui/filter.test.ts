import { describe, expect, it } from 'vitest';
import { matches, parseFilter, withMatcher } from './filter';

const labels = { alertname: 'TargetDown', job: 'node', instance: '10.0.0.1:9100', empty: '' };

describe('matches', () => {
  it.each([
    ['', true],
    ['target', true],
    ['TARGET 9100', true],
    ['target zebra', false],
    ['job="node"', true],
    ['job=node', true],
    ['{job="node", instance=~"10\\..*"}', true],
    ['job="nod"', false],
    ['job=~"no"', false],
    ['job!="node"', false],
    ['job!~"x.*" down', true],
    ['missing=""', true],
    ['missing!=""', false],
    ['words in the text', true],
    ['alertname="TargetDown" words', true],
  ])('%s', (text, expected) => {
    expect(matches(parseFilter(text), labels, 'some words in the text')).toBe(expected);
  });
});

it('says what is wrong and goes on without it', () => {
  const filter = parseFilter('job=~"(" down');
  expect(filter.error).toBe('job=~"(" is not a regular expression');
  expect(matches(filter, labels)).toBe(true);
});

it('adds a matcher once and quotes it', () => {
  expect(withMatcher('a', 'job', 'x"y')).toBe('a job="x\\"y"');
  expect(withMatcher('job="node"', 'job', 'node')).toBe('job="node"');
  expect(parseFilter(withMatcher('', 'job', 'x"y\\z')).matchers).toEqual([
    { name: 'job', op: '=', value: 'x"y\\z' },
  ]);
});
