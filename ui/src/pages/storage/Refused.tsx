import type { RefusedSeries } from '../../api/types';
import { now } from '../../ui/clock';
import { LabelChips } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { RelativeTime } from '../../ui/RelativeTime';
import { StateMark } from '../../ui/StateMark';
import { count } from '../../ui/words';
import pages from '../pages.module.css';
import { grouped, isOngoing } from './status';
import css from './storage.module.css';

// The worst stand first; behind these it is a list to be filtered elsewhere.
const SHOWN = 20;

/** Who is kept out by a limit, since when, and what an example looks like. Nothing where nobody is. */
export function Refused({ refused }: { refused: readonly RefusedSeries[] }) {
  if (refused.length === 0) return null;
  return (
    <section aria-labelledby="refused">
      <h2 id="refused" class={pages.sectionTitle}>
        Refused since the start
      </h2>
      <div class={parts.sheet}>
        {refused.slice(0, SHOWN).map((one) => (
          <article key={`${one.limit} ${one.name}`} class={css.refused} data-test="refused">
            <StateMark
              state={isOngoing(one, now.value) ? 'critical' : 'unknown'}
              word={isOngoing(one, now.value) ? 'refused' : 'was refused'}
            />
            <div class={css.who}>
              <h3>
                {one.limit !== 'total' && <small>{one.limit} </small>}
                {one.limit === 'total' ? 'all series' : one.name || '(none)'}
              </h3>
              <p>
                {one.limit === 'total' && one.name !== '' && `Most lately from job ${one.name}. `}
                Last example:
              </p>
              <LabelChips labels={one.example} />
            </div>
            <dl class={css.facts}>
              <div>
                <dt>limit</dt>
                <dd>{grouped(one.most)} series</dd>
              </div>
              <div>
                <dt>samples refused</dt>
                <dd>{grouped(one.value)}</dd>
              </div>
              <div>
                <dt>first</dt>
                <dd>
                  <RelativeTime at={one.firstTime} />
                </dd>
              </div>
              <div>
                <dt>last</dt>
                <dd>
                  <RelativeTime at={one.lastTime} />
                </dd>
              </div>
            </dl>
          </article>
        ))}
        {refused.length > SHOWN && (
          <p class={css.rest}>{count(refused.length - SHOWN, 'more was', 'more were')} refused less often.</p>
        )}
      </div>
    </section>
  );
}
