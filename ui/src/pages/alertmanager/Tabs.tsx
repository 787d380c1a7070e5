import { Link, useLocation } from 'wouter-preact';
import { bootstrap } from '../../app/bootstrap';
import { ALERTMANAGER, alertmanagerPlaceOf, IS_ALERTMANAGER } from '../../app/places';
import css from './am.module.css';

/** Beside Prometheus the pages of the Alertmanager are tabs of one place; in its own server the rail has them. */
export function Tabs() {
  const [path] = useLocation();
  if (IS_ALERTMANAGER || bootstrap.value?.alertmanager.running === false) return null;
  const here = alertmanagerPlaceOf(path);
  return (
    <nav class={css.tabs} aria-label="Alerts">
      <Link href="/alerts" aria-current={here ? undefined : 'page'}>
        Rules
      </Link>
      {ALERTMANAGER.map((place) => (
        <Link key={place.path} href={place.path} aria-current={here === place ? 'page' : undefined}>
          {place.word === 'Alerts' ? 'Alertmanager' : place.word}
        </Link>
      ))}
    </nav>
  );
}
