import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError } from './client';
import { reconnects } from './connection';

export interface Data<T> {
  /** The newest answer; the one before stays until the next has come. */
  data: T | undefined;
  /** What went wrong last, a lost connection apart; cleared by the next answer. */
  error: Error | undefined;
  /** True while a request is under way. */
  loading: boolean;
  /** Milliseconds since the epoch of the newest answer. */
  at: number;
  reload: () => void;
}

/**
 * Loads something and loads it again whenever `beat` changes or the server comes back.
 *
 * A change of `key` aborts the request under way and starts a new one at once, keeping the old data on the
 * page; a change of `beat` waits for the request under way instead, so a slow network never starves.
 * `key` null loads nothing.
 */
export function useData<T>(
  key: string | null,
  load: (signal: AbortSignal) => Promise<T>,
  beat: unknown = 0,
): Data<T> {
  const [state, setState] = useState<Omit<Data<T>, 'reload'>>({
    data: undefined,
    error: undefined,
    loading: key !== null,
    at: 0,
  });
  const run = useRef<{ key: string | null; controller: AbortController | null; again: boolean }>({
    key: null,
    controller: null,
    again: false,
  });
  const loader = useRef(load);
  loader.current = load;

  const start = (): void => {
    const controller = new AbortController();
    run.current.controller?.abort();
    run.current.controller = controller;
    run.current.again = false;
    setState((old) => (old.loading ? old : { ...old, loading: true }));
    loader
      .current(controller.signal)
      .then(
        (data) => {
          if (controller.signal.aborted) return;
          setState({ data, error: undefined, loading: false, at: Date.now() });
        },
        (error: unknown) => {
          if (controller.signal.aborted) return;
          const told = error instanceof Error ? error : new Error(String(error));
          setState((old) => ({ ...old, error: told, loading: false }));
        },
      )
      .finally(() => {
        if (run.current.controller !== controller) return;
        run.current.controller = null;
        if (run.current.again) start();
      });
  };

  const back = reconnects.value;
  useEffect(() => {
    if (key === null) {
      run.current.controller?.abort();
      run.current = { key: null, controller: null, again: false };
      setState((old) => (old.loading ? { ...old, loading: false } : old));
      return;
    }
    if (run.current.controller && run.current.key === key) {
      run.current.again = true;
      return;
    }
    run.current.controller?.abort();
    run.current.key = key;
    start();
  }, [key, beat, back]);

  useEffect(
    () => () => {
      run.current.controller?.abort();
      run.current.controller = null;
    },
    [],
  );

  // A lost connection is told once, by the banner over every page; here it is a longer wait.
  const isLost = state.error instanceof ApiError && state.error.errorType === 'connection';
  return { ...state, error: isLost ? undefined : state.error, reload: start };
}
