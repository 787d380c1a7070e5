import type { ComponentChildren } from 'preact';
import { Link } from 'wouter-preact';
import { bootstrap } from '../../app/bootstrap';
import { EmptyState } from '../../ui/parts';
import parts from '../../ui/parts.module.css';

/** A page of the Alertmanager, where there is one inside; else what to do about that. */
export function Managed({ children }: { children: ComponentChildren }) {
  if (bootstrap.value?.alertmanager.running !== false) return <>{children}</>;
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
