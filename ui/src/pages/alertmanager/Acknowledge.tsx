import { useState } from 'preact/hooks';
import { PersonIcon } from '../../ui/icons';
import { ErrorNote } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { RelativeTime } from '../../ui/RelativeTime';
import { parseTime } from '../../ui/words';
import { acknowledge, unacknowledge, type Acknowledgement, type ManagedAlert } from './api';
import css from './am.module.css';
import { Field } from './Field';
import { ownName, rememberName } from './remembered';
import list from '../list.module.css';

/** Who looks after an alert. */
export function AckLine({ ack, onDone }: { ack: Acknowledgement; onDone: () => void }) {
  const [error, setError] = useState<Error>();
  const [busy, setBusy] = useState(false);
  const at = parseTime(ack.at);
  const ends = parseTime(ack.endsAt);
  const takeBack = (): void => {
    setBusy(true);
    unacknowledge(ack.fingerprint, ownName.value)
      .then(onDone, setError)
      .finally(() => setBusy(false));
  };
  return (
    <div class={css.ack} data-test="ack">
      <PersonIcon size={14} />
      <span>
        <b>{ack.by}</b> looks after it{ack.note && <>: {ack.note}</>}
        <span class={list.dim}>
          {at !== null && (
            <>
              {' · '}
              <RelativeTime at={at} />
            </>
          )}
          {ends !== null && (
            <>
              {' · ends '}
              <RelativeTime at={ends} />
            </>
          )}
        </span>
      </span>
      <button type="button" class={`${parts.button} ${parts.quiet}`} disabled={busy} onClick={takeBack}>
        Take back
      </button>
      {error && <ErrorNote what="The acknowledgement could not be taken back." error={error} />}
    </div>
  );
}

const UNTIL: readonly { word: string; hours: number }[] = [
  { word: 'it is resolved', hours: 0 },
  { word: 'in 1 hour', hours: 1 },
  { word: 'in 4 hours', hours: 4 },
  { word: 'in 12 hours', hours: 12 },
  { word: 'in 1 day', hours: 24 },
];

/** Asks who looks after alerts. */
export function AckForm({
  alerts,
  onDone,
  onCancel,
}: {
  alerts: readonly ManagedAlert[];
  onDone: () => void;
  onCancel: () => void;
}) {
  const [by, setBy] = useState(ownName.value);
  const [note, setNote] = useState('');
  const [hours, setHours] = useState(0);
  const [error, setError] = useState<Error>();
  const [busy, setBusy] = useState(false);
  const send = (event: Event): void => {
    event.preventDefault();
    setBusy(true);
    rememberName(by.trim());
    const end = hours > 0 ? new Date(Date.now() + hours * 3_600_000).toISOString() : undefined;
    const one = ({ fingerprint }: ManagedAlert): Promise<unknown> => acknowledge(fingerprint, by, note, end);
    Promise.all(alerts.map(one))
      .then(onDone, setError)
      .finally(() => setBusy(false));
  };
  return (
    <form class={css.ackForm} onSubmit={send} data-test="ack-form">
      <Field
        word="Your name"
        required
        maxLength={200}
        autocomplete="name"
        value={by}
        inputRef={(input) => {
          if (input && by === '' && document.activeElement === document.body) input.focus();
        }}
        onValue={setBy}
      />
      <Field
        word="Note"
        wide
        maxLength={1000}
        placeholder="What you do about it"
        spellcheck
        value={note}
        onValue={setNote}
      />
      <label>
        <span>Until</span>
        <select
          class={parts.field}
          value={String(hours)}
          onChange={(event) => setHours(Number(event.currentTarget.value))}
        >
          {UNTIL.map((one) => (
            <option key={one.hours} value={String(one.hours)}>
              {one.word}
            </option>
          ))}
        </select>
      </label>
      <span class={css.formEnd}>
        <button type="submit" class={`${parts.button} ${parts.primary}`} disabled={busy || by.trim() === ''}>
          Acknowledge{alerts.length > 1 ? ` ${alerts.length}` : ''}
        </button>
        <button type="button" class={`${parts.button} ${parts.quiet}`} onClick={onCancel}>
          Cancel
        </button>
      </span>
      <p class={css.hint}>
        Reminders stop while everything that fires in its group is acknowledged. New alerts and the end are
        told as ever.
      </p>
      {error && <ErrorNote what="Not everything could be acknowledged." error={error} />}
    </form>
  );
}
