import { describe, expect, test } from 'vitest';
import { goldenVectors } from '../conformance';
import type { Transformation } from '../model/types';
import type { Field, Frame } from './frames';
import { fieldName, transformFrames } from './transform';

interface StoredField {
  name: string;
  displayName?: string;
  type: Field['type'];
  labels?: Record<string, string>;
  config?: Field['config'];
  values: Field['values'];
}

interface Vector {
  name: string;
  transformations: Transformation[];
  input: { refId: string; length: number; fields: StoredField[] }[];
  output: { length: number; fields: StoredField[] }[];
}

const vectors = goldenVectors<Vector[]>('transformations.json') ?? [];

describe.skipIf(vectors.length === 0)('transformations', () => {
  test.each(vectors)('$name', ({ transformations, input, output }) => {
    const frames: Frame[] = input.map((frame) => ({
      ...frame,
      fields: frame.fields.map((field): Field => ({ ...field, config: field.config ?? {} })),
    }));
    const before = JSON.stringify(frames);
    const got = transformFrames(frames, transformations);
    expect(got.map((frame) => frame.length)).toEqual(output.map((frame) => frame.length));
    expect(
      got.map(({ fields }) =>
        fields.map((field) => [field.name, field.values.map((value) => value ?? null)]),
      ),
    ).toEqual(output.map(({ fields }) => fields.map((field) => [field.name, field.values])));
    expect(JSON.stringify(frames)).toBe(before);
  });
});

const frame: Frame = {
  refId: 'A',
  length: 2,
  fields: [
    { name: 'Time', type: 'time', values: [1, 1], config: {} },
    { name: 'pod', type: 'string', values: ['a', 'b'], config: {} },
    { name: 'Value #A', type: 'number', values: [1, 2], config: {} },
  ],
};

test('organize leaves out, orders and renames', () => {
  const [got] = transformFrames(
    [frame],
    [
      {
        id: 'organize',
        options: {
          excludeByName: { Time: true },
          indexByName: { 'Value #A': 0, pod: 1 },
          renameByName: { pod: 'Pod' },
        },
      },
    ],
  );
  expect(got?.fields.map(fieldName)).toEqual(['Value #A', 'Pod']);
});

test('what is not known or switched off changes nothing', () => {
  const steps: Transformation[] = [
    { id: 'noSuchThing' },
    { id: 'limit', options: { limitField: 1 }, disabled: true },
  ];
  expect(transformFrames([frame], steps)).toEqual([frame]);
});
