/** Matchers as Alertmanager writes them: `alertname="X", instance=~"a.*"`, in braces or not. Pure functions. */

export type Op = '=' | '!=' | '=~' | '!~';

export interface Matcher {
  name: string;
  op: Op;
  value: string;
}

/** A matcher in the API's words. */
export interface ApiMatcher {
  name: string;
  value: string;
  isRegex: boolean;
  isEqual?: boolean;
}

const ONE =
  /\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"=!~,{}]+))\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"{}]*))\s*(,|$)/y;

function unescaped(text: string): string {
  return text.replace(/\\(.)/g, (_all, c: string) => (c === 'n' ? '\n' : c));
}

/** Reads matchers; null where the text is none. Nothing is no matchers. */
export function parseMatchers(text: string): Matcher[] | null {
  const rest = text.trim().replace(/^\{/, '').replace(/\}$/, '').trim();
  const out: Matcher[] = [];
  ONE.lastIndex = 0;
  while (ONE.lastIndex < rest.length) {
    const found = ONE.exec(rest);
    if (!found) return null;
    const [, quotedName, plainName, op, quotedValue, plainValue] = found;
    out.push({
      name: quotedName !== undefined ? unescaped(quotedName) : (plainName ?? ''),
      op: op as Op,
      value: quotedValue !== undefined ? unescaped(quotedValue) : (plainValue ?? ''),
    });
  }
  return out;
}

/** A label's name, in quotes where it needs them. */
export function quoted(name: string): string {
  return /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) ? name : `"${escaped(name)}"`;
}

function escaped(text: string): string {
  return text.replace(/["\\]/g, '\\$&').replace(/\n/g, '\\n');
}

export function writeMatcher({ name, op, value }: Matcher): string {
  return `${quoted(name)}${op}"${escaped(value)}"`;
}

export function writeMatchers(all: readonly Matcher[]): string {
  return all.map(writeMatcher).join(', ');
}

export function fromApi({ name, value, isRegex, isEqual = true }: ApiMatcher): Matcher {
  return { name, value, op: isRegex ? (isEqual ? '=~' : '!~') : isEqual ? '=' : '!=' };
}

export function toApi({ name, op, value }: Matcher): ApiMatcher {
  return { name, value, isRegex: op === '=~' || op === '!~', isEqual: op === '=' || op === '=~' };
}
