import type { ComponentChildren } from 'preact';
import type { TsdbBlock, TsdbStatus } from '../../api/types';
import parts from '../../ui/parts.module.css';
import { bytes, count, durationWords, exactTime, type Quantity } from '../../ui/words';
import pages from '../pages.module.css';
import { grouped, usages, type Usage } from './status';
import css from './storage.module.css';

/** The head, what lies on the disk, and how much of the limits is used. */
export function Figures({ status, blocks }: { status: TsdbStatus; blocks: readonly TsdbBlock[] }) {
  const { headStats: head, storage } = status;
  const fresh = status.newSeriesByJob?.reduce((sum, one) => sum + one.value, 0);
  const hasSamples = head.numSeries > 0 && head.maxTime >= head.minTime;
  const used = usages(status);
  return (
    <>
      <dl class={`${parts.sheet} ${css.figures}`}>
        <Figure word="series" test="series" value={grouped(head.numSeries)} />
        {fresh !== undefined && <Figure word="new in 1 h" value={grouped(fresh)} />}
        <Figure word="label pairs" value={grouped(head.numLabelPairs)} />
        <Figure word="chunks" value={grouped(head.chunkCount)} />
        <Figure
          word="span"
          title={hasSamples ? `${exactTime(head.minTime)} to ${exactTime(head.maxTime)}` : undefined}
          value={hasSamples ? durationWords(head.maxTime - head.minTime) : '–'}
        />
        {storage && (
          <>
            <Figure word="memory" value={<Amount of={bytes(storage.memoryBytes)} />} />
            <Figure word="log" value={<Amount of={bytes(storage.logBytes)} />} />
            <Figure word={count(blocks.length, 'block')} value={<Amount of={bytes(storage.blockBytes)} />} />
            <Figure word="kept for" value={storage.retention || 'ever'} />
          </>
        )}
      </dl>
      {status.seriesLimits && (
        <section aria-labelledby="limits">
          <h2 id="limits" class={pages.sectionTitle}>
            Limits
          </h2>
          {used.length === 0 ? (
            <p class={pages.quietNote}>
              No limit on series is set. <code>--storage.tsdb.max-series</code>, <code>-per-metric</code> and{' '}
              <code>-per-job</code> keep one mistake from taking all the memory: series that are known go on,
              new ones are refused.
            </p>
          ) : (
            <ul class={`${parts.sheet} ${css.limits}`}>
              {used.map((one) => (
                <Limit key={`${one.scope} ${one.name}`} usage={one} />
              ))}
            </ul>
          )}
        </section>
      )}
    </>
  );
}

function Figure(props: { word: string; value: ComponentChildren; title?: string; test?: string }) {
  return (
    <div title={props.title}>
      <dt>{props.word}</dt>
      <dd data-test={props.test}>{props.value}</dd>
    </div>
  );
}

function Amount({ of }: { of: Quantity }) {
  return (
    <>
      {of.number} <small>{of.unit}</small>
    </>
  );
}

function Limit({ usage }: { usage: Usage }) {
  const percent = Math.min(100, Math.floor(usage.share * 100));
  const level = usage.share >= 1 ? css.full : usage.share >= 0.8 ? css.close : '';
  return (
    <li class={`${css.limit} ${level}`} data-test="limit">
      <span class={css.limitName}>
        {usage.scope !== 'total' && <small>{usage.scope} </small>}
        {usage.scope === 'total' ? 'all series' : usage.name || '(none)'}
      </span>
      <span class={css.bar} aria-hidden="true">
        <span style={{ width: `${percent}%` }} />
      </span>
      <span class={css.limitValue}>
        {grouped(usage.used)} <small>of {grouped(usage.most)}</small>
      </span>
      <span class={css.percent}>{usage.share >= 1 ? 'full' : `${percent} %`}</span>
    </li>
  );
}
