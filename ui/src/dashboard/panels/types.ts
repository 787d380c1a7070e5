import type { Answered } from '../data/ask';
import type { ThemeName } from '../fields/palette';
import type { Panel } from '../model/types';
import type { Scope } from '../vars/refs';
import type { Prepared } from './fields';

/** What every kind of panel is given. */
export interface PanelProps {
  panel: Panel;
  /** The title with its variables filled in. */
  title: string;
  fields: readonly Prepared[];
  answer: Answered;
  scope: Scope;
  theme: ThemeName;
  syncKey?: string;
  /** The tooltips of the other panels follow too. */
  syncTooltip?: boolean;
  width: number;
  height: number;
}
