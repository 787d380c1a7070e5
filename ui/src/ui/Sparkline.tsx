import css from './parts.module.css';

export interface Point {
  /** Seconds since the epoch. */
  t: number;
  v: number;
}

/**
 * The path of a sparkline in a box of 100 x 30, broken where samples are missing for more than two steps.
 *
 * `top` is the value of the upper edge; without it the largest value is. The lower edge is zero.
 */
export function sparkPath(
  points: readonly Point[],
  from: number,
  to: number,
  step: number,
  top?: number,
): { line: string; area: string } {
  const span = to - from || 1;
  const high = top ?? Math.max(...points.map((p) => p.v), 0);
  const scale = high > 0 ? high : 1;
  let line = '';
  let area = '';
  let begin = '';
  let last: Point | null = null;
  const close = (): void => {
    if (last) area += `${begin}L${x(last)} 30Z`;
  };
  const x = (p: Point): string => (((p.t - from) / span) * 100).toFixed(2);
  const y = (p: Point): string => (29 - Math.min(Math.max(p.v / scale, 0), 1) * 28).toFixed(2);
  for (const point of points) {
    if (!Number.isFinite(point.v)) continue;
    if (last && point.t - last.t <= step * 2.5) {
      line += `L${x(point)} ${y(point)}`;
      begin += `L${x(point)} ${y(point)}`;
    } else {
      close();
      line += `M${x(point)} ${y(point)}`;
      begin = `M${x(point)} 30L${x(point)} ${y(point)}`;
    }
    last = point;
  }
  close();
  return { line, area };
}

export function Sparkline(props: {
  points: readonly Point[];
  from: number;
  to: number;
  step: number;
  top?: number;
  label: string;
}) {
  const { line, area } = sparkPath(props.points, props.from, props.to, props.step, props.top);
  return (
    <svg
      class={css.spark}
      viewBox="0 0 100 30"
      preserveAspectRatio="none"
      role="img"
      aria-label={props.label}
    >
      <path class={css.sparkArea} d={area} />
      <path class={css.sparkLine} d={line} />
    </svg>
  );
}
