import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ask, askAll, QueryError } from './ask';
import type { Planned } from './plan';

const query = (expr: string): Planned => ({
  refId: 'A',
  kind: 'range',
  expr,
  fromMs: 0,
  toMs: 60_000,
  stepMs: 15_000,
  legendFormat: '{{a}}',
  format: 'time_series',
});

const answer = {
  status: 'success',
  data: { resultType: 'matrix', result: [{ metric: { a: 'x' }, values: [[0, '1']] }] },
};

let sent: { url: string; signal: AbortSignal }[] = [];
let reply: () => Promise<Response> = () => Promise.reject(new Error('not set'));

beforeEach(() => {
  sent = [];
  reply = () => Promise.resolve(new Response(JSON.stringify(answer)));
  vi.stubGlobal('fetch', (url: string, init: RequestInit) => {
    const { signal } = init;
    if (!signal) throw new Error('no signal');
    sent.push({ url, signal });
    return Promise.race([
      reply(),
      new Promise<Response>((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new DOMException('gone', 'AbortError')));
      }),
    ]);
  });
});

afterEach(() => vi.unstubAllGlobals());

test('the same query is sent once, whoever asks', async () => {
  const signal = new AbortController().signal;
  const [one, two] = await Promise.all([ask(query('once'), signal), ask(query('once'), signal)]);
  expect(sent.map(({ url }) => url)).toEqual(['api/v1/query_range?query=once&start=0&end=60&step=15']);
  expect(one).toBe(two);
});

test('it is given up only when nobody waits for it', async () => {
  reply = () => new Promise(() => undefined);
  const first = new AbortController();
  const second = new AbortController();
  const both = [ask(query('slow'), first.signal), ask(query('slow'), second.signal)];
  const settled = Promise.allSettled(both);
  first.abort();
  expect(sent[0]?.signal.aborted).toBe(false);
  second.abort();
  expect(sent[0]?.signal.aborted).toBe(true);
  expect((await settled).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
});

test('a failure names the query and is asked again', async () => {
  reply = () =>
    Promise.resolve(
      new Response(JSON.stringify({ status: 'error', errorType: 'bad_data', error: 'parse error' }), {
        status: 400,
      }),
    );
  const failed = await askAll([query('bad(')], new AbortController().signal).catch((error: unknown) => error);
  expect(failed).toBeInstanceOf(QueryError);
  expect((failed as QueryError).query.expr).toBe('bad(');
  reply = () => Promise.resolve(new Response(JSON.stringify(answer)));
  const { frames } = await askAll([query('bad(')], new AbortController().signal);
  expect(frames[0]?.fields[1]?.config.displayNameFromDS).toBe('x');
});
