import { Link } from 'wouter-preact';
import { fetchAlerting, fetchNotices, fetchRules, fetchTargets } from '../../api/client';
import type { Alerting, Notice, RulesData, TargetsData } from '../../api/types';
import { useData } from '../../api/useData';
import { useBeat, usePresentPace } from '../../app/beat';
import { bootstrap, bootstrapFailed } from '../../app/bootstrap';
import { ArrowIcon } from '../../ui/icons';
import { ErrorNote } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { Age, RelativeTime } from '../../ui/RelativeTime';
import { StateIcon, StateMark, type State } from '../../ui/StateMark';
import { count } from '../../ui/words';
import pages from '../pages.module.css';
import { HostStrip } from './HostStrip';
import { Notifications } from './Notifications';
import css from './overview.module.css';
import { summarise, type Summary, type Thing } from './summary';

interface Known {
  rules: RulesData;
  targets: TargetsData;
  /** Undefined when the server did not say; the page then leaves out who was told. */
  alerting: Alerting | undefined;
  /** What the server says of itself. */
  notices: Notice[];
}

async function load(signal: AbortSignal): Promise<Known> {
  // Rules and targets are what the page is about; without the others it says less.
  const orElse = <T,>(asked: Promise<T>, instead: T): Promise<T> =>
    asked.catch((error: unknown) => {
      if (signal.aborted) throw error;
      return instead;
    });
  const [rules, targets, alerting, notices] = await Promise.all([
    fetchRules(signal),
    fetchTargets(signal),
    orElse<Alerting | undefined>(fetchAlerting(signal), undefined),
    orElse<Notice[]>(fetchNotices(signal), []),
  ]);
  return { rules, targets, alerting, notices };
}

const TONES: Record<Summary['tone'], State> = { ok: 'ok', attention: 'critical', unknown: 'unknown' };

function tone(summary: Summary): State {
  return summary.tone === 'attention' ? (summary.things[0]?.state ?? 'critical') : TONES[summary.tone];
}

/** Is this machine well? What fires? What is down? */
export function OverviewPage() {
  usePresentPace();
  const beat = useBeat();
  const { data, error } = useData('overview', load, beat);
  const summary = data ? summarise(data.rules, data.targets, data.alerting, data.notices) : undefined;
  const boot = bootstrap.value;

  return (
    <div class={css.page}>
      <section class={css.headline} aria-live="polite">
        {summary ? (
          <>
            <p class={css.sentence} data-test="sentence">
              <StateIcon state={tone(summary)} size={24} />
              {summary.sentence}
            </p>
            {data && <Aside known={data} summary={summary} />}
          </>
        ) : (
          <>
            <p class={css.sentence}>
              {error ? (
                <>
                  <StateIcon state="unknown" size={24} /> Nobody can say right now
                </>
              ) : (
                <span class={`${parts.skeleton} ${css.sentenceSkeleton}`} />
              )}
            </p>
            <p class={css.aside}>{error ? '' : '\u00a0'}</p>
          </>
        )}
      </section>
      {error && <ErrorNote what="Alerts and targets could not be asked for." error={error} />}
      {summary && summary.things.length > 0 && (
        <section class={parts.sheet} aria-label="What needs you" data-test="things">
          {summary.things.map((thing) => (
            <ThingRow key={thing.key} thing={thing} />
          ))}
        </section>
      )}
      {summary && summary.quiet.length > 0 && (
        <section>
          <h2 class={pages.sectionTitle}>Worth knowing</h2>
          <div class={parts.sheet}>
            {summary.quiet.map((thing) => (
              <ThingRow key={thing.key} thing={thing} quiet />
            ))}
          </div>
        </section>
      )}
      <HostStrip
        hostname={boot?.hostname ?? null}
        scrapeInterval={boot?.scrapeInterval ?? '15s'}
        known={boot !== null || bootstrapFailed.value}
        beat={beat}
      />
      <div class={css.columns}>
        <Pools targets={data?.targets} failed={error !== undefined} />
        <Notifications alerting={data?.alerting} known={data !== undefined} failed={error !== undefined} />
      </div>
    </div>
  );
}

