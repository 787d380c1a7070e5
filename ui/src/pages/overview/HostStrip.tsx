import { Link } from 'wouter-preact';
import { useData } from '../../api/useData';
import { EmptyState, ErrorNote } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { Age } from '../../ui/RelativeTime';
import { Sparkline } from '../../ui/Sparkline';
import pages from '../pages.module.css';
import { loadHost, tiles, type Tile } from './host';
import css from './overview.module.css';

const PLACEHOLDERS = ['Processor', 'Memory', 'Root filesystem', 'Load', 'Pressure', 'Network'];

/** This machine in six numbers, each with its last hour. */
export function HostStrip(props: {
  hostname: string | null;
  scrapeInterval: string;
  /** False until the server has said (or failed to say) what this machine is called. */
  known: boolean;
  beat: unknown;
}) {
  const { data, error } = useData(
    props.known ? `host ${props.hostname}` : null,
    (signal) => loadHost(props.hostname ?? '', props.scrapeInterval, signal),
    props.beat,
  );
  const unknownHost = data !== undefined && data.selector === null;
  return (
    <section>
      <h2 class={pages.sectionTitle}>
        This machine
        {props.hostname && <span class={css.hostname}>{props.hostname}</span>}
        {data?.bootAt != null && (
          <span class={css.hostname}>
            up for <Age since={data.bootAt} />
          </span>
        )}
        {data?.selector && <Link href="/d/cupola-node">Dashboard</Link>}
      </h2>
      {error && <ErrorNote what="This machine's numbers could not be asked for." error={error} />}
      {unknownHost ? (
        <div class={parts.sheet}>
          <EmptyState title="No target tells about this machine">
            <p>
              There is no <code>node_uname_info</code> from a node exporter here. Add one as a target to see
              processor, memory and disks.
            </p>
          </EmptyState>
        </div>
      ) : (
        <div class={css.strip} data-test="host">
          {data
            ? tiles(data, props.scrapeInterval).map((tile) => (
                <TileView key={tile.id} tile={tile} from={data.from} to={data.to} step={data.step} />
              ))
            : PLACEHOLDERS.map((word) => (
                <div key={word} class={css.tile}>
                  <span class={css.tileWord}>{word}</span>
                  <span class={css.tileValue}>{'\u00a0'}</span>
                  <span class={css.tileDetail}>{'\u00a0'}</span>
                  <span class={css.sparkSpace} />
                </div>
              ))}
        </div>
      )}
    </section>
  );
}

function TileView({ tile, from, to, step }: { tile: Tile; from: number; to: number; step: number }) {
  return (
    <Link
      href={`/explore?g0.expr=${encodeURIComponent(tile.expr)}&g0.tab=graph&g0.range_input=1h`}
      class={css.tile}
      title={`${tile.word}: open in Explore`}
      data-test={`tile-${tile.id}`}
    >
      <span class={css.tileWord}>{tile.word}</span>
      <span class={css.tileValue} data-test="value">
        {tile.value ? tile.value.number : '–'}
        {tile.value?.unit && <small>{tile.value.unit}</small>}
      </span>
      <span class={css.tileDetail}>{tile.detail || '\u00a0'}</span>
      <Sparkline
        points={tile.points}
        from={from}
        to={to}
        step={step}
        top={tile.top}
        label={`${tile.word} over the last hour`}
      />
    </Link>
  );
}
