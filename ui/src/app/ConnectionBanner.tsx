import { useComputed } from '@preact/signals';
import { lostSince } from '../api/connection';
import { now } from '../ui/clock';
import { UnknownIcon } from '../ui/icons';
import { clockTime, durationWords } from '../ui/words';
import css from './app.module.css';

/** Says that the server does not answer and since when. What the pages show stays: it is the last they got. */
export function ConnectionBanner() {
  const words = useComputed(() => {
    const since = lostSince.value;
    if (since === null) return '';
    return `since ${clockTime(since)} (${durationWords(now.value - since)})`;
  });
  if (lostSince.value === null) return <div role="status" />;
  return (
    <div role="status" class={css.banner}>
      <UnknownIcon size={15} />
      <span>
        <strong>No answer from the server</strong> {words}. The pages show what they got last and keep trying.
      </span>
    </div>
  );
}
