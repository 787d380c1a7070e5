import { signal } from '@preact/signals';

/** The present in milliseconds, moved on once a second while the page is visible. */
export const now = signal(Date.now());

function moveOn(): void {
  if (!document.hidden) now.value = Date.now();
}

if (typeof document !== 'undefined') {
  setInterval(moveOn, 1000);
  document.addEventListener('visibilitychange', moveOn);
}
