import { useId, useRef, useState } from 'preact/hooks';
import { HistoryIcon } from '../../ui/icons';
import parts from '../../ui/parts.module.css';
import css from './explore.module.css';
import { readHistory } from './history';

/** The queries run before, newest first, in a native popover. */
export function HistoryButton({ onChoose }: { onChoose: (query: string) => void }) {
  const id = useId();
  const popover = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const [list, setList] = useState<string[]>([]);

  const place = (): void => {
    const box = button.current?.getBoundingClientRect();
    if (!box || !popover.current) return;
    const width = Math.min(640, innerWidth - 24);
    popover.current.style.width = `${width}px`;
    popover.current.style.top = `${box.bottom + 4}px`;
    popover.current.style.left = `${Math.max(12, box.right - width)}px`;
    popover.current.style.maxHeight = `${Math.max(160, innerHeight - box.bottom - 24)}px`;
  };

  return (
    <>
      <button
        ref={button}
        type="button"
        class={`${parts.button} ${parts.quiet}`}
        aria-label="Earlier queries"
        title="Earlier queries"
        popovertarget={id}
      >
        <HistoryIcon />
      </button>
      <div
        ref={popover}
        id={id}
        popover="auto"
        class={css.history}
        onBeforeToggle={(event) => {
          if (event.newState !== 'open') return;
          setList(readHistory());
          place();
        }}
      >
        {list.length === 0 && (
          <p>Queries that you run here will stand in this list. They stay in this browser.</p>
        )}
        <ul>
          {list.map((query) => (
            <li key={query}>
              <button
                type="button"
                onClick={() => {
                  popover.current?.hidePopover();
                  onChoose(query);
                }}
              >
                {query}
              </button>
            </li>
          ))}
        </ul>
      </div>
    </>
  );
}
