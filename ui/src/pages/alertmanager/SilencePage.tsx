import { Link } from 'wouter-preact';
import { useData } from '../../api/useData';
import { useBeat, usePresentPace } from '../../app/beat';
import { RepeatIcon } from '../../ui/icons';
import { CopyButton, EmptyState, LabelChips, Waiting } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { StateMark } from '../../ui/StateMark';
import { count, exactTime, parseTime } from '../../ui/words';
import { summaryOf } from '../alertWords';
import pages from '../pages.module.css';
import { expireSilence, fetchGroups, fetchRecurring, fetchSilence, RECURRING } from './api';
import css from './am.module.css';
import { distinct } from './grouping';
import { alertsPage } from './hash';
import { fromApi, writeMatcher } from './matchers';
import { Matchers, STATES, Sure, When } from './SilencesPage';
import { Tabs } from './Tabs';
import { windowWords } from './times';
import { Fact, Facts } from '../Facts';
import list from '../list.module.css';

/** One silence, and what it mutes now. */
export function SilencePage({ id }: { id: string }) {
  usePresentPace();
  const beat = useBeat();
  const { data, error, reload } = useData(`silence ${id}`, (signal) => fetchSilence(id, signal), beat);
  const of = data?.annotations?.[RECURRING];
  const weekly = useData(of ? 'recurring' : null, fetchRecurring);
  const filter = data ? data.matchers.map((matcher) => writeMatcher(fromApi(matcher))) : [];
  const groups = useData(
    data ? JSON.stringify(filter) : null,
    (signal) => fetchGroups(filter, '', signal),
    beat,
  );
  const muted = distinct(groups.data ?? []).filter((alert) => alert.status.silencedBy.includes(id));
  const repeats = weekly.data?.find((one) => one.id === of);

  return (
    <div class={list.page}>
      <Tabs />
      <Waiting data={data} error={error} what="The silence could not be asked for." rows={3} />
      {data === null && (
        <div class={parts.sheet}>
          <EmptyState title="There is no such silence">
            <p>
              <code>{id}</code> is not known. Expired silences are forgotten after a time, 120 hours unless
              the server was told otherwise.
            </p>
            <Link href="/alertmanager/silences" class={parts.button}>
              All silences
            </Link>
          </EmptyState>
        </div>
      )}
      {data && (
        <>
          <div class={`${parts.sheet} ${css.card}`} data-test="silence-card">
            <header class={css.cardHead}>
              <StateMark {...STATES[data.status.state]} />
              <h2>{data.comment || 'No comment'}</h2>
              <span class={list.dim}>
                <When silence={data} />
              </span>
              <span class={css.actions}>
                <Link href={`/alertmanager/silences/${id}/edit`} class={parts.button}>
                  {data.status.state === 'expired' ? 'Make again' : 'Edit'}
                </Link>
                {data.status.state !== 'expired' && (
                  <Sure
                    word="Expire"
                    question="Expire it now?"
                    what="The silence could not be ended."
                    run={() => expireSilence(id)}
                    onDone={reload}
                  />
                )}
              </span>
            </header>
            <Facts>
              <Fact name="matchers">
                <Matchers of={data} />
              </Fact>
              <Fact name="made by">{data.createdBy || 'nobody named'}</Fact>
              {(
                [
                  ['begins', data.startsAt],
                  ['ends', data.endsAt],
                  ['changed', data.updatedAt],
                ] as const
              ).map(([word, text]) => {
                const at = parseTime(text);
                return (
                  at !== null && (
                    <Fact key={word} name={word}>
                      {exactTime(at)}
                    </Fact>
                  )
                );
              })}
              {of && (
                <Fact name="weekly">
                  <RepeatIcon size={13} class={css.inText} />{' '}
                  {repeats ? (
                    <Link href={`/alertmanager/recurring/${of}/edit`}>{windowWords(repeats)}</Link>
                  ) : (
                    'made of a weekly silence'
                  )}
                </Fact>
              )}
              <Fact name="id">
                <code>{id}</code> <CopyButton text={id} />
              </Fact>
            </Facts>
          </div>
          <h3 class={pages.sectionTitle}>
            {data.status.state === 'active'
              ? `Mutes ${count(muted.length, 'alert')} now`
              : 'Mutes nothing now'}
          </h3>
          {muted.length > 0 && (
            <div class={parts.sheet}>
              {muted.slice(0, 100).map((alert) => (
                <Link key={alert.fingerprint} href={alertsPage(alert.labels)} class={css.mutedLine}>
                  <b>{alert.labels.alertname}</b> {summaryOf(alert.annotations, '')}
                  <LabelChips labels={alert.labels} without={['alertname']} />
                </Link>
              ))}
            </div>
          )}
        </>
      )}
    </div>
  );
}
