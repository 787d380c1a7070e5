import { useEffect, useId, useRef, useState } from 'preact/hooks';
import {
  parseDateMath,
  plainTime,
  range,
  rangeWords,
  refresh,
  refreshNow,
  resolveRange,
  setRange,
  setRefresh,
  shift,
  tick,
  zoomOut,
} from './range';
import css from './time.module.css';

const QUICK: readonly [from: string, to: string][] = [
  ['now-5m', 'now'],
  ['now-15m', 'now'],
  ['now-30m', 'now'],
  ['now-1h', 'now'],
  ['now-3h', 'now'],
  ['now-6h', 'now'],
  ['now-12h', 'now'],
  ['now-24h', 'now'],
  ['now-2d', 'now'],
  ['now-7d', 'now'],
  ['now-30d', 'now'],
  ['now-90d', 'now'],
  ['now/d', 'now'],
  ['now-1d/d', 'now-1d/d'],
];

const INTERVALS = ['', '5s', '10s', '15s', '30s', '1m', '5m', '15m', '30m', '1h'];

function typed(text: string): boolean {
  return parseDateMath(text, { now: Date.now() }) !== null;
}

/** What an absolute end looks like in a text field; relative ones stay as they were written. */
function editable(text: string): string {
  return /^\d{9,}$/.test(text) ? plainTime(Number(text)) : text;
}

/** A local time that was typed becomes milliseconds, so that the link means the same in every zone. */
function linkable(text: string, roundUp: boolean): string {
  const trimmed = text.trim();
  if (trimmed.startsWith('now')) return trimmed;
  return String(parseDateMath(trimmed, { now: Date.now(), roundUp }) ?? trimmed);
}

function RangeForm({ onDone }: { onDone: () => void }) {
  const [from, setFrom] = useState(editable(range.value.from));
  const [to, setTo] = useState(editable(range.value.to));
  const hint = useId();
  const fromOk = typed(from);
  const toOk = typed(to);
  const order = fromOk && toOk;
  const isBackwards =
    order &&
    (parseDateMath(from, { now: Date.now() }) ?? 0) >=
      (parseDateMath(to, { now: Date.now(), roundUp: true }) ?? 0);
  return (
    <form
      class={css.form}
      onSubmit={(event) => {
        event.preventDefault();
        if (!order || isBackwards) return;
        setRange({ from: linkable(from, false), to: linkable(to, true) });
        onDone();
      }}
    >
      <label>
        From
        <input
          value={from}
          aria-invalid={!fromOk}
          aria-describedby={hint}
          spellcheck={false}
          autocomplete="off"
          onInput={(event) => setFrom(event.currentTarget.value)}
        />
      </label>
      <label>
        To
        <input
          value={to}
          aria-invalid={!toOk || isBackwards}
          aria-describedby={hint}
          spellcheck={false}
          autocomplete="off"
          onInput={(event) => setTo(event.currentTarget.value)}
        />
      </label>
      <p id={hint} class={css.hint}>
        {!order
          ? 'Write a time such as now-6h, now/d or 2026-03-01 03:00.'
          : isBackwards
            ? 'The end lies before the start.'
            : 'Relative (now-6h, now/d) or 2026-03-01 03:00, local time.'}
      </p>
      <button type="submit" disabled={!order || isBackwards}>
        Apply
      </button>
    </form>
  );
}

/** The time range, its neighbours and the refresh interval: the header's controls. */
export function TimePicker() {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const current = range.value;
  void tick.value;
  const words = rangeWords(current.from, current.to, Date.now());
  const exact = resolveRange();

  useEffect(() => {
    if (!open) return;
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
    root.current?.querySelector<HTMLElement>('[aria-pressed="true"], input')?.focus();
    return () => {
      document.removeEventListener('pointerdown', outside);
      document.removeEventListener('keydown', keys);
    };
  }, [open]);

  return (
    <div class={css.picker} ref={root}>
      <div class={css.group} role="group" aria-label="Time range">
        <button
          type="button"
          class={css.step}
          onClick={() => shift(-1)}
          aria-label="Earlier"
          title="Earlier by half the range"
        >
          <Chevron left />
        </button>
        <button
          ref={button}
          type="button"
          class={css.current}
          aria-haspopup="dialog"
          aria-expanded={open}
          title={`${plainTime(exact.fromMs)} to ${plainTime(exact.toMs)}`}
          onClick={() => setOpen(!open)}
          data-test="time-range"
        >
          {words}
        </button>
        <button
          type="button"
          class={css.step}
          onClick={() => shift(1)}
          aria-label="Later"
          title="Later by half the range"
        >
          <Chevron />
        </button>
        <button
          type="button"
          class={css.step}
          onClick={zoomOut}
          aria-label="Zoom out"
          title="Twice as long a range"
        >
          <ZoomOut />
        </button>
      </div>
      <div class={css.group} role="group" aria-label="Refresh">
        <button
          type="button"
          class={css.step}
          onClick={refreshNow}
          aria-label="Refresh now"
          title="Refresh now"
          data-test="refresh-now"
        >
          <Again />
        </button>
        <select
          class={css.every}
          aria-label="Refresh every"
          title="Refresh every"
          value={refresh.value}
          onChange={(event) => setRefresh(event.currentTarget.value)}
        >
          {(INTERVALS.includes(refresh.value) ? INTERVALS : [...INTERVALS, refresh.value]).map((every) => (
            <option key={every} value={every}>
              {every === '' ? 'Off' : every}
            </option>
          ))}
        </select>
      </div>
      {open && (
        <div class={css.panel} role="dialog" aria-label="Choose the time range">
          <ul class={css.quick}>
            {QUICK.map(([from, to]) => (
              <li key={from}>
                <button
                  type="button"
                  aria-pressed={current.from === from && current.to === to}
                  onClick={() => {
                    setRange({ from, to });
                    setOpen(false);
                    button.current?.focus();
                  }}
                >
                  {rangeWords(from, to, 0)}
                </button>
              </li>
            ))}
          </ul>
          <RangeForm
            onDone={() => {
              setOpen(false);
              button.current?.focus();
            }}
          />
        </div>
      )}
    </div>
  );
}

function Chevron({ left = false }: { left?: boolean }) {
  return (
    <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true" class={css.icon}>
      <path d={left ? 'M9.8 4 5.8 8l4 4' : 'M6.2 4l4 4-4 4'} />
    </svg>
  );
}

function ZoomOut() {
  return (
    <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true" class={css.icon}>
      <circle cx="7" cy="7" r="4.3" />
      <path d="m10.3 10.3 3.2 3.2M5.2 7h3.6" />
    </svg>
  );
}

function Again() {
  return (
    <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true" class={css.icon}>
      <path d="M13 8a5 5 0 1 1-1.5-3.6M13 2.4v2.8h-2.8" />
    </svg>
  );
}
