/** What a rule's expression compares, and with which number. Pure functions. */

export interface Threshold {
  /** The side that is measured. */
  expr: string;
  op: string;
  value: number;
}

const PAIRS: Record<string, string> = { '(': ')', '{': '}', '[': ']' };
const COMPARISON = /^(==|!=|>=|<=|>|<)(?!=)/;

/**
 * Splits `measured > 5` into its sides; null when the expression is not one plain comparison with a number.
 *
 * Only a comparison outside all brackets counts, and only a single one without and, or, unless around it.
 */
export function thresholdOf(expr: string): Threshold | null {
  const open: string[] = [];
  let found: { at: number; op: string } | null = null;
  for (let i = 0; i < expr.length; i++) {
    const char = expr[i] ?? '';
    if (char === '"' || char === "'" || char === '`') {
      const end = endOfString(expr, i);
      if (end < 0) return null;
      i = end;
      continue;
    }
    if (PAIRS[char]) open.push(PAIRS[char]);
    else if (char === open[open.length - 1]) open.pop();
    if (open.length > 0) continue;
    if (/^(and|or|unless)\b/i.test(expr.slice(i)) && !/\w/.test(expr[i - 1] ?? '')) return null;
    const op = COMPARISON.exec(expr.slice(i))?.[1];
    if (!op) continue;
    if (found) return null;
    found = { at: i, op };
    i += op.length - 1;
  }
  if (!found) return null;
  const measured = expr.slice(0, found.at).trim();
  const text = expr.slice(found.at + found.op.length).trim();
  if (measured === '' || !/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text)) return null;
  return { expr: measured, op: found.op, value: Number(text) };
}

function endOfString(text: string, start: number): number {
  const quote = text[start];
  for (let i = start + 1; i < text.length; i++) {
    if (text[i] === '\\' && quote !== '`') i++;
    else if (text[i] === quote) return i;
  }
  return -1;
}
