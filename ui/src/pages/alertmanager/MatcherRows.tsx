import type { Labels } from '../../api/types';
import { CloseIcon, PlusIcon } from '../../ui/icons';
import parts from '../../ui/parts.module.css';
import css from './am.module.css';
import { parseMatchers, type Matcher, type Op } from './matchers';

const OPS: readonly { op: Op; word: string }[] = [
  { op: '=', word: 'is' },
  { op: '!=', word: 'is not' },
  { op: '=~', word: 'matches' },
  { op: '!~', word: 'does not match' },
];

/** The matchers of a silence, one line each. What is pasted into a name is taken apart. */
export function MatcherRows({
  matchers,
  onChange,
  labels,
}: {
  matchers: Matcher[];
  onChange: (matchers: Matcher[]) => void;
  /** Of the alerts that fire, to complete names and values. */
  labels: readonly Labels[];
}) {
  const change = (at: number, part: Partial<Matcher>): void =>
    onChange(matchers.map((one, index) => (index === at ? { ...one, ...part } : one)));
  const paste = (at: number, text: string): void => {
    const several = /[=~]/.test(text) ? parseMatchers(text) : null;
    if (several && several.length > 0)
      onChange([...matchers.slice(0, at), ...several, ...matchers.slice(at + 1)]);
    else change(at, { name: text });
  };
  const names = [...new Set(labels.flatMap((one) => Object.keys(one)))].sort();
  return (
    <div class={css.matchers}>
      <datalist id="am-names">
        {names.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      {matchers.map((matcher, at) => (
        <div key={at} class={css.matcher} data-test="matcher">
          <input
            type="text"
            class={parts.field}
            aria-label={`Label ${at + 1}`}
            placeholder="label"
            list="am-names"
            spellcheck={false}
            autocomplete="off"
            autocapitalize="off"
            value={matcher.name}
            onInput={(event) => paste(at, event.currentTarget.value)}
          />
          <select
            class={parts.field}
            aria-label={`Comparison ${at + 1}`}
            value={matcher.op}
            onChange={(event) => change(at, { op: event.currentTarget.value as Op })}
          >
            {OPS.map(({ op, word }) => (
              <option key={op} value={op}>
                {op} {word}
              </option>
            ))}
          </select>
          <input
            type="text"
            class={`${parts.field} ${css.value}`}
            aria-label={`Value ${at + 1}`}
            placeholder="value"
            list={`am-values-${at}`}
            spellcheck={false}
            autocomplete="off"
            autocapitalize="off"
            value={matcher.value}
            onInput={(event) => change(at, { value: event.currentTarget.value })}
          />
          <datalist id={`am-values-${at}`}>
            {[...new Set(labels.flatMap((one) => one[matcher.name] ?? []))]
              .sort()
              .slice(0, 200)
              .map((value) => (
                <option key={value} value={value} />
              ))}
          </datalist>
          <button
            type="button"
            class={`${parts.button} ${parts.quiet} ${css.remove}`}
            aria-label={`Remove matcher ${at + 1}`}
            disabled={matchers.length === 1}
            onClick={() => onChange(matchers.filter((_one, index) => index !== at))}
          >
            <CloseIcon size={14} />
          </button>
        </div>
      ))}
      <button
        type="button"
        class={`${parts.button} ${parts.quiet} ${css.add}`}
        onClick={() => onChange([...matchers, { name: '', op: '=', value: '' }])}
      >
        <PlusIcon size={14} />
        Another label
      </button>
    </div>
  );
}
