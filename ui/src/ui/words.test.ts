import { describe, expect, it } from 'vitest';
import {
  bitsPerSecond,
  bytes,
  count,
  durationWords,
  parseTime,
  relativeWords,
  secondsQuantity,
  shortNumber,
} from './words';

describe('durationWords', () => {
  it.each([
    [0, '0 s'],
    [8_400, '8 s'],
    [59_000, '59 s'],
    [61_000, '1 min'],
    [12 * 60_000 + 30_000, '12 min'],
    [3_600_000, '1 h'],
    [3_600_000 + 5 * 60_000, '1 h 5 min'],
    [14 * 3_600_000 + 5 * 60_000, '14 h'],
    [3 * 86_400_000 + 4 * 3_600_000, '3 d 4 h'],
    [45 * 86_400_000, '45 d'],
    [400 * 86_400_000, '1 y 35 d'],
    [25_968 * 86_400_000, '71 y'],
    [-5, '0 s'],
  ])('%d ms is %s', (ms, words) => expect(durationWords(ms)).toBe(words));
});

describe('relativeWords', () => {
  it.each([
    [1_000_000, 1_000_500, 'just now'],
    [1_000_000, 1_240_000, '4 min ago'],
    [1_020_000, 1_000_000, 'in 20 s'],
  ])('%d seen at %d is %s', (at, now, words) => expect(relativeWords(at, now)).toBe(words));
});

describe('parseTime', () => {
  it.each([
    ['1970-01-01T00:00:01Z', 1000],
    ['1970-01-01T01:00:00.5+01:00', 500],
    ['0001-01-01T00:00:00Z', null],
    ['', null],
    [null, null],
    ['soon', null],
  ])('%s is %s', (text, ms) => expect(parseTime(text)).toBe(ms));
});

describe('quantities', () => {
  it.each([
    [bytes(0), '0 B'],
    [bytes(1023), '1023 B'],
    [bytes(1536), '1.50 KiB'],
    [bytes(16.5 * 2 ** 30), '16.5 GiB'],
    [bitsPerSecond(8_200_000), '8.20 Mbit/s'],
    [secondsQuantity(0.000_35), '350 µs'],
    [secondsQuantity(0.012_34), '12.3 ms'],
    [secondsQuantity(2.1), '2.10 s'],
  ])('%o is %s', (quantity, text) => expect(`${quantity.number} ${quantity.unit}`).toBe(text));

  it('keeps three digits', () => {
    expect([0.517, 7.4, 83.24, 412.4].map(shortNumber)).toEqual(['0.52', '7.40', '83.2', '412']);
    expect(shortNumber(Number.NaN)).toBe('–');
  });
});

it('counts in the singular and in the plural', () => {
  expect([count(1, 'target'), count(0, 'target'), count(2, 'query', 'queries')]).toEqual([
    '1 target',
    '0 targets',
    '2 queries',
  ]);
});
