/** A panel's title, its state and its picture; a fault in it stays in it. */
import { Component, type ComponentChildren } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { themeName } from '../../chart/theme';
import { useSize } from '../../chart/useSize';
import { useData } from '../../api/useData';
import { CopyButton, Progress } from '../../ui/parts';
import { asked, isLive, range, resolveRange, tick } from '../../time/range';
import { askAll, QueryError, type Answered } from '../data/ask';
import { panelWindow, planKey, planPanel, type Plan } from '../data/plan';
import { BarGaugePanel, GaugePanel } from '../panels/GaugePanel';
import { prepareFields } from '../panels/fields';
import { PiePanel } from '../panels/PiePanel';
import { StatPanel } from '../panels/StatPanel';
import { TablePanel } from '../panels/TablePanel';
import { TextPanel } from '../panels/TextPanel';
import { TimeseriesPanel } from '../panels/TimeseriesPanel';
import type { PanelProps } from '../panels/types';
import { safeHref } from '../panels/markdown';
import { transformFrames } from '../data/transform';
import type { Dashboard, Panel } from '../model/types';
import { interpolate, type Resolved, type Scope } from '../vars/refs';
import { titleOf } from './layout';
import { NoData } from './NoData';
import { PanelActions } from './PanelActions';
import css from './view.module.css';

const DRAWN: Record<string, (props: PanelProps) => ComponentChildren> = {
  timeseries: TimeseriesPanel,
  stat: StatPanel,
  gauge: GaugePanel,
  bargauge: BarGaugePanel,
  table: TablePanel,
  piechart: PiePanel,
};

/** Keeps a panel that cannot be drawn from taking the page with it. */
class Fence extends Component<
  { children: ComponentChildren; subject: unknown; queries: string },
  { error?: Error }
> {
  override state: { error?: Error } = {};

  static getDerivedStateFromError(error: Error): { error: Error } {
    return { error };
  }

  override componentDidUpdate(previous: { subject: unknown }): void {
    if (previous.subject !== this.props.subject && this.state.error) this.setState({ error: undefined });
  }

  override render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    return <Failure words="This panel cannot be drawn." message={error.message} query={this.props.queries} />;
  }
}

function Failure({ words, message, query }: { words: string; message: string; query: string }) {
  return (
    <div class={css.failure} role="alert">
      <strong>{words}</strong>
      <p>{message}</p>
      {query !== '' && <pre>{query}</pre>}
      <CopyButton text={`${words}\n${message}\n${query}`} />
    </div>
  );
}

