/** Rules by group, as the page shows them. Pure functions. */
import type { AlertingRule, Labels, RecordingRule, RuleGroup, RulesData } from '../../api/types';
import { matches, type Filter } from '../../ui/filter';
import type { State } from '../../ui/StateMark';
import { durationWords, parseTime } from '../../ui/words';
import { alertState, isHeartbeat } from '../alertWords';

export type Rule = AlertingRule | RecordingRule;

/** Which rules: all, those that give alerts, those that record, those that cannot be evaluated. */
export type Which = 'all' | 'alerting' | 'recording' | 'broken';

export interface ShownGroup {
  group: RuleGroup;
  /** The rules that pass, in the order in which they are evaluated. */
  rules: Rule[];
}

export function isBroken(rule: Rule): boolean {
  return rule.health === 'err';
}

function isOf(rule: Rule, which: Which): boolean {
  return which === 'all' || (which === 'broken' ? isBroken(rule) : rule.type === which);
}

function passes(rule: Rule, group: RuleGroup, filter: Filter): boolean {
  const own: Labels = rule.type === 'alerting' ? { alertname: rule.name } : { __name__: rule.name };
  return matches(filter, { ...rule.labels, ...own }, `${rule.query} ${group.name} ${group.file}`);
}

/** The groups with a rule that passes: those with a broken rule first, then as the server has them. */
export function shownGroups(data: RulesData, which: Which, filter: Filter): ShownGroup[] {
  return data.groups
    .map((group) => ({
      group,
      rules: group.rules.filter((rule) => isOf(rule, which) && passes(rule, group, filter)),
    }))
    .filter(({ rules }) => rules.length > 0)
    .sort((a, b) => Number(b.rules.some(isBroken)) - Number(a.rules.some(isBroken)));
}

/** How many rules of each kind pass the filter. */
export function counts(data: RulesData, filter: Filter): Record<Which, number> {
  const all = data.groups.flatMap((group) => group.rules.filter((rule) => passes(rule, group, filter)));
  const of = (which: Which): number => all.filter((rule) => isOf(rule, which)).length;
  return {
    all: all.length,
    alerting: of('alerting'),
    recording: of('recording'),
    broken: of('broken'),
  };
}

/** What a rule is doing, for its mark. */
export function stateOf(rule: Rule): { state: State; word: string } {
  if (isBroken(rule)) return { state: 'critical', word: 'broken' };
  if (parseTime(rule.lastEvaluation) === null) return { state: 'unknown', word: 'not yet' };
  if (rule.type === 'recording') return { state: 'ok', word: 'records' };
  if (rule.state === 'firing') {
    const labels = { ...rule.labels, alertname: rule.name };
    if (isHeartbeat(labels)) return { state: 'ok', word: 'as it should' };
    return { state: alertState({ labels }), word: 'firing' };
  }
  if (rule.state === 'pending') return { state: 'pending', word: 'pending' };
  return { state: 'ok', word: 'quiet' };
}

/** What must hold for how long; empty for a recording rule. */
export function waits(rule: Rule): string {
  if (rule.type === 'recording') return '';
  return [
    rule.duration > 0 ? `fires after ${durationWords(rule.duration * 1000)}` : 'fires at once',
    rule.keepFiringFor ? `goes on for ${durationWords(rule.keepFiringFor * 1000)}` : '',
  ]
    .filter(Boolean)
    .join(', ');
}

/** A group whose evaluation takes longer than its interval falls behind. */
export function isLate(group: RuleGroup): boolean {
  return group.interval > 0 && group.evaluationTime > group.interval;
}
