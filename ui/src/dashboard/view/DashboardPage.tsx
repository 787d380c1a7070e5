import { useLayoutEffect, useMemo } from 'preact/hooks';
import { Link, useSearch } from 'wouter-preact';
import { getJson } from '../../api/client';
import { useData } from '../../api/useData';
import { bootstrap } from '../../app/bootstrap';
import { BRAND } from '../../app/places';
import { parseDuration, range, resolveRange, setDefaults } from '../../time/range';
import { ErrorNote, SkeletonRows } from '../../ui/parts';
import parts from '../../ui/parts.module.css';
import pages from '../../pages/pages.module.css';
import { loadDashboard } from '../model/load';
import type { Dashboard } from '../model/types';
import { safeHref } from '../panels/markdown';
import { interpolate } from '../vars/refs';
import { fetchOptions, resolveVariables, scopeOf, urlValues, type Variable } from '../vars/resolve';
import { Grid } from './Grid';
import { VariableBar } from './VariableBar';
import css from './view.module.css';

const FALLBACK_SCRAPE_MS = 15_000;

/** Writes a variable into the address; the others stay. */
function writeVariable(name: string, values: string[]): void {
  const url = new URL(location.href);
  url.searchParams.delete(`var-${name}`);
  for (const value of values) url.searchParams.append(`var-${name}`, value);
  history.pushState(null, '', `${url.pathname}${url.search}${url.hash}`);
}

/** Only the part of the address that variables are in, so that a zoom does not look them up again. */
function variableSearch(search: string): string {
  const params = new URLSearchParams(search);
  return [...params]
    .filter(([key]) => key.startsWith('var-'))
    .map(([key, value]) => `${key}=${encodeURIComponent(value)}`)
    .join('&');
}

function useVariables(dashboard: Dashboard): { variables: Variable[] | undefined; error: Error | undefined } {
  const search = variableSearch(useSearch());
  const { from, to } = range.value;
  const followsTime = dashboard.variables.some((variable) => variable.refresh === 2);
  const key = JSON.stringify([dashboard.uid, search, followsTime ? [from, to] : null]);
  const { data, error } = useData(key, (signal) =>
    resolveVariables(dashboard, urlValues(search), resolveRange(), fetchOptions, signal),
  );
  return { variables: data, error };
}

function Links({ dashboard, scope }: { dashboard: Dashboard; scope: ReturnType<typeof scopeOf> }) {
  const links = dashboard.links.filter((link) => link.type === 'link' && link.url);
  if (links.length === 0) return null;
  return (
    <nav class={css.links} aria-label="Links of this dashboard">
      {links.map((link, i) => {
        const href = safeHref(interpolate(link.url ?? '', scope, 'text'));
        return href === null ? null : (
          <a key={i} href={href} target={link.targetBlank ? '_blank' : undefined} rel="noopener noreferrer">
            {link.title || link.url}
          </a>
        );
      })}
    </nav>
  );
}

function Board({ dashboard }: { dashboard: Dashboard }) {
  // Before anything is asked, so that the first question already has the right range.
  useLayoutEffect(() => {
    setDefaults({
      ...dashboard.time,
      ...(dashboard.refresh === undefined ? {} : { refresh: dashboard.refresh }),
    });
    const before = document.title;
    document.title = `${dashboard.title} · ${BRAND}`;
    return () => {
      setDefaults(null);
      document.title = before;
    };
  }, [dashboard]);

  const { variables, error } = useVariables(dashboard);
  const scope = useMemo(() => scopeOf(variables ?? [], dashboard), [variables, dashboard]);
  const scrapeMs = parseDuration(bootstrap.value?.scrapeInterval ?? '') ?? FALLBACK_SCRAPE_MS;
  return (
    <>
      <div class={css.head}>
        <h2 title={dashboard.description}>{dashboard.title}</h2>
        {variables && <VariableBar variables={variables} onChange={writeVariable} />}
        <Links dashboard={dashboard} scope={scope} />
      </div>
      {error && !variables && <ErrorNote what="The variables could not be looked up." error={error} />}
      {variables ? (
        <Grid dashboard={dashboard} variables={variables} scope={scope} scrapeMs={scrapeMs} />
      ) : (
        !error && <SkeletonRows rows={6} />
      )}
    </>
  );
}

/** One dashboard, drawn from Grafana's JSON. */
export function DashboardPage({ uid }: { uid: string }) {
  const { data, error } = useData(`dashboard ${uid}`, async (signal) =>
    loadDashboard(await getJson<unknown>(`api/dashboards/uid/${encodeURIComponent(uid)}`, {}, signal)),
  );
  if (error && !data) {
    return (
      <>
        <ErrorNote what={`The dashboard "${uid}" cannot be shown.`} error={error} />
        <p class={pages.ways}>
          <Link href="/dashboards" class={parts.button}>
            All dashboards
          </Link>
        </p>
      </>
    );
  }
  return data ? <Board dashboard={data} /> : <SkeletonRows rows={6} />;
}
