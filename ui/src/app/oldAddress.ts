import { pageOf } from '../pages/alertmanager/hash';
import { BASE } from './places';

/** Goes to where an address of Alertmanager's own pages leads, in its place. */
export function openOldAddress(): void {
  const page = pageOf(location.hash);
  if (page !== null) history.replaceState(null, '', `${BASE}${page}`);
}
