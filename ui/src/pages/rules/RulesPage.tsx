import { useState } from 'preact/hooks';
import { Link } from 'wouter-preact';
import { fetchRules } from '../../api/client';
import { useData } from '../../api/useData';
import { useBeat, usePresentPace } from '../../app/beat';
import { useParam } from '../../app/url';
import { matcherText } from '../alertmanager/hash';
import { Tabs } from '../alertmanager/Tabs';
import { parseFilter, withMatcher } from '../../ui/filter';
import { EmptyState, LabelChips, Segments, Waiting } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { RelativeTime } from '../../ui/RelativeTime';
import { StateMark } from '../../ui/StateMark';
import { count, durationWords, parseTime, secondsQuantity } from '../../ui/words';
import list from '../list.module.css';
import pages from '../pages.module.css';
import css from './rules.module.css';
import { counts, isLate, shownGroups, stateOf, waits, type Rule, type ShownGroup, type Which } from './rules';

// Drawing thousands of rules takes a browser seconds; the filter finds the rest.
const MOST_RULES = 300;

/** Every rule, by group: what it asks, whether it can be evaluated, how long that takes. */
export function RulesPage() {
  usePresentPace();
  const { data, error } = useData('rules', fetchRules, useBeat());
  const [filterText, setFilterText] = useParam<string>('filter', '');
  const [which, setWhich] = useParam<Which>('kind', 'all');
  const [most, setMost] = useState(MOST_RULES);
  const filter = parseFilter(filterText);
  const found = data ? counts(data, filter) : undefined;
  const groups = data ? shownGroups(data, which, filter) : [];
  const pick = (name: string, value: string): void => setFilterText(withMatcher(filterText, name, value));
  let room = most;
  const drawn = groups.flatMap(({ group, rules }) => {
    const some = rules.slice(0, Math.max(0, room));
    room -= some.length;
    return some.length > 0 ? [{ group, rules: some }] : [];
  });
  const left = groups.reduce((sum, { rules }) => sum + rules.length, 0) - (most - room);
  return (
    <div class={list.page}>
      <Tabs />
      <div class={pages.filterBar}>
        <input
          type="text"
          class={parts.field}
          aria-label="Filter rules"
          placeholder='Filter: words, or labels like severity="critical"'
          spellcheck={false}
          autocomplete="off"
          value={filterText}
          onInput={(event) => setFilterText(event.currentTarget.value)}
        />
        <Segments
          label="Kind"
          value={which}
          onChange={setWhich}
          options={[
            { value: 'all', word: 'All', count: found?.all },
            { value: 'alerting', word: 'Alerting', count: found?.alerting },
            { value: 'recording', word: 'Recording', count: found?.recording },
            { value: 'broken', word: 'Broken', count: found?.broken },
          ]}
        />
      </div>
      {filter.error && <p class={list.filterError}>{filter.error}</p>}
      <Waiting data={data} error={error} what="The rules could not be asked for." rows={6} />
      {data && groups.length === 0 && (
        <div class={parts.sheet}>
          {data.groups.length === 0 ? (
            <EmptyState title="There are no rules">
              <p>
                Name rule files under <code>rule_files</code> in the configuration.
              </p>
            </EmptyState>
          ) : (
            <EmptyState
              title={which === 'broken' && filterText === '' ? 'No rule is broken' : 'No rule matches'}
            >
              <button
                type="button"
                class={parts.button}
                onClick={() => {
                  setFilterText('');
                  setWhich('all');
                }}
              >
                Show all
              </button>
            </EmptyState>
          )}
        </div>
      )}
      {drawn.map((shown) => (
        <GroupView key={`${shown.group.file}\u0000${shown.group.name}`} shown={shown} onPick={pick} />
      ))}
      {left > 0 && (
        <button type="button" class={parts.button} onClick={() => setMost(most + MOST_RULES)}>
          Show {Math.min(left, MOST_RULES)} more of {count(left, 'rule')}
        </button>
      )}
    </div>
  );
}

function GroupView({
  shown: { group, rules },
  onPick,
}: {
  shown: ShownGroup;
  onPick: (name: string, value: string) => void;
}) {
  const at = parseTime(group.lastEvaluation);
  const took = secondsQuantity(group.evaluationTime);
  return (
    <section class={list.section} data-test="rule-group">
      <header class={list.sectionHead}>
        <h2>{group.name}</h2>
        <span class={list.dim}>{group.file}</span>
        <p class={list.routed}>
          <span>
            every {durationWords(group.interval * 1000)}
            {at !== null && (
              <>
                {' · '}
                <RelativeTime at={at} />
                {' · took '}
                <span class={isLate(group) ? css.late : undefined}>
                  {took.number} {took.unit}
                  {isLate(group) && ', longer than its interval'}
                </span>
              </>
            )}
          </span>
        </p>
      </header>
      <div class={parts.sheet}>
        {rules.map((rule, i) => (
          <RuleRow key={`${rule.name}\u0000${i}`} rule={rule} onPick={onPick} />
        ))}
      </div>
    </section>
  );
}

function RuleRow({ rule, onPick }: { rule: Rule; onPick: (name: string, value: string) => void }) {
  const took = secondsQuantity(rule.evaluationTime);
  const isEvaluated = parseTime(rule.lastEvaluation) !== null;
  const active = rule.type === 'alerting' ? (rule.alerts ?? []).length : 0;
  return (
    <article class={css.rule} data-test="rule" data-rule={rule.name}>
      <StateMark {...stateOf(rule)} />
      <div class={list.what}>
        <h3>{rule.name}</h3>
        <Link
          class={css.expr}
          href={`/explore?g0.expr=${encodeURIComponent(rule.query)}&g0.tab=graph&g0.range_input=1h`}
          title="Open in Explore"
        >
          {rule.query}
        </Link>
        <LabelChips labels={rule.labels ?? {}} onPick={onPick} />
        {rule.type === 'alerting' && rule.annotations?.summary && (
          <p class={css.summary}>{rule.annotations.summary}</p>
        )}
        {rule.lastError && <pre class={css.error}>{rule.lastError}</pre>}
      </div>
      <div class={css.facts}>
        {active > 0 && (
          <Link href={`/alerts?filter=${encodeURIComponent(matcherText({ alertname: rule.name }))}`}>
            {count(active, 'alert')}
          </Link>
        )}
        <span>{waits(rule)}</span>
        {isEvaluated && (
          <span>
            took {took.number} {took.unit}
          </span>
        )}
      </div>
    </article>
  );
}