/** True while the element is on the screen or at most one screen away. */
function useNear(ref: { current: HTMLElement | null }): boolean {
  const [isNear, setNear] = useState(false);
  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    const observer = new IntersectionObserver(
      ([entry]) => {
        if (entry) setNear(entry.isIntersecting);
      },
      { rootMargin: '100% 0px' },
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return isNear;
}

export interface PanelFrameProps {
  /** Unique on the page, also among the copies of a repeated panel. */
  id: string;
  panel: Panel;
  scope: Scope;
  scoped: ReadonlyMap<string, Resolved>;
  dashboard: Dashboard;
  scrapeMs: number;
}

export function PanelFrame({ id, panel, scope: common, scoped, dashboard, scrapeMs }: PanelFrameProps) {
  const scope = useMemo<Scope>(() => new Map([...common, ...scoped]), [common, scoped]);
  const root = useRef<HTMLElement>(null);
  const body = useRef<HTMLDivElement>(null);
  const isNear = useNear(root);
  const size = useSize(body);
  const title = titleOf(panel, scope);
  const isDrawn = panel.type in DRAWN;
  const current = range.value;
  // A range in the past does not change by itself.
  const beat = isLive.value || panel.timeFrom ? tick.value : asked.value;

  const plan = (): Plan => {
    const now = Date.now();
    return planPanel(panel, { ...resolveRange(now), width: size.width || 500, scrapeMs, scope, now });
  };
  const first = useMemo(plan, [panel, scope, current, size.width > 0, scrapeMs, beat]);
  const isWanted = isNear && size.width > 0 && isDrawn && first.queries.length > 0;
  const key = isWanted ? planKey(first, `${current.from} ${current.to}`) : null;
  const { data, error, loading } = useData<Answered>(
    key,
    async (signal) => {
      const wanted = plan();
      const answered = await askAll(wanted.queries, signal);
      return { ...answered, fromMs: wanted.fromMs, toMs: wanted.toMs };
    },
    beat,
  );

  const words = panelWindow(panel, { ...resolveRange(), width: 1, scrapeMs, scope, now: Date.now() }).words;
  const queries = first.queries.map((query) => query.expr).join('\n');
  return (
    <article
      ref={root}
      class={panel.transparent ? css.panelBare : css.panel}
      aria-label={title || panel.type}
      aria-busy={loading}
      data-test="panel"
      data-type={panel.type}
    >
      <Progress on={loading && data !== undefined} />
      {(title !== '' || words || isDrawn) && (
        <header class={title === '' && !words ? css.panelHeadEmpty : css.panelHead}>
          <h3 title={panel.description}>{title}</h3>
          {words && <span class={css.window}>{words}</span>}
          {panel.description && (
            <span class={css.info} title={panel.description} role="img" aria-label={panel.description}>
              i
            </span>
          )}
          {panel.links?.map((link, i) => {
            const href = safeHref(interpolate(link.url ?? '', scope, 'text'));
            return href === null || href === '' ? null : (
              <a
                key={i}
                href={href}
                target={link.targetBlank ? '_blank' : undefined}
                rel="noopener noreferrer"
              >
                {link.title || 'Link'}
              </a>
            );
          })}
          {isDrawn && (
            <PanelActions
              id={id}
              title={title}
              queries={first.queries.map((query) => query.expr).slice(0, 6)}
            />
          )}
        </header>
      )}
      <div class={css.panelBody} ref={body}>
        <Fence subject={data} queries={queries}>
          <Content
            panel={panel}
            title={title}
            scope={scope}
            plan={first}
            answer={data}
            error={error}
            width={size.width}
            height={size.height}
            dashboard={dashboard}
          />
        </Fence>
      </div>
    </article>
  );
}

interface ContentProps {
  panel: Panel;
  title: string;
  scope: Scope;
  plan: Plan;
  answer: Answered | undefined;
  error: Error | undefined;
  width: number;
  height: number;
  dashboard: Dashboard;
}

function Content(props: ContentProps) {
  const { panel, plan, answer, error, scope } = props;
  if (panel.type === 'text') return <TextPanel panel={panel} scope={scope} />;
  if (!(panel.type in DRAWN)) return <Unknown type={panel.type} queries={plan.queries.length} />;
  if (plan.missing.length > 0 && plan.queries.length === 0) {
    return (
      <div class={css.noData}>
        <strong>Another data source</strong>
        <p>This panel asks a source of the type {plan.missing.join(', ')}, which is not connected here.</p>
      </div>
    );
  }
  if (plan.queries.length === 0) return <NoData queries={[]} />;
  if (error && (!answer || (error instanceof QueryError && !error.isLoss))) {
    const query = error instanceof QueryError ? error.query.expr : '';
    return <Failure words="The query failed." message={error.message} query={query} />;
  }
  if (!answer) return <div class={css.waiting} role="status" aria-label="Loading" />;
  return <Picture {...props} answer={answer} />;
}

function Picture({
  panel,
  title,
  scope,
  answer,
  width,
  height,
  dashboard,
}: ContentProps & { answer: Answered }) {
  const theme = themeName.value;
  const fields = useMemo(
    () =>
      prepareFields(
        transformFrames(answer.frames, panel.transformations ?? []),
        panel.fieldConfig,
        theme,
        scope,
      ),
    [answer, panel, theme, scope],
  );
  const hasValues = fields.some(({ field }) => field.values.length > 0);
  if (!hasValues) return <NoData queries={answer.queries} words={panel.fieldConfig.defaults.noValue} />;
  const Drawn = DRAWN[panel.type];
  if (!Drawn) return null;
  return (
    <Drawn
      panel={panel}
      title={title}
      fields={fields}
      answer={answer}
      scope={scope}
      theme={theme}
      width={width}
      height={height}
      syncKey={dashboard.graphTooltip > 0 ? `dashboard ${dashboard.uid}` : undefined}
      syncTooltip={dashboard.graphTooltip === 2}
    />
  );
}

function Unknown({ type, queries }: { type: string; queries: number }) {
  return (
    <div class={css.noData}>
      <strong>{type}</strong>
      <p>Panels of this type are not drawn yet{queries > 0 ? '; the queries are kept.' : '.'}</p>
    </div>
  );
}
