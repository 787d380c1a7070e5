/** Attempts of one message as one entry. Pure functions. */
import type { ToldMessage } from './api';

export interface Told {
  /** The last attempt. */
  last: ToldMessage;
  /** All that are known, the newest first. */
  attempts: ToldMessage[];
}

/** Joins the attempts of each message in `messages` (newest first); each entry stands where its last attempt did. */
export function joined(messages: readonly ToldMessage[]): Told[] {
  const out: Told[] = [];
  const open = new Map<string, Told>();
  for (const message of messages) {
    const key = JSON.stringify([message.receiver, message.integration, message.groupKey]);
    const known = open.get(key);
    const before = known?.attempts[known.attempts.length - 1];
    if (known && before && message.attempts === before.attempts - 1) {
      known.attempts.push(message);
      continue;
    }
    const told = { last: message, attempts: [message] };
    open.set(key, told);
    out.push(told);
  }
  return out;
}
