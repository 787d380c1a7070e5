import { Link } from 'wouter-preact';
import { fetchDeadRules } from '../../api/client';
import type { DeadRule, RulesData } from '../../api/types';
import { useData } from '../../api/useData';
import { matches, type Filter } from '../../ui/filter';
import { ChevronIcon } from '../../ui/icons';
import parts from '../../ui/parts.module.css';
import { StateMark } from '../../ui/StateMark';
import { count } from '../../ui/words';
import css from './alerts.module.css';
import list from '../list.module.css';

// So many are shown unfolded.
const FEW = 5;

/** The rules that can give nothing, since what they ask for does not exist: a misspelt name, a label nobody has. */
export function DeadRules({ rules, filter }: { rules: RulesData; filter: Filter }) {
  // Asked when the page opens and when rules come or go: names do not change every few seconds.
  const { data } = useData(
    `dead-rules ${rules.groups.map((group) => `${group.file} ${group.name} ${group.rules.length}`).join()}`,
    fetchDeadRules,
  );
  const dead = (data?.rules ?? []).filter(
    (rule) => rule.dead && matches(filter, { alertname: rule.name }, `${rule.query} ${rule.group}`),
  );
  if (dead.length === 0) return null;
  return (
    <details class={css.quiet} open={dead.length <= FEW}>
      <summary>
        <ChevronIcon class={list.chevron} />
        {count(dead.length, 'rule matches no series', 'rules match no series')}
      </summary>
      <div class={parts.sheet}>
        {dead.map((rule) => (
          <Dead key={`${rule.file} ${rule.group} ${rule.name} ${rule.query}`} rule={rule} />
        ))}
      </div>
    </details>
  );
}

function Dead({ rule }: { rule: DeadRule }) {
  return (
    <div class={css.deadRule}>
      <StateMark state="unknown" word={rule.type === 'alerting' ? 'cannot fire' : 'records nothing'} />
      <div class={list.what}>
        <b>{rule.name}</b>
        <Link
          class={css.quietExpr}
          href={`/explore?g0.expr=${encodeURIComponent(rule.query)}&g0.tab=graph&g0.range_input=1h`}
          title="Open in Explore"
        >
          {rule.query}
        </Link>
        <ul class={css.reasons}>
          {rule.selectors.map((selector) => (
            <li key={selector.selector}>
              <code>{selector.selector}</code>: {selector.reason}
              {selector.nearest && (
                <>
                  ; did you mean <code>{selector.nearest}</code>?
                </>
              )}
            </li>
          ))}
        </ul>
      </div>
    </div>
  );
}
