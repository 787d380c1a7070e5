import { computed } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import { Link } from 'wouter-preact';
import type { Notification } from '../../api/types';
import { useBeat } from '../../app/beat';
import { bootstrap } from '../../app/bootstrap';
import { lazyPage } from '../../app/lazy';
import { now } from '../../ui/clock';
import { ChevronIcon, PersonIcon } from '../../ui/icons';
import { CopyButton, LabelChips } from '../../ui/parts';
import { Age, RelativeTime } from '../../ui/RelativeTime';
import { StateMark } from '../../ui/StateMark';
import { durationWords, parseTime } from '../../ui/words';
import { isHeartbeat, summaryOf } from '../alertWords';
import { Annotations, Fact, Facts } from '../Facts';
import { alertsPage, silencePage, whyPage } from '../alertmanager/hash';
import css from './alerts.module.css';
import { agePart, rowState, type Route, type Row } from './list';
import list from '../list.module.css';

/** One alert: its line, and what is known about it below when it is open. */
export function AlertRow(props: {
  row: Row;
  open: boolean;
  showName: boolean;
  showRoutes: boolean;
  notifications: readonly Notification[];
  onToggle: () => void;
  onPick: (name: string, value: string) => void;
}) {
  const { row, open } = props;
  const { alert } = row;
  const state = rowState(row);
  const { suppressed, acknowledgedBy } = row.quiet;
  const name = alert.labels.alertname ?? alert.rule.name;
  const heartbeat = isHeartbeat(alert.labels);
  const details = `alert-${row.id}`;
  return (
    <article class={css.alert} data-alert={name} data-state={alert.state}>
      <button
        type="button"
        class={`${list.row} ${css.line} ${props.showRoutes ? css.withRoutes : ''}`}
        aria-expanded={open}
        aria-controls={details}
        onClick={props.onToggle}
      >
        <StateMark
          state={state}
          word={suppressed ?? (heartbeat && alert.state === 'firing' ? 'as it should' : undefined)}
        />
        <span class={list.what}>
          <span class={list.summary}>
            {props.showName && <b>{name} </b>}
            {summaryOf(alert.annotations, props.showName ? '' : name)}
          </span>
          <LabelChips labels={row.differing} />
          {acknowledgedBy !== null && (
            <span class={css.acknowledged}>
              <PersonIcon size={13} />
              <b>{acknowledgedBy}</b> looks after it
            </span>
          )}
        </span>
        <span class={css.age}>
          {row.since !== null && (
            <>
              <span>
                {alert.state} for <Age since={row.since} />
              </span>
              <AgeBar since={row.since} state={state} />
            </>
          )}
        </span>
        {props.showRoutes && (
          <span class={css.told}>
            {suppressed
              ? 'not told'
              : heartbeat || <Told routes={row.routes} pending={alert.state === 'pending'} />}
          </span>
        )}
        <ChevronIcon class={open ? list.chevronOpen : list.chevron} />
      </button>
      {open && (
        <div id={details} class={list.details}>
          <Details {...props} />
        </div>
      )}
    </article>
  );
}

function AgeBar({ since, state }: { since: number; state: string }) {
  const width = useMemo(() => computed(() => `${(agePart(now.value - since) * 100).toFixed(0)}%`), [since]);
  return (
    <span class={`${css.bar} ${css[state] ?? ''}`} aria-hidden="true">
      <span style={{ width: width.value }} />
    </span>
  );
}

function Told({ routes, pending }: { routes: readonly Route[]; pending: boolean }) {
  if (pending) return <>not sent yet</>;
  const [route] = routes;
  if (!route) return <>not sent to anybody</>;
  const toldAt = parseTime(route.told?.at);
  const more = routes.length > 1 ? ` and ${routes.length - 1} more` : '';
  if (toldAt === null) {
    return (
      <>
        {route.group.receiver}
        {more} {route.nextAt === null ? 'not told yet' : 'told '}
        {route.nextAt !== null && <RelativeTime at={route.nextAt} />}
      </>
    );
  }
  return (
    <>
      {route.group.receiver}
      {more} {route.told?.outcome === 'sent' ? 'told' : 'not reached'} <RelativeTime at={toldAt} />
    </>
  );
}

/** The chart is a chunk that the list itself does not need. */
const Graph = lazyPage(async () => (await import('./AlertGraph')).AlertGraph);

function Details({
  row,
  notifications,
  onPick,
}: {
  row: Row;
  notifications: readonly Notification[];
  onPick: (name: string, value: string) => void;
}) {
  const { alert } = row;
  const { rule } = alert;
  const beat = useBeat();
  const since = parseTime(alert.activeAt);
  const keys = new Set(row.routes.map((route) => `${route.group.receiver}\u0000${route.group.groupKey}`));
  const sent = notifications.filter((one) => keys.has(`${one.receiver}\u0000${one.groupKey}`)).slice(0, 6);
  const link = `/explore?g0.expr=${encodeURIComponent(rule.query)}&g0.tab=graph&g0.range_input=1h`;
  return (
    <div class={css.inside}>
      <Facts>
        <Annotations annotations={alert.annotations} />
        <Fact name="labels">
          <LabelChips labels={alert.labels} onPick={onPick} />
        </Fact>
        <Fact name="expression" class={css.expr}>
          <code>{rule.query}</code>
          <span>
            <Link href={link}>Open in Explore</Link>
            <CopyButton text={rule.query} />
          </span>
        </Fact>
        <Fact name="value">
          {Number.isFinite(Number(alert.value))
            ? String(Number(Number(alert.value).toPrecision(6)))
            : alert.value}
        </Fact>
        {since !== null && (
          <Fact name="active since">
            <RelativeTime at={since} />
            {rule.duration > 0 && (
              <span class={list.dim}>
                {alert.state === 'pending' ? ', fires after ' : ', fired after '}
                {durationWords(rule.duration * 1000)}
              </span>
            )}
          </Fact>
        )}
        <Fact name="rule">
          {rule.name} <span class={list.dim}>in group {alert.group}</span>
        </Fact>
        {alert.state === 'firing' && bootstrap.value?.alertmanager.running && (
          <Fact name="what next" class={css.next}>
            <Link href={silencePage(alert.labels)}>Silence it</Link>
            <Link href={alertsPage(alert.labels)}>Acknowledge it</Link>
            <Link href={whyPage(alert.labels)}>Why was it sent, or not?</Link>
          </Fact>
        )}
        {sent.length > 0 && (
          <Fact name="sent">
            <ul class={css.sent}>
              {sent.map((one, i) => (
                <SentLine key={i} sent={one} />
              ))}
            </ul>
          </Fact>
        )}
      </Facts>
      {!isHeartbeat(alert.labels) && (
        <Graph name={rule.name} query={rule.query} labels={alert.labels} since={since} beat={beat} />
      )}
    </div>
  );
}

function SentLine({ sent }: { sent: Notification }) {
  const at = parseTime(sent.at);
  return (
    <li>
      <StateMark
        size={13}
        state={sent.outcome === 'sent' ? 'ok' : sent.outcome === 'failed' ? 'critical' : 'warning'}
        word={sent.outcome}
      />
      <span>
        to {sent.receiver} ({sent.integration}) {at !== null && <RelativeTime at={at} />}
        <span class={list.dim}>, {sent.reason}</span>
        {sent.error && <pre>{sent.error}</pre>}
      </span>
    </li>
  );
}
