import { useState } from 'preact/hooks';
import { fetchAlerting, fetchRules } from '../../api/client';
import type { Alerting, RulesData } from '../../api/types';
import { useData } from '../../api/useData';
import { useBeat, usePresentPace } from '../../app/beat';
import { useList, useParam } from '../../app/url';
import { matches, parseFilter, withMatcher } from '../../ui/filter';
import { OkIcon } from '../../ui/icons';
import { EmptyState, LabelChips, Segments, Waiting } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { RelativeTime } from '../../ui/RelativeTime';
import { StateMark } from '../../ui/StateMark';
import { walkRows } from '../../ui/walk';
import { count, parseTime } from '../../ui/words';
import { activeAlerts, alertingRules, isHeartbeat, isWatchdog } from '../alertWords';
import { Tabs } from '../alertmanager/Tabs';
import pages from '../pages.module.css';
import { AlertRow } from './AlertRow';
import css from './alerts.module.css';
import { DeadRules } from './DeadRules';
import { firstRows, sections, type Grouping, type Section } from './list';
import { QuietRules } from './QuietRules';
import list from '../list.module.css';

interface Known {
  rules: RulesData;
  alerting: Alerting | undefined;
}

async function load(signal: AbortSignal): Promise<Known> {
  const [rules, alerting] = await Promise.all([
    fetchRules(signal),
    fetchAlerting(signal).catch((error: unknown) => {
      if (signal.aborted) throw error;
      return undefined;
    }),
  ]);
  return { rules, alerting };
}

type Which = 'all' | 'firing' | 'pending';

// Drawing thousands of alerts takes a browser seconds. The worst come first.
const MOST_ALERTS = 200;

/** One list of all that fires and is about to, grouped as it is sent or by rule. */
export function AlertsPage() {
  usePresentPace();
  const beat = useBeat();
  const { data, error } = useData('alerts', load, beat);
  const [filterText, setFilterText] = useParam<string>('filter', '');
  const [which, setWhich] = useParam<Which>('state', 'all');
  const [grouping, setGrouping] = useParam<Grouping>('group', 'route');
  const [opened, toggle] = useList('open');
  const [most, setMost] = useState(MOST_ALERTS);
  const filter = parseFilter(filterText);

  const pick = (name: string, value: string): void => setFilterText(withMatcher(filterText, name, value));

  const all = data ? activeAlerts(data.rules) : [];
  const firing = all.filter((alert) => alert.state === 'firing').length;
  const by: Grouping = data?.alerting?.configured ? grouping : 'rule';
  const every = data
    ? sections(
        data.rules,
        data.alerting,
        by,
        (alert) =>
          (which === 'all' || alert.state === which) &&
          matches(filter, alert.labels, Object.values(alert.annotations).join(' ')),
      )
    : [];
  const [shown, left] = firstRows(every, most);

  return (
    <div
      class={list.page}
      onKeyDown={(event) => walkRows(event, event.currentTarget, '[data-alert] > button')}
    >
      <Tabs />
      <div class={pages.filterBar}>
        <input
          type="text"
          class={parts.field}
          aria-label="Filter alerts"
          placeholder='Filter: words, or labels like job="node-exporter"'
          spellcheck={false}
          autocomplete="off"
          value={filterText}
          onInput={(event) => setFilterText(event.currentTarget.value)}
        />
        <Segments
          label="State"
          value={which}
          onChange={setWhich}
          options={[
            { value: 'all', word: 'All', count: data ? all.length : undefined },
            { value: 'firing', word: 'Firing', count: data ? firing : undefined },
            { value: 'pending', word: 'Pending', count: data ? all.length - firing : undefined },
          ]}
        />
        {data?.alerting?.configured && (
          <Segments
            label="Group"
            value={grouping}
            onChange={setGrouping}
            options={[
              { value: 'route', word: 'As sent' },
              { value: 'rule', word: 'By rule' },
            ]}
          />
        )}
      </div>
      {filter.error && <p class={list.filterError}>{filter.error}</p>}
      <Waiting data={data} error={error} what="The alerts could not be asked for." rows={4} />
      {data && shown.length === 0 && (
        <div class={parts.sheet}>
          <Nothing
            total={all.length}
            rules={alertingRules(data.rules).length}
            onClear={() => {
              setFilterText('');
              setWhich('all');
            }}
          />
        </div>
      )}
      {data && shown.length > 0 && all.every((alert) => isHeartbeat(alert.labels)) && (
        <p class={css.allWell}>
          <StateMark state="ok" word="Nothing needs you" />
          {count(
            alertingRules(data.rules).filter(({ rule }) => !isWatchdog(rule.name)).length,
            'alert rule',
          )}{' '}
          watching; below is what always fires.
        </p>
      )}
      {shown.map((section) => (
        <section key={section.key} class={list.section}>
          <SectionHead section={section} grouping={by} onPick={pick} />
          <div class={parts.sheet}>
            {section.rows.map((row) => (
              <AlertRow
                key={row.id}
                row={row}
                open={opened.has(row.id)}
                showName={by === 'rule' ? false : row.alert.labels.alertname !== section.title}
                showRoutes={by === 'rule'}
                notifications={data?.alerting?.notifications ?? []}
                onToggle={() => toggle(row.id)}
                onPick={pick}
              />
            ))}
          </div>
        </section>
      ))}
      {left > 0 && (
        <p class={pages.note}>
          {count(left, 'more alert')}; the filter finds them.{' '}
          <button type="button" class={parts.button} onClick={() => setMost(most + MOST_ALERTS)}>
            Show {Math.min(left, MOST_ALERTS)} more
          </button>
        </p>
      )}
      {data && <QuietRules rules={data.rules} filter={filter} />}
      {data && <DeadRules rules={data.rules} filter={filter} />}
    </div>
  );
}

