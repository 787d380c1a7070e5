import { computed } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import { Link } from 'wouter-preact';
import type { Notification } from '../../api/types';
import { useBeat } from '../../app/beat';
import { bootstrap } from '../../app/bootstrap';
import { lazyPage } from '../../app/lazy';
import { now } from '../../ui/clock';
import { ChevronIcon } from '../../ui/icons';
import { CopyButton, LabelChips } from '../../ui/parts';
import { Age, RelativeTime } from '../../ui/RelativeTime';
import { StateMark } from '../../ui/StateMark';
import { durationWords, parseTime } from '../../ui/words';
import { alertState, isHeartbeat, summaryOf } from '../alertWords';
import { alertsPage, silencePage, whyPage } from '../alertmanager/hash';
import css from './alerts.module.css';
import { agePart, type Route, type Row } from './list';

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
  const state = alertState(alert);
  const name = alert.labels.alertname ?? alert.rule.name;
  const heartbeat = isHeartbeat(alert.labels);
  const details = `alert-${row.id}`;
  return (
    <article class={css.alert} data-alert={name} data-state={alert.state}>
      <button
        type="button"
        class={css.line}
        aria-expanded={open}
        aria-controls={details}
        onClick={props.onToggle}
      >
        <StateMark state={state} word={heartbeat && alert.state === 'firing' ? 'as it should' : undefined} />
        <span class={css.what}>
          <span class={css.summary}>
            {props.showName && <b>{name} </b>}
            {summaryOf(alert.annotations, props.showName ? '' : name)}
          </span>
          <LabelChips labels={row.differing} />
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
            {heartbeat || <Told routes={row.routes} pending={alert.state === 'pending'} />}
          </span>
        )}
        <ChevronIcon class={open ? css.chevronOpen : css.chevron} />
      </button>
      {open && (
        <div id={details} class={css.details}>
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

const URL_TEXT = /^https?:\/\/\S+$/;

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
  // The summary stands in the line above; the description is what people read first.
  const annotations = Object.entries(alert.annotations)
    .filter(([name]) => name !== 'summary')
    .sort(([a], [b]) => Number(b === 'description') - Number(a === 'description'));
  const link = `/explore?g0.expr=${encodeURIComponent(rule.query)}&g0.tab=graph&g0.range_input=1h`;
  return (
    <div class={css.inside}>
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
            <LabelChips labels={alert.labels} onPick={onPick} />
          </dd>
        </div>
        <div>
          <dt>expression</dt>
          <dd class={css.expr}>
            <code>{rule.query}</code>
            <span>
              <Link href={link}>Open in Explore</Link>
              <CopyButton text={rule.query} />
            </span>
          </dd>
        </div>
        <div>
          <dt>value</dt>
          <dd>
            {Number.isFinite(Number(alert.value))
              ? String(Number(Number(alert.value).toPrecision(6)))
              : alert.value}
          </dd>
        </div>
        {since !== null && (
          <div>
            <dt>active since</dt>
            <dd>
              <RelativeTime at={since} />
              {rule.duration > 0 && (
                <span class={css.dim}>
                  {alert.state === 'pending' ? ', fires after ' : ', fired after '}
                  {durationWords(rule.duration * 1000)}
                </span>
              )}
            </dd>
          </div>
        )}
        <div>
          <dt>rule</dt>
          <dd>
            {rule.name} <span class={css.dim}>in group {alert.group}</span>
          </dd>
        </div>
        {alert.state === 'firing' && bootstrap.value?.alertmanager.running && (
          <div>
            <dt>what next</dt>
            <dd class={css.next}>
              <Link href={silencePage(alert.labels)}>Silence it</Link>
              <Link href={alertsPage(alert.labels)}>Acknowledge it</Link>
              <Link href={whyPage(alert.labels)}>Why was it sent, or not?</Link>
            </dd>
          </div>
        )}
        {sent.length > 0 && (
          <div>
            <dt>sent</dt>
            <dd>
              <ul class={css.sent}>
                {sent.map((one, i) => (
                  <SentLine key={i} sent={one} />
                ))}
              </ul>
            </dd>
          </div>
        )}
      </dl>
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
        <span class={css.dim}>, {sent.reason}</span>
        {sent.error && <pre>{sent.error}</pre>}
      </span>
    </li>
  );
}
