import { useEffect, useRef, useState } from 'preact/hooks';
import { queryInstant, queryRange, type PromAnswer } from '../../api/client';
import type { QueryData } from '../../api/types';
import { useData } from '../../api/useData';
import { windowKey } from '../../app/beat';
import { resolveRange } from '../../time/range';
import { CloseIcon, PlayIcon } from '../../ui/icons';
import { ErrorNote, Progress, Segments, SkeletonRows } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { count } from '../../ui/words';
import { Editor, type EditorHandle } from './Editor';
import { readMistake } from './errors';
import css from './explore.module.css';
import { EmptyAnswer, Examples } from './EmptyAnswer';
import { Graph } from './Graph';
import { HistoryButton } from './HistoryButton';
import { ResultTable } from './ResultTable';
import { autoStep, type QueryState, type Tab } from './state';

interface Asked extends PromAnswer<QueryData> {
  tab: Tab;
  expr: string;
  /** Seconds; the window and resolution that were asked for. */
  from: number;
  to: number;
  step: number;
}

async function ask(query: QueryState, signal: AbortSignal): Promise<Asked> {
  const { fromMs, toMs } = resolveRange();
  const [from, to] = [fromMs / 1000, toMs / 1000];
  const step = query.step ?? autoStep(to - from);
  if (query.tab === 'table') {
    const answer = await queryInstant(query.expr, to, signal);
    return { ...answer, tab: 'table', expr: query.expr, from, to, step };
  }
  const start = Math.ceil(from / step) * step;
  const end = Math.floor(to / step) * step;
  const answer = await queryRange(query.expr, start, end, step, signal);
  return { ...answer, tab: 'graph', expr: query.expr, from, to, step };
}

function seriesCount(data: QueryData): number {
  return data.resultType === 'vector' || data.resultType === 'matrix' ? data.result.length : 1;
}

/** One query with its editor and its answer. */
export function QueryPanel({
  query,
  beat,
  onChange,
  onRemove,
}: {
  query: QueryState;
  beat: unknown;
  onChange: (next: QueryState) => void;
  onRemove?: () => void;
}) {
  const editor = useRef<EditorHandle>(null);
  const [draft, setDraft] = useState(query.expr);
  const expr = query.expr.trim();
  const key = expr === '' ? null : `${query.tab}\u0000${expr}\u0000${query.step}\u0000${windowKey()}`;
  const { data, error, loading, reload } = useData(key, (signal) => ask({ ...query, expr }, signal), beat);

  // Going back in the browser's history brings the older query back into the editor.
  useEffect(() => {
    setDraft(query.expr);
    editor.current?.setText(query.expr);
  }, [query.expr]);

  useEffect(() => {
    editor.current?.showMistake(error ? readMistake(error.message, query.expr) : null);
  }, [error]);

  const run = (text: string): void => {
    if (text === query.expr) reload();
    else onChange({ ...query, expr: text });
  };

  // The old answer stays while the next one is on its way, but not under a query that the server refuses.
  const shown = expr === '' || error ? undefined : data;
  const sameTab = shown?.tab === query.tab ? shown : undefined;

  return (
    <section class={`${parts.sheet} ${css.panel}`} aria-label="Query" data-test="query">
      <Progress on={loading && data !== undefined} />
      <div class={css.editorRow}>
        <Editor
          handle={editor}
          text={query.expr}
          onChange={(text) => {
            setDraft(text);
            if (error) editor.current?.showMistake(null);
          }}
          onRun={run}
        />
        <div class={css.editorButtons}>
          <HistoryButton onChoose={run} />
          {onRemove && (
            <button
              type="button"
              class={`${parts.button} ${parts.quiet}`}
              aria-label="Remove this query"
              title="Remove this query"
              onClick={onRemove}
            >
              <CloseIcon />
            </button>
          )}
          <button
            type="button"
            class={`${parts.button} ${parts.primary}`}
            title="Ctrl Enter or Shift Enter"
            onClick={() => run(draft)}
          >
            <PlayIcon size={13} />
            Run
          </button>
        </div>
      </div>
      <div class={css.bar}>
        <Segments<Tab>
          label="Show as"
          value={query.tab}
          onChange={(tab) => onChange({ ...query, tab })}
          options={[
            { value: 'table', word: 'Table' },
            { value: 'graph', word: 'Graph' },
          ]}
        />
        {sameTab && <Facts asked={sameTab} query={query} onChange={onChange} />}
      </div>
      <div class={css.answer}>
        {error && <ErrorNote what="The server cannot answer this query." error={error} />}
        {sameTab?.warnings.map((text) => (
          <p key={text} class={css.warning}>
            {text}
          </p>
        ))}
        {expr === '' ? (
          <Examples onChoose={run} />
        ) : sameTab ? (
          <Answer asked={sameTab} />
        ) : (
          !error && <SkeletonRows rows={query.tab === 'graph' ? 7 : 4} />
        )}
      </div>
    </section>
  );
}

function Answer({ asked }: { asked: Asked }) {
  const { data } = asked;
  if (seriesCount(data) === 0)
    return <EmptyAnswer expr={asked.expr} from={asked.from} to={asked.to} tab={asked.tab} />;
  if (asked.tab === 'graph' && data.resultType === 'matrix') {
    return <Graph expr={asked.expr} series={data.result} from={asked.from} to={asked.to} step={asked.step} />;
  }
  return <ResultTable data={data} />;
}

/** How much came, how long it took and at which resolution. */
function Facts({
  asked,
  query,
  onChange,
}: {
  asked: Asked;
  query: QueryState;
  onChange: (next: QueryState) => void;
}) {
  const n = seriesCount(asked.data);
  return (
    <div class={css.facts}>
      <span data-test="facts">
        {count(n, 'series', 'series')} in {asked.took < 1 ? '< 1' : asked.took.toFixed(0)} ms
      </span>
      {asked.tab === 'graph' && (
        <label>
          Step
          <select
            class={css.select}
            value={query.step === null ? '' : String(query.step)}
            onChange={(event) => {
              const value = event.currentTarget.value;
              onChange({ ...query, step: value === '' ? null : Number(value) });
            }}
          >
            <option value="">auto ({asked.step} s)</option>
            {[...new Set([1, 5, 15, 30, 60, 300, 900, 3600, ...(query.step ? [query.step] : [])])]
              .sort((a, b) => a - b)
              .map((step) => (
                <option key={step} value={String(step)}>
                  {step} s
                </option>
              ))}
          </select>
        </label>
      )}
    </div>
  );
}
