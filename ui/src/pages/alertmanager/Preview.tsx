import { useEffect, useState } from 'preact/hooks';
import { useData, type Data } from '../../api/useData';
import { WarningIcon } from '../../ui/icons';
import { ErrorNote, LabelChips, Progress, SkeletonRows } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import { StateMark } from '../../ui/StateMark';
import { count } from '../../ui/words';
import { summaryOf } from '../alertWords';
import { fetchPreview, type Preview } from './api';
import css from './am.module.css';
import { quietWord, stateOf } from './grouping';
import { toApi, writeMatchers, type Matcher } from './matchers';
import list from '../list.module.css';

const PAUSE_MS = 250;

/** What a silence of these matchers would mute now, asked once the typing pauses. */
export function usePreview(matchers: readonly Matcher[]): Data<Preview> {
  const text = writeMatchers(matchers);
  const [asked, setAsked] = useState(text);
  useEffect(() => {
    const later = setTimeout(() => setAsked(text), PAUSE_MS);
    return () => clearTimeout(later);
  }, [text]);
  return useData(asked === '' ? null : asked, (signal) => fetchPreview(matchers.map(toApi), signal));
}

export function PreviewPanel({ preview, isEmpty }: { preview: Data<Preview>; isEmpty: boolean }) {
  const { data, error, loading } = preview;
  return (
    <aside class={`${parts.sheet} ${css.preview}`} aria-label="What it would mute" data-test="preview">
      <Progress on={loading} />
      {isEmpty && <p class={css.hint}>What the silence would mute now is shown here.</p>}
      {!isEmpty && error && <ErrorNote what="What it would mute cannot be told." error={error} />}
      {!isEmpty && !data && !error && <SkeletonRows rows={3} />}
      {!isEmpty && data && !error && <Seen seen={data} />}
    </aside>
  );
}

function Seen({ seen }: { seen: Preview }) {
  const share = seen.firing > 0 ? seen.muted / seen.firing : 0;
  return (
    <>
      <p class={css.verdict}>
        <b data-test="muted">{seen.muted}</b> of {count(seen.firing, 'alert')} that fire now would be muted
      </p>
      <div class={css.share} aria-hidden="true">
        <span style={{ width: `${(share * 100).toFixed(1)}%` }} />
      </div>
      {seen.warnings.map((warning) => (
        <p key={warning} class={css.warning} role="alert" data-test="warning">
          <WarningIcon size={15} />
          <span>{warning}</span>
        </p>
      ))}
      {seen.matchers.length > 1 && (
        <ul class={css.reach}>
          {seen.matchers.map((one) => (
            <li key={one.matcher}>
              <code>{one.matcher}</code>
              <span>alone {count(one.matched, 'alert')}</span>
            </li>
          ))}
        </ul>
      )}
      <p class={list.dim}>
        {seen.firedLately === 0
          ? 'None of this kind began within the last day.'
          : `${count(seen.firedLately, 'alert')} of this kind began within the last day.`}
      </p>
      <ul class={css.mutedList}>
        {seen.alerts.slice(0, 30).map((alert) => {
          return (
            <li key={alert.fingerprint}>
              <StateMark state={stateOf(alert)} word={quietWord(alert) ?? undefined} size={13} />
              <span>
                <b>{alert.labels.alertname}</b> {summaryOf(alert.annotations, '')}
                <LabelChips labels={alert.labels} without={['alertname']} />
              </span>
            </li>
          );
        })}
        {seen.muted > 30 && <li class={list.dim}>and {count(seen.muted - 30, 'other')}</li>}
      </ul>
    </>
  );
}
