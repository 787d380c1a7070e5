import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { Link } from 'wouter-preact';
import { useData } from '../../api/useData';
import { useBeat, usePresentPace } from '../../app/beat';
import { useParam } from '../../app/url';
import { PlusIcon, RepeatIcon } from '../../ui/icons';
import { EmptyState, ErrorNote, Segments, Waiting } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { RelativeTime } from '../../ui/RelativeTime';
import { StateMark, type State } from '../../ui/StateMark';
import { count, exactTime, parseTime } from '../../ui/words';
import {
  deleteRecurring,
  expireSilence,
  fetchGroups,
  fetchRecurring,
  fetchSilences,
  RECURRING,
  type RecurringSilence,
  type Silence,
} from './api';
import css from './am.module.css';
import { FilterBox, hasWords, readFilter } from './FilterBox';
import { distinct } from './grouping';
import { fromApi, writeMatcher } from './matchers';
import { Tabs } from './Tabs';
import { windowWords } from './times';
import list from '../list.module.css';

type Shown = 'current' | 'active' | 'pending' | 'expired' | 'weekly';

const MOST_SHOWN = 200;

/** Silences: who keeps what quiet, until when, and why; and those that come back every week. */
export function SilencesPage() {
  usePresentPace();
  const beat = useBeat();
  const [filterText, setFilterText] = useParam<string>('filter', '');
  const [shown, setShown] = useParam<Shown>('state', 'current');
  const silences = useData('silences', fetchSilences, beat);
  const weekly = useData('recurring', fetchRecurring, beat);
  const groups = useData('all alerts', (signal) => fetchGroups([], '', signal), beat);
  const asked = readFilter(filterText);
  const reload = (): void => {
    silences.reload();
    weekly.reload();
    groups.reload();
  };

  const muted = new Map<string, number>();
  for (const alert of distinct(groups.data ?? [])) {
    for (const id of alert.status.silencedBy) muted.set(id, (muted.get(id) ?? 0) + 1);
  }
  const fits = (one: Pick<Silence, 'matchers' | 'matcherSets' | 'comment' | 'createdBy'>): boolean => {
    const all = one.matcherSets?.flat() ?? one.matchers;
    const texts = all.map((matcher) => writeMatcher(fromApi(matcher)));
    return (
      asked.matchers.every((matcher) => texts.includes(matcher)) &&
      hasWords(asked.words, ...texts, one.comment, one.createdBy)
    );
  };
  const matching = (silences.data ?? []).filter(fits);
  const repeating = (weekly.data ?? []).filter(fits);
  const number = (state: Silence['status']['state']): number =>
    matching.filter((silence) => silence.status.state === state).length;
  const fitting = matching.filter(({ status: { state } }) =>
    shown === 'current' ? state !== 'expired' : state === shown,
  );
  const known = silences.data !== undefined;

  return (
    <div class={list.page}>
      <Tabs />
      <FilterBox
        label="Filter silences"
        placeholder="Filter: words of the comment or the name, or a matcher"
        value={filterText}
        error={asked.error}
        onChange={setFilterText}
      >
        <Segments
          label="State"
          value={shown}
          onChange={setShown}
          options={[
            {
              value: 'current',
              word: 'Current',
              count: known ? number('active') + number('pending') : undefined,
            },
            { value: 'active', word: 'Active', count: known ? number('active') : undefined },
            { value: 'pending', word: 'Pending', count: known ? number('pending') : undefined },
            { value: 'expired', word: 'Expired', count: known ? number('expired') : undefined },
            { value: 'weekly', word: 'Weekly', count: weekly.data ? repeating.length : undefined },
          ]}
        />
        <Link href="/alertmanager/silences/new" class={`${parts.button} ${parts.primary} ${css.toRight}`}>
          <PlusIcon size={14} />
          New silence
        </Link>
      </FilterBox>
      <Waiting
        data={silences.data}
        error={silences.error}
        what="The silences could not be asked for."
        rows={4}
      />
      {weekly.error && <ErrorNote what="The weekly silences could not be asked for." error={weekly.error} />}
      {shown !== 'weekly' && known && fitting.length === 0 && (
        <div class={parts.sheet}>
          <EmptyState
            title={matching.length < (silences.data ?? []).length ? 'No silence matches' : 'No silence'}
          >
            <p>{shown === 'expired' ? 'None has ended lately.' : 'Whatever fires is told.'}</p>
          </EmptyState>
        </div>
      )}
      {shown !== 'weekly' && fitting.length > 0 && (
        <div class={parts.sheet}>
          {fitting.slice(0, MOST_SHOWN).map((silence) => (
            <SilenceRow
              key={silence.id}
              silence={silence}
              muted={muted.get(silence.id) ?? 0}
              onDone={reload}
            />
          ))}
          {fitting.length > MOST_SHOWN && (
            <p class={css.more}>
              {count(fitting.length - MOST_SHOWN, 'more silence')}; the filter finds them.
            </p>
          )}
        </div>
      )}
      {shown === 'weekly' && weekly.data && (
        <div class={parts.sheet}>
          {repeating.length === 0 && (
            <EmptyState title="No silence comes back">
              <p>
                One for a maintenance window every week is made like any other; choose “Every week” in its
                form.
              </p>
            </EmptyState>
          )}
          {repeating.map((one) => (
            <WeeklyRow key={one.id} one={one} onDone={reload} />
          ))}
        </div>
      )}
    </div>
  );
}

export const STATES: Record<Silence['status']['state'], { state: State; word: string }> = {
  active: { state: 'silenced', word: 'active' },
  pending: { state: 'pending', word: 'pending' },
  expired: { state: 'off', word: 'expired' },
};

