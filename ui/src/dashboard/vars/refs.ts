/** References to variables in expressions, titles and links: `$name`, `${name:format}`, `[[name]]`. */

export interface Resolved {
  /** One value, or a list for a variable that may have several. */
  value: string | string[];
  /** The words for it; the value where there are none. */
  text?: string | string[];
  /** "All" was chosen and stands for something that must not be escaped. */
  isVerbatim?: boolean;
  /** May have several values or All: its single value is escaped as a regular expression too. */
  isMulti?: boolean;
}

export type Scope = ReadonlyMap<string, Resolved>;

/** How a reference without a format is written. */
export type DefaultFormat = 'promql' | 'text';

const REFERENCE = /\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)((?:\.[^:^}]+|\[[^\]]+\])*)(?::([^}]+))?\}/g;

function all(value: string | string[]): string[] {
  return Array.isArray(value) ? value : [value];
}

/** A text inside double quotes of PromQL that is meant literally. */
function escapePlain(value: string): string {
  return value.replace(/\\/g, '\\\\').replace(/'/g, "\\\\'");
}

/** A text inside double quotes of PromQL that is a part of a regular expression. */
export function escapeRegexInString(value: string): string {
  return value.replace(/\\/g, '\\\\\\\\').replace(/[$^*{}[\]+?.()|]/g, '\\\\$&');
}

function promql({ value, isVerbatim, isMulti }: Resolved): string {
  if (isVerbatim) return all(value).join('|');
  if (!isMulti) return escapePlain(all(value).join(','));
  if (!Array.isArray(value)) return escapeRegexInString(value);
  const escaped = value.map(escapeRegexInString);
  return escaped.length === 1 ? (escaped[0] ?? '') : `(${escaped.join('|')})`;
}

const HTML: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function percentEncode(value: string): string {
  return encodeURIComponent(value).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function glob(values: string[]): string {
  return values.length > 1 ? `{${values.join(',')}}` : (values[0] ?? '');
}

function lucene(values: string[]): string {
  const escaped = values.map((one) => one.replace(/([!*+\-=<>\s&|()[\]{}^~?:\\/"])/g, '\\$1'));
  return values.length > 1 ? `(${escaped.map((one) => `"${one}"`).join(' OR ')})` : (escaped[0] ?? '');
}

/** Writes a value in one of Grafana's formats; undefined for a format that does not exist. */
function formatted(name: string, found: Resolved, format: string): string | undefined {
  const values = all(found.value);
  const [kind = '', ...args] = format.split(':');
  switch (kind) {
    case 'csv':
    case 'raw':
      return values.join(',');
    case 'pipe':
      return values.join('|');
    case 'regex': {
      const escaped = values.map((one) => one.replace(/[\\^$*+?.()|[\]{}/]/g, '\\$&'));
      return escaped.length === 1 ? escaped[0] : `(${escaped.join('|')})`;
    }
    case 'glob':
      return glob(values);
    case 'json':
      return JSON.stringify(Array.isArray(found.value) ? values : found.value);
    case 'text':
      return all(found.text ?? found.value).join(' + ');
    case 'queryparam':
      return values.map((one) => `var-${name}=${percentEncode(one)}`).join('&');
    case 'customqueryparam': {
      const key = args[0] ?? name;
      return values.map((one) => `${percentEncode(key)}=${percentEncode((args[1] ?? '') + one)}`).join('&');
    }
    case 'percentencode':
      return percentEncode(glob(values));
    case 'uriencode':
      return encodeURI(glob(values));
    case 'singlequote':
      return values.map((one) => `'${one.replace(/'/g, "\\'")}'`).join(',');
    case 'doublequote':
      return values.map((one) => `"${one.replace(/"/g, '\\"')}"`).join(',');
    case 'sqlstring':
      return values.map((one) => `'${one.replace(/'/g, "''")}'`).join(',');
    case 'distributed':
      return values.map((one, i) => (i === 0 ? one : `${name}=${one}`)).join(',');
    case 'html':
      return values.map((one) => one.replace(/[&<>"']/g, (c) => HTML[c] ?? c)).join(', ');
    case 'lucene':
      return lucene(values);
    case 'join':
      return values.join(args[0] ?? ',');
    case 'date':
      return dateText(values[0] ?? '', args.join(':'));
    default:
      return undefined;
  }
}

function dateText(value: string, format: string): string {
  const at = new Date(Number(value));
  if (Number.isNaN(at.getTime())) return value;
  if (format === 'ms') return value;
  if (format === 'seconds') return String(Math.floor(Number(value) / 1000));
  return at.toISOString();
}

/**
 * Fills in every reference to a name of `scope`. Names that are not there stay as they were written, so that
 * a `$` of another meaning survives.
 */
export function interpolate(source: string, scope: Scope, defaultFormat: DefaultFormat): string {
  if (!source.includes('$') && !source.includes('[[')) return source;
  return source.replace(
    REFERENCE,
    (
      whole: string,
      plain: string | undefined,
      bracketed: string | undefined,
      bracketFormat: string | undefined,
      braced: string | undefined,
      path: string | undefined,
      bracedFormat: string | undefined,
    ) => {
      const base = plain ?? bracketed ?? braced ?? '';
      const name = path ? `${base}${path}` : base;
      const found = scope.get(name);
      if (!found) return whole;
      const format = bracketFormat ?? bracedFormat;
      const written = format === undefined ? undefined : formatted(name, found, format);
      if (written !== undefined) return written;
      if (defaultFormat === 'promql') return promql(found);
      return all(found.text ?? found.value).join(' + ');
    },
  );
}

/** Names that `source` refers to. */
export function referencesIn(source: string): Set<string> {
  const out = new Set<string>();
  for (const match of source.matchAll(REFERENCE)) out.add(match[1] ?? match[2] ?? match[4] ?? '');
  return out;
}
