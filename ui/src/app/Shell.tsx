import type { ComponentChildren } from 'preact';
import { useCallback, useEffect, useLayoutEffect, useMemo, useState } from 'preact/hooks';
import { Link, useLocation } from 'wouter-preact';
import mark from '../assets/cupola.svg';
import { refreshNow } from '../time/range';
import { TimePicker } from '../time/TimePicker';
import { KeyboardIcon, MoonIcon, RefreshIcon, SearchIcon, SunIcon } from '../ui/icons';
import { ConnectionBanner } from './ConnectionBanner';
import { listenForKeys, type Shortcut } from './keys';
import { BRAND, PLACES, placeOf, titleOf } from './places';
import { SearchDialog } from './SearchDialog';
import { ShortcutsDialog } from './ShortcutsDialog';
import { theme, toggleTheme } from './theme';
import css from './app.module.css';

function Rail({ path, onHelp }: { path: string; onHelp: () => void }) {
  const here = placeOf(path);
  return (
    <nav class={css.rail} aria-label="Places">
      <Link href="/" class={css.brand} aria-label="Cupola, overview">
        <img src={mark} alt="" width="26" height="26" />
        <span>Cupola</span>
      </Link>
      <ul>
        {PLACES.map((place) => (
          <li key={place.path}>
            <Link href={place.path} aria-current={here === place ? 'page' : undefined}>
              <place.Icon size={18} />
              <span>{place.word}</span>
            </Link>
          </li>
        ))}
      </ul>
      <button type="button" class={css.helpButton} onClick={onHelp} title="Keyboard shortcuts (?)">
        <KeyboardIcon size={18} />
        <span>Keyboard</span>
      </button>
    </nav>
  );
}

/** The other pages show the present; a time range would mean nothing there. */
function hasRange(path: string): boolean {
  return path.startsWith('/d/') || placeOf(path)?.path === '/explore';
}

function openTimeRange(): void {
  document.querySelector<HTMLElement>('[data-test="time-range"]')?.click();
}

interface OpenDialog {
  what: 'search' | 'help';
  nth: number;
}

/**
 * The one dialog that is open. A browser tells of a dialog's closing a moment after it is gone from the screen, and the
 * next may be open by then; so each opening has a number, and a dialog takes only itself away.
 */
function useDialogs() {
  const [open, setOpen] = useState<OpenDialog | null>(null);
  const show = useCallback((what: OpenDialog['what']) => {
    setOpen((now) =>
      now?.what === what && document.querySelector('dialog[open]') ? now : { what, nth: (now?.nth ?? 0) + 1 },
    );
  }, []);
  const closed = useCallback((it: OpenDialog) => setOpen((now) => (now === it ? null : now)), []);
  return { open, show, closed };
}

/** The frame around every page: rail, header, banner, dialogs and keyboard. */
export function Shell({ children }: { children: ComponentChildren }) {
  const [path, navigate] = useLocation();
  const { open, show, closed } = useDialogs();
  const title = titleOf(path);

  useEffect(() => {
    document.title = `${title} · ${BRAND}`;
  }, [title]);

  const shortcuts = useMemo<Shortcut[]>(
    () => [
      ...PLACES.map((p) => ({ keys: `g ${p.key}`, words: `Go to ${p.word}`, run: () => navigate(p.path) })),
      { keys: 'mod+k', words: 'Search', run: () => show('search') },
      { keys: '/', words: 'Search', run: () => show('search') },
      { keys: 'r', words: 'Refresh now', run: refreshNow },
      { keys: 't', words: 'Choose the time range', run: openTimeRange },
      { keys: '?', words: 'Show the keyboard shortcuts', run: () => show('help') },
    ],
    [navigate, show],
  );
  // Not after the first paint: who opens the page and types at once is heard.
  useLayoutEffect(() => listenForKeys(shortcuts), [shortcuts]);

  const other = theme.value === 'dark' ? 'light' : 'dark';
  return (
    <>
      <a class={css.skip} href="#main" onClick={(event) => skipToMain(event)}>
        Skip to the page
      </a>
      <Rail path={path} onHelp={() => show('help')} />
      <div class={css.body}>
        <header class={css.header}>
          <h1>{title}</h1>
          <div class={css.tools}>
            {hasRange(path) ? (
              <div class={css.time}>
                <TimePicker />
              </div>
            ) : (
              <button
                type="button"
                class={css.iconButton}
                onClick={refreshNow}
                aria-label="Refresh now"
                title="Refresh now (r)"
              >
                <RefreshIcon size={18} />
              </button>
            )}
            <button
              type="button"
              class={css.searchButton}
              onClick={() => show('search')}
              aria-label="Search"
              title="Search (Ctrl K or /)"
            >
              <SearchIcon />
              <span>Search</span>
              <kbd>/</kbd>
            </button>
            <button
              type="button"
              class={css.iconButton}
              onClick={toggleTheme}
              aria-label={`Switch to the ${other} theme`}
              title={`Switch to the ${other} theme`}
            >
              {other === 'light' ? <SunIcon size={18} /> : <MoonIcon size={18} />}
            </button>
          </div>
        </header>
        <ConnectionBanner />
        <main id="main" class={css.main} tabIndex={-1}>
          {children}
        </main>
      </div>
      {open?.what === 'search' && <SearchDialog key={open.nth} onClose={() => closed(open)} />}
      {open?.what === 'help' && (
        <ShortcutsDialog key={open.nth} shortcuts={shortcuts} onClose={() => closed(open)} />
      )}
    </>
  );
}

/** The base element would turn "#main" into a navigation; focus the page instead. */
function skipToMain(event: MouseEvent): void {
  event.preventDefault();
  document.getElementById('main')?.focus();
}
