import { expect, test } from 'vitest';
import { htmlToText, parseInline, parseMarkdown, safeHref } from './markdown';

test('blocks', () => {
  expect(
    parseMarkdown('# A\ntext <30%\n\n- one\n- **two**\n\n```\nx < y\n```\n---').map((block) => block.kind),
  ).toEqual(['heading', 'paragraph', 'list', 'code', 'rule']);
});

test.each([
  ['a `b` **c**', ['text', 'code', 'text', 'strong']],
  ['[x](https://a.b/c) _d_', ['link', 'text', 'em']],
  ['[x](javascript:alert(1))', ['text', 'text']],
  ['snake_case_name stays', ['text']],
  ['CPU <30% & <b>', ['text']],
])('%s', (source, kinds) => expect(parseInline(source).map((one) => one.kind)).toEqual(kinds));

test.each([
  ['https://a.b', 'https://a.b'],
  ['d/x?y=1', 'd/x?y=1'],
  ['javascript:alert(1)', null],
  [' JaVaScript:x', null],
  ['data:text/html,x', null],
  ['//evil', null],
])('%s', (href, wanted) => expect(safeHref(href)).toBe(wanted));

test('html loses its tags only', () => {
  expect(htmlToText('<div style="x">a &lt; b<br>c <30%</div><script>bad()</script>')).toBe('a < b\nc <30%\n');
});
