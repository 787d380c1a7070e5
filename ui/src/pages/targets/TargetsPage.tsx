import { useState } from 'preact/hooks';
import { fetchTargets, queryInstant } from '../../api/client';
import type { Labels, Target, TargetsData } from '../../api/types';
import { useData } from '../../api/useData';
import { useBeat, usePresentPace } from '../../app/beat';
import { shortId, useListed, useParam } from '../../app/url';
import { matches, parseFilter, withMatcher } from '../../ui/filter';
import { ChevronIcon } from '../../ui/icons';
import { CopyButton, EmptyState, LabelChips, Segments, Waiting } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { RelativeTime } from '../../ui/RelativeTime';
import { StateMark, type State } from '../../ui/StateMark';
import { walkRows } from '../../ui/walk';
import { count, parseTime, secondsQuantity } from '../../ui/words';
import pages from '../pages.module.css';
import { droppedCounts, isOpen, pools, type Health, type Pool } from './pools';
import css from './targets.module.css';
import { Why } from './Why';

interface Known {
  targets: TargetsData;
  /** Samples of the last scrape by "job\0instance"; empty where the server does not say. */
  samples: Map<string, number>;
}

async function load(signal: AbortSignal): Promise<Known> {
  const samples = new Map<string, number>();
  const [targets] = await Promise.all([
    fetchTargets(signal),
    queryInstant('scrape_samples_scraped', undefined, signal).then(
      ({ data }) => {
        if (data.resultType !== 'vector') return;
        for (const { metric, value } of data.result) {
          if (value) samples.set(`${metric.job}\u0000${metric.instance}`, Number(value[1]));
        }
      },
      (error: unknown) => {
        if (signal.aborted) throw error;
      },
    ),
  ]);
  return { targets, samples };
}

const STATES: Record<Health, { state: State; word: string }> = {
  up: { state: 'ok', word: 'up' },
  down: { state: 'critical', word: 'down' },
  unknown: { state: 'unknown', word: 'unknown' },
};

/** Every target, by scrape pool: does it answer, since when not, and why. */
export function TargetsPage() {
  usePresentPace();
  const beat = useBeat();
  const { data, error } = useData('targets', load, beat);
  const [filterText, setFilterText] = useParam<string>('filter', '');
  const [health, setHealth] = useParam<Health | 'all'>('health', 'all');
  const [turned, setTurned] = useParam<string>('turned', '');
  const toggled = new Set(turned.split('|').filter(Boolean));
  const filter = parseFilter(filterText);
  const active = data?.targets.activeTargets ?? [];
  const list = data ? pools(data.targets, health, filter) : [];
  const dropped = data ? Object.values(droppedCounts(data.targets)).reduce((a, b) => a + b, 0) : 0;
  const matching = active.filter((target) =>
    matches(filter, target.labels, `${target.scrapePool} ${target.scrapeUrl} ${target.lastError}`),
  );
  const counted = (which: Health): number | undefined =>
    data ? matching.filter((target) => target.health === which).length : undefined;

  const toggle = (name: string): void => {
    if (toggled.has(name)) toggled.delete(name);
    else toggled.add(name);
    setTurned([...toggled].join('|'));
  };
  const pick = (name: string, value: string): void => setFilterText(withMatcher(filterText, name, value));

  return (
    <div class={css.page} onKeyDown={(event) => walkRows(event, event.currentTarget, 'h2 > button')}>
      <div class={pages.filterBar}>
        <input
          type="text"
          class={parts.field}
          aria-label="Filter targets"
          placeholder='Filter: words, or labels like job="node-exporter"'
          spellcheck={false}
          autocomplete="off"
          value={filterText}
          onInput={(event) => setFilterText(event.currentTarget.value)}
        />
        <Segments
          label="Health"
          value={health}
          onChange={setHealth}
          options={[
            { value: 'all', word: 'All', count: data ? matching.length : undefined },
            { value: 'up', word: 'Up', count: counted('up') },
            { value: 'down', word: 'Down', count: counted('down') },
            { value: 'unknown', word: 'Unknown', count: counted('unknown') },
          ]}
        />
        {dropped > 0 && <span class={pages.note}>{count(dropped, 'target')} dropped by relabelling</span>}
      </div>
      {filter.error && <p class={css.filterError}>{filter.error}</p>}
      <Waiting data={data} error={error} what="The targets could not be asked for." rows={4} />
      {data && active.length === 0 && dropped === 0 && (
        <div class={parts.sheet}>
          <EmptyState title="There are no targets">
            <p>
              Nothing is scraped. Name what to scrape under <code>scrape_configs</code> in the configuration.
            </p>
          </EmptyState>
        </div>
      )}
      {data && (active.length > 0 || dropped > 0) && list.length === 0 && (
        <div class={parts.sheet}>
          <EmptyState
            title={health === 'down' && filterText === '' ? 'No target is down' : 'No target matches'}
          >
            <p>{count(active.length, 'target is', 'targets are')} known.</p>
            <button
              type="button"
              class={parts.button}
              onClick={() => {
                setFilterText('');
                setHealth('all');
              }}
            >
              Show all
            </button>
          </EmptyState>
        </div>
      )}
      <div class={css.pools}>
        {list.map((pool) => (
          <PoolView
            key={pool.name}
            pool={pool}
            samples={data?.samples ?? new Map()}
            open={isOpen(pool, toggled, health !== 'all' || filterText !== '')}
            onToggle={() => toggle(pool.name)}
            onPick={pick}
          />
        ))}
      </div>
    </div>
  );
}

// Drawing thousands of targets takes a browser seconds. Those in trouble come first.
const MOST_TARGETS = 100;

