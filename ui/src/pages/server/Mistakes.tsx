import { ErrorNote } from '../../ui/parts';
import css from './server.module.css';

/** Why the newest configuration is not the one in force. */
export function Mistakes({ text }: { text: string | undefined }) {
  if (text === undefined) return null;
  return (
    <div class={css.mistakes} data-test="mistakes">
      <ErrorNote
        what="The changed configuration cannot be used; the one before stays in force."
        error={new Error(text)}
      />
    </div>
  );
}
