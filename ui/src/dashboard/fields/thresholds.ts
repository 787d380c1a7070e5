/** Thresholds and value mappings: which colour and which words a value takes. */
import type { MappingResult, Thresholds, ThresholdStep, ValueMapping } from '../model/types';

/** The steps in order, the first one open downwards. */
export function sortedSteps(thresholds: Thresholds | undefined): ThresholdStep[] {
  const steps = (thresholds?.steps ?? []).map((step, i) => ({
    color: step.color,
    value: i === 0 || step.value === null || step.value === undefined ? -Infinity : Number(step.value),
  }));
  return steps.sort((a, b) => a.value - b.value);
}

/** The last step that `value` reaches; `percent` (0 to 1) decides for thresholds in percent. */
export function activeStep(
  thresholds: Thresholds | undefined,
  value: number,
  percent: number,
): ThresholdStep | undefined {
  const steps = sortedSteps(thresholds);
  const compared = thresholds?.mode === 'percentage' ? percent * 100 : value;
  let active = steps[0];
  for (const step of steps) if (compared >= (step.value ?? -Infinity)) active = step;
  return active;
}

function patternOf(text: string): RegExp | null {
  const slashed = /^\/(.*)\/([a-z]*)$/s.exec(text);
  try {
    return slashed ? new RegExp(slashed[1] ?? '', slashed[2]) : new RegExp(`^${text}$`);
  } catch {
    return null;
  }
}

function isSpecial(match: string, value: unknown): boolean {
  const isNull = value === null || value === undefined;
  const isNan = typeof value === 'number' && Number.isNaN(value);
  switch (match) {
    case 'null':
      return isNull;
    case 'nan':
      return isNan;
    case 'null+nan':
      return isNull || isNan;
    case 'true':
      return value === true || value === 'true';
    case 'false':
      return value === false || value === 'false';
    case 'empty':
      return value === '';
    default:
      return false;
  }
}

function inRange(value: unknown, from: number | null | undefined, to: number | null | undefined): boolean {
  if (value === null || value === undefined || value === '') return false;
  const n = Number(value);
  if (Number.isNaN(n)) return false;
  return n >= (from ?? -Infinity) && n <= (to ?? Infinity);
}

/** The first mapping that `value` meets. A text that is an empty string maps to no words, not to nothing. */
export function mapValue(
  mappings: readonly ValueMapping[] | undefined,
  value: unknown,
): MappingResult | null {
  for (const mapping of mappings ?? []) {
    switch (mapping.type) {
      case 'value': {
        const result = value === null || value === undefined ? undefined : mapping.options[String(value)];
        if (result) return result;
        break;
      }
      case 'range':
        if (inRange(value, mapping.options.from, mapping.options.to)) return mapping.options.result;
        break;
      case 'regex': {
        if (typeof value !== 'string') break;
        const pattern = patternOf(mapping.options.pattern);
        if (!pattern || !pattern.test(value)) break;
        const { result } = mapping.options;
        return result.text === undefined ? result : { ...result, text: value.replace(pattern, result.text) };
      }
      case 'special':
        if (isSpecial(mapping.options.match, value)) return mapping.options.result;
        break;
    }
  }
  return null;
}

/** `/text/flags` as that expression, anything else as the whole name; null for a broken expression. */
export function namePattern(text: string): RegExp | null {
  return patternOf(text);
}
