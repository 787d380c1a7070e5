/** Lets the arrow keys walk the rows of a list: to be called from the list's `onKeyDown`. */
export function walkRows(event: KeyboardEvent, list: HTMLElement, rows: string): void {
  const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
  if (step === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
  const all = [...list.querySelectorAll<HTMLElement>(rows)];
  const next = all[all.findIndex((row) => row === event.target) + step];
  if (!next || !all.some((row) => row === event.target)) return;
  event.preventDefault();
  next.focus();
}
