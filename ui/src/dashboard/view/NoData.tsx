import { useEffect, useState } from 'preact/hooks';
import { prom } from '../../api/client';
import { tick } from '../../time/range';
import { metricNames } from '../../pages/explore/errors';
import type { Planned } from '../data/plan';
import css from './view.module.css';

/** Why an answer is empty. */
type Reason =
  { kind: 'noMetric'; names: string[] } | { kind: 'notInRange'; names: string[] } | { kind: 'noMatch' };

const MOST_NAMES = 4;

/** Panels of one dashboard ask for the same names; each is looked up once until the next refresh. */
const known = new Map<string, Promise<boolean>>();
let knownAt = tick.peek();

function exists(name: string, window: { start?: number; end?: number } = {}): Promise<boolean> {
  if (knownAt !== tick.peek()) {
    known.clear();
    knownAt = tick.peek();
  }
  const key = `${name} ${window.start ?? ''} ${window.end ?? ''}`;
  const there = known.get(key);
  if (there) return there;
  const found = prom<string[]>('label/__name__/values', { 'match[]': name, limit: 1, ...window }).then(
    ({ data }) => data.length > 0,
  );
  known.set(key, found);
  found.catch(() => known.delete(key));
  return found;
}

/** Windows are widened to whole minutes, so that panels with different steps ask the same. */
const MINUTE = 60;

async function findReason(queries: readonly Planned[]): Promise<Reason> {
  const names = [...new Set(queries.flatMap((query) => metricNames(query.expr)))].slice(0, MOST_NAMES);
  const window = {
    start: Math.floor(Math.min(...queries.map((query) => query.fromMs)) / 1000 / MINUTE) * MINUTE,
    end: Math.ceil(Math.max(...queries.map((query) => query.toMs)) / 1000 / MINUTE) * MINUTE,
  };
  const inRange = await Promise.all(names.map((name) => exists(name, window)));
  const absent = names.filter((_, i) => !inRange[i]);
  if (absent.length === 0) return { kind: 'noMatch' };
  const ever = await Promise.all(absent.map((name) => exists(name)));
  const never = absent.filter((_, i) => !ever[i]);
  return never.length > 0 ? { kind: 'noMetric', names: never } : { kind: 'notInRange', names: absent };
}

function Names({ names }: { names: readonly string[] }) {
  return (
    <>
      {names.map((name, i) => (
        <span key={name}>
          {i > 0 && ' nor '}
          <code>{name}</code>
        </span>
      ))}
    </>
  );
}

function reasonWords(reason: Reason | null): string {
  switch (reason?.kind) {
    case 'noMetric':
      return `There is no metric ${reason.names.join(' nor ')}.`;
    case 'notInRange':
      return `${reason.names.join(' nor ')}: nothing in this time range.`;
    case 'noMatch':
      return 'The metrics are there, but no series matches.';
    default:
      return '';
  }
}

/** "No data", and the reason as far as it can be found out. */
export function NoData({ queries, words }: { queries: readonly Planned[]; words?: string }) {
  const [reason, setReason] = useState<Reason | null>(null);
  const key = queries.map((query) => query.expr).join('\n');
  useEffect(() => {
    // Words of the panel's author say enough.
    if (queries.length === 0 || words) return;
    let isGone = false;
    findReason(queries).then(
      (found) => {
        if (!isGone) setReason(found);
      },
      () => undefined,
    );
    return () => {
      isGone = true;
    };
  }, [key]);
  return (
    <div class={css.noData} title={[reasonWords(reason), key].filter((text) => text !== '').join('\n')}>
      <strong>{words || 'No data'}</strong>
      {reason?.kind === 'noMetric' && (
        <p>
          There is no metric <Names names={reason.names} />.
        </p>
      )}
      {reason?.kind === 'notInRange' && (
        <p>
          <Names names={reason.names} /> has nothing in this time range.
        </p>
      )}
      {reason?.kind === 'noMatch' && <p>The metrics are there, but no series matches.</p>}
      {queries.length === 0 && <p>The panel has no query.</p>}
    </div>
  );
}
