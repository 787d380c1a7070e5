import { expect, it } from 'vitest';
import { KeyFollower } from './keys';

const run = (): void => undefined;
const follower = (): KeyFollower =>
  new KeyFollower([
    { keys: 'g o', words: '', run },
    { keys: 'g t', words: '', run },
    { keys: '?', words: '', run },
  ]);

function presses(keys: [string, number][]): (string | null)[] {
  const one = follower();
  return keys.map(([key, at]) => one.press(key, at).shortcut?.keys ?? null);
}

it.each<[string, [string, number][], (string | null)[]]>([
  ['a single key', [['?', 0]], ['?']],
  [
    'two keys in a row',
    [
      ['g', 0],
      ['t', 300],
    ],
    [null, 'g t'],
  ],
  [
    'two keys too far apart',
    [
      ['g', 0],
      ['t', 5000],
    ],
    [null, null],
  ],
  [
    'a wrong second key forgets the first',
    [
      ['g', 0],
      ['x', 100],
      ['o', 200],
    ],
    [null, null, null],
  ],
  [
    'the first key twice starts anew',
    [
      ['g', 0],
      ['g', 100],
      ['o', 200],
    ],
    [null, null, 'g o'],
  ],
])('%s', (_name, keys, expected) => expect(presses(keys)).toEqual(expected));
