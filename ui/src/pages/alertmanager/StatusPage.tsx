import { useData } from '../../api/useData';
import { useBeat, usePresentPace } from '../../app/beat';
import { bootstrap } from '../../app/bootstrap';
import { Waiting } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { Age } from '../../ui/RelativeTime';
import { StateMark, type State } from '../../ui/StateMark';
import { exactTime, parseTime } from '../../ui/words';
import { fetchReceivers, fetchStatus } from './api';
import css from './am.module.css';
import { Tabs } from './Tabs';
import { Config } from '../Config';
import { Fact, Facts } from '../Facts';
import list from '../list.module.css';

const CLUSTER: Record<string, { state: State; word: string }> = {
  ready: { state: 'ok', word: 'ready' },
  settling: { state: 'pending', word: 'settling' },
  disabled: { state: 'off', word: 'no cluster' },
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
    <div class={list.page}>
      <Tabs />
      <Waiting data={data} error={error} what="The status could not be asked for." rows={4} />
      {data && (
        <>
          <div class={`${parts.sheet} ${css.card}`}>
            <Facts test="am-status">
              <Fact name="version">
                Cupola {bootstrap.value?.version ?? ''}
                <span class={list.dim}>, as Alertmanager {data.versionInfo.version}</span>
              </Fact>
              {began !== null && (
                <Fact name="runs for">
                  <Age since={began} />
                  <span class={list.dim}>, since {exactTime(began)}</span>
                </Fact>
              )}
              <Fact name="cluster">
                <StateMark {...cluster} />
                {data.cluster.name && <code class={list.dim}> {data.cluster.name}</code>}
              </Fact>
              {peers.length > 0 && (
                <Fact name="members">
                  <ul class={css.peers}>
                    {peers.map((peer) => (
                      <li key={peer.name}>
                        <code>{peer.address}</code> <span class={list.dim}>{peer.name}</span>
                      </li>
                    ))}
                  </ul>
                </Fact>
              )}
              <Fact name="receivers">{(receivers.data ?? []).map((one) => one.name).join(', ')}</Fact>
            </Facts>
          </div>
          <Config text={data.config.original} test="am-config" />
        </>
      )}
    </div>
  );
}
