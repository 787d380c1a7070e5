import { Link } from 'wouter-preact';
import { useData } from '../../api/useData';
import { useBeat, usePresentPace } from '../../app/beat';
import { shortId, useList, useParam } from '../../app/url';
import { withMatcher } from '../../ui/filter';
import { ChevronIcon } from '../../ui/icons';
import { EmptyState, LabelChips, Segments, Waiting } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { RelativeTime } from '../../ui/RelativeTime';
import { StateMark } from '../../ui/StateMark';
import { walkRows } from '../../ui/walk';
import { clockTime, count, exactTime, parseTime } from '../../ui/words';
import { commonLabels } from '../alertWords';
import { joined, runs, type Run } from '../attempts';
import { Fact, Facts } from '../Facts';
import { fetchMessages, fetchReceivers, type Outcome, type ToldMessage } from './api';
import css from './am.module.css';
import { ReceiverPick } from './Field';
import { FilterBox, hasWords, readFilter } from './FilterBox';
import { whyPage } from './hash';
import { Tabs } from './Tabs';
import list from '../list.module.css';

const PAGE = 100;
const MOST = 2_000;

/** Every message that was sent or was to be sent: to whom, of what, and what came back. */
export function NotificationsPage() {
  usePresentPace();
  const beat = useBeat();
  const [filterText, setFilterText] = useParam<string>('filter', '');
  const [receiver, setReceiver] = useParam<string>('receiver', '');
  const [outcome, setOutcome] = useParam<Outcome | 'all'>('outcome', 'all');
  const [opened, toggle] = useList('open');
  const [most, setMost] = useParam<string>('most', String(PAGE));
  const limit = Math.min(MOST, Math.max(1, Number(most) || PAGE));
  const asked = readFilter(filterText);
  const { data, error } = useData(
    JSON.stringify([asked.matchers, receiver, outcome, limit]),
    (signal) => fetchMessages(asked.matchers, receiver, outcome === 'all' ? '' : outcome, limit, signal),
    beat,
  );
  const receivers = useData('receivers', fetchReceivers);
  const shown = (data ?? []).filter((one) =>
    hasWords(
      asked.words,
      one.receiver,
      one.integration,
      one.groupKey,
      one.error,
      ...one.alerts.flatMap((alert) => Object.values(alert.labels)),
    ),
  );
  const pick = (name: string, value: string): void => setFilterText(withMatcher(filterText, name, value));
  const isNarrowed = filterText !== '' || receiver !== '' || outcome !== 'all';
  return (
    <div class={list.page} onKeyDown={(event) => walkRows(event, event.currentTarget, '[data-toggle]')}>
      <Tabs />
      <FilterBox
        label="Filter messages"
        placeholder='Filter: words, or matchers like alertname="TargetDown"'
        value={filterText}
        error={asked.error}
        onChange={setFilterText}
      >
        <Segments
          label="Outcome"
          value={outcome}
          onChange={setOutcome}
          options={[
            { value: 'all', word: 'All' },
            { value: 'sent', word: 'Sent' },
            { value: 'retrying', word: 'Retrying' },
            { value: 'failed', word: 'Failed' },
          ]}
        />
        <ReceiverPick
          names={(receivers.data ?? []).map((one) => one.name)}
          value={receiver}
          onChange={setReceiver}
        />
      </FilterBox>
      <Waiting data={data} error={error} what="The messages could not be asked for." rows={5} />
      {data && shown.length === 0 && (
        <div class={parts.sheet}>
          <EmptyState title={isNarrowed ? 'No message matches' : 'Nothing has been sent'}>
            <p>
              {isNarrowed
                ? 'None of the messages that the history holds is like this.'
                : 'As far back as the history goes, nobody was to be told of anything.'}
            </p>
          </EmptyState>
        </div>
      )}
      {shown.length > 0 && (
        <div class={parts.sheet}>
          {runs(joined(shown), ({ last }) => opened.has(idOf(last))).map((one) => {
            const id = idOf(one.told.last);
            return (
              <MessageRow
                key={id}
                id={id}
                run={one}
                open={opened.has(id)}
                onToggle={() => toggle(id)}
                onPick={pick}
              />
            );
          })}
        </div>
      )}
      {data && data.length >= limit && limit < MOST && (
        <p class={css.more}>
          <button
            type="button"
            class={parts.button}
            onClick={() => setMost(String(Math.min(MOST, limit * 2)))}
          >
            Show older ones
          </button>
        </p>
      )}
    </div>
  );
}

