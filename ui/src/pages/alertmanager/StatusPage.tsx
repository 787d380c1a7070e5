import { useData } from '../../api/useData';
import { useBeat, usePresentPace } from '../../app/beat';
import { bootstrap } from '../../app/bootstrap';
import { CopyButton, ErrorNote, SkeletonRows } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { Age } from '../../ui/RelativeTime';
import { StateMark, type State } from '../../ui/StateMark';
import { exactTime, parseTime } from '../../ui/words';
import pages from '../pages.module.css';
import { fetchReceivers, fetchStatus } from './api';
import css from './am.module.css';
import { Tabs } from './Tabs';

const CLUSTER: Record<string, { state: State; word: string }> = {
  ready: { state: 'ok', word: 'ready' },
  settling: { state: 'pending', word: 'settling' },
  disabled: { state: 'unknown', word: 'no cluster' },
};

/** What the Alertmanager is: its version, who else belongs to it, and the configuration it goes by. */
export function StatusPage() {
  usePresentPace();
  const beat = useBeat();
  const { data, error } = useData('am status', fetchStatus, beat);
  const receivers = useData('receivers', fetchReceivers);
  const began = parseTime(data?.uptime);
  const cluster = CLUSTER[data?.cluster.status ?? ''] ?? {
    state: 'unknown' as const,
    word: data?.cluster.status ?? '',
  };
  const peers = data?.cluster.peers ?? [];
  return (
    <div class={css.page}>
      <Tabs />
      {error && <ErrorNote what="The status could not be asked for." error={error} />}
      {!data && !error && (
        <div class={parts.sheet}>
          <SkeletonRows rows={4} />
        </div>
      )}
      {data && (
        <>
          <div class={`${parts.sheet} ${css.card}`}>
            <dl class={css.facts} data-test="am-status">
              <div>
                <dt>version</dt>
                <dd>
                  Cupola {bootstrap.value?.version ?? ''}
                  <span class={css.dim}>, as Alertmanager {data.versionInfo.version}</span>
                </dd>
              </div>
              {began !== null && (
                <div>
                  <dt>runs for</dt>
                  <dd>
                    <Age since={began} />
                    <span class={css.dim}>, since {exactTime(began)}</span>
                  </dd>
                </div>
              )}
              <div>
                <dt>cluster</dt>
                <dd>
                  <StateMark {...cluster} />
                  {data.cluster.name && <code class={css.dim}> {data.cluster.name}</code>}
                </dd>
              </div>
              {peers.length > 0 && (
                <div>
                  <dt>members</dt>
                  <dd>
                    <ul class={css.peers}>
                      {peers.map((peer) => (
                        <li key={peer.name}>
                          <code>{peer.address}</code> <span class={css.dim}>{peer.name}</span>
                        </li>
                      ))}
                    </ul>
                  </dd>
                </div>
              )}
              <div>
                <dt>receivers</dt>
                <dd>{(receivers.data ?? []).map((one) => one.name).join(', ')}</dd>
              </div>
            </dl>
          </div>
          <h3 class={pages.sectionTitle}>
            Configuration, secrets hidden
            <span class={css.toRight}>
              <CopyButton text={data.config.original} />
            </span>
          </h3>
          <div class={parts.sheet}>
            <pre class={css.config} data-test="am-config" tabIndex={0} aria-label="Configuration">
              {data.config.original}
            </pre>
          </div>
        </>
      )}
    </div>
  );
}
