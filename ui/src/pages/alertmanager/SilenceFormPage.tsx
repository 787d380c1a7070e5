import { useEffect, useState } from 'preact/hooks';
import { useLocation } from 'wouter-preact';
import { useData } from '../../api/useData';
import { changeUrl, useParam } from '../../app/url';
import { ErrorNote, Segments, Waiting } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import pages from '../pages.module.css';
import {
  fetchGroups,
  fetchRecurring,
  fetchSilence,
  postRecurring,
  postSilence,
  type RecurringSilence,
  type Silence,
} from './api';
import css from './am.module.css';
import { Field } from './Field';
import { MatcherRows } from './MatcherRows';
import { fromApi, parseMatchers, toApi, writeMatchers, type Matcher } from './matchers';
import { PreviewPanel, usePreview } from './Preview';
import { ownComments, ownName, rememberComment, rememberName } from './remembered';
import { Tabs } from './Tabs';
import { DAYS, fromLocalInput, localInput, shortDay } from './times';
import list from '../list.module.css';

const HOUR = 3_600_000;
const PRESETS: readonly { word: string; ms: number }[] = [
  { word: '30 min', ms: HOUR / 2 },
  { word: '1 h', ms: HOUR },
  { word: '2 h', ms: 2 * HOUR },
  { word: '4 h', ms: 4 * HOUR },
  { word: '8 h', ms: 8 * HOUR },
  { word: '1 d', ms: 24 * HOUR },
  { word: '3 d', ms: 72 * HOUR },
  { word: '1 w', ms: 168 * HOUR },
];

interface Found {
  silence: Silence | null;
  weekly: RecurringSilence | null;
}

/** The form of a silence: a new one, another shape of one that exists, or one that comes back every week. */
export function SilenceFormPage({ id, recurring }: { id?: string; recurring?: string }) {
  const key = id ? `silence ${id}` : recurring ? `recurring ${recurring}` : null;
  const { data, error } = useData<Found>(key, async (signal) => ({
    silence: id ? await fetchSilence(id, signal) : null,
    weekly: recurring ? ((await fetchRecurring(signal)).find((one) => one.id === recurring) ?? null) : null,
  }));
  return (
    <div class={list.page}>
      <Tabs />
      {key !== null && (
        <Waiting data={data} error={error} what="The silence could not be asked for." rows={6} />
      )}
      {key !== null && data && !data.silence && !data.weekly && (
        <p class={pages.note}>There is no such silence any more; this is a new one.</p>
      )}
      {(key === null || data) && <Form silence={data?.silence ?? null} weekly={data?.weekly ?? null} />}
    </div>
  );
}

function firstMatchers(filter: string, from: Silence | RecurringSilence | null): Matcher[] {
  if (from) return from.matchers.map(fromApi);
  const read = parseMatchers(filter) ?? [];
  return read.length > 0 ? read : [{ name: '', op: '=', value: '' }];
}

