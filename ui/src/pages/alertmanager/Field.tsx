import type { ComponentChildren, JSX } from 'preact';
import parts from '../../ui/parts.module.css';
import css from './am.module.css';

/** A field of a form under its word. `options` are offered while one types; `id` names their list. */
export function Field({
  word,
  wide = false,
  options,
  value,
  onValue,
  inputRef,
  ...rest
}: {
  word: ComponentChildren;
  wide?: boolean;
  options?: { id: string; values: readonly string[] };
  value: string;
  onValue: (text: string) => void;
  inputRef?: (input: HTMLInputElement | null) => void;
} & Omit<JSX.InputHTMLAttributes<HTMLInputElement>, 'value' | 'list' | 'ref'>) {
  return (
    <label class={wide ? css.wide : undefined}>
      <span>{word}</span>
      <input
        type="text"
        class={parts.field}
        spellcheck={false}
        {...rest}
        ref={inputRef}
        list={options?.id}
        value={value}
        onInput={(event) => onValue(event.currentTarget.value)}
      />
      {options && (
        <datalist id={options.id}>
          {options.values.map((one) => (
            <option key={one} value={one} />
          ))}
        </datalist>
      )}
    </label>
  );
}

/** Which receiver's alerts or messages are shown: one of `names`, or all. */
export function ReceiverPick({
  names,
  value,
  onChange,
}: {
  names: readonly string[];
  value: string;
  onChange: (name: string) => void;
}) {
  return (
    <label class={css.pick}>
      <span>Receiver</span>
      <select class={parts.field} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        <option value="">all</option>
        {[...new Set([...names, value])].filter(Boolean).map((name) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}
