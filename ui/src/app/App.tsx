import { Component, type ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import { Route, Router, Switch, useLocation } from 'wouter-preact';
import { NotFound } from '../pages/NotFound';
import { OverviewPage } from '../pages/overview/OverviewPage';
import { ErrorNote } from '../ui/parts';
import { lazyPage } from './lazy';
import { Managed } from '../pages/alertmanager/Managed';
import { openOldAddress } from './oldAddress';
import { BASE, IS_ALERTMANAGER } from './places';
import { Shell } from './Shell';

const Dashboard = lazyPage(async () => (await import('../dashboard')).DashboardPage);
const DashboardList = lazyPage(async () => (await import('../dashboard')).DashboardListPage);
const Explore = lazyPage(async () => (await import('../pages/explore/ExplorePage')).ExplorePage);
const Alerts = lazyPage(async () => (await import('../pages/alerts/AlertsPage')).AlertsPage);
const Targets = lazyPage(async () => (await import('../pages/targets/TargetsPage')).TargetsPage);
const Rules = lazyPage(async () => (await import('../pages/rules/RulesPage')).RulesPage);
const Status = lazyPage(async () => (await import('../pages/server')).StatusPage);
const Configuration = lazyPage(async () => (await import('../pages/server')).ConfigurationPage);
const Flags = lazyPage(async () => (await import('../pages/server')).FlagsPage);
const Storage = lazyPage(async () => (await import('../pages/storage/StoragePage')).StoragePage);

const Routed = lazyPage(async () => (await import('../pages/alertmanager')).RoutedPage);
const Silences = lazyPage(async () => (await import('../pages/alertmanager')).SilencesPage);
const Silence = lazyPage(async () => (await import('../pages/alertmanager')).SilencePage);
const SilenceForm = lazyPage(async () => (await import('../pages/alertmanager')).SilenceFormPage);
const Told = lazyPage(async () => (await import('../pages/alertmanager')).NotificationsPage);
const WhyTold = lazyPage(async () => (await import('../pages/alertmanager')).WhyPage);
const ManagerStatus = lazyPage(async () => (await import('../pages/alertmanager')).StatusPage);

/** Keeps a fault in one page inside it: the rail and the other places go on working. */
class Fence extends Component<{ children: ComponentChildren; path: string }, { error?: Error }> {
  override state: { error?: Error } = {};

  static getDerivedStateFromError(error: Error): { error: Error } {
    return { error };
  }

  override componentDidUpdate(previous: { path: string }): void {
    if (previous.path !== this.props.path && this.state.error) this.setState({ error: undefined });
  }

  override render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    return <ErrorNote what="This page met a fault of its own and cannot be drawn." error={error} />;
  }
}

function Pages() {
  const [path] = useLocation();
  return (
    <Fence path={path}>
      <Switch>
        <Route path="/">{IS_ALERTMANAGER ? <Routed /> : <OverviewPage />}</Route>
        <Route path="/alertmanager">
          <Managed>
            <Routed />
          </Managed>
        </Route>
        <Route path="/alertmanager/silences">
          <Managed>
            <Silences />
          </Managed>
        </Route>
        <Route path="/alertmanager/silences/new">
          <Managed>
            <SilenceForm />
          </Managed>
        </Route>
        <Route path="/alertmanager/silences/:id">
          {(params) => (
            <Managed>
              <Silence key={params.id} id={params.id} />
            </Managed>
          )}
        </Route>
        <Route path="/alertmanager/silences/:id/edit">
          {(params) => (
            <Managed>
              <SilenceForm key={params.id} id={params.id} />
            </Managed>
          )}
        </Route>
        <Route path="/alertmanager/recurring/:id/edit">
          {(params) => (
            <Managed>
              <SilenceForm key={params.id} recurring={params.id} />
            </Managed>
          )}
        </Route>
        <Route path="/alertmanager/notifications">
          <Managed>
            <Told />
          </Managed>
        </Route>
        <Route path="/alertmanager/why">
          <Managed>
            <WhyTold />
          </Managed>
        </Route>
        <Route path="/alertmanager/status">
          <Managed>
            <ManagerStatus />
          </Managed>
        </Route>
        <Route path="/dashboards">
          <DashboardList />
        </Route>
        <Route path="/d/:uid/:slug?">{(params) => <Dashboard key={params.uid} uid={params.uid} />}</Route>
        <Route path="/explore">
          <Explore />
        </Route>
        <Route path="/query">
          <Explore />
        </Route>
        <Route path="/graph">
          <Explore />
        </Route>
        <Route path="/alerts">
          <Alerts />
        </Route>
        <Route path="/rules">
          <Rules />
        </Route>
        <Route path="/targets">
          <Targets />
        </Route>
        <Route path="/status">
          <Status />
        </Route>
        <Route path="/config">
          <Configuration />
        </Route>
        <Route path="/flags">
          <Flags />
        </Route>
        <Route path="/storage">
          <Storage />
        </Route>
        <Route>
          <NotFound />
        </Route>
      </Switch>
    </Fence>
  );
}

export function App() {
  // The other places' code comes while nothing else is to do, so that going there is immediate.
  useEffect(() => {
    const others = [Dashboard, DashboardList, Explore, Alerts, Rules, Targets, Status, Storage];
    const later = setTimeout(() => {
      for (const page of IS_ALERTMANAGER ? [Routed] : [...others, Routed]) page.preload();
    }, 1500);
    return () => clearTimeout(later);
  }, []);
  // Addresses of Alertmanager's own pages, which stand behind the #.
  useEffect(() => {
    addEventListener('hashchange', openOldAddress);
    return () => removeEventListener('hashchange', openOldAddress);
  }, []);
  return (
    <Router base={BASE}>
      <Shell>
        <Pages />
      </Shell>
    </Router>
  );
}
