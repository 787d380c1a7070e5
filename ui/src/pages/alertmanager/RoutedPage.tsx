import { Link } from 'wouter-preact';
import { useData } from '../../api/useData';
import { useBeat, usePresentPace } from '../../app/beat';
import { shortId, useList, useParam } from '../../app/url';
import { withMatcher } from '../../ui/filter';
import { OkIcon, PauseIcon, PersonIcon } from '../../ui/icons';
import { EmptyState, LabelChips, Segments, Waiting } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { walkRows } from '../../ui/walk';
import { count } from '../../ui/words';
import { isHeartbeat } from '../alertWords';
import { AckForm } from './Acknowledge';
import { AlertItem, type Known } from './AlertItem';
import { fetchAcknowledgements, fetchGroups, fetchReceivers, fetchSilences } from './api';
import { ReceiverPick } from './Field';
import { FilterBox, hasWords, readFilter } from './FilterBox';
import {
  alertSections,
  countAlerts,
  distinct,
  firstLines,
  labelsOf,
  type AlertSection,
  type Which,
} from './grouping';
import { silencePage } from './hash';
import css from './am.module.css';
import { Tabs } from './Tabs';
import list from '../list.module.css';

/** So many alerts are drawn at first: all of a storm would take the browser seconds. */
const FIRST = 200;

/** What the Alertmanager knows: by the groups in which it tells of it, or by labels. */
export function RoutedPage() {
  usePresentPace();
  const beat = useBeat();
  const [filterText, setFilterText] = useParam<string>('filter', '');
  const [which, setWhich] = useParam<Which>('state', 'all');
  const [receiver, setReceiver] = useParam<string>('receiver', '');
  const [group, setGroup] = useParam<string>('group', '');
  const [opened, toggle] = useList('open');
  const [most, setMost] = useParam<string>('most', String(FIRST));
  const asked = readFilter(filterText);
  const key = JSON.stringify([asked.matchers, receiver]);
  const groups = useData(key, (signal) => fetchGroups(asked.matchers, receiver, signal), beat);
  const acks = useData('acks', fetchAcknowledgements, beat);
  const silences = useData('silences', fetchSilences, beat);
  const receivers = useData('receivers', fetchReceivers);

  const data = groups.data;
  const pick = (name: string, value: string): void => setFilterText(withMatcher(filterText, name, value));
  const all = data ? distinct(data) : [];
  const counts = countAlerts(all);
  const known: Known = {
    silences: silences.data ?? [],
    alerts: all,
    onPick: pick,
    reload: () => {
      groups.reload();
      acks.reload();
    },
  };
  const every = data
    ? alertSections(data, group === '' ? null : labelsOf(group), which, acks.data ?? [], (alert) =>
        hasWords(asked.words, ...Object.values(alert.labels), ...Object.values(alert.annotations)),
      )
    : [];
  const [sections, rest] = firstLines(every, Math.max(1, Number(most) || FIRST));

  return (
    <div class={list.page} onKeyDown={(event) => walkRows(event, event.currentTarget, '[data-toggle]')}>
      <Tabs />
      <FilterBox
        label="Filter alerts"
        placeholder='Filter: words, or matchers like severity="critical", job=~"node.*"'
        value={filterText}
        error={asked.error}
        onChange={setFilterText}
      >
        <Segments
          label="State"
          value={which}
          onChange={setWhich}
          options={[
            { value: 'all', word: 'All', count: data ? counts.all : undefined },
            { value: 'active', word: 'Active', count: data ? counts.active : undefined },
            { value: 'suppressed', word: 'Suppressed', count: data ? counts.suppressed : undefined },
          ]}
        />
        <ReceiverPick
          names={(receivers.data ?? []).map((one) => one.name)}
          value={receiver}
          onChange={setReceiver}
        />
        <label class={css.pick}>
          <span>Group by</span>
          <input
            type="text"
            class={parts.field}
            placeholder="as sent"
            list="am-labels"
            spellcheck={false}
            value={group}
            onInput={(event) => setGroup(event.currentTarget.value)}
          />
          <datalist id="am-labels">
            {[...new Set(all.flatMap((alert) => Object.keys(alert.labels)))].sort().map((name) => (
              <option key={name} value={name} />
            ))}
          </datalist>
        </label>
      </FilterBox>
      <Waiting data={data} error={groups.error} what="The alerts could not be asked for." rows={4} />
      {data && sections.length === 0 && (
        <div class={parts.sheet}>
          {counts.all > 0 || filterText !== '' || receiver !== '' ? (
            <EmptyState title="No alert matches">
              <p>None that fires now has this filter, state and receiver.</p>
              <button
                type="button"
                class={parts.button}
                onClick={() => {
                  setFilterText('');
                  setWhich('all');
                  setReceiver('');
                }}
              >
                Show all
              </button>
            </EmptyState>
          ) : (
            <EmptyState title="No alert fires" icon={<OkIcon />}>
              <p>The Alertmanager has nothing to tell anybody.</p>
            </EmptyState>
          )}
        </div>
      )}
      {sections.map((section) => (
        <section key={section.key} class={list.section} data-test="group">
          <SectionHead section={section} onPick={pick} reload={known.reload} />
          <div class={parts.sheet}>
            {section.lines.map((line) => (
              <AlertItem
                key={line.alert.fingerprint}
                line={line}
                showName={section.labels.alertname === undefined}
                open={opened.has(line.alert.fingerprint)}
                onToggle={() => toggle(line.alert.fingerprint)}
                known={known}
              />
            ))}
          </div>
        </section>
      ))}
      {rest > 0 && (
        <p class={css.more}>
          {count(rest, 'more alert')}.{' '}
          <button
            type="button"
            class={parts.button}
            onClick={() => setMost(String((Number(most) || FIRST) + 5 * FIRST))}
          >
            Show more
          </button>
        </p>
      )}
    </div>
  );
}

