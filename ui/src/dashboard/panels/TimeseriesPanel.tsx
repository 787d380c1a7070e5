import { useMemo } from 'preact/hooks';
import { TimeSeriesChart } from '../../chart/TimeSeriesChart';
import { zoomOut, zoomTo } from '../../time/range';
import { chartModel } from './timeseries';
import type { PanelProps } from './types';

export function TimeseriesPanel({ panel, title, fields, answer, theme, syncKey, syncTooltip }: PanelProps) {
  const model = useMemo(() => chartModel(panel, fields, theme), [panel, fields, theme]);
  return (
    <TimeSeriesChart
      {...model}
      caption={title || 'Time series'}
      from={answer.fromMs}
      to={answer.toMs}
      syncKey={syncKey}
      syncTooltip={syncTooltip}
      onZoom={zoomTo}
      onZoomOut={zoomOut}
    />
  );
}
