/** Where in a query the server found its mistake. Pure functions. */

export interface QueryMistake {
  /** Offsets into the query's text, as JavaScript counts; `from` may equal `to` at the end of the text. */
  from: number;
  to: number;
  /** The server's words without the place. */
  message: string;
}

const PLACE = /^(?:invalid parameter "query": )?(\d+):(\d+): (?:parse error: )?([\s\S]*)$/;

/**
 * Reads `invalid parameter "query": 1:5: parse error: …`; null for an error that names no place.
 *
 * The server counts lines and columns from 1, columns in bytes of UTF-8. The mark covers the word that starts
 * there, or one character.
 */
export function readMistake(error: string, query: string): QueryMistake | null {
  const match = PLACE.exec(error);
  if (!match) return null;
  const lines = query.split('\n');
  const row = Math.min(Math.max(Number(match[1]), 1), lines.length) - 1;
  const start = lines.slice(0, row).reduce((sum, line) => sum + line.length + 1, 0);
  const line = lines[row] ?? '';
  let from = start + charsOf(line, Number(match[2]) - 1);
  const word = /^[\w:]+/.exec(query.slice(from))?.[0].length ?? 1;
  const to = Math.min(query.length, from + word);
  if (from >= query.length) from = Math.max(0, query.length - 1);
  return { from, to, message: match[3]?.trim() ?? '' };
}

/** How many characters the first `bytes` bytes of `text` are. */
function charsOf(text: string, bytes: number): number {
  let left = bytes;
  let chars = 0;
  for (const char of text) {
    if (left <= 0) break;
    const point = char.codePointAt(0) ?? 0;
    left -= point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    chars += char.length;
  }
  return chars;
}

const KEYWORDS = new Set(
  'by without on ignoring group_left group_right bool and or unless offset start end atan2 inf nan'.split(
    ' ',
  ),
);

/** The names of metrics that a query asks for, in their order; used to say why an answer is empty. */
export function metricNames(query: string): string[] {
  const bare = query
    .replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`/g, '""')
    .replace(/#.*$/gm, '')
    .replace(/\{[^}]*\}/g, ' ')
    .replace(/\[[^\]]*\]/g, ' ')
    .replace(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/gi, ' ');
  const names = new Set<string>();
  for (const match of bare.matchAll(/[a-zA-Z_:][\w:]*/g)) {
    const name = match[0];
    const before = bare[match.index - 1] ?? '';
    const isCall = /^\s*\(/.test(bare.slice(match.index + name.length));
    if (!isCall && !/[\d.]/.test(before) && !KEYWORDS.has(name.toLowerCase())) names.add(name);
  }
  return [...names];
}
