import { useLayoutEffect, useRef } from 'preact/hooks';
import { Link } from 'wouter-preact';
import type { Tab } from '../app/places';
import css from './pages.module.css';

/** The pages that share a place in the rail; `here` is the path of the one that is open. */
export function TabBar({
  label,
  tabs,
  here,
}: {
  label: string;
  tabs: readonly Tab[];
  here: string | undefined;
}) {
  const nav = useRef<HTMLElement>(null);
  // On a phone not all fit; the one that is open is to be seen.
  useLayoutEffect(() => {
    nav.current?.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  }, [here]);
  return (
    <nav class={css.tabs} ref={nav} aria-label={label}>
      {tabs.map((tab) => (
        <Link key={tab.path} href={tab.path} aria-current={here === tab.path ? 'page' : undefined}>
          {tab.word}
        </Link>
      ))}
    </nav>
  );
}
