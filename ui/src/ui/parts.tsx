import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError } from '../api/client';
import type { Labels } from '../api/types';
import { CopyIcon, CriticalIcon } from './icons';
import css from './parts.module.css';

/** Labels as chips; with `onPick`, a chip is a button that narrows the list to it. */
export function LabelChips({
  labels,
  without = [],
  onPick,
}: {
  labels: Labels;
  without?: readonly string[];
  onPick?: (name: string, value: string) => void;
}) {
  const shown = Object.entries(labels)
    .filter(([name]) => !without.includes(name))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  if (shown.length === 0) return null;
  return (
    <span class={css.chips}>
      {shown.map(([name, value]) =>
        onPick ? (
          <button
            key={name}
            type="button"
            class={css.chip}
            title={`Show only ${name}="${value}"`}
            onClick={() => onPick(name, value)}
          >
            {name}=<b>{value}</b>
          </button>
        ) : (
          <span key={name} class={css.chip}>
            {name}=<b>{value}</b>
          </span>
        ),
      )}
    </span>
  );
}

export function EmptyState({
  title,
  children,
  icon,
}: {
  title: string;
  children?: ComponentChildren;
  icon?: ComponentChildren;
}) {
  return (
    <div class={css.empty}>
      <h2>
        {icon}
        {title}
      </h2>
      {children}
    </div>
  );
}

/** Copies `text`; says so for a moment. Falls back to nothing where the browser forbids it. */
export function CopyButton({ text, label = 'Copy' }: { text: string; label?: string }) {
  const [copied, setCopied] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout>>();
  useEffect(() => () => clearTimeout(timer.current), []);
  return (
    <button
      type="button"
      class={`${css.button} ${css.quiet}`}
      onClick={() => {
        navigator.clipboard?.writeText(text).then(
          () => {
            setCopied(true);
            clearTimeout(timer.current);
            timer.current = setTimeout(() => setCopied(false), 1500);
          },
          () => undefined,
        );
      }}
    >
      <CopyIcon size={14} />
      {copied ? 'Copied' : label}
    </button>
  );
}

/** An error, calm and copyable: what could not be done, then the server's own words. */
export function ErrorNote({ what, error }: { what: string; error: Error }) {
  const kind = error instanceof ApiError ? error.errorType : error.name;
  return (
    <div class={css.error} role="alert">
      <CriticalIcon size={15} />
      <div>
        <strong>{what}</strong>
        <pre>{error.message}</pre>
      </div>
      <CopyButton text={`${what}\n${kind}: ${error.message}`} />
    </div>
  );
}

const WIDTHS = ['44%', '62%', '38%', '55%', '48%', '30%'];

/** Grey bars in the place of rows; used only before the first answer. */
export function SkeletonRows({ rows = 5 }: { rows?: number }) {
  return (
    <div class={css.skeletonRows} role="status" aria-busy="true" aria-label="Loading">
      {Array.from({ length: rows }, (_, i) => (
        <span key={i} class={css.skeleton} style={{ width: WIDTHS[i % WIDTHS.length] }} />
      ))}
    </div>
  );
}

/** What stands on a page in the place of an answer: why there is none, or, the first time, that it is on its way. */
export function Waiting({
  data,
  error,
  what,
  rows,
}: {
  data: unknown;
  error: Error | undefined;
  what: string;
  rows?: number;
}) {
  if (error) return <ErrorNote what={what} error={error} />;
  if (data !== undefined) return null;
  return (
    <div class={css.sheet}>
      <SkeletonRows rows={rows} />
    </div>
  );
}

export function Progress({ on }: { on: boolean }) {
  return on ? <div class={css.progress} aria-hidden="true" /> : null;
}

/** One of several choices, all visible. */
export function Segments<T extends string>({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: T;
  options: readonly { value: T; word: string; count?: number }[];
  onChange: (value: T) => void;
}) {
  return (
    <div class={css.segments} role="group" aria-label={label}>
      {options.map((option) => (
        <button
          key={option.value}
          type="button"
          aria-pressed={option.value === value}
          onClick={() => onChange(option.value)}
        >
          {option.word}
          {option.count !== undefined && <em>{option.count}</em>}
        </button>
      ))}
    </div>
  );
}
