import { useMemo } from 'preact/hooks';
import { formattedText } from '../fields/number';
import { list, text, object } from '../model/json';
import css from './panels.module.css';
import { slicePath, slices } from './pie';
import { reduceToTiles } from './reduce';
import type { PanelProps } from './types';

/** Shares of a whole as a pie or a ring, each with its name and value beside it. */
export function PiePanel({ panel, fields, theme, title, width, height }: PanelProps) {
  const tiles = useMemo(() => reduceToTiles(fields, panel.options, theme), [fields, panel, theme]);
  const parts = useMemo(() => slices(tiles, text(panel.options.sort, 'desc')), [tiles, panel]);
  const legend = object(panel.options.legend);
  const wanted = list(legend.values);
  const hasLegend = legend.showLegend !== false;
  const inner = panel.options.pieType === 'donut' ? 27 : 0;
  const isWide = width > height * 1.3;
  return (
    <div class={css.pie} data-wide={isWide}>
      <svg viewBox="0 0 100 100" role="img" aria-label={title || 'Shares'}>
        {parts.map((part) => (
          <path
            key={part.key}
            d={slicePath(part.from, part.to, 47, inner)}
            fill={part.color}
            fill-rule="evenodd"
          >
            <title>{`${part.name}: ${formattedText(part.value)}`}</title>
          </path>
        ))}
      </svg>
      {hasLegend && (
        <ul>
          {parts.map((part) => (
            <li key={part.key}>
              <span class={css.pieMark} style={{ background: part.color }} />
              <span class={css.barName}>{part.name}</span>
              <span class={css.barValue}>
                {wanted.includes('percent') && !wanted.includes('value') ? (
                  <>
                    {((part.to - part.from) * 100).toFixed(1)}
                    <i>%</i>
                  </>
                ) : (
                  <>
                    {part.value.prefix}
                    {part.value.text}
                    {part.value.suffix && <i>{part.value.suffix}</i>}
                  </>
                )}
              </span>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
