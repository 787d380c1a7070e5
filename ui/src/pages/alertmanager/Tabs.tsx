import { useLayoutEffect, useRef } from 'preact/hooks';
import { Link, useLocation } from 'wouter-preact';
import { bootstrap } from '../../app/bootstrap';
import { ALERTMANAGER, alertmanagerPlaceOf, IS_ALERTMANAGER, tabWord } from '../../app/places';
import css from './am.module.css';

/** Beside Prometheus the pages of the Alertmanager are tabs of one place; in its own server the rail has them. */
export function Tabs() {
  const [path] = useLocation();
  const nav = useRef<HTMLElement>(null);
  // On a phone not all fit; the one that is open is to be seen.
  useLayoutEffect(() => {
    nav.current?.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  }, [path]);
  if (IS_ALERTMANAGER || bootstrap.value?.alertmanager.running === false) return null;
  const here = alertmanagerPlaceOf(path);
  return (
    <nav class={css.tabs} ref={nav} aria-label="Alerts">
      <Link href="/alerts" aria-current={here ? undefined : 'page'}>
        Rules
      </Link>
      {ALERTMANAGER.map((place) => (
        <Link key={place.path} href={place.path} aria-current={here === place ? 'page' : undefined}>
          {tabWord(place)}
        </Link>
      ))}
    </nav>
  );
}
