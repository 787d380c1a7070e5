import { useMemo } from 'preact/hooks';
import { text } from '../model/json';
import type { Panel } from '../model/types';
import { interpolate, type Scope } from '../vars/refs';
import { htmlToText, parseMarkdown, type Block, type Inline } from './markdown';
import css from './panels.module.css';

function Words({ inline }: { inline: readonly Inline[] }) {
  return (
    <>
      {inline.map((one, i) => {
        switch (one.kind) {
          case 'text':
            return one.text;
          case 'code':
            return <code key={i}>{one.text}</code>;
          case 'break':
            return <br key={i} />;
          case 'strong':
            return (
              <strong key={i}>
                <Words inline={one.children} />
              </strong>
            );
          case 'em':
            return (
              <em key={i}>
                <Words inline={one.children} />
              </em>
            );
          case 'link':
            return (
              <a key={i} href={one.href} rel="noopener noreferrer">
                <Words inline={one.children} />
              </a>
            );
        }
      })}
    </>
  );
}

function Part({ block }: { block: Block }) {
  switch (block.kind) {
    case 'heading':
      return (
        <h3 data-level={block.level}>
          <Words inline={block.children} />
        </h3>
      );
    case 'paragraph':
      return (
        <p>
          <Words inline={block.children} />
        </p>
      );
    case 'code':
      return <pre>{block.text}</pre>;
    case 'rule':
      return <hr />;
    case 'list': {
      const items = block.items.map((item, i) => (
        <li key={i}>
          <Words inline={item} />
        </li>
      ));
      return block.isOrdered ? <ol>{items}</ol> : <ul>{items}</ul>;
    }
  }
}

/** Words that somebody wrote for the readers of the dashboard. */
export function TextPanel({ panel, scope }: { panel: Panel; scope: Scope }) {
  const mode = text(panel.options.mode, 'markdown');
  const source = interpolate(text(panel.options.content), scope, 'text');
  const blocks = useMemo(() => parseMarkdown(mode === 'html' ? htmlToText(source) : source), [source, mode]);
  if (mode === 'code') return <pre class={css.codeText}>{source}</pre>;
  return (
    <div class={css.prose}>
      {blocks.map((block, i) => (
        <Part key={i} block={block} />
      ))}
    </div>
  );
}
