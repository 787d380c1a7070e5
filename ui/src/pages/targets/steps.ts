/** What each relabelling step did, in words. Pure functions. */
import type { Labels, RelabelStep } from '../../api/types';

export interface Told {
  /** The rule, such as "keep [team] regex=ops". */
  rule: string;
  keep: boolean;
  changes: string[];
}

/** The steps up to the one that drops the target. */
export function tell(discovered: Labels, steps: readonly RelabelStep[]): Told[] {
  const out: Told[] = [];
  let before = discovered;
  for (const step of steps) {
    const rule = ruleText(step);
    if (!step.keep) {
      out.push({ rule, keep: false, changes: [whyDropped(step, before)] });
      break;
    }
    out.push({ rule, keep: true, changes: changes(before, step.output) });
    before = step.output;
  }
  return out;
}

function ruleText({ rule }: RelabelStep): string {
  const words = [rule.action];
  if (rule.sourceLabels?.length) words.push(`[${rule.sourceLabels.join(', ')}]`);
  if (rule.regex) words.push(`regex=${rule.regex}`);
  if (rule.modulus) words.push(`modulus=${rule.modulus}`);
  if (rule.targetLabel) words.push(`target_label=${rule.targetLabel}`);
  // $1 is the default, and means nothing to most actions.
  if (rule.replacement && rule.replacement !== '$1') words.push(`replacement=${rule.replacement}`);
  return words.join(' ');
}

function whyDropped({ rule }: RelabelStep, before: Labels): string {
  const names = rule.sourceLabels ?? [];
  const value = names.map((name) => before[name] ?? '').join(rule.separator ?? '');
  const subject = `[${names.join(', ')}] is ${JSON.stringify(value)}`;
  switch (rule.action) {
    case 'keep':
      return `dropped: ${subject}, which ${rule.regex ?? ''} does not match`;
    case 'drop':
      return `dropped: ${subject}, which ${rule.regex ?? ''} matches`;
    case 'keepequal':
      return `dropped: ${subject}, and the target label's value is another`;
    case 'dropequal':
      return `dropped: ${subject}, and so is the target label's value`;
    default:
      return 'dropped';
  }
}

function changes(before: Labels, after: Labels): string[] {
  const out: string[] = [];
  for (const name of [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()) {
    const [old, now] = [before[name], after[name]];
    if (old === now) continue;
    if (old === undefined) out.push(`+ ${name}=${JSON.stringify(now)}`);
    else if (now === undefined) out.push(`- ${name}=${JSON.stringify(old)}`);
    else out.push(`${name}: ${JSON.stringify(old)} → ${JSON.stringify(now)}`);
  }
  return out;
}
