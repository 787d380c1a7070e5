/** Answers of the query API as columns. */
import type { Labels, MatrixSeries, QueryData, VectorSample } from '../../api/types';
import type { FieldConfig } from '../model/types';
import type { Value } from './reducers';

export type CellValue = Value | string | boolean;

export interface Field {
  name: string;
  type: 'time' | 'number' | 'string' | 'boolean';
  values: CellValue[];
  labels?: Labels;
  config: FieldConfig;
  /** Distance between points in milliseconds, for time fields of a range. */
  stepMs?: number;
}

export interface Frame {
  refId: string;
  fields: Field[];
  length: number;
}

/** "NaN", "+Inf" and "-Inf" are numbers in the query API. */
export function sampleNumber(text: string): number {
  if (text === '+Inf' || text === 'Inf') return Infinity;
  if (text === '-Inf') return -Infinity;
  return Number(text);
}

function asMatrix(data: QueryData): { metric: Labels; times: number[]; values: number[] }[] {
  switch (data.resultType) {
    case 'matrix':
      return data.result.map((series: MatrixSeries) => ({
        metric: series.metric,
        times: (series.values ?? []).map(([at]) => at * 1000),
        values: (series.values ?? []).map(([, value]) => sampleNumber(value)),
      }));
    case 'vector':
      return data.result
        .filter((sample: VectorSample) => sample.value !== undefined)
        .map((sample: VectorSample) => ({
          metric: sample.metric,
          times: [(sample.value?.[0] ?? 0) * 1000],
          values: [sampleNumber(sample.value?.[1] ?? 'NaN')],
        }));
    case 'scalar':
      return [{ metric: {}, times: [data.result[0] * 1000], values: [sampleNumber(data.result[1])] }];
    case 'string':
      return [];
  }
}

/** One frame per series: time and value. `names` are the series' names in the same order. */
export function seriesFrames(
  data: QueryData,
  refId: string,
  names: (labels: Labels[]) => string[],
  stepMs?: number,
): Frame[] {
  const series = asMatrix(data);
  const called = names(series.map((one) => one.metric));
  return series.map(({ metric, times, values }, i) => ({
    refId,
    length: times.length,
    fields: [
      { name: 'Time', type: 'time', values: times, config: {}, stepMs },
      {
        name: 'Value',
        type: 'number',
        values,
        labels: metric,
        config: { displayNameFromDS: called[i] },
      },
    ],
  }));
}

/** All series of a query as one table: time, a column per label, value. */
export function tableFrame(data: QueryData, refId: string, isOnly: boolean): Frame {
  const series = asMatrix(data);
  const keys: string[] = [];
  for (const { metric } of series)
    for (const key of Object.keys(metric)) if (!keys.includes(key)) keys.push(key);
  keys.sort();
  const rows: { at: number; metric: Labels; value: number }[] = [];
  for (const { metric, times, values } of series) {
    times.forEach((at, i) => rows.push({ at, metric, value: values[i] ?? Number.NaN }));
  }
  rows.sort((a, b) => a.at - b.at);
  return {
    refId,
    length: rows.length,
    fields: [
      { name: 'Time', type: 'time', values: rows.map((row) => row.at), config: {} },
      ...keys.map((key): Field => ({
        name: key,
        type: 'string',
        values: rows.map((row) => row.metric[key] ?? ''),
        config: {},
      })),
      {
        name: isOnly ? 'Value' : `Value #${refId}`,
        type: 'number',
        values: rows.map((row) => row.value),
        config: {},
      },
    ],
  };
}

export interface Joined {
  /** Milliseconds since the epoch, rising. */
  times: number[];
  /** One per input: null is a gap, undefined only means that another series has a point there. */
  columns: (number | null | undefined)[][];
}

export interface JoinInput {
  times: readonly number[];
  values: readonly Value[];
  /** A longer pause between two points than this is a gap. */
  stepMs?: number;
}

/** Puts series of any times on one axis, with a gap where a series pauses for longer than its step. */
export function joinSeries(inputs: readonly JoinInput[]): Joined {
  const all = new Set<number>();
  const gaps = inputs.map(() => new Set<number>());
  inputs.forEach(({ times, stepMs }, i) => {
    let before: number | undefined;
    for (const at of times) {
      if (stepMs !== undefined && before !== undefined && at - before > stepMs * 1.001) {
        all.add(before + stepMs);
        gaps[i]?.add(before + stepMs);
      }
      all.add(at);
      before = at;
    }
  });
  const times = [...all].sort((a, b) => a - b);
  const columns = inputs.map((input, i) => {
    const column = new Array<number | null | undefined>(times.length).fill(undefined);
    const first = input.times[0] ?? Infinity;
    const last = input.times[input.times.length - 1] ?? -Infinity;
    let next = 0;
    for (let row = 0; row < times.length; row++) {
      const at = times[row] ?? 0;
      if (input.times[next] === at) {
        const value = input.values[next];
        column[row] = value === undefined || value === null || !Number.isFinite(value) ? null : value;
        next += 1;
      } else if (at < first || at > last || gaps[i]?.has(at)) column[row] = null;
    }
    return column;
  });
  return { times, columns };
}
