/** Where tests find the golden vectors. For tests only: nothing of the pages imports it. */
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';

/** The folder, or null when it is not there. In CI its absence is an error. */
export function conformanceDir(part: string): string | null {
  const root =
    process.env.CUPOLA_CONFORMANCE ?? resolve(import.meta.dirname, '../../../../shared/conformance');
  const dir = resolve(root, part);
  if (existsSync(dir)) return dir;
  if (process.env.CI === 'true') throw new Error(`the conformance data is missing: ${dir}`);
  console.error(`skipped: no conformance data at ${dir} (set CUPOLA_CONFORMANCE)`);
  return null;
}

/** One JSON file of golden vectors as `T`, or null when the folder is not there. */
export function goldenVectors<T>(file: string): T | null {
  const dir = conformanceDir('ui');
  return dir === null ? null : (JSON.parse(readFileSync(resolve(dir, file), 'utf8')) as T);
}
