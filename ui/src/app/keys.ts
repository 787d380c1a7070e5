/**
 * Keyboard shortcuts of one key ("?") or two in a row ("g o"). They are quiet while somebody types or a dialog
 * is open, and never take keys together with Alt, Ctrl or Meta (Ctrl-K is the one exception, named "mod+k").
 */
export interface Shortcut {
  keys: string;
  words: string;
  run: () => void;
}

const SEQUENCE_MS = 1200;

/** Follows key presses and says which shortcut, if any, each completes. A pure state machine for the tests. */
export class KeyFollower {
  private first = '';
  private firstAt = 0;

  constructor(private readonly shortcuts: readonly Shortcut[]) {}

  /** `taken` is true when the press belongs to a shortcut, complete or begun. */
  press(key: string, at: number): { taken: boolean; shortcut?: Shortcut } {
    const both = this.first && at - this.firstAt < SEQUENCE_MS ? `${this.first} ${key}` : '';
    this.first = '';
    const shortcut = this.shortcuts.find((s) => s.keys === (both || key));
    if (shortcut) return { taken: true, shortcut };
    if (this.shortcuts.some((s) => s.keys.startsWith(`${key} `))) {
      this.first = key;
      this.firstAt = at;
      return { taken: true };
    }
    return { taken: false };
  }
}

function isTyping(event: KeyboardEvent): boolean {
  const at = event.composedPath()[0];
  if (!(at instanceof HTMLElement)) return false;
  return at.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(at.tagName);
}

/** Listens on the window until the returned function is called. */
export function listenForKeys(shortcuts: readonly Shortcut[]): () => void {
  const follower = new KeyFollower(shortcuts);
  const onKey = (event: KeyboardEvent): void => {
    const modified = event.ctrlKey || event.metaKey;
    if (modified && !event.altKey && event.key.toLowerCase() === 'k') {
      const search = shortcuts.find((s) => s.keys === 'mod+k');
      if (!search) return;
      event.preventDefault();
      search.run();
      return;
    }
    if (modified || event.altKey || event.defaultPrevented || event.isComposing) return;
    if (isTyping(event) || document.querySelector('dialog[open]')) return;
    const { taken, shortcut } = follower.press(event.key, event.timeStamp);
    if (!taken) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    shortcut?.run();
  };
  window.addEventListener('keydown', onKey, { capture: true });
  return () => window.removeEventListener('keydown', onKey, { capture: true });
}
