/** Times and windows as the forms hold them. Pure functions. */

/** What `<input type="datetime-local">` takes: local, to the minute. */
export function localInput(ms: number): string {
  const date = new Date(ms);
  const two = (n: number): string => String(n).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** The moment of such an input; null where it is empty or broken. */
export function fromLocalInput(text: string): number | null {
  const at = new Date(text).getTime();
  return text === '' || Number.isNaN(at) ? null : at;
}

export const DAYS = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'] as const;

const SHORT: Record<string, string> = {
  monday: 'Mon',
  tuesday: 'Tue',
  wednesday: 'Wed',
  thursday: 'Thu',
  friday: 'Fri',
  saturday: 'Sat',
  sunday: 'Sun',
};

export function shortDay(day: string): string {
  return SHORT[day] ?? day;
}

/** "every day", "Mon to Fri", "Sat, Sun". */
export function daysWords(days: readonly string[]): string {
  const at = DAYS.flatMap((day, index) => (days.includes(day) ? [index] : []));
  if (at.length === 7) return 'every day';
  const first = at[0] ?? 0;
  const isRun = at.length > 2 && at.every((day, index) => day === first + index);
  const name = (index: number | undefined): string => shortDay(DAYS[index ?? 0] ?? '');
  if (isRun) return `${name(first)} to ${name(at[at.length - 1])}`;
  return at.map(name).join(', ');
}

/** "every day 22:00 to 06:00, Europe/Berlin". */
export function windowWords(one: {
  days: readonly string[];
  from: string;
  to: string;
  timeZone: string;
}): string {
  const next = one.to <= one.from ? ' the next day' : '';
  return `${daysWords(one.days)}, ${one.from} to ${one.to}${next}, ${one.timeZone}`;
}
