import { useMemo } from 'preact/hooks';
import { resolveColor } from '../fields/palette';
import { sortedSteps } from '../fields/thresholds';
import css from './panels.module.css';
import { reduceToTiles, type Tile } from './reduce';
import type { PanelProps } from './types';

const START = -120;
const SWEEP = 240;

function point(angle: number, radius: number): string {
  const rad = ((angle - 90) * Math.PI) / 180;
  return `${(50 + radius * Math.cos(rad)).toFixed(2)} ${(50 + radius * Math.sin(rad)).toFixed(2)}`;
}

/** An arc from one part of the scale to another, both 0 to 1. */
function arc(from: number, to: number, radius: number): string {
  const a = START + SWEEP * from;
  const b = START + SWEEP * to;
  return `M${point(a, radius)}A${radius} ${radius} 0 ${b - a > 180 ? 1 : 0} 1 ${point(b, radius)}`;
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, Number.isNaN(value) ? 0 : value));
}

function Dial({
  tile,
  theme,
  hasName,
  hasMarkers,
}: {
  tile: Tile;
  theme: PanelProps['theme'];
  hasName: boolean;
  hasMarkers: boolean;
}) {
  const { config, value } = tile;
  const min = config.min ?? 0;
  const max = config.max ?? 100;
  const part = clamp((value.numeric - min) / (max - min || 1));
  const isPercent = config.thresholds?.mode === 'percentage';
  const steps = sortedSteps(config.thresholds).map((step) => ({
    at: clamp(isPercent ? (step.value ?? 0) / 100 : ((step.value ?? min) - min) / (max - min || 1)),
    color: resolveColor(step.color, theme),
  }));
  return (
    <div class={css.dial}>
      <svg viewBox="0 4 100 76" role="img" aria-label={`${tile.name}: ${value.text}${value.suffix ?? ''}`}>
        <path class={css.dialTrack} d={arc(0, 1, 39)} />
        {part > 0.002 && <path class={css.dialValue} d={arc(0, part, 39)} stroke={tile.color} />}
        {hasMarkers &&
          steps.length > 1 &&
          steps.map((step, i) => {
            const end = steps[i + 1]?.at ?? 1;
            return end > step.at ? (
              <path key={i} class={css.dialMarker} d={arc(step.at, end, 46.5)} stroke={step.color} />
            ) : null;
          })}
        <text x="50" y="58" class={css.dialText}>
          {value.prefix}
          {value.text || '–'}
          <tspan class={css.dialUnit}>{value.suffix}</tspan>
        </text>
      </svg>
      {hasName && <span class={css.dialName}>{tile.name}</span>}
    </div>
  );
}

/** Values on dials, between their least and their most. */
export function GaugePanel({ panel, fields, theme, width }: PanelProps) {
  const tiles = useMemo(() => reduceToTiles(fields, panel.options, theme), [fields, panel, theme]);
  const perLine = Math.min(tiles.length, Math.max(1, Math.floor(width / 110)));
  return (
    <div class={css.dials} style={{ gridTemplateColumns: `repeat(${perLine || 1}, minmax(0, 1fr))` }}>
      {tiles.map((tile, i) => (
        <Dial
          key={`${tile.name} ${i}`}
          tile={tile}
          theme={theme}
          hasName={tiles.length > 1}
          hasMarkers={panel.options.showThresholdMarkers !== false}
        />
      ))}
    </div>
  );
}

/** Values as bars, one below the other. */
export function BarGaugePanel({ panel, fields, theme }: PanelProps) {
  const tiles = useMemo(() => reduceToTiles(fields, panel.options, theme), [fields, panel, theme]);
  const highest = Math.max(
    0,
    ...tiles.map((tile) => (Number.isFinite(tile.value.numeric) ? tile.value.numeric : 0)),
  );
  return (
    <ul class={css.bars} tabIndex={0}>
      {tiles.map((tile, i) => {
        const min = tile.config.min ?? 0;
        const max = tile.config.max ?? (highest || 1);
        const part = clamp((tile.value.numeric - min) / (max - min || 1));
        return (
          <li key={`${tile.name} ${i}`}>
            <span class={css.barName}>{tile.name}</span>
            <span class={css.barTrack}>
              <span
                class={css.barFill}
                style={{ width: `${(part * 100).toFixed(2)}%`, background: tile.color }}
              />
            </span>
            <span class={css.barValue}>
              {tile.value.prefix}
              {tile.value.text || '–'}
              {tile.value.suffix && <i>{tile.value.suffix}</i>}
            </span>
          </li>
        );
      })}
    </ul>
  );
}
