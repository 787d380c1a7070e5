import { signal } from '@preact/signals';

const KEY = 'cupola.name';
const COMMENTS = 'cupola.comments';
const MOST_COMMENTS = 8;

function read(key: string): string {
  try {
    return localStorage.getItem(key) ?? '';
  } catch {
    return '';
  }
}

function write(key: string, text: string): void {
  try {
    localStorage.setItem(key, text);
  } catch {
    // Storage may be forbidden; then it is typed again.
  }
}

/** The name under which somebody made a silence or acknowledged an alert last, in this browser. */
export const ownName = signal(read(KEY));

export function rememberName(name: string): void {
  ownName.value = name;
  write(KEY, name);
}

/** The comments of the latest silences that were made in this browser, the latest first. */
export function ownComments(): string[] {
  return read(COMMENTS).split('\n').filter(Boolean);
}

export function rememberComment(comment: string): void {
  const one = comment.replace(/\s+/g, ' ').trim();
  const others = ownComments().filter((other) => other !== one);
  write(COMMENTS, [one, ...others].slice(0, MOST_COMMENTS).join('\n'));
}
