import type { RefObject } from 'preact';
import { useLayoutEffect, useState } from 'preact/hooks';

export interface Size {
  /** Whole CSS pixels; 0 until measured. */
  width: number;
  height: number;
  /** Width of the parent, for choices that change the element's own width. */
  fullWidth: number;
}

/** The size of an element, followed at most once per frame. */
export function useSize(ref: RefObject<HTMLElement>): Size {
  const [size, setSize] = useState<Size>({ width: 0, height: 0, fullWidth: 0 });
  useLayoutEffect(() => {
    const element = ref.current;
    if (!element) return;
    let frame = 0;
    const measure = (): void => {
      frame = 0;
      const width = Math.floor(element.clientWidth);
      const height = Math.floor(element.clientHeight);
      const fullWidth = element.parentElement?.clientWidth ?? width;
      setSize((old) =>
        old.width === width && old.height === height && old.fullWidth === fullWidth
          ? old
          : { width, height, fullWidth },
      );
    };
    const observer = new ResizeObserver(() => {
      frame ||= requestAnimationFrame(measure);
    });
    observer.observe(element);
    measure();
    return () => {
      observer.disconnect();
      cancelAnimationFrame(frame);
    };
  }, []);
  return size;
}
