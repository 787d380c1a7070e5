import { computed } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import { now } from './clock';
import { durationWords, exactTime, relativeWords } from './words';

/** "4 min ago", kept true by the shared clock; the exact time with its zone on hover. */
export function RelativeTime({ at }: { at: number }) {
  const words = useMemo(() => computed(() => relativeWords(at, now.value)), [at]);
  return (
    <time dateTime={new Date(at).toISOString()} title={exactTime(at)}>
      {words}
    </time>
  );
}

/** "4 min": how long something has lasted, kept true by the shared clock. */
export function Age({ since }: { since: number }) {
  const words = useMemo(() => computed(() => durationWords(now.value - since)), [since]);
  return (
    <time dateTime={new Date(since).toISOString()} title={exactTime(since)}>
      {words}
    </time>
  );
}
