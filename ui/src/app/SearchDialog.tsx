import { useId, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { useLocation } from 'wouter-preact';
import { fetchDashboards, fetchRules, fetchTargets, prom } from '../api/client';
import { SearchIcon } from '../ui/icons';
import { ALERTMANAGER, IS_ALERTMANAGER, PLACES, RULE_TABS, SERVER_TABS } from './places';
import { find, type Entry } from './search';
import css from './app.module.css';

const pages: Entry[] = PLACES.map(({ word, path }) => ({ kind: 'Page', title: word, href: path }));
if (!IS_ALERTMANAGER) {
  for (const { word, path } of [...RULE_TABS, ...SERVER_TABS]) {
    if (!pages.some((page) => page.href === path)) pages.push({ kind: 'Page', title: word, href: path });
  }
  for (const { word, path } of ALERTMANAGER) {
    pages.push({ kind: 'Page', title: `Alertmanager: ${word}`, href: path });
  }
}

/** Each source on its own: one that fails is missing from the list and does not spoil the others. */
const SOURCES: readonly ((signal: AbortSignal) => Promise<Entry[]>)[] = [
  async (signal) =>
    (await fetchDashboards(signal)).map((hit) => ({
      kind: 'Dashboard',
      title: hit.title,
      detail: hit.tags.join(' '),
      href: hit.url,
    })),
  async (signal) => {
    const { groups } = await fetchRules(signal);
    return groups.flatMap((group) =>
      group.rules
        .filter((rule) => rule.type === 'alerting')
        .map((rule): Entry => ({
          kind: 'Alert',
          title: rule.name,
          detail: group.name,
          href: `/alerts?filter=${encodeURIComponent(`alertname="${rule.name}"`)}`,
        })),
    );
  },
  async (signal) =>
    (await fetchTargets(signal)).activeTargets.map((target) => ({
      kind: 'Target',
      title: target.labels.instance ?? target.scrapeUrl,
      detail: target.scrapePool,
      href: `/targets?filter=${encodeURIComponent(target.labels.instance ?? target.scrapeUrl)}`,
    })),
  async (signal) =>
    (await prom<string[]>('label/__name__/values', {}, signal)).data.map((name) => ({
      kind: 'Metric',
      title: name,
      href: `/explore?g0.expr=${encodeURIComponent(name)}&g0.tab=graph`,
    })),
];

/** One search over pages, dashboards, alerts, targets and metrics. */
export function SearchDialog({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const list = useId();
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const [loaded, setLoaded] = useState<readonly Entry[]>([]);
  const [, navigate] = useLocation();

  // Before the next key press, so that what is typed at once goes into the field and not to the shortcuts.
  useLayoutEffect(() => {
    dialog.current?.showModal();
    const controller = new AbortController();
    for (const source of IS_ALERTMANAGER ? [] : SOURCES) {
      source(controller.signal).then(
        (entries) => setLoaded((old) => [...old, ...entries]),
        () => undefined,
      );
    }
    return () => controller.abort();
  }, []);

  const found = useMemo(() => find([...pages, ...loaded], text), [loaded, text]);
  const chosen = Math.min(at, Math.max(0, found.length - 1));

  const go = (entry: Entry | undefined): void => {
    if (!entry) return;
    dialog.current?.close();
    navigate(entry.href);
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (step !== 0) {
      event.preventDefault();
      const next = (chosen + step + found.length) % Math.max(1, found.length);
      setAt(next);
      document.getElementById(`${list}-${next}`)?.scrollIntoView({ block: 'nearest' });
    } else if (event.key === 'Enter') {
      event.preventDefault();
      go(found[chosen]);
    }
  };

  return (
    <dialog
      ref={dialog}
      class={css.search}
      aria-label="Search"
      onClose={onClose}
      onClick={(event) => {
        if (event.target === dialog.current) dialog.current?.close();
      }}
    >
      <div class={css.searchField}>
        <SearchIcon />
        <input
          type="text"
          role="combobox"
          aria-expanded="true"
          aria-controls={list}
          aria-activedescendant={found.length > 0 ? `${list}-${chosen}` : undefined}
          aria-label="Search dashboards, alerts, targets, metrics and pages"
          placeholder="Dashboards, alerts, targets, metrics"
          autocomplete="off"
          spellcheck={false}
          autofocus
          value={text}
          onInput={(event) => {
            setText(event.currentTarget.value);
            setAt(0);
          }}
          onKeyDown={onKeyDown}
        />
        <kbd>Esc</kbd>
      </div>
      <ul id={list} role="listbox" aria-label="Found">
        {found.map((entry, i) => (
          <li
            key={`${entry.kind}:${entry.href}:${i}`}
            id={`${list}-${i}`}
            role="option"
            aria-selected={i === chosen}
            onPointerMove={() => setAt(i)}
            onClick={() => go(entry)}
          >
            <span class={css.kind}>{entry.kind}</span>
            <span class={css.hit}>{entry.title}</span>
            {entry.detail && <span class={css.detail}>{entry.detail}</span>}
          </li>
        ))}
      </ul>
      {found.length === 0 && <p class={css.nothing}>Nothing is called “{text}”.</p>}
    </dialog>
  );
}