function Nothing({ total, rules, onClear }: { total: number; rules: number; onClear: () => void }) {
  if (total > 0) {
    return (
      <EmptyState title="No alert matches the filter">
        <p>
          {count(total, 'alert is', 'alerts are')} firing or pending, none of them with these words or labels.
        </p>
        <button type="button" class={parts.button} onClick={onClear}>
          Show all
        </button>
      </EmptyState>
    );
  }
  if (rules === 0) {
    return (
      <EmptyState title="There are no alert rules">
        <p>
          Nothing can fire. Name rule files under <code>rule_files</code> in the configuration.
        </p>
      </EmptyState>
    );
  }
  return (
    <EmptyState title="Nothing fires" icon={<OkIcon />}>
      <p>{count(rules, 'alert rule is', 'alert rules are')} watching.</p>
    </EmptyState>
  );
}

/** Who gets the section, when it was told last and when it will be told next. */
function SectionHead({
  section,
  grouping,
  onPick,
}: {
  section: Section;
  grouping: Grouping;
  onPick: (name: string, value: string) => void;
}) {
  const { route } = section;
  const all = section.all ?? section.rows.length;
  const toldAt = parseTime(route?.told?.at);
  const keptQuiet = section.rows.every((row) => row.quiet.suppressed) && section.rows[0]?.quiet.suppressed;
  return (
    <header class={list.sectionHead}>
      <h2>
        {section.title}
        {all > 1 && <small>{all}</small>}
      </h2>
      <LabelChips labels={section.common} onPick={onPick} />
      {grouping === 'route' && route && (
        <p class={list.routed}>
          <span>
            {keptQuiet ? (
              <>
                {route.group.receiver} is not told: {keptQuiet}
              </>
            ) : route.told && toldAt !== null ? (
              route.told.outcome === 'sent' ? (
                <>
                  {route.group.receiver} told <RelativeTime at={toldAt} />
                </>
              ) : (
                <span class={css.failed}>
                  {route.group.receiver} not reached, tried <RelativeTime at={toldAt} />
                </span>
              )
            ) : (
              <>for {route.group.receiver}, not told yet</>
            )}
            {!keptQuiet && route.nextAt !== null && (
              <>
                {' · next message '}
                <RelativeTime at={route.nextAt} />
              </>
            )}
          </span>
        </p>
      )}
    </header>
  );
}
