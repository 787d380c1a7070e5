import { expect, test } from 'vitest';
import { daysWords, fromLocalInput, localInput, windowWords } from './times';

test('a moment goes through the form and back, to the minute', () => {
  const at = new Date(2026, 10, 5, 7, 8).getTime();
  expect(localInput(at)).toBe('2026-11-05T07:08');
  expect(fromLocalInput(localInput(at))).toBe(at);
  expect(fromLocalInput('')).toBe(null);
  expect(fromLocalInput('soon')).toBe(null);
});

test('days are words', () => {
  expect(daysWords(['friday', 'monday', 'tuesday', 'wednesday', 'thursday'])).toBe('Mon to Fri');
  expect(daysWords(['sunday', 'saturday'])).toBe('Sat, Sun');
  expect(daysWords(['monday', 'wednesday', 'friday'])).toBe('Mon, Wed, Fri');
  expect(daysWords(['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'])).toBe(
    'every day',
  );
  expect(windowWords({ days: ['sunday'], from: '22:00', to: '06:00', timeZone: 'UTC' })).toBe(
    'Sun, 22:00 to 06:00 the next day, UTC',
  );
});