/** Names a message in the page's address. */
function idOf(one: ToldMessage): string {
  const text = `${one.receiver} ${one.integration} ${one.groupKey} ${one.attempts}`;
  return `${Date.parse(one.at).toString(36)}-${shortId(text)}`;
}

const MARKS = { sent: 'ok', retrying: 'warning', failed: 'critical' } as const;

function MessageRow({
  id,
  run: { told, times, since },
  open,
  onToggle,
  onPick,
}: {
  id: string;
  run: Run<ToldMessage>;
  open: boolean;
  onToggle: () => void;
  onPick: (name: string, value: string) => void;
}) {
  const message = told.last;
  const at = parseTime(message.at);
  const common = commonLabels(message.alerts.map((alert) => alert.labels));
  const counts = [
    message.firing > 0 ? `${message.firing} firing` : '',
    message.resolved > 0 ? `${message.resolved} resolved` : '',
  ].filter(Boolean);
  return (
    <article class={css.message} data-test="message" data-outcome={message.outcome}>
      <button
        type="button"
        class={`${list.row} ${css.toggle}`}
        data-toggle
        aria-expanded={open}
        aria-controls={id}
        onClick={onToggle}
      >
        <ChevronIcon class={open ? list.chevronOpen : list.chevron} />
        <StateMark state={MARKS[message.outcome]} word={message.outcome} />
        <span class={list.what}>
          <span class={list.summary}>
            <b>{common.alertname ?? 'several alerts'}</b> {counts.join(', ')}
            <span class={list.dim}>
              {' '}
              to {message.receiver} by {message.integration}
            </span>
          </span>
          {message.error && <span class={css.failure}>{message.error}</span>}
        </span>
        <span class={css.when}>
          {at !== null && <RelativeTime at={at} />}
          <span class={`${list.dim} ${css.reason}`}>
            {message.reason}
            {message.attempts > 1 && `, attempt ${message.attempts}`}
          </span>
          {times > 1 && (
            <span class={css.failure}>
              {times} times since {clockTime(Date.parse(since))}
            </span>
          )}
        </span>
      </button>
      {open && (
        <div id={id} class={list.details}>
          <Facts>
            {at !== null && <Fact name="at">{exactTime(at)}</Fact>}
            <Fact name="group">
              <code>{message.groupKey}</code>
            </Fact>
            <Fact name={message.attempts === 1 ? 'attempt' : 'attempts'}>
              <ol class={css.attempts}>
                {[...told.attempts].reverse().map((one) => (
                  <li key={one.attempts}>
                    <time>{clockTime(Date.parse(one.at))}</time>
                    <span class={one.error ? css.failure : undefined}>
                      {[one.answer, one.error].filter(Boolean).join(' · ') || 'taken'}
                    </span>
                  </li>
                ))}
              </ol>
            </Fact>
            <Fact name={message.alerts.length === 1 ? 'alert' : 'alerts'} class={css.told}>
              {message.alerts.map((alert) => (
                <span key={alert.fingerprint}>
                  <LabelChips labels={alert.labels} onPick={onPick} />
                  <Link href={whyPage(alert.labels)}>Why?</Link>
                </span>
              ))}
              {message.firing + message.resolved > message.alerts.length && (
                <span class={list.dim}>
                  and {count(message.firing + message.resolved - message.alerts.length, 'other')}
                </span>
              )}
            </Fact>
          </Facts>
        </div>
      )}
    </article>
  );
}
