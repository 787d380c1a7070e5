import { useState } from 'preact/hooks';
import { Link } from 'wouter-preact';
import type { RulesData } from '../../api/types';
import { matches, type Filter } from '../../ui/filter';
import { ChevronIcon } from '../../ui/icons';
import { ErrorNote, LabelChips } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { RelativeTime } from '../../ui/RelativeTime';
import { StateMark } from '../../ui/StateMark';
import { count, durationWords, parseTime } from '../../ui/words';
import { alertingRules } from '../alertWords';
import css from './alerts.module.css';
import list from '../list.module.css';

/** The rules of which nothing is active: broken ones in full, the well ones folded. */
export function QuietRules({ rules, filter }: { rules: RulesData; filter: Filter }) {
  // Thousands of rows are drawn only for who looks at them.
  const [open, setOpen] = useState(false);
  const quiet = alertingRules(rules).filter(
    ({ rule, group }) =>
      (rule.alerts ?? []).length === 0 &&
      matches(filter, { alertname: rule.name, ...rule.labels }, `${rule.query} ${group}`),
  );
  const broken = quiet.filter(({ rule }) => rule.health === 'err');
  const well = quiet.filter(({ rule }) => rule.health !== 'err');
  return (
    <>
      {broken.map(({ rule, group }) => (
        <div key={`${group} ${rule.name}`} class={css.broken}>
          <ErrorNote
            what={`Rule ${rule.name} (group ${group}) cannot be evaluated, so it cannot fire.`}
            error={new Error(rule.lastError || 'the server gives no reason')}
          />
        </div>
      ))}
      {well.length > 0 && (
        <details class={css.quiet} open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
          <summary>
            <ChevronIcon class={list.chevron} />
            {count(well.length, 'quiet rule')}
          </summary>
          <div class={parts.sheet}>
            {(open ? well : []).map(({ rule, group }) => {
              const at = parseTime(rule.lastEvaluation);
              return (
                <div key={`${group} ${rule.name}`} class={css.quietRule}>
                  <StateMark
                    state={rule.health === 'ok' ? 'ok' : 'unknown'}
                    word={rule.health === 'ok' ? 'quiet' : 'not evaluated yet'}
                  />
                  <div class={list.what}>
                    <b>{rule.name}</b>
                    <Link
                      class={css.quietExpr}
                      href={`/explore?g0.expr=${encodeURIComponent(rule.query)}&g0.tab=graph&g0.range_input=1h`}
                      title="Open in Explore"
                    >
                      {rule.query}
                    </Link>
                    <LabelChips labels={rule.labels ?? {}} />
                  </div>
                  <span class={list.dim}>
                    {rule.duration > 0 && `after ${durationWords(rule.duration * 1000)}`}
                  </span>
                  <span class={list.dim}>
                    {at !== null && (
                      <>
                        evaluated <RelativeTime at={at} />
                      </>
                    )}
                  </span>
                </div>
              );
            })}
          </div>
        </details>
      )}
    </>
  );
}
