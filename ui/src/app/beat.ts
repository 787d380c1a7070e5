/** Time as the shell's pages use it: the beat they ask by, and the window in Prometheus's spelling. */
import { computed } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { durationSeconds, writeDuration } from '../ui/duration';
import { range, resolveRange, setDefaults, setRange, tick } from '../time/range';

/** How often a page that shows the present asks, where nobody chose another interval. */
const PRESENT = '10s';

/** Changes whenever the page should ask again. */
export function useBeat(): number {
  return tick.value;
}

/** Makes the page it is used in ask at the pace of the present, or at another. */
export function usePresentPace(refresh = PRESENT): void {
  useEffect(() => {
    setDefaults({ refresh });
    return () => setDefaults(null);
  }, [refresh]);
}

/** Changes when somebody chooses another window, not when time passes. */
export function windowKey(): string {
  return `${range.value.from} ${range.value.to}`;
}

/** The window in Prometheus's spelling: how long, and until when in milliseconds (null: now). */
export const rangeInput = computed<{ range: string; end: number | null }>(() => {
  const { from, to } = range.value;
  const last = /^now-(\d+[smhdwy])$/.exec(from)?.[1];
  if (last && to === 'now') return { range: last, end: null };
  const { fromMs, toMs } = resolveRange();
  return { range: writeDuration((toMs - fromMs) / 1000), end: to === 'now' ? null : toMs };
});

/** Takes over a window in Prometheus's spelling; what is no duration changes nothing. */
export function setRangeInput(text: string, end: number | null): void {
  const seconds = durationSeconds(text);
  if (seconds === null) return;
  if (end === null) {
    const from = /^\d+[smhdwy]$/.test(text) ? text : `${Math.ceil(seconds)}s`;
    setRange({ from: `now-${from}`, to: 'now' }, 'replace');
  } else {
    setRange({ from: String(end - seconds * 1000), to: String(end) }, 'replace');
  }
}
