import type { ComponentChildren } from 'preact';
import type { Labels } from '../api/types';
import list from './list.module.css';

/** Names, and what is known under each: rows of `Fact`. */
export function Facts({ children, test }: { children: ComponentChildren; test?: string }) {
  return (
    <dl class={list.facts} data-test={test}>
      {children}
    </dl>
  );
}

export function Fact({
  name,
  class: more,
  children,
}: {
  name: string;
  class?: string;
  children: ComponentChildren;
}) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class={more}>{children}</dd>
    </div>
  );
}

const URL_TEXT = /^https?:\/\/\S+$/;

/** Whether a text from outside may become a link. */
export function isUrl(text: string): boolean {
  return URL_TEXT.test(text);
}

/** What an alert says of itself below its summary, which stands in its line: what people read first comes first. */
export function Annotations({ annotations }: { annotations: Labels }) {
  const shown = Object.entries(annotations)
    .filter(([name]) => name !== 'summary')
    .sort(([a], [b]) => Number(b === 'description') - Number(a === 'description') || (a < b ? -1 : 1));
  return (
    <>
      {shown.map(([name, value]) => (
        <Fact key={name} name={name.replace(/_/g, ' ')}>
          {isUrl(value) ? (
            <a href={value} target="_blank" rel="noopener noreferrer">
              {value}
            </a>
          ) : (
            value
          )}
        </Fact>
      ))}
    </>
  );
}
