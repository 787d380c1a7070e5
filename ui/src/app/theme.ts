import { signal } from '@preact/signals';

export type Theme = 'light' | 'dark';

const KEY = 'cupola.theme';
const systemDark = matchMedia('(prefers-color-scheme: dark)');

function remembered(): Theme | null {
  try {
    const value = localStorage.getItem(KEY);
    return value === 'light' || value === 'dark' ? value : null;
  } catch {
    return null;
  }
}

function system(): Theme {
  return systemDark.matches ? 'dark' : 'light';
}

/** The theme in force. boot.js has applied it before the first paint. */
export const theme = signal<Theme>(remembered() ?? system());

function apply(next: Theme): void {
  theme.value = next;
  document.documentElement.dataset.theme = next;
}

/** Switches to the other theme. A choice that equals the system's is not remembered: it follows the system. */
export function toggleTheme(): void {
  const next: Theme = theme.peek() === 'dark' ? 'light' : 'dark';
  try {
    if (next === system()) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, next);
  } catch {
    // Not remembered where storage is forbidden; the switch still works for this page.
  }
  apply(next);
}

systemDark.addEventListener('change', () => {
  if (remembered() === null) apply(system());
});
