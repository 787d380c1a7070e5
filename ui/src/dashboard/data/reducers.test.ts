import { describe, expect, test } from 'vitest';
import { goldenVectors } from '../conformance';
import { reducerOf, type Value } from './reducers';

type Stored = number | string | boolean | null;
type Vectors = Record<string, { values: Stored[]; results: Record<string, Stored> }>;

const vectors = goldenVectors<Vectors>('reducers.json');

/** JSON has no NaN: the vectors write it as text. */
const real = (stored: Stored): Stored => (stored === 'NaN' ? Number.NaN : stored);

describe.skipIf(vectors === null).each(Object.entries(vectors ?? {}))('%s', (_name, { values, results }) => {
  test.each(Object.entries(results))('%s', (id, wanted) => {
    const got = reducerOf(id)?.reduce(values.map(real) as Value[]);
    const expected = real(wanted);
    if (typeof expected === 'number' && Number.isFinite(expected)) expect(got).toBeCloseTo(expected, 9);
    else expect(got).toBe(expected);
  });
});

test('an unknown calculation is undefined', () => expect(reducerOf('p0')).toBeUndefined());