function Aside({ known, summary }: { known: Known; summary: Summary }) {
  const words: string[] = [];
  if (summary.tone === 'attention') {
    const up = known.targets.activeTargets.filter((target) => target.health === 'up').length;
    words.push(`${up} of ${count(known.targets.activeTargets.length, 'target')} up`);
  }
  const pending = summary.quiet
    .filter((thing) => thing.state === 'pending')
    .reduce((sum, thing) => sum + Math.max(1, thing.members.length), 0);
  if (pending > 0) words.push(`${count(pending, 'alert')} pending`);
  if (known.alerting && !known.alerting.configured)
    words.push('alerts are not sent to anybody: no receiver is configured');
  const text = words.join(' · ');
  return <p class={css.aside}>{text ? text[0]?.toUpperCase() + text.slice(1) : '\u00a0'}</p>;
}

function ThingRow({ thing, quiet = false }: { thing: Thing; quiet?: boolean }) {
  const shown = thing.members.slice(0, 5);
  const graph =
    thing.expr && `/explore?g0.expr=${encodeURIComponent(thing.expr)}&g0.tab=graph&g0.range_input=1h`;
  return (
    <article class={`${css.thing} ${quiet ? css.quietThing : ''}`}>
      <div class={css.thingMark}>
        <StateMark state={thing.state} word={thing.word} />
      </div>
      <div class={css.thingBody}>
        <h3>{thing.title}</h3>
        {thing.detail && <p class={css.detail}>{thing.detail}</p>}
        {shown.length > 0 && (
          <ul>
            {shown.map((member, i) => (
              <li key={i}>{member}</li>
            ))}
            {thing.members.length > shown.length && <li>and {thing.members.length - shown.length} more</li>}
          </ul>
        )}
      </div>
      <div class={css.thingSince}>
        {thing.since !== null && (
          <>
            for <Age since={thing.since} />
          </>
        )}
      </div>
      <div class={css.thingWays}>
        {thing.href && (
          <Link href={thing.href} class={parts.button}>
            Look
            <ArrowIcon size={14} />
          </Link>
        )}
        {graph && (
          <Link href={graph} class={`${parts.button} ${parts.quiet}`}>
            Graph
          </Link>
        )}
      </div>
    </article>
  );
}

function Pools({ targets, failed }: { targets: TargetsData | undefined; failed: boolean }) {
  const pools = new Map<string, { up: number; all: number; newest: number }>();
  for (const target of targets?.activeTargets ?? []) {
    const pool = pools.get(target.scrapePool) ?? { up: 0, all: 0, newest: 0 };
    pool.all += 1;
    if (target.health === 'up') pool.up += 1;
    pool.newest = Math.max(pool.newest, Date.parse(target.lastScrape) || 0);
    pools.set(target.scrapePool, pool);
  }
  const list = [...pools].sort((a, b) => a[1].up / a[1].all - b[1].up / b[1].all || (a[0] < b[0] ? -1 : 1));
  return (
    <section>
      <h2 class={pages.sectionTitle}>
        Targets <Link href="/targets">All targets</Link>
      </h2>
      <div class={parts.sheet}>
        {list.slice(0, 8).map(([name, pool]) => (
          <div key={name} class={css.line}>
            <StateMark
              state={pool.up === pool.all ? 'ok' : 'critical'}
              word={pool.up === pool.all ? 'up' : `${pool.all - pool.up} down`}
            />
            <Link href={`/targets?filter=${encodeURIComponent(name)}`} class={css.lineName}>
              {name}
            </Link>
            <span class={css.lineEnd}>
              {pool.up} of {pool.all}
              {pool.newest > 0 && (
                <>
                  {' · '}
                  <RelativeTime at={pool.newest} />
                </>
              )}
            </span>
          </div>
        ))}
        {list.length === 0 && (
          <p class={css.nothing}>
            {targets ? 'There are no targets.' : failed ? 'Not known right now.' : '\u00a0'}
          </p>
        )}
      </div>
    </section>
  );
}
