import { useLayoutEffect, useRef } from 'preact/hooks';
import { CloseIcon } from '../ui/icons';
import parts from '../ui/parts.module.css';
import type { Shortcut } from './keys';
import css from './app.module.css';

/** Shortcuts that a place handles itself. */
const ELSEWHERE: readonly [keys: string, words: string][] = [
  ['mod Enter', 'Explore: run the query'],
  ['Ctrl Space', 'Explore: complete the word'],
  ['↑ ↓', 'Alerts, Targets: walk the rows'],
  ['Esc', 'Close what is open'],
];

export function ShortcutsDialog({
  shortcuts,
  onClose,
}: {
  shortcuts: readonly Shortcut[];
  onClose: () => void;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => dialog.current?.showModal(), []);
  const mod = /Mac|iPhone|iPad/.test(navigator.userAgent) ? 'Cmd' : 'Ctrl';
  const rows: readonly [string, string][] = [
    ...shortcuts.filter((s) => s.words !== '').map((s): [string, string] => [s.keys, s.words]),
    ...ELSEWHERE,
  ];
  return (
    <dialog
      ref={dialog}
      class={css.help}
      aria-labelledby="shortcuts-title"
      onClose={onClose}
      onClick={(event) => {
        if (event.target === dialog.current) dialog.current?.close();
      }}
    >
      <header>
        <h2 id="shortcuts-title">Keyboard</h2>
        <button
          type="button"
          class={`${parts.button} ${parts.quiet}`}
          aria-label="Close"
          onClick={() => dialog.current?.close()}
        >
          <CloseIcon />
        </button>
      </header>
      <dl>
        {rows.map(([keys, words]) => (
          <div key={keys}>
            <dt>
              {keys
                .replace('mod', mod)
                .split(/[ +]/)
                .map((key, i) => (
                  <kbd key={i}>{key.length === 1 && keys.startsWith('mod') ? key.toUpperCase() : key}</kbd>
                ))}
            </dt>
            <dd>{words}</dd>
          </div>
        ))}
      </dl>
    </dialog>
  );
}
