/** What a series is called. */
import type { Labels } from '../../api/types';

function quoted(labels: [string, string][]): string {
  return `{${labels.map(([name, value]) => `${name}="${value}"`).join(', ')}}`;
}

function sorted(labels: Labels): [string, string][] {
  return Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** `name{a="1", b="2"}` as Prometheus prints it, "{}" without labels. */
export function metricName(labels: Labels): string {
  const { __name__: name = '', ...rest } = labels;
  const pairs = sorted(rest);
  return pairs.length === 0 && name !== '' ? name : `${name}${quoted(pairs)}`;
}

/** `{{ label }}` filled in; a label that is not there becomes nothing. */
export function renderLegend(template: string, labels: Labels): string {
  return template.replace(/\{\{\s*(.+?)\s*\}\}/g, (_whole, name: string) => labels[name] ?? '');
}

/**
 * Short names that tell the series apart. Where metric names are among the labels, those that all series share are
 * left out; labels that a query grouped by on purpose stay, as in Grafana.
 */
export function autoNames(series: Labels[]): (string | undefined)[] {
  const keys = new Set(series.flatMap((labels) => Object.keys(labels)));
  const first = series[0] ?? {};
  const common = new Set(
    Object.keys(first).filter(
      (key) =>
        series.length > 1 && keys.has('__name__') && series.every((labels) => labels[key] === first[key]),
    ),
  );
  const [only] = keys;
  return series.map((labels) => {
    if (keys.size === 1 && only !== undefined && only in labels) return labels[only];
    const rest = sorted(labels).filter(([name]) => !common.has(name));
    return rest.length > 0 ? quoted(rest) : undefined;
  });
}

/** Names of all series of a target, by its legend format ("" and "__auto" included). */
export function seriesNames(legendFormat: string | undefined, expr: string, series: Labels[]): string[] {
  if (legendFormat === '__auto' || legendFormat === undefined) {
    return autoNames(series).map(
      (name, i) => name ?? (metricName(series[i] ?? {}) === '{}' ? expr : metricName(series[i] ?? {})),
    );
  }
  if (legendFormat === '') {
    return series.map((labels) => {
      const name = metricName(labels);
      return name === '{}' ? expr : name;
    });
  }
  return series.map((labels) => renderLegend(legendFormat, labels));
}
