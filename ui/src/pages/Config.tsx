import { CopyButton } from '../ui/parts';
import parts from '../ui/parts.module.css';
import css from './pages.module.css';

/** The configuration in force, as the server writes it. */
export function Config({ text, test }: { text: string; test: string }) {
  return (
    <section>
      <h2 class={css.sectionTitle}>
        Configuration, secrets hidden
        <span class={css.toRight}>
          <CopyButton text={text} />
        </span>
      </h2>
      <div class={parts.sheet}>
        <pre class={css.config} data-test={test} tabIndex={0} aria-label="Configuration">
          {text}
        </pre>
      </div>
    </section>
  );
}
