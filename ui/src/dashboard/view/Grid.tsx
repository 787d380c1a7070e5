import type { JSX } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import { Fragment } from 'preact';
import type { Dashboard, Panel } from '../model/types';
import { ALL_VALUE } from '../vars/options';
import type { Scope } from '../vars/refs';
import type { Variable } from '../vars/resolve';
import { layout, titleOf, type Placed } from './layout';
import { useViewedPanel } from './PanelActions';
import { PanelFrame } from './PanelFrame';
import css from './view.module.css';

function position({ pos, panel }: Placed): JSX.CSSProperties {
  return {
    '--x': pos.x + 1,
    '--y': pos.y + 1,
    '--w': pos.w,
    '--h': pos.h,
    '--span': panel.type === 'stat' && pos.w <= 8 ? 1 : 2,
  } as JSX.CSSProperties;
}

function valuesOf(variables: readonly Variable[], name: string): { text: string; value: string }[] {
  const variable = variables.find((one) => one.model.name === name);
  if (!variable) return [];
  if (variable.chosen[0] === ALL_VALUE) return variable.options;
  return variable.chosen.map(
    (value) => variable.options.find((option) => option.value === value) ?? { text: value, value },
  );
}

function RowLine({ placed, scope, onToggle }: { placed: Placed; scope: Scope; onToggle: () => void }) {
  const isOpen = placed.row?.isOpen ?? true;
  const full: Scope = new Map([...scope, ...placed.scoped]);
  return (
    <h2 class={css.row} style={position(placed)}>
      <button type="button" aria-expanded={isOpen} onClick={onToggle}>
        <svg width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">
          <path d={isOpen ? 'M2 4.2 6 8l4-3.8' : 'M4.2 2 8 6l-3.8 4'} />
        </svg>
        {titleOf(placed.panel, full)}
        {!isOpen && <small>{placed.row?.count ?? 0} panels</small>}
      </button>
    </h2>
  );
}

function storedRows(uid: string): Record<string, boolean> {
  try {
    return JSON.parse(sessionStorage.getItem(`cupola.rows.${uid}`) ?? '{}') as Record<string, boolean>;
  } catch {
    return {};
  }
}

/** Every panel, those in folded rows too. */
function everything(dashboard: Dashboard, variables: readonly Variable[]): Placed[] {
  return layout(
    dashboard.panels,
    () => true,
    (name) => valuesOf(variables, name),
  );
}

/** All panels of a dashboard on its grid of 24 columns; one column on a phone. */
export function Grid({
  dashboard,
  variables,
  scope,
  scrapeMs,
}: {
  dashboard: Dashboard;
  variables: readonly Variable[];
  scope: Scope;
  scrapeMs: number;
}) {
  const [rows, setRows] = useState<Record<string, boolean>>(() => storedRows(dashboard.uid));
  const isOpen = (row: Panel): boolean => rows[row.id] ?? !row.collapsed;
  const placed = useMemo(
    () => layout(dashboard.panels, isOpen, (name) => valuesOf(variables, name)),
    [dashboard, rows, variables],
  );
  const toggle = (row: Panel): void => {
    const next = { ...rows, [row.id]: !isOpen(row) };
    setRows(next);
    try {
      sessionStorage.setItem(`cupola.rows.${dashboard.uid}`, JSON.stringify(next));
    } catch {
      // Without storage the rows are as in the file after the next load.
    }
  };
  const viewed = useViewedPanel();
  const alone =
    viewed === null ? undefined : everything(dashboard, variables).find((one) => one.key === viewed);
  if (alone) {
    return (
      <div class={css.alone}>
        <PanelFrame
          id={alone.key}
          panel={alone.panel}
          scope={scope}
          scoped={alone.scoped}
          dashboard={dashboard}
          scrapeMs={scrapeMs}
        />
      </div>
    );
  }
  return (
    <div class={css.grid}>
      {placed.map((one) => (
        <Fragment key={one.key}>
          {one.panel.type === 'row' ? (
            <RowLine placed={one} scope={scope} onToggle={() => toggle(one.panel)} />
          ) : (
            <div class={css.cell} style={position(one)}>
              <PanelFrame
                id={one.key}
                panel={one.panel}
                scope={scope}
                scoped={one.scoped}
                dashboard={dashboard}
                scrapeMs={scrapeMs}
              />
            </div>
          )}
        </Fragment>
      ))}
    </div>
  );
}
