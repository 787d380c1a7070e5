import { Link } from 'wouter-preact';
import { useParam } from '../../app/url';
import { ChevronIcon, PauseIcon, PersonIcon } from '../../ui/icons';
import { LabelChips } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { Age, RelativeTime } from '../../ui/RelativeTime';
import { StateMark } from '../../ui/StateMark';
import { parseTime } from '../../ui/words';
import { isHeartbeat, summaryOf } from '../alertWords';
import { Annotations, Fact, Facts, isUrl } from '../Facts';
import { AckForm, AckLine } from './Acknowledge';
import type { ManagedAlert, Silence } from './api';
import css from './am.module.css';
import { quietWord, stateOf, type AlertLine } from './grouping';
import { alertsPage, silencePage, whyPage } from './hash';
import list from '../list.module.css';

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
          class={`${list.row} ${css.toggle}`}
          data-toggle
          aria-expanded={open}
          aria-controls={id}
          onClick={onToggle}
        >
          <ChevronIcon class={open ? list.chevronOpen : list.chevron} />
          <StateMark state={stateOf(alert)} word={quiet ?? (heartbeat ? 'as it should' : undefined)} />
          <span class={list.what}>
            <span class={list.summary}>
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
        <div id={id} class={list.details}>
          <Details alert={alert} known={known} />
        </div>
      )}
    </article>
  );
}

function Details({ alert, known }: { alert: ManagedAlert; known: Known }) {
  const since = parseTime(alert.startsAt);
  const { silencedBy, inhibitedBy, mutedBy = [] } = alert.status;
  return (
    <Facts>
      <Annotations annotations={alert.annotations} />
      <Fact name="labels">
        <LabelChips labels={alert.labels} onPick={known.onPick} />
      </Fact>
      {since !== null && (
        <Fact name="fires since">
          <RelativeTime at={since} />
        </Fact>
      )}
      <Fact name="goes to">{alert.receivers.map((one) => one.name).join(', ') || 'nobody'}</Fact>
      {silencedBy.map((id) => (
        <Fact key={id} name="silenced by">
          <SilencedBy silence={known.silences.find((one) => one.id === id)} id={id} />
        </Fact>
      ))}
      {inhibitedBy.map((print) => {
        const source = known.alerts.find((one) => one.fingerprint === print);
        return (
          <Fact key={print} name="inhibited by">
            {source ? (
              <Link href={alertsPage(source.labels)}>{source.labels.alertname ?? print}</Link>
            ) : (
              <code>{print}</code>
            )}
            {source && <LabelChips labels={source.labels} without={['alertname']} />}
          </Fact>
        );
      })}
      {mutedBy.length > 0 && <Fact name="muted by">time interval {mutedBy.join(', ')}</Fact>}
      {alert.generatorURL && isUrl(alert.generatorURL) && (
        <Fact name="source">
          <a href={alert.generatorURL} rel="noopener noreferrer">
            Open the expression
          </a>
        </Fact>
      )}
    </Facts>
  );
}

function SilencedBy({ silence, id }: { silence: Silence | undefined; id: string }) {
  const ends = parseTime(silence?.endsAt);
  return (
    <>
      <Link href={`/alertmanager/silences/${id}`}>{silence?.comment || id}</Link>
      {silence && (
        <span class={list.dim}>
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