/** The matchers of a silence, or one set after the other where any of several may match. */
export function Matchers({ of }: { of: Pick<Silence, 'matchers' | 'matcherSets'> }) {
  return (of.matcherSets ?? [of.matchers]).map((set, index) => (
    <span key={index} class={parts.chips}>
      {index > 0 && 'or'}
      {set.map((matcher) => {
        const { name, op, value } = fromApi(matcher);
        return (
          <span key={writeMatcher({ name, op, value })} class={parts.chip}>
            {name}
            {op}
            <b>{value === '' ? '""' : value}</b>
          </span>
        );
      })}
    </span>
  ));
}

/** When it begins or ends, as a sentence would say it. */
export function When({ silence }: { silence: Silence }) {
  const starts = parseTime(silence.startsAt);
  const ends = parseTime(silence.endsAt);
  if (starts === null || ends === null) return null;
  switch (silence.status.state) {
    case 'active':
      return (
        <>
          ends <RelativeTime at={ends} />
        </>
      );
    case 'pending':
      return (
        <>
          begins <RelativeTime at={starts} />
        </>
      );
    case 'expired':
      return (
        <>
          ended <RelativeTime at={ends} />
        </>
      );
  }
}

function SilenceRow({ silence, muted, onDone }: { silence: Silence; muted: number; onDone: () => void }) {
  const { state, word } = STATES[silence.status.state];
  const isOver = silence.status.state === 'expired';
  return (
    <article class={css.silence} data-test="silence" data-state={silence.status.state}>
      <StateMark state={state} word={word} />
      <div class={list.what}>
        <Link href={`/alertmanager/silences/${silence.id}`} class={css.comment}>
          {silence.comment || 'No comment'}
        </Link>
        <Matchers of={silence} />
        <span class={list.dim}>
          {silence.createdBy || 'nobody named'}
          {silence.annotations?.[RECURRING] && (
            <>
              {' · '}
              <RepeatIcon size={12} class={css.inText} /> one of a weekly silence
            </>
          )}
        </span>
      </div>
      <div class={css.when}>
        <span>
          <When silence={silence} />
        </span>
        {silence.status.state === 'active' && <span class={list.dim}>mutes {count(muted, 'alert')} now</span>}
      </div>
      <span class={css.actions}>
        <Link href={`/alertmanager/silences/${silence.id}/edit`} class={`${parts.button} ${parts.quiet}`}>
          {isOver ? 'Make again' : 'Edit'}
        </Link>
        {!isOver && (
          <Sure
            word="Expire"
            question="Expire it now?"
            what="The silence could not be ended."
            run={() => expireSilence(silence.id)}
            onDone={onDone}
          />
        )}
      </span>
    </article>
  );
}

function WeeklyRow({ one, onDone }: { one: RecurringSilence; onDone: () => void }) {
  const [next] = one.next;
  const starts = parseTime(next?.startsAt);
  const ends = parseTime(next?.endsAt);
  const last = parseTime(one.endsAt);
  const isOn = starts !== null && starts <= Date.now();
  return (
    <article class={css.silence} data-test="weekly">
      <StateMark
        state={!next ? 'off' : isOn ? 'silenced' : 'pending'}
        word={!next ? 'over' : isOn ? 'active' : 'waiting'}
      />
      <div class={list.what}>
        <b class={css.comment}>{one.comment}</b>
        <Matchers of={one} />
        <span class={list.dim}>
          {one.createdBy} · {windowWords(one)}
          {last !== null && <> · until {exactTime(last).slice(0, 10)}</>}
        </span>
      </div>
      <div class={css.when}>
        {starts !== null && ends !== null && (
          <span>
            {isOn ? 'ends ' : 'next '}
            <RelativeTime at={isOn ? ends : starts} />
          </span>
        )}
      </div>
      <span class={css.actions}>
        <Link href={`/alertmanager/recurring/${one.id}/edit`} class={`${parts.button} ${parts.quiet}`}>
          Edit
        </Link>
        <Sure
          word="Delete"
          question="Delete it and end its silences?"
          what="The weekly silence could not be deleted."
          run={() => deleteRecurring(one.id)}
          onDone={onDone}
        />
      </span>
    </article>
  );
}

/** A button that asks once more before it does something that cannot be taken back. */
export function Sure({
  word,
  question,
  what,
  run,
  onDone,
}: {
  word: string;
  question: string;
  what: string;
  run: () => Promise<void>;
  onDone: () => void;
}) {
  const [asks, setAsks] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error>();
  const first = useRef<HTMLButtonElement>(null);
  const keep = useRef<HTMLButtonElement>(null);
  const asked = useRef(false);
  // The buttons take each other's place; the keyboard stays where it was, on the one that does no harm.
  useLayoutEffect(() => {
    if (asks) keep.current?.focus();
    else if (asked.current) first.current?.focus();
    asked.current = asks;
  }, [asks]);
  if (!asks) {
    return (
      <button
        type="button"
        class={`${parts.button} ${parts.quiet}`}
        ref={first}
        onClick={() => setAsks(true)}
      >
        {word}
      </button>
    );
  }
  const go = (): void => {
    setBusy(true);
    run()
      .then(() => {
        setAsks(false);
        onDone();
      }, setError)
      .finally(() => setBusy(false));
  };
  return (
    <span class={css.sure} role="group" aria-label={question}>
      <span>{question}</span>
      <button type="button" class={`${parts.button} ${css.danger}`} disabled={busy} onClick={go}>
        {word}
      </button>
      <button
        type="button"
        class={`${parts.button} ${parts.quiet}`}
        ref={keep}
        onClick={() => setAsks(false)}
      >
        Keep
      </button>
      {error && <ErrorNote what={what} error={error} />}
    </span>
  );
}
