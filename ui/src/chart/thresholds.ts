/** Thresholds behind the series: lines, areas or both. */
import type uPlot from 'uplot';
import { withAlpha } from '../dashboard/fields/palette';
import type { ChartThresholds } from './types';

function isInvisible(color: string): boolean {
  return color === 'transparent' || /^rgba\([^)]*,\s*0\)$/.test(color);
}

export function drawThresholds(u: uPlot, thresholds: ChartThresholds | undefined, scaleKey: string): void {
  const scale = u.scales[scaleKey];
  if (!thresholds || scale?.min === undefined || scale.max === undefined) return;
  const { min, max } = scale;
  const { ctx, bbox } = u;
  const yOf = (value: number): number =>
    Math.round(u.valToPos(Math.min(Math.max(value, min), max), scaleKey, true));
  ctx.save();
  thresholds.steps.forEach(({ value, color }, i) => {
    if (isInvisible(color)) return;
    const from = Math.max(value, min);
    const to = Math.min(thresholds.steps[i + 1]?.value ?? Infinity, max);
    if (thresholds.style.includes('area') && to > from) {
      ctx.fillStyle = withAlpha(color, 0.09);
      ctx.fillRect(bbox.left, yOf(to), bbox.width, yOf(from) - yOf(to));
    }
    const hasLine = thresholds.style.includes('line') || thresholds.style.includes('dashed');
    if (hasLine && Number.isFinite(value) && value >= min && value <= max) {
      ctx.strokeStyle = withAlpha(color, 0.85);
      ctx.lineWidth = Math.max(1, Math.round(window.devicePixelRatio));
      ctx.setLineDash(thresholds.style.includes('dashed') ? [8, 6] : []);
      ctx.beginPath();
      ctx.moveTo(bbox.left, yOf(value) + 0.5);
      ctx.lineTo(bbox.left + bbox.width, yOf(value) + 0.5);
      ctx.stroke();
    }
  });
  ctx.restore();
}
