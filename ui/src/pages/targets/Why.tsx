import { fetchRelabelSteps } from '../../api/client';
import type { Labels } from '../../api/types';
import { useData } from '../../api/useData';
import { ErrorNote, SkeletonRows } from '../../ui/parts';
import { tell } from './steps';
import css from './targets.module.css';

/** What became of what discovery found: its labels, each relabelling step, and the one that dropped it. */
export function Why({ pool, discovered }: { pool: string; discovered: Labels }) {
  const { data, error } = useData(JSON.stringify([pool, discovered]), (signal) =>
    fetchRelabelSteps(pool, discovered, signal),
  );
  if (error) return <ErrorNote what="The relabelling steps could not be asked for." error={error} />;
  if (!data) return <SkeletonRows rows={2} />;
  const steps = tell(discovered, data);
  return (
    <dl class={css.why} data-test="why">
      <dt>discovered</dt>
      <dd>
        {Object.entries(discovered).map(([name, value]) => (
          <code key={name}>
            {name}={JSON.stringify(value)}
          </code>
        ))}
      </dd>
      <dt>relabelling</dt>
      <dd>
        {steps.length === 0 && <span class={css.dim}>no steps</span>}
        <ol>
          {steps.map((step, index) => (
            <li key={index} class={step.keep ? undefined : css.drops}>
              <code>{step.rule}</code>
              {step.changes.length === 0 && <span class={css.dim}>changes nothing</span>}
              {step.changes.map((change) => (
                <code key={change} class={css.change}>
                  {change}
                </code>
              ))}
            </li>
          ))}
        </ol>
      </dd>
    </dl>
  );
}
