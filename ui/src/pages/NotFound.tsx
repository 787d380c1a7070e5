import { Link, useLocation } from 'wouter-preact';
import { PLACES } from '../app/places';
import { EmptyState } from '../ui/parts';
import parts from '../ui/parts.module.css';
import css from './pages.module.css';

export function NotFound() {
  const [path] = useLocation();
  return (
    <EmptyState title="There is no such page">
      <p>
        Nothing answers at <code>{path}</code>. The link may come from another tool, or from a newer version
        of Cupola.
      </p>
      <p class={css.ways}>
        {PLACES.map((place) => (
          <Link key={place.path} href={place.path} class={parts.button}>
            <place.Icon size={15} />
            {place.word}
          </Link>
        ))}
      </p>
    </EmptyState>
  );
}