function PoolView(props: {
  pool: Pool;
  samples: ReadonlyMap<string, number>;
  open: boolean;
  onToggle: () => void;
  onPick: (name: string, value: string) => void;
}) {
  const { pool, open } = props;
  const [most, setMost] = useState(MOST_TARGETS);
  const left = pool.shown.length - most;
  const id = `pool-${pool.name.replace(/\W+/g, '-')}`;
  const state: State =
    pool.all === 0 ? 'unknown' : pool.down > 0 ? 'critical' : pool.unknown > 0 ? 'unknown' : 'ok';
  const words = [
    pool.all === 0 ? 'nothing is scraped' : '',
    pool.down > 0 ? `${pool.down} down` : '',
    pool.unknown > 0 ? `${pool.unknown} unknown` : '',
    pool.up > 0 ? `${pool.up} up` : '',
  ].filter(Boolean);
  return (
    <section class={parts.sheet}>
      <h2 class={css.poolTitle}>
        <button type="button" aria-expanded={open} aria-controls={id} onClick={props.onToggle}>
          <ChevronIcon class={open ? css.chevronOpen : css.chevron} />
          <span class={css.poolName}>{pool.name}</span>
          <StateMark state={state} word={words.join(', ')} />
          {pool.dropped > 0 && <span class={css.dim}>{pool.dropped} dropped</span>}
          {pool.shown.length < pool.all && (
            <span class={css.dim}>
              {pool.shown.length} of {pool.all} shown
            </span>
          )}
        </button>
      </h2>
      {open && (
        <div id={id} class={css.rows}>
          {pool.shown.slice(0, most).map((target) => (
            <TargetRow
              key={`${target.scrapeUrl} ${JSON.stringify(target.labels)}`}
              target={target}
              samples={props.samples.get(`${target.labels.job}\u0000${target.labels.instance}`)}
              onPick={props.onPick}
            />
          ))}
          {left > 0 && (
            <p class={css.more}>
              {count(left, 'more target')}; the filter finds them.{' '}
              <button type="button" class={parts.button} onClick={() => setMost(most + MOST_TARGETS)}>
                Show {Math.min(left, MOST_TARGETS)} more
              </button>
            </p>
          )}
          <DroppedRows pool={pool} />
        </div>
      )}
    </section>
  );
}

const MOST_DROPPED = 20;

/** What relabelling dropped; folded where the pool has other targets. */
function DroppedRows({ pool }: { pool: Pool }) {
  // Listed are those that are the other way round than usual.
  const [isTurned, turn] = useListed('dropped', shortId(pool.name));
  const open = isTurned !== (pool.all === 0);
  if (pool.gone.length === 0) return null;
  return (
    <div>
      <button
        type="button"
        class={`${parts.button} ${parts.quiet} ${css.droppedToggle}`}
        aria-expanded={open}
        onClick={turn}
      >
        {open ? 'Hide' : 'Show'} {count(pool.gone.length, 'dropped target')}
      </button>
      {open &&
        pool.gone.slice(0, MOST_DROPPED).map((labels) => (
          <article class={css.row} data-test="dropped" key={JSON.stringify(labels)}>
            <StateMark state="unknown" word="dropped" />
            <div class={css.who}>
              <span class={css.url}>{labels.__address__ || 'no address'}</span>
              <WhyToggle pool={pool.name} discovered={labels} />
            </div>
          </article>
        ))}
      {open && pool.gone.length > MOST_DROPPED && (
        <p class={css.more}>{pool.gone.length - MOST_DROPPED} more; the filter finds them.</p>
      )}
    </div>
  );
}

function WhyToggle({ pool, discovered }: { pool: string; discovered: Labels }) {
  const [open, toggle] = useListed('why', shortId(JSON.stringify([pool, Object.entries(discovered).sort()])));
  return (
    <div>
      <button
        type="button"
        class={`${parts.button} ${parts.quiet} ${css.whyToggle}`}
        aria-expanded={open}
        onClick={toggle}
      >
        Why?
      </button>
      {open && <Why pool={pool} discovered={discovered} />}
    </div>
  );
}

function TargetRow({
  target,
  samples,
  onPick,
}: {
  target: Target;
  samples: number | undefined;
  onPick: (name: string, value: string) => void;
}) {
  const at = parseTime(target.lastScrape);
  const took = secondsQuantity(target.lastScrapeDuration);
  const { state, word } = STATES[target.health];
  return (
    <article class={css.row} data-test="target" data-health={target.health}>
      <StateMark state={state} word={word} />
      <div class={css.who}>
        <span class={css.url}>{target.scrapeUrl}</span>
        <LabelChips labels={target.labels} onPick={onPick} />
        {target.lastError && (
          <div class={css.error}>
            <pre>{target.lastError}</pre>
            <CopyButton text={target.lastError} />
          </div>
        )}
        <WhyToggle pool={target.scrapePool} discovered={target.discoveredLabels} />
      </div>
      <dl class={css.facts}>
        <div>
          <dt>last scrape</dt>
          <dd data-test="last-scrape">{at === null ? 'none yet' : <RelativeTime at={at} />}</dd>
        </div>
        <div>
          <dt>took</dt>
          <dd data-test="took">
            {at === null ? '–' : took.number} {at !== null && <small>{took.unit}</small>}
          </dd>
        </div>
        <div>
          <dt>samples</dt>
          <dd>{samples ?? '–'}</dd>
        </div>
        <div>
          <dt>every</dt>
          <dd>{target.scrapeInterval || '–'}</dd>
        </div>
      </dl>
    </article>
  );
}
