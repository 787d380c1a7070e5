import { useEffect, useRef, useState } from 'preact/hooks';
import type { Variable } from '../vars/resolve';
import { ALL_VALUE } from '../vars/options';
import css from './view.module.css';

type Change = (name: string, values: string[]) => void;

function wordsFor({ options, chosen }: Variable): string {
  if (chosen[0] === ALL_VALUE) return 'All';
  const words = chosen.map((one) => options.find((option) => option.value === one)?.text ?? one);
  return words.length > 2
    ? `${words.slice(0, 2).join(', ')} and ${words.length - 2} more`
    : words.join(', ') || 'None';
}

/** Several values at once, with a filter for long lists. */
function MultiChoice({ variable, onChange }: { variable: Variable; onChange: Change }) {
  const { model, options, chosen } = variable;
  const [isOpen, setOpen] = useState(false);
  const [filter, setFilter] = useState('');
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!isOpen) return;
    const outside = (event: PointerEvent): void => {
      if (event.target instanceof Node && !root.current?.contains(event.target)) setOpen(false);
    };
    const keys = (event: KeyboardEvent): void => {
      if (event.key !== 'Escape') return;
      setOpen(false);
      button.current?.focus();
    };
    document.addEventListener('pointerdown', outside);
    document.addEventListener('keydown', keys);
    root.current?.querySelector('input')?.focus();
    return () => {
      document.removeEventListener('pointerdown', outside);
      document.removeEventListener('keydown', keys);
    };
  }, [isOpen]);

  const toggle = (value: string): void => {
    if (value === ALL_VALUE) {
      onChange(model.name, [ALL_VALUE]);
      return;
    }
    const now = chosen.filter((one) => one !== ALL_VALUE);
    const next = now.includes(value) ? now.filter((one) => one !== value) : [...now, value];
    onChange(model.name, next);
  };
  const needle = filter.toLowerCase();
  const shown = options.filter((option) => option.text.toLowerCase().includes(needle)).slice(0, 200);
  return (
    <div class={css.multi} ref={root}>
      <button
        ref={button}
        type="button"
        class={css.choice}
        aria-haspopup="dialog"
        aria-expanded={isOpen}
        aria-label={`${model.label ?? model.name}: ${wordsFor(variable)}`}
        onClick={() => setOpen(!isOpen)}
      >
        <span>{wordsFor(variable)}</span>
      </button>
      {isOpen && (
        <div class={css.menu} role="dialog" aria-label={model.label ?? model.name}>
          {options.length > 8 && (
            <input
              type="search"
              placeholder="Filter"
              aria-label="Filter"
              value={filter}
              onInput={(event) => setFilter(event.currentTarget.value)}
            />
          )}
          <ul>
            {model.includeAll && needle === '' && (
              <li>
                <label>
                  <input
                    type="checkbox"
                    checked={chosen[0] === ALL_VALUE}
                    onChange={() => toggle(ALL_VALUE)}
                  />
                  All
                </label>
              </li>
            )}
            {shown.map((option) => (
              <li key={option.value}>
                <label>
                  <input
                    type="checkbox"
                    checked={chosen.includes(option.value)}
                    onChange={() => toggle(option.value)}
                  />
                  {option.text}
                </label>
              </li>
            ))}
            {shown.length === 0 && <li class={css.nothing}>Nothing matches</li>}
          </ul>
        </div>
      )}
    </div>
  );
}

function Choice({ variable, onChange }: { variable: Variable; onChange: Change }) {
  const { model, options, chosen } = variable;
  const label = model.label ?? model.name;
  if (model.type === 'textbox') {
    return (
      <input
        class={css.textbox}
        aria-label={label}
        value={chosen[0] ?? ''}
        spellcheck={false}
        onChange={(event) => onChange(model.name, [event.currentTarget.value])}
      />
    );
  }
  if (model.multi) return <MultiChoice variable={variable} onChange={onChange} />;
  const known = chosen[0] === ALL_VALUE || options.some((option) => option.value === chosen[0]);
  return (
    <span class={css.selectBox}>
      <select
        class={css.choice}
        aria-label={label}
        value={chosen[0] ?? ''}
        onChange={(event) => onChange(model.name, [event.currentTarget.value])}
      >
        {model.includeAll && <option value={ALL_VALUE}>All</option>}
        {!known && <option value={chosen[0] ?? ''}>{chosen[0] ?? 'None'}</option>}
        {options.map((option) => (
          <option key={option.value} value={option.value}>
            {option.text}
          </option>
        ))}
      </select>
    </span>
  );
}

/** A list with one entry that nobody can change says nothing. */
function isWorthShowing({ model, options }: Variable): boolean {
  if (model.hide === 2 || model.type === 'constant') return false;
  return model.type !== 'datasource' || options.length > 1;
}

/** The dashboard's variables, each with its name. */
export function VariableBar({ variables, onChange }: { variables: readonly Variable[]; onChange: Change }) {
  const shown = variables.filter(isWorthShowing);
  if (shown.length === 0) return null;
  return (
    <div class={css.variables}>
      {shown.map((variable) => (
        <div key={variable.model.name} class={css.variable} title={variable.error?.message}>
          {variable.model.hide !== 1 && <span>{variable.model.label ?? variable.model.name}</span>}
          <Choice variable={variable} onChange={onChange} />
          {variable.error && <em>failed</em>}
        </div>
      ))}
    </div>
  );
}
