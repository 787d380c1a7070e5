import { signal } from '@preact/signals';

/** When the server stopped answering, in milliseconds since the epoch; null while it answers. */
export const lostSince = signal<number | null>(null);

/** Goes up by one each time the server answers again after a loss; pages ask again when it changes. */
export const reconnects = signal(0);

const RETRY_MS = 3000;
let timer: ReturnType<typeof setTimeout> | undefined;

/** To be called after every answer of the server, whatever its status. */
export function noteAnswered(): void {
  if (lostSince.peek() === null) return;
  lostSince.value = null;
  reconnects.value += 1;
}

/** To be called when a request got no answer. Keeps asking until the server answers again. */
export function noteLost(): void {
  if (lostSince.peek() === null) lostSince.value = Date.now();
  if (timer !== undefined) return;
  timer = setTimeout(() => {
    timer = undefined;
    void probe();
  }, RETRY_MS);
}

async function probe(): Promise<void> {
  try {
    const answer = await fetch('api/ui/bootstrap', { cache: 'no-store' });
    if (isGatewayStatus(answer.status)) noteLost();
    else noteAnswered();
  } catch {
    noteLost();
  }
}

/** True for the statuses with which a proxy in front says that the server itself is not there. */
export function isGatewayStatus(status: number): boolean {
  return status === 502 || status === 504;
}
