import type { ComponentType } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ErrorNote, SkeletonRows } from '../ui/parts';

/** A page whose code is a chunk of its own, loaded when it is first shown or when `preload` is called. */
export function lazyPage<P extends object>(
  load: () => Promise<ComponentType<P>>,
): ComponentType<P> & { preload: () => void } {
  let loaded: ComponentType<P> | undefined;
  let pending: Promise<void> | undefined;
  const start = (): Promise<void> => {
    pending ??= load().then(
      (component) => {
        loaded = component;
      },
      (error: unknown) => {
        pending = undefined;
        throw error;
      },
    );
    return pending;
  };
  function LazyPage(props: P) {
    const [, draw] = useState(0);
    const [error, setError] = useState<Error>();
    useEffect(() => {
      if (!loaded) start().then(() => draw((n) => n + 1), setError);
    }, []);
    if (error) {
      return (
        <ErrorNote
          what="This page could not be loaded. Reload it; the server may have been updated meanwhile."
          error={error}
        />
      );
    }
    const Page = loaded;
    return Page ? <Page {...props} /> : <SkeletonRows />;
  }
  return Object.assign(LazyPage, { preload: () => void start().catch(() => undefined) });
}
