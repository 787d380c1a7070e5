import { reduceNumber } from '../dashboard/data/reducers';
import { readable } from '../dashboard/fields/formats';
import { formattedText } from '../dashboard/fields/number';
import type { ChartSeries } from './types';

const MOST = 6;

/** The chart in a few sentences, for those who do not see it. */
export function summarize(series: readonly ChartSeries[]): string {
  if (series.length === 0) return 'No series.';
  const words = series.slice(0, MOST).map((one) => {
    const values = one.values.filter((value) => value !== undefined);
    const told = (calc: string): string => {
      const value = reduceNumber(calc, values);
      return value === null ? 'nothing' : formattedText(readable(value, one.unit, one.decimals));
    };
    return `${one.name}: last ${told('lastNotNull')}, lowest ${told('min')}, highest ${told('max')}`;
  });
  const rest = series.length > MOST ? ` And ${series.length - MOST} more.` : '';
  return `${series.length} series. ${words.join('; ')}.${rest}`;
}
