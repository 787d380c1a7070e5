/**
 * The PromQL editor: CodeMirror 6 inside a ShadowRoot, where its styles are adopted style sheets, which a strict
 * Content-Security-Policy allows. This module is a chunk of its own; nothing else may import it statically.
 */
import {
  acceptCompletion,
  autocompletion,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
  startCompletion,
} from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { bracketMatching, HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { setDiagnostics } from '@codemirror/lint';
import { EditorState, Prec } from '@codemirror/state';
import { drawSelection, EditorView, keymap, placeholder } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { PromQLExtension } from '@prometheus-io/codemirror-promql';
import type { QueryMistake } from './errors';

export interface PromEditor {
  focus: () => void;
  /** Replaces the text when it differs, as when another query is chosen from the history. */
  setText: (text: string) => void;
  showMistake: (mistake: QueryMistake | null) => void;
  destroy: () => void;
}

const highlight = HighlightStyle.define([
  { tag: tags.comment, color: 'var(--text-3)', fontStyle: 'italic' },
  { tag: tags.string, color: 'var(--code-string)' },
  { tag: tags.number, color: 'var(--code-number)' },
  { tag: tags.labelName, color: 'var(--code-label)' },
  { tag: [tags.function(tags.variableName), tags.operatorKeyword], color: 'var(--code-function)' },
  { tag: [tags.keyword, tags.modifier], color: 'var(--code-function)' },
  {
    tag: [tags.operator, tags.compareOperator, tags.arithmeticOperator, tags.logicOperator],
    color: 'var(--text-2)',
  },
  { tag: tags.invalid, color: 'var(--critical)' },
]);

const look = EditorView.theme({
  '&': { backgroundColor: 'transparent', color: 'var(--text)', fontSize: '1rem' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.6', overflowX: 'auto' },
  '.cm-content': { padding: '7px 0', caretColor: 'var(--text)' },
  '.cm-line': { padding: '0 12px' },
  '.cm-cursor': { borderLeftColor: 'var(--text)', borderLeftWidth: '1.5px' },
  '.cm-placeholder': { color: 'var(--text-3)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': {
    background: 'color-mix(in srgb, var(--accent) 26%, transparent)',
  },
  '&.cm-focused .cm-matchingBracket': {
    backgroundColor: 'color-mix(in srgb, var(--accent) 22%, transparent)',
    outline: 'none',
  },
  '&.cm-focused .cm-nonmatchingBracket': { backgroundColor: 'transparent', color: 'var(--critical)' },
  '.cm-lintRange-error': {
    backgroundImage: 'none',
    textDecoration: 'underline wavy var(--critical) 1.5px',
    textUnderlineOffset: '3px',
    textDecorationSkipInk: 'none',
  },
  '.cm-tooltip': {
    border: '1px solid var(--border)',
    borderRadius: '6px',
    backgroundColor: 'var(--surface)',
    color: 'var(--text)',
    boxShadow: 'var(--shadow)',
    marginTop: '4px',
  },
  '.cm-tooltip.cm-tooltip-autocomplete > ul': {
    fontFamily: 'var(--mono)',
    maxHeight: '17em',
    borderRadius: '6px',
    maxWidth: 'min(640px, calc(100vw - 32px))',
  },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li': { padding: '3px 12px', lineHeight: '1.5' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]': {
    backgroundColor: 'color-mix(in srgb, var(--accent) 18%, var(--surface))',
    color: 'var(--text)',
  },
  '.cm-completionIcon': { display: 'none' },
  '.cm-completionMatchedText': { textDecoration: 'none', fontWeight: '700', color: 'var(--accent)' },
  '.cm-completionDetail': { marginLeft: '1.2em', fontStyle: 'normal', color: 'var(--text-3)' },
  '.cm-tooltip.cm-completionInfo': {
    margin: '0 6px',
    padding: '8px 12px',
    maxWidth: '360px',
    fontFamily: 'var(--font)',
    color: 'var(--text-2)',
  },
  '.cm-diagnostic-error': { borderLeft: '3px solid var(--critical)', padding: '6px 10px' },
});

/** Builds an editor inside `host`, an element without a shadow root yet or with the one of an earlier editor. */
export function createEditor(
  host: HTMLElement,
  options: { text: string; onChange: (text: string) => void; onRun: () => void },
): PromEditor {
  const root = host.shadowRoot ?? host.attachShadow({ mode: 'open' });
  root.replaceChildren();
  const parent = document.createElement('div');
  root.append(parent);

  const promql = new PromQLExtension().activateLinter(false).setComplete({
    remote: {
      url: '',
      apiPrefix: 'api/v1',
      httpMethod: 'GET',
      lookbackInterval: 12 * 3600 * 1000,
      fetchFn: (input, init) => fetch(input, init),
    },
  });
  const run = (): boolean => {
    options.onRun();
    return true;
  };

  const view = new EditorView({
    root,
    parent,
    state: EditorState.create({
      doc: options.text,
      extensions: [
        Prec.highest(
          keymap.of([
            { key: 'Mod-Enter', run },
            { key: 'Shift-Enter', run },
            { key: 'Tab', run: acceptCompletion },
            { key: 'Ctrl-Space', run: startCompletion },
          ]),
        ),
        history(),
        drawSelection(),
        bracketMatching(),
        closeBrackets(),
        autocompletion({ icons: false }),
        keymap.of([...closeBracketsKeymap, ...completionKeymap, ...historyKeymap, ...defaultKeymap]),
        placeholder('A PromQL expression, for example up'),
        EditorView.lineWrapping,
        syntaxHighlighting(highlight),
        look,
        promql.asExtension(),
        EditorView.contentAttributes.of({ 'aria-label': 'PromQL expression' }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) options.onChange(update.state.doc.toString());
        }),
      ],
    }),
  });

  return {
    focus: () => view.focus(),
    setText: (text) => {
      if (view.state.doc.toString() === text) return;
      view.dispatch({
        changes: { from: 0, to: view.state.doc.length, insert: text },
        selection: { anchor: text.length },
      });
    },
    showMistake: (mistake) => {
      const length = view.state.doc.length;
      const marks =
        mistake && mistake.to <= length && mistake.from < mistake.to
          ? [{ from: mistake.from, to: mistake.to, severity: 'error' as const, message: mistake.message }]
          : [];
      view.dispatch(setDiagnostics(view.state, marks));
    },
    destroy: () => {
      promql.destroy();
      view.destroy();
    },
  };
}
