import { pageOf } from '../pages/alertmanager/hash';
import { BASE, IS_ALERTMANAGER } from './places';
import { prometheusPageOf } from './prometheusAddress';

/** Goes to where an address of Alertmanager's own pages leads, or of Prometheus's, in its place. */
export function openOldAddress(): void {
  const path = location.pathname.slice(BASE.length);
  const page = pageOf(location.hash) ?? (IS_ALERTMANAGER ? null : prometheusPageOf(path, location.search));
  if (page !== null) history.replaceState(null, '', `${BASE}${page}`);
}
