/**
 * The part of Markdown that dashboards use, as a tree of plain data. Nothing of it ever becomes markup text: the panel
 * makes elements of it, so that a `<` in a text stays a `<`.
 */

export type Inline =
  | { kind: 'text'; text: string }
  | { kind: 'code'; text: string }
  | { kind: 'strong' | 'em'; children: Inline[] }
  | { kind: 'link'; href: string; children: Inline[] }
  | { kind: 'break' };

export type Block =
  | { kind: 'heading'; level: number; children: Inline[] }
  | { kind: 'paragraph'; children: Inline[] }
  | { kind: 'code'; text: string }
  | { kind: 'list'; isOrdered: boolean; items: Inline[][] }
  | { kind: 'rule' };

/** Only addresses that a browser follows without running anything. */
export function safeHref(href: string): string | null {
  const trimmed = href.trim();
  if (/^(https?:|mailto:)/i.test(trimmed)) return trimmed;
  return /^[a-z][a-z0-9+.-]*:/i.test(trimmed) || trimmed.startsWith('//') ? null : trimmed;
}

const INLINE =
  /`([^`]+)`|\*\*(.+?)\*\*|__(.+?)__|\*([^*\s][^*]*?)\*|\b_([^_\s][^_]*?)_\b|\[([^\]]+)\]\(([^)\s]+)[^)]*\)|<(https?:[^>\s]+)>|<br\s*\/?>|( {2,}\n|\\\n)/;

export function parseInline(source: string): Inline[] {
  const out: Inline[] = [];
  let rest = source;
  while (rest !== '') {
    const match = INLINE.exec(rest);
    if (!match) {
      out.push({ kind: 'text', text: rest });
      break;
    }
    if (match.index > 0) out.push({ kind: 'text', text: rest.slice(0, match.index) });
    const [whole, code, strong, strong2, em, em2, label, href, bare] = match;
    if (code !== undefined) out.push({ kind: 'code', text: code });
    else if (strong !== undefined || strong2 !== undefined) {
      out.push({ kind: 'strong', children: parseInline(strong ?? strong2 ?? '') });
    } else if (em !== undefined || em2 !== undefined) {
      out.push({ kind: 'em', children: parseInline(em ?? em2 ?? '') });
    } else if (label !== undefined) {
      const safe = safeHref(href ?? '');
      const children = parseInline(label);
      if (safe === null) out.push(...children);
      else out.push({ kind: 'link', href: safe, children });
    } else if (bare !== undefined) {
      out.push({ kind: 'link', href: bare, children: [{ kind: 'text', text: bare }] });
    } else out.push({ kind: 'break' });
    rest = rest.slice(match.index + whole.length);
  }
  return out;
}

const FENCE = /^\s*(```|~~~)/;
const ITEM = /^\s*([-*+]|\d+[.)])\s+(.*)$/;

export function parseMarkdown(source: string): Block[] {
  const lines = source.replace(/\r\n?/g, '\n').split('\n');
  const out: Block[] = [];
  let i = 0;
  while (i < lines.length) {
    const line = lines[i] ?? '';
    if (line.trim() === '') {
      i += 1;
      continue;
    }
    if (FENCE.test(line)) {
      const body: string[] = [];
      i += 1;
      while (i < lines.length && !FENCE.test(lines[i] ?? '')) body.push(lines[i++] ?? '');
      i += 1;
      out.push({ kind: 'code', text: body.join('\n') });
      continue;
    }
    const heading = /^(#{1,6})\s+(.*?)\s*#*$/.exec(line);
    if (heading) {
      out.push({ kind: 'heading', level: heading[1]?.length ?? 1, children: parseInline(heading[2] ?? '') });
      i += 1;
      continue;
    }
    if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      out.push({ kind: 'rule' });
      i += 1;
      continue;
    }
    const item = ITEM.exec(line);
    if (item) {
      const items: Inline[][] = [];
      const isOrdered = /\d/.test(item[1] ?? '');
      while (i < lines.length) {
        const next = ITEM.exec(lines[i] ?? '');
        if (!next) break;
        let words = next[2] ?? '';
        i += 1;
        while (i < lines.length && /^\s+\S/.test(lines[i] ?? '') && !ITEM.test(lines[i] ?? '')) {
          words += ` ${(lines[i++] ?? '').trim()}`;
        }
        items.push(parseInline(words));
      }
      out.push({ kind: 'list', isOrdered, items });
      continue;
    }
    const body: string[] = [];
    while (i < lines.length) {
      const next = lines[i] ?? '';
      if (next.trim() === '' || FENCE.test(next) || /^#{1,6}\s/.test(next) || ITEM.test(next)) break;
      body.push(next);
      i += 1;
    }
    out.push({ kind: 'paragraph', children: parseInline(body.join('\n')) });
  }
  return out;
}

/** HTML of a text panel as plain text: its tags are left out, a comparison such as "<30%" is not one. */
export function htmlToText(source: string): string {
  return source
    .replace(/<(script|style)[\s\S]*?<\/\1>/gi, '')
    .replace(/<\/(p|div|h[1-6]|li|tr)>|<br\s*\/?>/gi, '\n')
    .replace(/<\/?[a-z][^>]*>/gi, '')
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&nbsp;/g, ' ')
    .replace(/&quot;/g, '"')
    .replace(/&#39;/g, "'")
    .replace(/&amp;/g, '&');
}
