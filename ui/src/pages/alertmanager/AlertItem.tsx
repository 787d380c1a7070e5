import { Link } from 'wouter-preact';
import { useParam } from '../../app/url';
import { ChevronIcon, PauseIcon, PersonIcon } from '../../ui/icons';
import { LabelChips } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { Age, RelativeTime } from '../../ui/RelativeTime';
import { StateMark } from '../../ui/StateMark';
import { parseTime } from '../../ui/words';
import { isHeartbeat, summaryOf } from '../alertWords';
import { AckForm, AckLine } from './Acknowledge';
import type { ManagedAlert, Silence } from './api';
import css from './am.module.css';
import { quietWord, stateOf, type AlertLine } from './grouping';
import { alertsPage, silencePage, whyPage } from './hash';

export interface Known {
  silences: readonly Silence[];
  /** All that fire, to name those that inhibit others. */
  alerts: readonly ManagedAlert[];
  onPick: (name: string, value: string) => void;
  reload: () => void;
}

/** One alert: its line, what can be done about it, and what is known of it below. */
export function AlertItem({
  line,
  showName,
  open,
  onToggle,
  known,
}: {
  line: AlertLine;
  showName: boolean;
  open: boolean;
  onToggle: () => void;
  known: Known;
}) {
  const { alert, ack } = line;
  const [asking, setAsking] = useParam<string>('acknowledge', '');
  const isAsking = asking === alert.fingerprint;
  const name = alert.labels.alertname ?? '';
  const quiet = quietWord(alert);
  const since = parseTime(alert.startsAt);
  const id = `alert-${alert.fingerprint}`;
  const heartbeat = isHeartbeat(alert.labels);
  return (
    <article class={css.alert} data-alert={name} data-state={quiet ?? 'active'}>
      <div class={css.line}>
        <button
          type="button"
          class={css.toggle}
          data-toggle
          aria-expanded={open}
          aria-controls={id}
          onClick={onToggle}
        >
          <ChevronIcon class={open ? css.chevronOpen : css.chevron} />
          <StateMark state={stateOf(alert)} word={quiet ?? (heartbeat ? 'as it should' : undefined)} />
          <span class={css.what}>
            <span class={css.summary}>
              {showName && <b>{name} </b>}
              {summaryOf(alert.annotations, showName ? '' : name)}
            </span>
            <LabelChips labels={line.differing} />
          </span>
          <span class={css.age}>
            {since !== null && (
              <>
                firing for <Age since={since} />
              </>
            )}
          </span>
        </button>
        <span class={css.actions}>
          {!ack && !heartbeat && (
            <button
              type="button"
              class={`${parts.button} ${parts.quiet}`}
              aria-expanded={isAsking}
              onClick={() => setAsking(isAsking ? '' : alert.fingerprint)}
            >
              <PersonIcon size={14} />
              Acknowledge
            </button>
          )}
          <Link href={silencePage(alert.labels)} class={`${parts.button} ${parts.quiet}`}>
            <PauseIcon size={12} />
            Silence
          </Link>
          <Link href={whyPage(alert.labels)} class={`${parts.button} ${parts.quiet}`}>
            Why?
          </Link>
        </span>
      </div>
      {ack && <AckLine ack={ack} onDone={known.reload} />}
      {isAsking && !ack && (
        <AckForm
          alerts={[alert]}
          onDone={() => {
            setAsking('');
            known.reload();
          }}
          onCancel={() => setAsking('')}
        />
      )}
      {open && (
        <div id={id} class={css.details}>
          <Details alert={alert} known={known} />
        </div>
      )}
    </article>
  );
}

const URL_TEXT = /^https?:\/\/\S+$/;

function Details({ alert, known }: { alert: ManagedAlert; known: Known }) {
  const annotations = Object.entries(alert.annotations)
    .filter(([name]) => name !== 'summary')
    .sort(([a], [b]) => Number(b === 'description') - Number(a === 'description') || (a < b ? -1 : 1));
  const since = parseTime(alert.startsAt);
  const { silencedBy, inhibitedBy, mutedBy = [] } = alert.status;
  return (
    <dl class={css.facts}>
      {annotations.map(([name, value]) => (
        <div key={name}>
          <dt>{name.replace(/_/g, ' ')}</dt>
          <dd>
            {URL_TEXT.test(value) ? (
              <a href={value} target="_blank" rel="noopener noreferrer">
                {value}
              </a>
            ) : (
              value
            )}
          </dd>
        </div>
      ))}
      <div>
        <dt>labels</dt>
        <dd>
          <LabelChips labels={alert.labels} onPick={known.onPick} />
        </dd>
      </div>
      {since !== null && (
        <div>
          <dt>fires since</dt>
          <dd>
            <RelativeTime at={since} />
          </dd>
        </div>
      )}
      <div>
        <dt>goes to</dt>
        <dd>{alert.receivers.map((one) => one.name).join(', ') || 'nobody'}</dd>
      </div>
      {silencedBy.map((id) => (
        <div key={id}>
          <dt>silenced by</dt>
          <dd>
            <SilencedBy silence={known.silences.find((one) => one.id === id)} id={id} />
          </dd>
        </div>
      ))}
      {inhibitedBy.map((print) => {
        const source = known.alerts.find((one) => one.fingerprint === print);
        return (
          <div key={print}>
            <dt>inhibited by</dt>
            <dd>
              {source ? (
                <Link href={alertsPage(source.labels)}>{source.labels.alertname ?? print}</Link>
              ) : (
                <code>{print}</code>
              )}
              {source && <LabelChips labels={source.labels} without={['alertname']} />}
            </dd>
          </div>
        );
      })}
      {mutedBy.length > 0 && (
        <div>
          <dt>muted by</dt>
          <dd>time interval {mutedBy.join(', ')}</dd>
        </div>
      )}
      {alert.generatorURL && URL_TEXT.test(alert.generatorURL) && (
        <div>
          <dt>source</dt>
          <dd>
            <a href={alert.generatorURL} rel="noopener noreferrer">
              Open the expression
            </a>
          </dd>
        </div>
      )}
    </dl>
  );
}

function SilencedBy({ silence, id }: { silence: Silence | undefined; id: string }) {
  const ends = parseTime(silence?.endsAt);
  return (
    <>
      <Link href={`/alertmanager/silences/${id}`}>{silence?.comment || id}</Link>
      {silence && (
        <span class={css.dim}>
          {' '}
          by {silence.createdBy || 'nobody named'}
          {ends !== null && (
            <>
              , ends <RelativeTime at={ends} />
            </>
          )}
        </span>
      )}
    </>
  );
}
