import { signal } from '@preact/signals';
import { fetchBootstrap } from '../api/client';
import { reconnects } from '../api/connection';
import type { Bootstrap } from '../api/types';

/** What the server says of itself; null until it has said it. Asked again when it comes back after a loss. */
export const bootstrap = signal<Bootstrap | null>(null);

/** True when asking failed: the pages then go on without what it would have said. */
export const bootstrapFailed = signal(false);

reconnects.subscribe(() => {
  fetchBootstrap().then(
    (answer) => {
      bootstrap.value = answer;
      bootstrapFailed.value = false;
    },
    () => {
      bootstrapFailed.value = true;
    },
  );
});
