/**
 * Lines, areas, bars and points over time.
 *
 * One uPlot lives as long as the series' number and style stay the same; new data and a new range only redraw it.
 * It fills its parent, which must have a height. Keyboard: arrows move the cursor (with Shift by ten points), Home and
 * End go to the ends, plus and minus zoom, Escape takes the cursor away.
 */
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { readable } from '../dashboard/fields/formats';
import { formattedText } from '../dashboard/fields/number';
import css from './chart.module.css';
import { Legend } from './Legend';
import { buildOptions, structureOf, type Live } from './options';
import { stackSeries } from './stack';
import { summarize } from './summary';
import { canvasColors, themeName } from './theme';
import { pointTime } from './time-axis';
import { Tooltip, type TooltipRow } from './tooltip';
import type { ChartSeries, TimeSeriesChartProps } from './types';
import { useSize } from './useSize';

export type * from './types';

/** What outlives a drawing: read by uPlot's hooks, written by every render. */
interface LiveChart extends Live {
  hidden: ReadonlySet<string>;
  plot: uPlot | null;
  /** The pointer or the keyboard is in this chart. */
  isInside: boolean;
  drawn: { data: uPlot.AlignedData; from: number; to: number } | null;
}

const NOTHING: ReadonlySet<string> = new Set();

/** Rows of the tooltip at one index, sorted as asked; the nearest one is marked. */
function rowsAt(
  u: uPlot,
  props: TimeSeriesChartProps,
  hidden: ReadonlySet<string>,
): { rows: TooltipRow[]; at: number | null } {
  const index = u.cursor.idx;
  const at = index === null || index === undefined ? null : (u.data[0][index] ?? null);
  if (at === null || index === null || index === undefined) return { rows: [], at: null };
  const top = u.cursor.top ?? 0;
  const found: (TooltipRow & { number: number; away: number })[] = [];
  props.series.forEach((series, i) => {
    if (series.hideInTooltip || series.isHidden || hidden.has(series.key)) return;
    const own = u.cursor.idxs?.[i + 1] ?? index;
    const value = series.values[own];
    if (value === null || value === undefined) return;
    if (props.tooltip?.hideZeros && value === 0) return;
    const drawn = u.data[i + 1]?.[own];
    const y = drawn === null || drawn === undefined ? Infinity : u.valToPos(drawn, series.axis ?? 'y');
    found.push({
      name: series.name,
      color: series.color,
      value: readable(value, series.unit, series.decimals),
      isNearest: false,
      number: value,
      away: Math.abs(y - top),
    });
  });
  const nearest = found.reduce<(typeof found)[number] | undefined>(
    (best, row) => (best === undefined || row.away < best.away ? row : best),
    undefined,
  );
  if (nearest && top >= 0) nearest.isNearest = true;
  const mode = props.tooltip?.mode ?? 'multi';
  if (mode === 'single') return { rows: nearest ? [nearest] : [], at };
  const sort = props.tooltip?.sort ?? 'none';
  if (sort !== 'none') found.sort((a, b) => (sort === 'asc' ? a.number - b.number : b.number - a.number));
  return { rows: found, at };
}

