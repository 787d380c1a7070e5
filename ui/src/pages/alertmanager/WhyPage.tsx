import { Link } from 'wouter-preact';
import { useData } from '../../api/useData';
import { useBeat, usePresentPace } from '../../app/beat';
import { IS_ALERTMANAGER } from '../../app/places';
import { useParam } from '../../app/url';
import { withMatcher } from '../../ui/filter';
import { EmptyState, LabelChips, Waiting } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { StateIcon } from '../../ui/StateMark';
import { clockTime, count, exactTime } from '../../ui/words';
import { fetchEvents, fetchRuleEvents } from './api';
import css from './am.module.css';
import { FilterBox, hasWords, readFilter } from './FilterBox';
import { lives, type Life, type Step } from './steps';
import { Tabs } from './Tabs';
import list from '../list.module.css';

const MOST_EVENTS = 2_000;
const MOST_LIVES = 40;

/** Why somebody was told of an alert, or was not: everything that happened to it, as one list. */
export function WhyPage() {
  usePresentPace();
  const beat = useBeat();
  const [filterText, setFilterText] = useParam<string>('filter', '');
  const asked = readFilter(filterText);
  const { data, error } = useData(
    JSON.stringify(asked.matchers),
    (signal) => fetchEvents(asked.matchers, MOST_EVENTS, signal),
    beat,
  );
  const byRules = useData(
    IS_ALERTMANAGER ? null : JSON.stringify(asked.matchers),
    (signal) => fetchRuleEvents(asked.matchers, MOST_EVENTS, signal),
    beat,
  );
  const found = lives(data ?? [], byRules.data).filter((life) =>
    hasWords(asked.words, ...Object.values(life.labels)),
  );
  const pick = (name: string, value: string): void => setFilterText(withMatcher(filterText, name, value));
  return (
    <div class={list.page}>
      <Tabs />
      <p class={css.lead}>
        What happened to an alert, the oldest first: who was told of it, and why not where nobody was.
      </p>
      <FilterBox
        label="Which alerts"
        placeholder='Which alerts: words, or matchers like alertname="TargetDown"'
        value={filterText}
        error={asked.error}
        onChange={setFilterText}
      />
      <Waiting data={data} error={error} what="What happened could not be asked for." rows={5} />
      {data && found.length === 0 && (
        <div class={parts.sheet}>
          <EmptyState title="Nothing is known of such an alert">
            <p>
              None has arrived, or it is longer ago than the history goes (--history.retention, 120 hours).
            </p>
          </EmptyState>
        </div>
      )}
      {found.slice(0, MOST_LIVES).map((life) => (
        <LifeView key={life.fingerprint} life={life} onPick={pick} />
      ))}
      {found.length > MOST_LIVES && (
        <p class={css.more}>{count(found.length - MOST_LIVES, 'more alert')}; the filter finds them.</p>
      )}
    </div>
  );
}

function LifeView({ life, onPick }: { life: Life; onPick: (name: string, value: string) => void }) {
  const { alertname, ...rest } = life.labels;
  return (
    <section class={list.section} data-test="life">
      <header class={list.sectionHead}>
        <h2>{alertname ?? 'An alert without a name'}</h2>
        <LabelChips labels={rest} onPick={onPick} />
      </header>
      <ol class={`${parts.sheet} ${css.steps}`}>
        {life.steps.map((step, index) => (
          <StepView key={index} step={step} before={life.steps[index - 1]} />
        ))}
      </ol>
    </section>
  );
}

function StepView({ step, before }: { step: Step; before: Step | undefined }) {
  const day = exactTime(step.at).slice(0, 10);
  const isNewDay = !before || exactTime(before.at).slice(0, 10) !== day;
  return (
    <li data-test="step">
      <time dateTime={new Date(step.at).toISOString()} title={exactTime(step.at)}>
        {isNewDay && <span>{day}</span>} {clockTime(step.at)}
      </time>
      <StateIcon state={step.state} size={14} />
      <div>
        <span class={css.stepWords}>{step.words}</span>
        {step.silences.map((id) => (
          <Link key={id} href={`/alertmanager/silences/${id}`} class={css.stepLink}>
            silence {id.slice(0, 8)}
          </Link>
        ))}
        {step.inhibitors.map((print) => (
          <code key={print} class={list.dim}>
            {print}
          </code>
        ))}
        {step.detail && <p class={css.stepDetail}>{step.detail}</p>}
      </div>
    </li>
  );
}
