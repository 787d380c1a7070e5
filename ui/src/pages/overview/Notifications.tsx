import { Link } from 'wouter-preact';
import { bootstrap } from '../../app/bootstrap';
import type { Alerting, Notification } from '../../api/types';
import parts from '../../ui/parts.module.css';
import { RelativeTime } from '../../ui/RelativeTime';
import { StateMark } from '../../ui/StateMark';
import { parseTime } from '../../ui/words';
import { joined, runs } from '../attempts';
import pages from '../pages.module.css';
import css from './overview.module.css';

/** "TargetDown firing (2)", in the order a person asks: what, which way, how many. */
function what(sent: Notification): string {
  const name = sent.groupLabels.alertname ?? Object.values(sent.groupLabels).join(', ');
  const counts = [
    sent.firing > 0 ? `${sent.firing} firing` : '',
    sent.resolved > 0 ? `${sent.resolved} resolved` : '',
  ].filter(Boolean);
  return `${name || 'all alerts'}: ${counts.join(', ') || sent.status}`;
}

/** The latest notifications, newest first. */
export function Notifications({
  alerting,
  known,
  failed,
}: {
  alerting: Alerting | undefined;
  known: boolean;
  failed: boolean;
}) {
  // What is tried again and again is one message, and what fails again and again one line.
  const list = runs(joined(alerting?.notifications ?? [])).slice(0, 8);
  const isInside = bootstrap.value?.alertmanager.running !== false;
  return (
    <section>
      <h2 class={pages.sectionTitle}>
        Sent lately{' '}
        {isInside ? (
          <Link href="/alertmanager/notifications">All notifications</Link>
        ) : (
          <Link href="/alerts">All alerts</Link>
        )}
      </h2>
      <div class={parts.sheet}>
        {list.map(({ told: { last: sent }, times }, i) => {
          const at = parseTime(sent.at);
          return (
            <div key={`${sent.at}${sent.groupKey}${sent.integration}${i}`} class={css.line}>
              <StateMark
                state={sent.outcome === 'sent' ? 'ok' : sent.outcome === 'failed' ? 'critical' : 'warning'}
                word={sent.outcome}
              />
              <span class={css.lineName} title={sent.error || sent.reason}>
                {what(sent)}
              </span>
              <span class={css.lineEnd}>
                to {sent.receiver}
                {times > 1 ? ` · ${times} times` : sent.attempts > 1 && ` · attempt ${sent.attempts}`}
                {at !== null && (
                  <>
                    {' · '}
                    <RelativeTime at={at} />
                  </>
                )}
              </span>
            </div>
          );
        })}
        {list.length === 0 && (
          <p class={css.nothing}>
            {!known
              ? failed
                ? 'Not known right now.'
                : '\u00a0'
              : !alerting
                ? 'The server does not say what was sent.'
                : alerting.configured
                  ? 'Nothing has been sent since the server started.'
                  : 'No receiver is configured, so nothing is sent.'}
          </p>
        )}
      </div>
    </section>
  );
}
