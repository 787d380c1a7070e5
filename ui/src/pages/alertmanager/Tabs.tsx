import { useLocation } from 'wouter-preact';
import { bootstrap } from '../../app/bootstrap';
import { ALERTMANAGER, alertmanagerPlaceOf, IS_ALERTMANAGER, RULE_TABS, tabWord } from '../../app/places';
import { TabBar } from '../TabBar';

/** Beside Prometheus the pages of the Alertmanager are tabs of one place; in its own server the rail has them. */
export function Tabs() {
  const [path] = useLocation();
  if (IS_ALERTMANAGER) return null;
  const managers =
    bootstrap.value?.alertmanager.running === false
      ? []
      : ALERTMANAGER.map((place) => ({ path: place.path, word: tabWord(place) }));
  return (
    <TabBar
      label="Alerts"
      tabs={[...RULE_TABS, ...managers]}
      here={alertmanagerPlaceOf(path)?.path ?? path}
    />
  );
}