function Form({ silence, weekly }: { silence: Silence | null; weekly: RecurringSilence | null }) {
  const [, navigate] = useLocation();
  const [filter] = useParam<string>('filter', '');
  const [given] = useParam<string>('comment', '');
  const [repeat, setRepeat] = useParam<'once' | 'weekly'>('repeat', 'once');
  const isWeekly = weekly !== null || (silence === null && repeat === 'weekly');
  const isOver = silence?.status.state === 'expired';
  const isNew = !weekly && (!silence || isOver);
  const from = silence ?? weekly;

  const [matchers, setMatchers] = useState(() => firstMatchers(filter, from));
  const [by, setBy] = useState(from?.createdBy ?? ownName.value);
  const [comment, setComment] = useState(from?.comment ?? given);
  const [starts, setStarts] = useState(() =>
    silence?.status.state === 'pending' ? localInput(Date.parse(silence.startsAt)) : '',
  );
  const [ends, setEnds] = useState(() =>
    localInput(silence && !isOver ? Date.parse(silence.endsAt) : Date.now() + 2 * HOUR),
  );
  const [days, setDays] = useState<readonly string[]>(weekly?.days ?? ['saturday']);
  const [fromTime, setFromTime] = useState(weekly?.from ?? '22:00');
  const [toTime, setToTime] = useState(weekly?.to ?? '06:00');
  const [zone, setZone] = useState(
    () => weekly?.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone,
  );
  const [last, setLast] = useState(() =>
    localInput(weekly ? Date.parse(weekly.endsAt) : Date.now() + 90 * 24 * HOUR).slice(0, 10),
  );
  const [sure, setSure] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error>();

  const complete = matchers.filter((one) => one.name !== '');
  const preview = usePreview(complete);
  const warnings = preview.data?.warnings ?? [];
  const groups = useData('all alerts', (signal) => fetchGroups([], '', signal));

  // A link to the form as it stands can be handed on.
  useEffect(() => {
    if (from) return;
    changeUrl({ filter: writeMatchers(complete) || null, comment: comment || null });
  }, [matchers, comment, from]);
  // What was agreed to was another silence.
  useEffect(() => setSure(false), [warnings.join('\n')]);

  const endsAt = fromLocalInput(ends);
  const startsAt = fromLocalInput(starts);
  const lastAt = fromLocalInput(`${last}T23:59`);
  const fault = isWeekly
    ? days.length === 0
      ? 'Choose at least one day.'
      : lastAt === null || lastAt <= Date.now()
        ? 'Its last day must lie ahead.'
        : null
    : endsAt === null || endsAt <= Math.max(startsAt ?? 0, Date.now())
      ? 'Its end must lie after its begin, and ahead.'
      : null;
  const missing =
    complete.length === 0
      ? 'Name at least one label.'
      : by.trim() === ''
        ? 'Say who makes it.'
        : comment.trim() === ''
          ? 'Say why.'
          : fault;

  const send = async (): Promise<void> => {
    rememberName(by.trim());
    rememberComment(comment);
    const common = { matchers: complete.map(toApi), createdBy: by.trim(), comment: comment.trim() };
    if (isWeekly) {
      await postRecurring({
        ...common,
        ...(weekly ? { id: weekly.id, startsAt: weekly.startsAt } : {}),
        days: DAYS.filter((day) => days.includes(day)),
        from: fromTime,
        to: toTime,
        timeZone: zone,
        endsAt: new Date(lastAt ?? 0).toISOString(),
      });
      navigate('/alertmanager/silences?state=weekly');
      return;
    }
    // One that is on keeps its begin, so that it stays the same silence.
    const begin =
      silence?.status.state === 'active' ? silence.startsAt : new Date(startsAt ?? Date.now()).toISOString();
    const id = await postSilence({
      ...common,
      // Further sets stay as they are.
      ...(silence?.matcherSets && { matcherSets: [common.matchers, ...silence.matcherSets.slice(1)] }),
      ...(silence && !isOver ? { id: silence.id } : {}),
      startsAt: begin,
      endsAt: new Date(endsAt ?? 0).toISOString(),
    });
    navigate(`/alertmanager/silences/${id}`);
  };

  const submit = (event: Event): void => {
    event.preventDefault();
    setBusy(true);
    send()
      .catch(setError)
      .finally(() => setBusy(false));
  };

  return (
    <form class={css.form} onSubmit={submit} data-test="silence-form">
      <div class={`${parts.sheet} ${css.fields}`}>
        <fieldset>
          <legend>Which alerts</legend>
          <MatcherRows
            matchers={matchers}
            onChange={setMatchers}
            labels={(groups.data ?? []).flatMap((group) => group.alerts.map((alert) => alert.labels))}
          />
        </fieldset>
        <fieldset>
          <legend>How long</legend>
          {!from && (
            <Segments
              label="Repeats"
              value={repeat}
              onChange={setRepeat}
              options={[
                { value: 'once', word: 'Once' },
                { value: 'weekly', word: 'Every week' },
              ]}
            />
          )}
          {isWeekly ? (
            <>
              <div class={css.days} role="group" aria-label="Days">
                {DAYS.map((day) => (
                  <button
                    key={day}
                    type="button"
                    aria-pressed={days.includes(day)}
                    onClick={() =>
                      setDays(days.includes(day) ? days.filter((one) => one !== day) : [...days, day])
                    }
                  >
                    {shortDay(day)}
                  </button>
                ))}
              </div>
              <div class={css.row}>
                <Field word="From" type="time" required value={fromTime} onValue={setFromTime} />
                <Field
                  word="To"
                  type="time"
                  required
                  value={toTime === '24:00' ? '00:00' : toTime}
                  onValue={setToTime}
                />
                <Field
                  word="Time zone"
                  required
                  options={{ id: 'am-zones', values: ['UTC', ...Intl.supportedValuesOf('timeZone')] }}
                  value={zone}
                  onValue={setZone}
                />
                <Field word="Last day" type="date" required value={last} onValue={setLast} />
              </div>
              {toTime <= fromTime && <p class={css.hint}>It ends on the next day.</p>}
            </>
          ) : (
            <>
              <div class={css.presets} role="group" aria-label="Duration">
                {PRESETS.map((preset) => (
                  <button
                    key={preset.word}
                    type="button"
                    class={parts.button}
                    onClick={() => setEnds(localInput((startsAt ?? Date.now()) + preset.ms))}
                  >
                    {preset.word}
                  </button>
                ))}
              </div>
              <div class={css.row}>
                {silence?.status.state !== 'active' && (
                  <Field
                    word={<>Begins {starts === '' && <em>now</em>}</>}
                    type="datetime-local"
                    value={starts}
                    onValue={setStarts}
                  />
                )}
                <Field word="Ends" type="datetime-local" required value={ends} onValue={setEnds} />
              </div>
            </>
          )}
        </fieldset>
        <fieldset>
          <legend>Who and why</legend>
          <div class={css.row}>
            <Field word="Your name" autocomplete="name" value={by} onValue={setBy} />
            <Field
              word="Comment"
              wide
              placeholder="Why, and where to read more"
              spellcheck
              options={{ id: 'am-comments', values: ownComments() }}
              value={comment}
              onValue={setComment}
            />
          </div>
        </fieldset>
        {error && <ErrorNote what="The silence could not be made." error={error} />}
        <div class={css.formEnd}>
          {warnings.length > 0 && (
            <label class={css.check}>
              <input
                type="checkbox"
                checked={sure}
                onChange={(event) => setSure(event.currentTarget.checked)}
              />
              <span>Mute that much</span>
            </label>
          )}
          <button
            type="submit"
            class={`${parts.button} ${parts.primary}`}
            disabled={busy || missing !== null || (warnings.length > 0 && !sure)}
          >
            {isNew ? (isWeekly ? 'Silence every week' : 'Silence') : 'Save'}
          </button>
          <button type="button" class={`${parts.button} ${parts.quiet}`} onClick={() => history.back()}>
            Cancel
          </button>
          {missing && <span class={css.hint}>{missing}</span>}
        </div>
      </div>
      <PreviewPanel preview={preview} isEmpty={complete.length === 0} />
    </form>
  );
}