function SectionHead({
  section,
  onPick,
  reload,
}: {
  section: AlertSection;
  onPick: (name: string, value: string) => void;
  reload: () => void;
}) {
  const [asking, setAsking] = useParam<string>('acknowledge', '');
  const id = `group-${shortId(section.key)}`;
  const open = section.lines.filter((line) => !line.ack && !isHeartbeat(line.alert.labels));
  const { alertname, ...rest } = section.labels;
  const labels = Object.keys(section.labels).length > 0 ? section.labels : section.common;
  return (
    <>
      <header class={list.sectionHead}>
        <h2>
          {alertname ?? (Object.values(rest).join(', ') || 'All alerts')}
          {section.size > 1 && <small>{count(section.size, 'alert')}</small>}
        </h2>
        <LabelChips labels={{ ...rest, ...section.common }} onPick={onPick} />
        <span class={list.routed}>
          to {section.receivers.join(', ')}
          {section.size > 1 && open.length > 0 && (
            <button
              type="button"
              class={`${parts.button} ${parts.quiet}`}
              aria-expanded={asking === id}
              onClick={() => setAsking(asking === id ? '' : id)}
            >
              <PersonIcon size={14} />
              Acknowledge all
            </button>
          )}
          {section.size > 1 && Object.keys(labels).length > 0 && (
            <Link href={silencePage(labels)} class={`${parts.button} ${parts.quiet}`}>
              <PauseIcon size={12} />
              Silence all
            </Link>
          )}
        </span>
      </header>
      {asking === id && open.length > 0 && (
        <div class={`${parts.sheet} ${css.sheetForm}`}>
          <AckForm
            alerts={open.map((line) => line.alert)}
            onDone={() => {
              setAsking('');
              reload();
            }}
            onCancel={() => setAsking('')}
          />
        </div>
      )}
    </>
  );
}
