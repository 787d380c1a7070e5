import type { RefObject } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { ErrorNote } from '../../ui/parts';
import type { PromEditor } from './editor-view';
import type { QueryMistake } from './errors';
import css from './explore.module.css';

export interface EditorHandle {
  setText: (text: string) => void;
  showMistake: (mistake: QueryMistake | null) => void;
}

/** The editor's place. Its code comes later than the page; until then the text stands there, same size. */
export function Editor(props: {
  handle: RefObject<EditorHandle>;
  text: string;
  onChange: (text: string) => void;
  onRun: (text: string) => void;
}) {
  const host = useRef<HTMLDivElement>(null);
  const editor = useRef<PromEditor | null>(null);
  const current = useRef({ text: props.text, mistake: null as QueryMistake | null });
  const calls = useRef(props);
  calls.current = props;
  const [ready, setReady] = useState(false);
  const [error, setError] = useState<Error>();

  useEffect(() => {
    props.handle.current = {
      setText: (text) => {
        current.current.text = text;
        editor.current?.setText(text);
      },
      showMistake: (mistake) => {
        current.current.mistake = mistake;
        editor.current?.showMistake(mistake);
      },
    };
    let gone = false;
    import('./editor-view').then(
      ({ createEditor }) => {
        if (gone || !host.current) return;
        editor.current = createEditor(host.current, {
          text: current.current.text,
          onChange: (text) => {
            current.current.text = text;
            calls.current.onChange(text);
          },
          onRun: () => calls.current.onRun(current.current.text),
        });
        if (current.current.mistake) editor.current.showMistake(current.current.mistake);
        setReady(true);
        if (current.current.text === '' && matchMedia('(pointer: fine)').matches) editor.current.focus();
      },
      (reason: unknown) => setError(reason instanceof Error ? reason : new Error(String(reason))),
    );
    return () => {
      gone = true;
      editor.current?.destroy();
      editor.current = null;
    };
  }, []);

  return (
    <div class={css.editor}>
      <div ref={host} data-test="editor" data-ready={ready} />
      {!ready && !error && <pre class={css.editorPlaceholder}>{props.text || ' '}</pre>}
      {error && <ErrorNote what="The editor could not be loaded. Reload the page." error={error} />}
    </div>
  );
}
