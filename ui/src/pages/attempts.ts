/** Attempts of one message as one entry. Pure functions. */

/** What makes a message the same message; `attempts` counts from 1. */
interface Attempt {
  receiver: string;
  integration: string;
  groupKey: string;
  attempts: number;
}

export interface Told<T extends Attempt> {
  /** The last attempt. */
  last: T;
  /** All that are known, the newest first. */
  attempts: T[];
}

/** Joins the attempts of each message in `messages` (newest first); each entry stands where its last attempt did. */
export function joined<T extends Attempt>(messages: readonly T[]): Told<T>[] {
  const out: Told<T>[] = [];
  const open = new Map<string, Told<T>>();
  for (const message of messages) {
    const key = JSON.stringify([message.receiver, message.integration, message.groupKey]);
    const known = open.get(key);
    const before = known?.attempts[known.attempts.length - 1];
    if (known && before && message.attempts === before.attempts - 1) {
      known.attempts.push(message);
      continue;
    }
    const told: Told<T> = { last: message, attempts: [message] };
    open.set(key, told);
    out.push(told);
  }
  return out;
}

/** What failed in the same way again and again. */
export interface Run<T extends Attempt> {
  /** The newest of them. */
  told: Told<T>;
  /** How many messages, this one included. */
  times: number;
  /** When the first of them was tried for the last time. */
  since: string;
}

/**
 * Joins messages that failed one after another for the same reason: a receiver that is away for a night is one line, and
 * what others were told stays in sight. A message that came through ends a run. Those that `apart` names stay alone.
 */
export function runs<T extends Attempt & { at: string; outcome: string; error: string }>(
  told: readonly Told<T>[],
  apart: (told: Told<T>) => boolean = () => false,
): Run<T>[] {
  const out: Run<T>[] = [];
  const open = new Map<string, Run<T>>();
  for (const one of told) {
    const { receiver, integration, groupKey, outcome, error, at } = one.last;
    const key = JSON.stringify([receiver, integration, groupKey]);
    const known = open.get(key);
    if (known && outcome === 'failed' && error === known.told.last.error && !apart(one)) {
      known.times += 1;
      known.since = at;
      continue;
    }
    const run: Run<T> = { told: one, times: 1, since: at };
    out.push(run);
    if (outcome === 'failed' && !apart(one)) open.set(key, run);
    else open.delete(key);
  }
  return out;
}
