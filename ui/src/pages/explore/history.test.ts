import { expect, it } from 'vitest';
import { withQuery } from './history';

it('keeps each query once, newest first, at most fifty', () => {
  expect(withQuery(['a', 'b'], ' b ')).toEqual(['b', 'a']);
  expect(withQuery(['a'], '  ')).toEqual(['a']);
  const many = Array.from({ length: 60 }, (_, i) => String(i));
  expect(withQuery(many, 'x')).toHaveLength(50);
});
