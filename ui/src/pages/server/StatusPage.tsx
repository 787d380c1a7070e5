import { Link } from 'wouter-preact';
import { useData } from '../../api/useData';
import { useBeat, usePresentPace } from '../../app/beat';
import { bootstrap } from '../../app/bootstrap';
import { SERVER_TABS } from '../../app/places';
import { Waiting } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { Age, RelativeTime } from '../../ui/RelativeTime';
import { StateMark } from '../../ui/StateMark';
import { count, exactTime, parseTime } from '../../ui/words';
import { Fact, Facts } from '../Facts';
import list from '../list.module.css';
import pages from '../pages.module.css';
import { TabBar } from '../TabBar';
import { fetchStatus, type Provider, type ServerStatus } from './api';
import { Mistakes } from './Mistakes';
import css from './server.module.css';

/** What the server is: its version, whether its configuration is the newest one, where alerts go, where targets come from. */
export function StatusPage() {
  usePresentPace();
  const { data, error } = useData('server status', fetchStatus, useBeat());
  return (
    <div class={list.page}>
      <TabBar label="Server" tabs={SERVER_TABS} here="/status" />
      <Waiting data={data} error={error} what="The status could not be asked for." rows={6} />
      {data && (
        <>
          <Mistakes text={data.mistakes} />
          <ServerFacts status={data} />
          {data.providers.length > 0 && (
            <section aria-labelledby="discovery">
              <h2 id="discovery" class={pages.sectionTitle}>
                Service discovery
              </h2>
              <div class={parts.sheet}>
                {data.providers.map((provider, i) => (
                  <ProviderRow key={i} provider={provider} />
                ))}
              </div>
            </section>
          )}
        </>
      )}
    </div>
  );
}

function ServerFacts({ status }: { status: ServerStatus }) {
  const { runtime } = status;
  const began = parseTime(runtime.startTime);
  const loaded = parseTime(runtime.lastConfigTime);
  return (
    <div class={`${parts.sheet} ${css.card}`}>
      <Facts test="server-status">
        <Fact name="version">
          Cupola {bootstrap.value?.version ?? ''}
          <span class={list.dim}>, with the API of Prometheus {status.prometheus}</span>
        </Fact>
        {began !== null && (
          <Fact name="runs for">
            <Age since={began} />
            <span class={list.dim}>, since {exactTime(began)}</span>
          </Fact>
        )}
        <Fact name="configuration">
          <StateMark
            state={runtime.reloadConfigSuccess ? 'ok' : 'critical'}
            word={runtime.reloadConfigSuccess ? 'the newest is in force' : 'an older one is in force'}
          />
          {loaded !== null && <span class={list.dim}>, loaded {exactTime(loaded)}</span>}{' '}
          <Link href="/config">Look at it</Link>
        </Fact>
        <Fact name="alerts go to">
          <Managers status={status} />
        </Fact>
        <Fact name="samples stay">{runtime.storageRetention || 'for ever'}</Fact>
        {runtime.corruptionCount > 0 && (
          <Fact name="damage">
            <StateMark state="warning" word={count(runtime.corruptionCount, 'fault')} />
            <span class={list.dim}> in the log, found since the start</span>
          </Fact>
        )}
        <Fact name="processors">{runtime.GOMAXPROCS}</Fact>
        {runtime.hostname && <Fact name="host">{runtime.hostname}</Fact>}
        <Fact name="working folder">
          <code>{runtime.CWD}</code>
        </Fact>
      </Facts>
    </div>
  );
}

function Managers({ status }: { status: ServerStatus }) {
  const isInside = bootstrap.value?.alertmanager.running === true;
  if (!isInside && status.alertmanagers.length === 0) {
    return (
      <>
        <StateMark state="warning" word="nobody" />
        <span class={list.dim}>
          {status.droppedAlertmanagers > 0
            ? `: relabelling dropped ${count(status.droppedAlertmanagers, 'Alertmanager')}`
            : ': no Alertmanager is named under alerting in the configuration'}
        </span>
      </>
    );
  }
  return (
    <ul data-test="managers">
      {isInside && (
        <li>
          <Link href="/alertmanager/status">the Alertmanager inside</Link>
        </li>
      )}
      {status.alertmanagers.map((url) => (
        <li key={url}>
          <code>{url}</code>
        </li>
      ))}
    </ul>
  );
}

function ProviderRow({ provider }: { provider: Provider }) {
  const at = parseTime(provider.lastRefresh);
  const isWell = provider.lastError === '';
  return (
    <div class={css.provider} data-test="provider">
      <StateMark
        state={!isWell ? 'critical' : at === null ? 'unknown' : 'ok'}
        word={!isWell ? 'fails' : at === null ? 'not yet asked' : 'well'}
      />
      <div class={list.what}>
        <span>
          <b>{provider.mechanism}</b> {provider.place}
        </span>
        {provider.configs.length > 0 && <span class={list.dim}>for {provider.configs.join(', ')}</span>}
        {!isWell && <pre>{provider.lastError}</pre>}
      </div>
      <span class={list.dim}>
        {count(provider.targets, 'target')}
        {at !== null && (
          <>
            {' · '}
            <RelativeTime at={at} />
          </>
        )}
      </span>
    </div>
  );
}
