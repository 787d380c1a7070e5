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
