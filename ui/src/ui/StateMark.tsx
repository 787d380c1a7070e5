import {
  CriticalIcon,
  InfoIcon,
  OffIcon,
  OkIcon,
  PauseIcon,
  PendingIcon,
  UnknownIcon,
  WarningIcon,
} from './icons';
import css from './parts.module.css';

/** What state a thing is in. Each has a colour, an icon and a word; never a colour alone. */
export type State = 'critical' | 'warning' | 'info' | 'ok' | 'unknown' | 'silenced' | 'pending' | 'off';

const MARKS = {
  critical: { Icon: CriticalIcon, word: 'critical' },
  warning: { Icon: WarningIcon, word: 'warning' },
  info: { Icon: InfoIcon, word: 'info' },
  ok: { Icon: OkIcon, word: 'well' },
  unknown: { Icon: UnknownIcon, word: 'unknown' },
  silenced: { Icon: PauseIcon, word: 'silenced' },
  pending: { Icon: PendingIcon, word: 'pending' },
  off: { Icon: OffIcon, word: 'off' },
} as const;

export function StateMark({ state, word, size = 14 }: { state: State; word?: string; size?: number }) {
  const { Icon, word: usual } = MARKS[state];
  return (
    <span class={`${css.mark} ${css[state]}`}>
      <Icon size={size} />
      {word ?? usual}
    </span>
  );
}

/** The icon alone, for places where the word stands elsewhere in the same line. */
export function StateIcon({ state, size = 16 }: { state: State; size?: number }) {
  const { Icon } = MARKS[state];
  return (
    <span class={`${css.mark} ${css[state]}`}>
      <Icon size={size} />
    </span>
  );
}

/** The state that belongs to an alert's `severity` label; page, error and the like count as critical. */
export function severityState(severity: string | undefined): State {
  switch (severity?.toLowerCase()) {
    case 'critical':
    case 'page':
    case 'error':
    case 'high':
    case 'emergency':
      return 'critical';
    case 'warning':
    case 'warn':
    case 'ticket':
    case 'medium':
    case undefined:
    case '':
      return 'warning';
    default:
      return 'info';
  }
}
