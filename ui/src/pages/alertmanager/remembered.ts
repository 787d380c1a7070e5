import { signal } from '@preact/signals';

const KEY = 'cupola.name';

function read(): string {
  try {
    return localStorage.getItem(KEY) ?? '';
  } catch {
    return '';
  }
}

/** The name under which somebody made a silence or acknowledged an alert last, in this browser. */
export const ownName = signal(typeof localStorage === 'undefined' ? '' : read());

export function rememberName(name: string): void {
  ownName.value = name;
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // Storage may be forbidden; then it is typed again.
  }
}
