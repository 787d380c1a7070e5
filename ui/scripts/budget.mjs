/** The size budgets of the pages, and how they are measured on a finished build. Sizes are bytes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const BUDGETS = [
  { word: 'initial JS, gzip', limit: 95_000 },
  { word: 'initial CSS, gzip', limit: 15_000 },
  { word: 'editor chunk, gzip', limit: 150_000 },
  { word: 'all files, raw', limit: 1_500_000 },
];

/** Every file that index.html names: what the first paint waits for. */
function initialFiles(dist) {
  const html = readFileSync(join(dist, 'index.html'), 'utf8');
  return [...html.matchAll(/(?:src|href)="\.?\/?(assets\/[^"]+)"/g)].map((match) => match[1]);
}

export function measure(dist, sizes) {
  const names = initialFiles(dist);
  if (!names.some((name) => name.endsWith('.js')) || !names.some((name) => name.endsWith('.css'))) {
    throw new Error('index.html names no script or no style: the budgets cannot be measured');
  }
  const editor = [...sizes.keys()].filter((name) => /editor-view-[^/]+\.js$/.test(name));
  if (editor.length !== 1) throw new Error(`expected one editor chunk, found ${editor.length}`);
  const sum = (list, kind) => list.reduce((total, name) => total + (sizes.get(name)?.[kind] ?? 0), 0);
  const values = [
    sum(
      names.filter((name) => name.endsWith('.js')),
      'gz',
    ),
    sum(
      names.filter((name) => name.endsWith('.css')),
      'gz',
    ),
    sum(editor, 'gz'),
    sum([...sizes.keys()], 'raw'),
  ];
  return BUDGETS.map((budget, i) => ({ ...budget, value: values[i] }));
}
