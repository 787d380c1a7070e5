import { Link, useLocation } from 'wouter-preact';
import { bootstrap } from '../../app/bootstrap';
import { ALERTMANAGER, alertmanagerPlaceOf, IS_ALERTMANAGER } from '../../app/places';
import { EmptyState } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
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
          {place.word === 'Alerts' ? 'As sent' : place.word}
        </Link>
      ))}
    </nav>
  );
}

/** What stands in the place of a page where there is no Alertmanager inside; null where there is one. */
export function NoManager() {
  if (bootstrap.value?.alertmanager.running !== false) return null;
  return (
    <div class={parts.sheet}>
      <EmptyState title="No Alertmanager runs inside this server">
        <p>
          <code>cupola up</code> has one, and <code>cupola alertmanager</code> is one. Alerts of this server
          are at <Link href="/alerts">Alerts</Link>.
        </p>
      </EmptyState>
    </div>
  );
}
