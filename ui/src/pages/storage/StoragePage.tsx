import { useEffect, useState } from 'preact/hooks';
import { fetchTsdbBlocks, fetchTsdbStatus, fetchWalReplay } from '../../api/client';
import type { TsdbBlock, TsdbStatus } from '../../api/types';
import { useData } from '../../api/useData';
import { useBeat, usePresentPace } from '../../app/beat';
import { SERVER_TABS } from '../../app/places';
import { now } from '../../ui/clock';
import { Waiting } from '../../ui/parts';
import { StateIcon } from '../../ui/StateMark';
import { TabBar } from '../TabBar';
import { Blocks } from './Blocks';
import { Figures } from './Figures';
import { Holders } from './Holders';
import { Refused } from './Refused';
import { headline, replayed } from './status';
import css from './storage.module.css';

interface Known {
  status: TsdbStatus;
  blocks: TsdbBlock[];
}

// Enough to find a name by typing a part of it, and still a small answer.
const LARGEST = 300;

async function load(signal: AbortSignal): Promise<Known> {
  const [status, blocks] = await Promise.all([
    fetchTsdbStatus(LARGEST, signal),
    // Prometheus before version 3.6 does not list its blocks.
    fetchTsdbBlocks(signal).catch((error: unknown) => {
      if (signal.aborted) throw error;
      return [];
    }),
  ]);
  return { status, blocks };
}

/** Is the storage well? Who has how many series, and who is refused? What lies on the disk? */
export function StoragePage() {
  // Counting millions of labels is work: once in half a minute is enough.
  usePresentPace('30s');
  const beat = useBeat();
  const { data, error } = useData('storage', load, beat);
  const line = data && headline(data.status, now.value);

  return (
    <div class={css.page}>
      <TabBar label="Server" tabs={SERVER_TABS} here="/storage" />
      <ReplayBanner beat={beat} />
      <Waiting data={data} error={error} what="The storage could not be asked for." rows={6} />
      {data && line && (
        <>
          <p class={css.sentence} data-test="storage-sentence" data-state={line.state}>
            <StateIcon state={line.state} size={24} />
            {line.sentence}
          </p>
          <Refused refused={data.status.refusedSeries ?? []} />
          <Figures status={data.status} blocks={data.blocks} />
          <Holders status={data.status} />
          <Blocks blocks={data.blocks} />
        </>
      )}
    </div>
  );
}

/** After a start the log is read again: until then the newest samples are not all there. */
function ReplayBanner({ beat }: { beat: number }) {
  const [second, setSecond] = useState(0);
  const { data } = useData('walreplay', fetchWalReplay, `${beat} ${second}`);
  const share = data ? replayed(data) : null;
  const isReading = share !== null;
  useEffect(() => {
    if (!isReading) return;
    const timer = setInterval(() => setSecond((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [isReading]);
  if (share === null || !data) return null;
  return (
    <div class={css.replay} role="status" data-test="replay">
      <p>
        <strong>The log is being read</strong>, segment {data.current} of {data.max}. New samples are taken;
        of the hours before the start some may still be missing from answers.
      </p>
      <progress aria-label="Read of the log" max={100} value={Math.round(share * 100)} />
    </div>
  );
}
