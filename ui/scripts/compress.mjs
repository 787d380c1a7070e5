/**
 * Writes a .br and a .gz beside every file of the build that gains by it, prints what a browser has to load and
 * fails when a budget is broken. The server sends these files as they are.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { BUDGETS, measure } from './budget.mjs';

const dist = new URL('../../crates/web/dist/', import.meta.url).pathname;
const COMPRESSIBLE = /\.(js|css|html|svg|json|txt)$/;

function* walk(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* walk(path);
    else yield path;
  }
}

const sizes = new Map();
for (const path of walk(dist)) {
  if (!COMPRESSIBLE.test(path)) continue;
  const raw = readFileSync(path);
  const gz = gzipSync(raw, { level: 9 });
  const br = brotliCompressSync(raw, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
      [constants.BROTLI_PARAM_SIZE_HINT]: raw.length,
    },
  });
  // A copy that is not smaller would only cost the binary room.
  if (gz.length < raw.length) writeFileSync(`${path}.gz`, gz);
  if (br.length < raw.length) writeFileSync(`${path}.br`, br);
  sizes.set(relative(dist, path), { raw: raw.length, gz: gz.length, br: br.length });
}

const kb = (n) => (n / 1000).toFixed(1).padStart(9);
console.log(`${'file'.padEnd(44)}${'raw kB'.padStart(9)}${'gz kB'.padStart(9)}${'br kB'.padStart(9)}`);
for (const [name, size] of [...sizes].sort((a, b) => b[1].gz - a[1].gz)) {
  console.log(name.padEnd(44) + kb(size.raw) + kb(size.gz) + kb(size.br));
}
const total = [...sizes.values()].reduce((sum, size) => sum + size.raw, 0);
console.log(`${'all'.padEnd(44)}${kb(total)}`);

let broken = 0;
for (const { word, limit, value } of measure(dist, sizes)) {
  const isKept = value <= limit;
  if (!isKept) broken += 1;
  console.log(
    `budget ${word.padEnd(37)}${kb(value)} of ${(limit / 1000).toFixed(0)} kB${isKept ? '' : '   BROKEN'}`,
  );
}
if (broken > 0) {
  console.error(`${broken} of ${BUDGETS.length} budgets broken`);
  process.exit(1);
}
