import type { TsdbBlock } from '../../api/types';
import { EmptyState } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { bytes, durationWords, exactTime } from '../../ui/words';
import pages from '../pages.module.css';
import { bytesPerSample, grouped, totals } from './status';
import css from './storage.module.css';

/** The blocks on the disk, newest first. */
export function Blocks({ blocks }: { blocks: readonly TsdbBlock[] }) {
  const all = totals(blocks);
  const newestFirst = [...blocks].sort((a, b) => b.maxTime - a.maxTime);
  const hasFormats = blocks.some((block) => block.format !== undefined);
  return (
    <section aria-labelledby="blocks">
      <h2 id="blocks" class={pages.sectionTitle}>
        Blocks
        {all && (
          <span class={css.sum}>
            {durationWords(all.to - all.from)}, {grouped(all.samples)} samples
            {all.bytes !== undefined && `, ${bytesPerSample(all.bytes, all.samples)} B each`}
          </span>
        )}
      </h2>
      <div class={parts.sheet}>
        {blocks.length === 0 ? (
          <EmptyState title="There are no blocks yet">
            <p>The first one is cut when about three hours of samples are in memory.</p>
          </EmptyState>
        ) : (
          // Scrolled by whoever has no mouse, too.
          <div class={parts.tableScroll} tabIndex={0} role="group" aria-label="Table of blocks">
            <table class={parts.table}>
              <thead>
                <tr>
                  <th scope="col">from</th>
                  <th scope="col">long</th>
                  <th scope="col" class={parts.number}>
                    series
                  </th>
                  <th scope="col" class={parts.number}>
                    samples
                  </th>
                  <th scope="col" class={parts.number}>
                    size
                  </th>
                  <th scope="col" class={parts.number}>
                    B per sample
                  </th>
                  <th scope="col" class={parts.number}>
                    level
                  </th>
                  {hasFormats && <th scope="col">format</th>}
                  <th scope="col">block</th>
                </tr>
              </thead>
              <tbody>
                {newestFirst.map((block) => (
                  <BlockRow key={block.ulid} block={block} hasFormat={hasFormats} />
                ))}
              </tbody>
            </table>
          </div>
        )}
      </div>
    </section>
  );
}

function BlockRow({ block, hasFormat }: { block: TsdbBlock; hasFormat: boolean }) {
  const size = block.bytes === undefined ? undefined : bytes(block.bytes);
  return (
    <tr data-test="block">
      <td class={css.nowrap} title={exactTime(block.minTime)}>
        {exactTime(block.minTime).slice(0, 16)}
      </td>
      <td class={css.nowrap}>{durationWords(block.maxTime - block.minTime)}</td>
      <td class={parts.number}>{grouped(block.stats.numSeries)}</td>
      <td class={parts.number}>{grouped(block.stats.numSamples)}</td>
      <td class={parts.number}>
        {size ? size.number : '–'} <small>{size?.unit}</small>
      </td>
      <td class={parts.number}>{bytesPerSample(block.bytes, block.stats.numSamples)}</td>
      <td class={parts.number}>{block.compaction?.level ?? '–'}</td>
      {hasFormat && <td>{block.format ?? 'Prometheus'}</td>}
      <td>
        <code>{block.ulid}</code>
      </td>
    </tr>
  );
}
