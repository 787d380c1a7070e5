import { useMemo } from 'preact/hooks';
import { formatterOf } from '../fields/formats';
import { inkOn, legible, resolveColor, withAlpha } from '../fields/palette';
import { text } from '../model/json';
import css from './panels.module.css';
import { reduceToTiles, type Tile } from './reduce';
import { sparkPaths } from './spark';
import type { PanelProps } from './types';

/** How wide the digits are in units of the font size; enough to choose a size that fits. */
function measure(words: string): number {
  let width = 0;
  for (const char of words) width += /[.,:·' ]/.test(char) ? 0.3 : /[il|]/.test(char) ? 0.28 : 0.6;
  return Math.max(0.6, width);
}

/** The largest font that fits, within the bounds that still look calm. */
export function fitSize(words: string, unit: string, width: number, height: number): number {
  const units = measure(words) + measure(unit) * 0.5;
  return Math.round(Math.max(14, Math.min(width / units, height * 0.72, 46)));
}

function Sparkline({
  tile,
  color,
  fromMs,
  toMs,
}: {
  tile: Tile;
  color: string;
  fromMs: number;
  toMs: number;
}) {
  const paths = useMemo(
    () => sparkPaths(tile.times, tile.values, fromMs, toMs, tile.config.min, tile.config.max),
    [tile.times, tile.values, fromMs, toMs],
  );
  if (!paths) return null;
  return (
    <svg class={css.spark} viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">
      <path d={paths.area} fill={color} fill-opacity="0.1" />
      <path
        d={paths.line}
        fill="none"
        stroke={color}
        stroke-width="1.25"
        vector-effect="non-scaling-stroke"
      />
    </svg>
  );
}

function percentChange(tile: Tile): string | null {
  const numbers = tile.values.filter(
    (value): value is number => typeof value === 'number' && !Number.isNaN(value),
  );
  const first = numbers[0];
  const last = numbers[numbers.length - 1];
  if (!first || last === undefined) return null;
  const change = (last - first) / Math.abs(first);
  return `${change > 0 ? '+' : ''}${formatterOf('percentunit')(change, 1).text} %`;
}

function StatTile(props: PanelProps & { tile: Tile; count: number; tileWidth: number; tileHeight: number }) {
  const { panel, tile, count, tileWidth, tileHeight, answer, theme } = props;
  const { options } = panel;
  const colorMode = text(options.colorMode, 'value');
  const graphMode = text(options.graphMode, 'area');
  const textMode = text(options.textMode, 'auto');
  const hasName = textMode === 'value_and_name' || textMode === 'name' || (textMode === 'auto' && count > 1);
  const hasValue = textMode !== 'none' && textMode !== 'name';
  const isFilled = colorMode.startsWith('background');
  const ink = isFilled ? inkOn(tile.color) : undefined;
  const number = `${text(options.prefix)}${tile.value.prefix ?? ''}${tile.value.text || '–'}`;
  const unit = (tile.value.suffix ?? '').trim() + text(options.postfix);
  const room = tileHeight - (hasName ? 20 : 0);
  const hasGraph = graphMode === 'area' && tile.values.length > 2 && tileHeight > 48;
  // Small tiles keep the same size with and without a graph, so that a row of them reads as one.
  const isSmall = tileHeight < 90;
  const size = fitSize(number, unit, tileWidth - 8, hasGraph || isSmall ? room * 0.62 : room);
  const isPlain = tile.color === resolveColor('text', theme);
  const change = options.showPercentChange === true ? percentChange(tile) : null;
  return (
    <div
      class={isFilled ? css.statFilled : css.stat}
      style={isFilled ? { background: tile.color, color: ink } : undefined}
      data-justify={text(options.justifyMode, 'auto')}
      data-small={isSmall}
    >
      {hasGraph && (
        <Sparkline
          tile={tile}
          color={isFilled ? withAlpha(ink ?? '#000000', 0.6) : isPlain ? 'var(--text-3)' : tile.color}
          fromMs={answer.fromMs}
          toMs={answer.toMs}
        />
      )}
      <div class={css.statText}>
        {hasName && <span class={css.statName}>{tile.name}</span>}
        {hasValue && (
          <span
            class={css.statValue}
            style={{
              fontSize: `${size}px`,
              color: colorMode === 'value' ? legible(tile.color, theme) : undefined,
            }}
          >
            {number}
            {unit !== '' && <small>{unit}</small>}
            {change && <small class={css.change}>{change}</small>}
          </span>
        )}
      </div>
    </div>
  );
}

/** One large number per series, in front of what it was. */
export function StatPanel(props: PanelProps) {
  const { panel, fields, theme, width, height } = props;
  const tiles = useMemo(() => reduceToTiles(fields, panel.options, theme), [fields, panel, theme]);
  const orientation = text(panel.options.orientation, 'auto');
  const isRow = orientation === 'vertical' || (orientation === 'auto' && width > height);
  const n = Math.max(1, tiles.length);
  const perLine = isRow ? Math.min(n, Math.max(1, Math.floor(width / 96))) : 1;
  const lines = Math.ceil(n / perLine);
  return (
    <div class={css.stats} style={{ gridTemplateColumns: `repeat(${perLine}, minmax(0, 1fr))` }}>
      {tiles.map((tile, i) => (
        <StatTile
          key={`${tile.name} ${i}`}
          {...props}
          tile={tile}
          count={tiles.length}
          tileWidth={width / perLine}
          tileHeight={height / lines}
        />
      ))}
    </div>
  );
}