export function TimeSeriesChart(props: TimeSeriesChartProps) {
  const theme = themeName.value;
  const host = useRef<HTMLDivElement>(null);
  const size = useSize(host);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(NOTHING);
  const live = useRef<LiveChart>({ props, hidden, plot: null, isInside: false, drawn: null });
  live.current.props = props;
  live.current.hidden = hidden;
  const tooltip = useMemo(() => new Tooltip(), []);
  const [spoken, setSpoken] = useState('');

  const isHidden = (series: ChartSeries): boolean => series.isHidden === true || hidden.has(series.key);
  const stacked = useMemo(
    () => stackSeries(props.series, (series) => !isHidden(series)),
    [props.series, hidden],
  );
  const structure = structureOf(props, hidden, stacked.bands);
  const data = useMemo(
    () => [props.times, ...stacked.columns] as unknown as uPlot.AlignedData,
    [props.times, stacked],
  );
  const hasSize = size.width > 0 && size.height > 0;

  useLayoutEffect(() => {
    if (!host.current || !hasSize) return;
    const here = live.current;
    const showTooltip = (u: uPlot): void => {
      const { props: now } = here;
      const mode = now.tooltip?.mode ?? 'multi';
      const isWanted = here.isInside || now.syncTooltip === true;
      const { left = -1, top = 0 } = u.cursor;
      if (mode === 'none' || !isWanted || left < 0) {
        tooltip.hide();
        return;
      }
      const { rows, at } = rowsAt(u, now, here.hidden);
      if (rows.length === 0 || at === null) {
        tooltip.hide();
        return;
      }
      const box = u.over.getBoundingClientRect();
      const isFine = (now.times[1] ?? 0) - (now.times[0] ?? 0) < 1000;
      tooltip.show(pointTime(at, isFine), rows, box.left + left, box.top + Math.max(0, top));
    };
    const plot = new uPlot(
      buildOptions(
        here,
        stacked,
        size,
        canvasColors(theme),
        {
          setCursor: [showTooltip],
          setSelect: [
            (u) => {
              const { left, width } = u.select;
              if (width > 4) here.props.onZoom?.(u.posToVal(left, 'x'), u.posToVal(left + width, 'x'));
              if (width > 0) u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            },
          ],
          ready: [
            (u) => {
              u.over.addEventListener('pointerenter', () => {
                here.isInside = true;
              });
              u.over.addEventListener('pointerleave', () => {
                here.isInside = false;
                tooltip.hide();
              });
              followTouch(u);
            },
          ],
        },
        isHidden,
      ),
      data,
      host.current,
    );
    here.plot = plot;
    here.drawn = { data, from: props.from, to: props.to };
    return () => {
      plot.destroy();
      here.plot = null;
      tooltip.hide();
    };
  }, [structure, theme, hasSize]);

  useLayoutEffect(() => {
    const { plot, drawn } = live.current;
    if (!plot || (drawn?.data === data && drawn.from === props.from && drawn.to === props.to)) return;
    if (drawn?.data === data) plot.setScale('x', { min: props.from, max: props.to });
    else plot.setData(data);
    live.current.drawn = { data, from: props.from, to: props.to };
  }, [data, props.from, props.to]);

  useLayoutEffect(() => {
    const { plot } = live.current;
    if (plot && (plot.width !== size.width || plot.height !== size.height)) plot.setSize(size);
  }, [size]);

  useEffect(() => () => tooltip.destroy(), []);

  const legend = props.legend ?? {};
  const isRight = legend.placement === 'right' && size.fullWidth >= 520;
  const summary = useMemo(() => summarize(props.series), [props.series]);

  const choose = (key: string, isToggle: boolean): void => {
    const keys = props.series.map((series) => series.key);
    if (isToggle) {
      const next = new Set(hidden);
      if (!next.delete(key)) next.add(key);
      setHidden(next.size >= keys.length ? NOTHING : next);
      return;
    }
    const others = keys.filter((other) => other !== key);
    const isAlone = !hidden.has(key) && others.every((other) => hidden.has(other));
    setHidden(isAlone ? NOTHING : new Set(others));
  };

  const highlight = (key: string | null): void => {
    const { plot } = live.current;
    const at = key === null ? -1 : props.series.findIndex((series) => series.key === key);
    plot?.setSeries(at < 0 ? null : at + 1, { focus: at >= 0 });
  };

  const moveCursor = (event: KeyboardEvent): void => {
    const { plot } = live.current;
    if (!plot || props.times.length === 0) return;
    const last = props.times.length - 1;
    const current = plot.cursor.idx ?? null;
    const by = event.shiftKey ? 10 : 1;
    let next: number | null = null;
    if (event.key === 'ArrowRight') next = current === null ? 0 : Math.min(last, current + by);
    else if (event.key === 'ArrowLeft') next = current === null ? last : Math.max(0, current - by);
    else if (event.key === 'Home') next = 0;
    else if (event.key === 'End') next = last;
    else if (event.key === 'Escape') {
      live.current.isInside = false;
      plot.setCursor({ left: -10, top: -10 });
      return;
    } else if ((event.key === '+' || event.key === '=') && props.onZoom) {
      const middle = current === null ? (props.from + props.to) / 2 : (props.times[current] ?? 0);
      const quarter = (props.to - props.from) / 4;
      props.onZoom(middle - quarter, middle + quarter);
    } else if (event.key === '-') props.onZoomOut?.();
    else return;
    event.preventDefault();
    event.stopPropagation();
    if (next === null) return;
    live.current.isInside = true;
    const at = props.times[next] ?? 0;
    plot.setCursor({ left: plot.valToPos(at, 'x'), top: plot.over.clientHeight / 3 });
    const { rows } = rowsAt(plot, { ...props, tooltip: { ...props.tooltip, mode: 'multi' } }, hidden);
    setSpoken(
      `${pointTime(at)}: ${rows
        .slice(0, 8)
        .map((row) => `${row.name} ${formattedText(row.value)}`)
        .join(', ')}`,
    );
  };

  return (
    <figure class={isRight ? css.chartRight : css.chart}>
      <figcaption class={css.unseen}>
        {props.caption}. {summary}
      </figcaption>
      <div
        ref={host}
        class={css.canvas}
        tabIndex={0}
        role="application"
        aria-label={`${props.caption}: chart. Arrow keys read the values.`}
        onKeyDown={moveCursor}
        onBlur={() => {
          live.current.isInside = false;
          tooltip.hide();
        }}
        data-test="chart"
      />
      <div class={css.unseen} aria-live="polite">
        {spoken}
      </div>
      {legend.mode !== 'hidden' && props.series.length > 0 && (
        <div class={css.legend} style={isRight && legend.width ? { width: `${legend.width}px` } : undefined}>
          <Legend
            series={props.series}
            legend={legend}
            hidden={hidden}
            onChoose={choose}
            onHighlight={highlight}
          />
        </div>
      )}
    </figure>
  );
}

/** A finger moves the crosshair sideways; up and down it still scrolls the page. */
function followTouch(u: uPlot): void {
  const move = (event: TouchEvent): void => {
    const touch = event.touches[0];
    if (!touch || event.touches.length > 1) return;
    const box = u.over.getBoundingClientRect();
    u.setCursor({ left: touch.clientX - box.left, top: touch.clientY - box.top });
  };
  u.over.addEventListener('touchstart', move, { passive: true });
  u.over.addEventListener('touchmove', move, { passive: true });
}
