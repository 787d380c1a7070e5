import { useData } from '../../api/useData';
import { useBeat, usePresentPace } from '../../app/beat';
import { SERVER_TABS } from '../../app/places';
import { Waiting } from '../../ui/parts';
import { Config } from '../Config';
import list from '../list.module.css';
import { TabBar } from '../TabBar';
import { fetchConfiguration } from './api';
import { Mistakes } from './Mistakes';

/** The configuration in force, and what is wrong with a newer one. */
export function ConfigurationPage() {
  usePresentPace();
  const { data, error } = useData('config', fetchConfiguration, useBeat());
  return (
    <div class={list.page}>
      <TabBar label="Server" tabs={SERVER_TABS} here="/config" />
      <Waiting data={data} error={error} what="The configuration could not be asked for." rows={8} />
      {data && (
        <>
          <Mistakes text={data.mistakes} />
          <Config text={data.yaml} test="config" />
        </>
      )}
    </div>
  );
}
