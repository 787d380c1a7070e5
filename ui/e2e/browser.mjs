/**
 * The browser test: opens every page of a running server in headless Chromium, in both themes and two sizes,
 * and uses them as a person would.
 *
 * Environment: CUPOLA_URL (a running server), OUT_DIR (for screenshots; e2e/out when left out), CHROMIUM (the
 * browser's path), ONLY (a regular expression over the checks' names, for work on one page). Ends with a line "N passed, M failed"; the exit code is 1 when anything failed.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  assert,
  assertAccessible,
  assertNoSidewaysScroll,
  Checks,
  colouredPixels,
  launch,
  SIZES,
  THEMES,
  waitForChange,
  watchedPage,
} from './harness.mjs';

const base = process.env.CUPOLA_URL?.replace(/\/$/, '');
if (!base) {
  console.error('CUPOLA_URL is not set: it names the running server, such as http://127.0.0.1:9090');
  process.exit(2);
}
const out = process.env.OUT_DIR || new URL('./out', import.meta.url).pathname;
mkdirSync(out, { recursive: true });

/** Every page, and what has to be there before it counts as shown. */
const PAGES = [
  { name: 'overview', path: '/', ready: '[data-test="tile-cpu"]' },
  { name: 'dashboards', path: '/dashboards', ready: 'a[href*="/d/cupola-node"]' },
  { name: 'node', path: '/d/cupola-node', ready: 'main canvas' },
  { name: 'explore', path: '/explore', ready: '[data-test="editor"][data-ready="true"]' },
  { name: 'explore-table', path: '/explore?g0.expr=up&g0.tab=table&refresh=5s', ready: '[data-test="row"]' },
  {
    name: 'explore-graph',
    path: '/explore?g0.expr=node_memory_MemAvailable_bytes&g0.tab=graph&refresh=5s',
    ready: '[data-test="query"] [data-test="chart"] canvas',
  },
  { name: 'alerts', path: '/alerts', ready: '[data-alert="Watchdog"]' },
  { name: 'routed', path: '/#/alerts', ready: '[data-alert="Watchdog"]' },
  { name: 'silences', path: '/#/silences', ready: 'a:has-text("New silence")' },
  {
    name: 'silence-new',
    path: `/#/silences/new?filter=${encodeURIComponent('{alertname="Watchdog"}')}`,
    ready: '[data-test="muted"]',
  },
  { name: 'told', path: '/alertmanager/notifications', ready: '[data-test="message"]' },
  { name: 'manager-status', path: '/#/status', ready: '[data-test="am-config"]' },
  { name: 'targets', path: '/targets', ready: '[data-test="target"][data-health="up"]' },
  { name: 'storage', path: '/storage', ready: '[data-test="holder"]' },
  { name: 'rules', path: '/rules', ready: '[data-test="rule"]' },
  { name: 'status', path: '/status', ready: '[data-test="server-status"]' },
  { name: 'config', path: '/config', ready: '[data-test="config"]' },
  { name: 'flags', path: '/flags', ready: '[data-test="flag"]' },
];

const checks = new Checks(process.env.ONLY);
const browser = await launch();

/** Opens the page and waits until it is shown and nothing is under way any more. */
async function open(page, { path, ready }) {
  await page.goto(base + path, { waitUntil: 'load' });
  await page.waitForSelector(ready, { timeout: 90_000 });
  await page.waitForLoadState('networkidle', { timeout: 15_000 });
}

async function everyPage(theme, size) {
  const at = `${theme} ${size.width}`;
  const seen = await watchedPage(browser, base, { theme, size });
  const { page } = seen;
  for (const one of PAGES) {
    await checks.run(`${one.name} ${at}: shown, quiet, fits, accessible`, async () => {
      await open(page, one);
      const dataTheme = await page.evaluate(() => document.documentElement.dataset.theme);
      assert(dataTheme === theme, `the theme is ${dataTheme}`);
      await page.screenshot({ path: join(out, `${one.name}-${theme}-${size.width}.png`) });
      await assertNoSidewaysScroll(page);
      await assertAccessible(page);
      seen.quiet();
    });
  }
  await checks.run(`missing page ${at}: says so`, async () => {
    await open(page, PAGES[0]);
    // A server may answer an unknown path itself; inside the pages it is the same for every server.
    await page.evaluate(() => history.pushState(null, '', '/no-such-page'));
    await page.waitForSelector('text=There is no such page');
    await page.screenshot({ path: join(out, `missing-${theme}-${size.width}.png`) });
    await assertNoSidewaysScroll(page);
    await assertAccessible(page);
    seen.quiet();
  });
  await seen.close();
}

async function liveValues() {
  const seen = await watchedPage(browser, base, { theme: 'light', size: SIZES[0] });
  const { page } = seen;
  await checks.run('overview: a number of this machine changes by itself', async () => {
    await open(page, PAGES[0]);
    await waitForChange(page, '[data-test^="tile-"] [data-test="value"]');
    seen.quiet();
  });
  await checks.run('overview: the sentence is one of the known ones', async () => {
    const sentence = await page.textContent('[data-test="sentence"]');
    assert(
      /^(All well: \d+ targets? up|\d+ things? needs? you)/.test(sentence ?? ''),
      `it says "${sentence}"`,
    );
  });
  await checks.run('node dashboard: a value changes by itself', async () => {
    await open(page, { path: '/d/cupola-node?refresh=5s', ready: 'main canvas' });
    await waitForChange(page, '[data-test="panel"][data-type="stat"]');
    seen.quiet();
  });
  await checks.run('targets: a scrape duration changes by itself', async () => {
    await open(
      page,
      PAGES.find((one) => one.name === 'targets'),
    );
    await waitForChange(page, '[data-test="target"][data-health="up"] [data-test="took"]');
    seen.quiet();
  });
  await checks.run('alerts: Watchdog fires and opens', async () => {
    await page.goto(`${base}/alerts`);
    const row = '[data-alert="Watchdog"][data-state="firing"]';
    await page.waitForSelector(row, { timeout: 60_000 });
    await page.click(`${row} button`);
    await page.waitForSelector(`${row} dl`);
    assert(/[?&]open=/.test(page.url()), 'the open alert is not in the address');
    await page.reload();
    await page.waitForSelector(`${row} dl`);
    await page.screenshot({ path: join(out, 'alert-open-light-1280.png') });
    seen.quiet();
  });
  await seen.close();
}

/** An answer of the storage in which much is wrong, made of the server's own. */
async function troubled(page) {
  const lastTime = Date.now() - 20_000;
  await page.route('**/api/v1/status/tsdb?*', async (route) => {
    const answer = await (await route.fetch()).json();
    const { data } = answer;
    data.seriesLimits = { total: data.headStats.numSeries + 90, metric: 50, job: 20_000 };
    data.refusedSeries = [
      {
        limit: 'metric',
        most: 50,
        name: 'http_request_duration_seconds_bucket',
        value: 1_284_311,
        firstTime: lastTime - 7_200_000,
        lastTime,
        example: {
          __name__: 'http_request_duration_seconds_bucket',
          job: 'shop',
          le: '0.25',
          path: '/cart/7b1a6a0e-8b07-4c5b-9d5f-3a0a6f1e4c11/items',
          pod: 'shop-web-6d5f7c9b8-x2x7p',
        },
      },
      {
        limit: 'total',
        most: 20_000,
        name: 'batch',
        value: 12,
        firstTime: lastTime - 90_000_000,
        lastTime: lastTime - 80_000_000,
        example: { __name__: 'batch_run_info', job: 'batch', run: '20261124-7731' },
      },
    ];
    await route.fulfill({ json: answer });
  });
  await page.route('**/api/v1/status/tsdb/blocks*', (route) => {
    const hour = 3_600_000;
    const end = Math.floor(Date.now() / (2 * hour)) * 2 * hour;
    const block = (from, hours, level, bytes) => ({
      ulid: `01M7K3V9XJ${String(from).padStart(4, '0')}QTRB6D2ZN0PE`,
      minTime: end - from * hour,
      maxTime: end - (from - hours) * hour,
      stats: { numSamples: hours * 2_412_800, numSeries: 10_053 + level * 210 },
      compaction: { level },
      version: 1,
      bytes,
    });
    const blocks = [block(62, 54, 3, 71_000_000), block(8, 6, 2, 11_400_000), block(2, 2, 1, 5_300_000)];
    return route.fulfill({ json: { status: 'success', data: { blocks } } });
  });
  let current = 3;
  await page.route('**/api/v1/status/walreplay*', (route) => {
    const data = { min: 0, max: 40, current: Math.min(40, current++) };
    return route.fulfill({ json: { status: 'success', data } });
  });
}

async function storage() {
  for (const theme of THEMES) {
    for (const size of SIZES) {
      const at = `${theme} ${size.width}`;
      const seen = await watchedPage(browser, base, { theme, size });
      const { page } = seen;
      await checks.run(`storage ${at}: says who is to blame`, async () => {
        await troubled(page);
        await page.goto(`${base}/storage`);
        await page.waitForSelector('[data-test="storage-sentence"][data-state="critical"]');
        const sentence = await page.textContent('[data-test="storage-sentence"]');
        assert(
          sentence ===
            'The metric http_request_duration_seconds_bucket has reached its limit of 50 series: new series are refused',
          `it says "${sentence}"`,
        );
        await page.waitForSelector('[data-test="refused"]:has-text("1,284,311")');
        assert((await page.locator('[data-test="refused"]').count()) === 2, 'not both are listed');
        assert((await page.locator('[data-test="block"]').count()) === 3, 'not all blocks are listed');
        await page.waitForSelector('[data-test="replay"]:has-text("of 40")');
        await page.screenshot({
          path: join(out, `storage-trouble-${theme}-${size.width}.png`),
          fullPage: true,
        });
        await assertNoSidewaysScroll(page);
        await assertAccessible(page);
        seen.quiet();
      });
      await seen.close();
    }
  }
  const seen = await watchedPage(browser, base, { theme: 'light', size: SIZES[0] });
  const { page } = seen;
  await checks.run('storage: names are filtered and lead to a query; the address says it all', async () => {
    await page.goto(`${base}/`);
    await page.keyboard.press('g');
    await page.keyboard.press('s');
    await page.waitForSelector('h1:has-text("Status")');
    await page.click('nav[aria-label="Server"] a:has-text("Storage")');
    await page.waitForSelector('h1:has-text("Storage")');
    await page.waitForSelector('[data-test="holder"]');
    const all = await page.locator('[data-test="holder"]').count();
    await page.fill('[aria-label="Filter names"]', 'cpu_seconds');
    await page.waitForFunction((all) => {
      const names = [...document.querySelectorAll('[data-test="holder"] a')].map((a) => a.textContent);
      return names.length > 0 && names.length < all && names.every((name) => name.includes('cpu_seconds'));
    }, all);
    await page.click('button:has-text("Jobs")');
    await page.waitForSelector('text=No name matches');
    assert(/list=job/.test(page.url()) && /filter=cpu_seconds/.test(page.url()), `address ${page.url()}`);
    await page.goto(`${base}/tsdb-status?list=pair&filter=job`);
    await page.click('[data-test="holder"] a >> nth=0');
    await page.waitForURL(/\/explore\?.*count/);
    await page.waitForSelector('[data-test="row"]', { timeout: 15_000 });
    seen.quiet();
  });
  await checks.run('storage: the palette finds it', async () => {
    await page.goto(`${base}/`);
    await page.keyboard.press('Control+k');
    await page.keyboard.type('storage');
    await page.waitForSelector('[role="option"][aria-selected="true"]:has-text("Storage")');
    await page.keyboard.press('Enter');
    await page.waitForSelector('[data-test="storage-sentence"]');
    seen.quiet();
  });
  await seen.close();
}

async function explore() {
  const seen = await watchedPage(browser, base, { theme: 'light', size: SIZES[0] });
  const { page } = seen;
  await checks.run('explore: completes, runs, shows a table and a graph', async () => {
    await open(
      page,
      PAGES.find((one) => one.name === 'explore'),
    );
    await page.click('[data-test="editor"] .cm-content');
    await page.keyboard.type('node_lo', { delay: 30 });
    await page.waitForSelector('.cm-tooltip-autocomplete li:has-text("node_load1")', { timeout: 15_000 });
    await page.screenshot({ path: join(out, 'explore-completion-light-1280.png') });
    await page.keyboard.type('ad15', { delay: 30 });
    await page.waitForSelector('.cm-tooltip-autocomplete li[aria-selected]:has-text("node_load15")');
    await page.keyboard.press('Tab');
    await page.waitForFunction(
      () =>
        document.querySelector('[data-test="editor"]')?.shadowRoot?.querySelector('.cm-content')
          ?.textContent === 'node_load15',
    );
    await page.keyboard.press('Control+Enter');
    await page.waitForFunction(() => new URLSearchParams(location.search).get('g0.expr') === 'node_load15');
    await page.waitForSelector('[data-test="query"] canvas', { timeout: 15_000 });
    await page.waitForSelector('[data-test="facts"]:has-text("1 series")');
    await page.waitForLoadState('networkidle');
    const pixels = await colouredPixels(page, '[data-test="query"]');
    assert(pixels > 30, `the graph has ${pixels} coloured pixels`);
    await page.click('button:has-text("Table")');
    await page.waitForSelector('[data-test="row"]:has-text("node_load15")', { timeout: 15_000 });
    seen.quiet();
  });
  await checks.run('explore: the address alone brings the same back', async () => {
    await page.reload();
    await page.waitForSelector('[data-test="row"]:has-text("node_load15")', { timeout: 15_000 });
    await page.goto(`${base}/graph?g0.expr=up&g0.tab=1&g0.range_input=30m`);
    await page.waitForSelector('[data-test="row"]:has-text("up")', { timeout: 15_000 });
    await page.waitForFunction(() => new URLSearchParams(location.search).get('g0.range_input') === '30m');
    await page.waitForSelector('[data-test="time-range"]:has-text("30 min")');
    seen.quiet();
  });
  await checks.run('explore: a mistake is underlined and told calmly', async () => {
    seen.watch.allow = /status of 400/;
    await page.goto(`${base}/explore?g0.expr=${encodeURIComponent('sum(up))')}&g0.tab=table`);
    await page.waitForSelector('[role="alert"]:has-text("parse error")', { timeout: 15_000 });
    await page.waitForSelector('[data-test="editor"] .cm-lintRange-error', { timeout: 15_000 });
    await assertAccessible(page);
    await page.screenshot({ path: join(out, 'explore-mistake-light-1280.png') });
    seen.quiet();
    seen.watch.allow = null;
  });
  await seen.close();
}

async function alertmanagerWithin() {
  const seen = await watchedPage(browser, base, { theme: 'light', size: SIZES[0] });
  const { page } = seen;
  await checks.run('alerts: tabs lead to the pages of the Alertmanager inside', async () => {
    await page.goto(`${base}/alerts`);
    for (const [tab, ready] of [
      ['Alertmanager', '[data-alert="Watchdog"]'],
      ['Notifications', '[data-test="message"]:has-text("Watchdog")'],
      ['Status', '[data-test="am-config"]'],
      ['Silences', 'a:has-text("New silence")'],
      ['Rules', '[data-rule="Watchdog"]'],
      ['Alerts', '[data-alert="Watchdog"][data-state="firing"]'],
    ]) {
      await page.click(`nav[aria-label="Alerts"] a:text-is("${tab}")`);
      await page.waitForSelector(ready, { timeout: 30_000 });
      const here = await page.textContent('nav[aria-label="Alerts"] [aria-current="page"]');
      assert(here === tab, `the tab is "${here}"`);
      const title = await page.title();
      const wanted = `${tab} · Cupola`;
      assert(title === wanted, `the window is called "${title}"`);
    }
    seen.quiet();
  });
  await checks.run('alerts: what is silenced is shown as such among the rules', async () => {
    const now = Date.now();
    const answer = await page.request.post(`${base}/api/v2/silences`, {
      data: {
        matchers: [{ name: 'alertname', value: 'Watchdog', isRegex: false, isEqual: true }],
        startsAt: new Date(now).toISOString(),
        endsAt: new Date(now + 3_600_000).toISOString(),
        createdBy: 'the browser test',
        comment: 'a trial',
      },
    });
    assert(answer.ok(), await answer.text());
    const { silenceID } = await answer.json();
    await page.goto(`${base}/alerts`);
    await page.waitForSelector('[data-alert="Watchdog"]:has-text("silenced")', { timeout: 30_000 });
    await page.waitForSelector('text=on-call is not told: silenced');
    const gone = await page.request.delete(`${base}/api/v2/silence/${silenceID}`);
    assert(gone.ok(), await gone.text());
    await page.waitForSelector('[data-alert="Watchdog"]:has-text("as it should")', { timeout: 30_000 });
    seen.quiet();
  });
  await checks.run('alerts: on a phone the open tab is in sight', async () => {
    await page.setViewportSize(SIZES[1]);
    await page.goto(`${base}/alertmanager/status`);
    const tab = await page.waitForSelector('nav[aria-label="Alerts"] [aria-current="page"]');
    const { x, width } = await tab.boundingBox();
    assert(x >= 0 && x + width <= SIZES[1].width, `it reaches from ${x} to ${x + width} px`);
    await page.setViewportSize(SIZES[0]);
    seen.quiet();
  });
  await checks.run('why: the life of an alert from its rule to its receiver', async () => {
    await page.goto(`${base}/alertmanager`);
    await page.click('[data-alert="Watchdog"] a:has-text("Why?")');
    await page.waitForSelector('[data-test="step"]:has-text("Sent to on-call by webhook[0]")');
    await page.waitForSelector('[data-test="step"]:has-text("Its rule fires (1)"):has-text("vector(1)")');
    assert(
      (await page.locator('[data-test="life"]').count()) === 1,
      'its rule and its messages are two lives',
    );
    seen.quiet();
  });
  await checks.run('alertmanager: where there is none inside, the page says so', async () => {
    await page.route('**/api/ui/bootstrap', async (route) => {
      const answer = await (await route.fetch()).json();
      answer.alertmanager.running = false;
      await route.fulfill({ json: answer });
    });
    await page.goto(`${base}/#/silences`);
    await page.waitForSelector('text=No Alertmanager runs inside this server');
    await page.click('main p a:has-text("Alerts")');
    await page.waitForSelector('[data-alert="Watchdog"]');
    const tabs = await page.locator('nav[aria-label="Alerts"] a').allTextContents();
    assert(tabs.join() === 'Alerts,Rules', `there are tabs that lead to nothing: ${tabs.join()}`);
    await page.unroute('**/api/ui/bootstrap');
    seen.quiet();
  });
  await checks.run('targets: what is open is in the address', async () => {
    await page.goto(`${base}/targets`);
    await page.click('[data-test="target"] button:has-text("Why?") >> nth=0');
    await page.waitForSelector('[data-test="why"]');
    assert(/[?&]why=/.test(page.url()), page.url());
    await page.reload();
    await page.waitForSelector('[data-test="why"]');
    await page.click('[data-test="target"] button:has-text("Why?") >> nth=0');
    await page.waitForSelector('[data-test="why"]', { state: 'detached' });
    assert(!/[?&]why=/.test(page.url()), page.url());
    seen.quiet();
  });
  await seen.close();
}

/** Addresses that stand in messages, bookmarks and runbooks, where they lead, and what must be there. */
const OLD = [
  ['/#/alerts?filter=%7Balertname%3D%22Watchdog%22%7D', '/alertmanager', '[data-alert="Watchdog"]'],
  ['/#/silences', '/alertmanager/silences', 'a:has-text("New silence")'],
  ['/#/silences/new?filter=%7Ba%3D%22b%22%7D', '/alertmanager/silences/new', '[data-test="silence-form"]'],
  ['/#/status', '/alertmanager/status', '[data-test="am-config"]'],
  ['/graph?g0.expr=up%20%3D%3D%201&g0.tab=1', '/graph', '[data-test="row"]'],
  ['/query?g0.expr=up&g0.tab=table', '/query', '[data-test="row"]'],
  ['/query?g0.expr=up&g0.tab=graph&g0.range_input=30m', '/query', '[data-test="chart"] canvas'],
  ['/targets?search=node', '/targets', '[data-test="target"]:has-text("node")'],
  ['/targets?pool=prometheus&health=up', '/targets', '[data-test="target"][data-health="up"]'],
  ['/service-discovery', '/targets', '[data-test="target"]'],
  ['/rules', '/rules', '[data-rule="Watchdog"]'],
  ['/alerts?state=firing&search=Watchdog', '/alerts', '[data-alert="Watchdog"]'],
  ['/tsdb-status', '/storage', '[data-test="holder"]'],
  ['/config', '/config', '[data-test="config"]:has-text("scrape_interval")'],
  ['/flags', '/flags', '[data-test="flag"]:has-text("--listen")'],
  ['/status', '/status', '[data-test="server-status"]:has-text("with the API of Prometheus")'],
  ['/alertmanager-discovery', '/status', '[data-test="managers"]:has-text("the Alertmanager inside")'],
];

async function oldAddresses() {
  const seen = await watchedPage(browser, base, { theme: 'light', size: SIZES[0] });
  const { page } = seen;
  for (const [old, path, ready] of OLD) {
    await checks.run(`old address ${old}: leads to the right page`, async () => {
      await page.goto('about:blank');
      const answer = await page.goto(base + old);
      assert(answer.status() === 200, `the status is ${answer.status()}`);
      await page.waitForSelector(ready, { timeout: 30_000 });
      assert(!page.url().includes('#'), `the old address stays: ${page.url()}`);
      const here = new URL(page.url()).pathname;
      const isExplore = /^\/(graph|query)$/.test(path) && here === '/explore';
      assert(here === path || isExplore, `it leads to ${page.url()}`);
      seen.quiet();
    });
  }
  await checks.run('old addresses: what they narrow down is narrowed down', async () => {
    await page.goto(`${base}/targets?search=no-such-target`);
    await page.waitForSelector('text=No target matches');
    assert(page.url().endsWith('/targets?filter=no-such-target'), page.url());
    await page.goto(`${base}/rules?search=Watchdog`);
    await page.waitForSelector('[data-rule="Watchdog"]');
    assert((await page.locator('[data-test="rule"]').count()) === 1, 'there are others, too');
    seen.quiet();
  });
  await seen.close();
}

/** A server that is overloaded, is not ready yet or takes its time; the pages say so and go on. */
async function badAnswers() {
  // Explore asks nothing before somebody asks it something.
  const paths = PAGES.map(({ path }) => path).filter((path) => path !== '/explore');
  for (const status of [500, 503]) {
    const seen = await watchedPage(browser, base, { theme: 'light', size: SIZES[0] });
    const { page } = seen;
    // The browser itself tells of each such answer.
    seen.watch.allow = /status of 50[03]/;
    await page.route(/\/api\//, (route) =>
      route.fulfill({ status, contentType: 'text/plain', body: 'overloaded, come back later' }),
    );
    for (const path of paths) {
      await checks.run(`answers of ${status} on ${path}: told, nothing breaks`, async () => {
        await page.goto('about:blank');
        await page.goto(base + path);
        await page.waitForSelector('main >> text=overloaded, come back later', { timeout: 15_000 });
        await assertNoSidewaysScroll(page);
        seen.quiet();
      });
    }
    await seen.close();
  }
  const seen = await watchedPage(browser, base, { theme: 'light', size: SIZES[0] });
  const { page } = seen;
  // Never answered: what is shown meanwhile is what waiting looks like.
  await page.route(/\/api\//, () => undefined);
  for (const path of ['/', '/alerts', '/rules', '/alertmanager', '/targets', '/storage', '/status']) {
    await checks.run(`no answer yet on ${path}: the page waits and can be left`, async () => {
      await page.goto('about:blank');
      await page.goto(base + path);
      await page.waitForSelector('main [class*="skeleton"]', { timeout: 15_000 });
      await assertAccessible(page);
      await page.click('nav[aria-label="Places"] a:has-text("Dashboards")');
      await page.waitForSelector('h1:has-text("Dashboards")');
      seen.quiet();
    });
  }
  await seen.close();
}

/** As many as a large installation has on a bad day. */
async function crowded(page) {
  await page.route('**/api/v1/targets?*', serveTargets);
  await page.route('**/api/v1/targets', serveTargets);
  await page.route('**/api/v1/rules', async (route) => {
    const answer = await (await route.fetch()).json();
    const at = new Date().toISOString();
    const alerts = Array.from({ length: 500 }, (_, i) => ({
      labels: {
        alertname: 'PodCrashLooping',
        severity: 'warning',
        namespace: `team-${i % 7}`,
        pod: `checkout-${i}-${'7f9c6d5b8'.repeat(6)}`,
      },
      annotations: { summary: `checkout-${i} restarts all the time` },
      state: 'firing',
      activeAt: at,
      value: '1e+00',
    }));
    const rule = {
      ...{ type: 'alerting', state: 'firing', name: 'PodCrashLooping', query: 'restarts > 5', duration: 60 },
      ...{ labels: { severity: 'warning' }, annotations: {}, alerts, health: 'ok' },
      ...{ evaluationTime: 0.01, lastEvaluation: at },
    };
    const group = { name: 'pods', file: 'pods.yml', interval: 60, evaluationTime: 0.02, lastEvaluation: at };
    answer.data.groups.push({ ...group, rules: [rule] });
    await route.fulfill({ json: answer });
  });
}

function serveTargets(route) {
  const at = new Date().toISOString();
  const activeTargets = Array.from({ length: 2_000 }, (_, i) => ({
    discoveredLabels: { __address__: `10.0.${i >> 8}.${i & 255}:9100` },
    labels: { job: 'fleet', instance: `10.0.${i >> 8}.${i & 255}:9100` },
    scrapePool: 'fleet',
    scrapeUrl: `http://10.0.${i >> 8}.${i & 255}:9100/metrics`,
    globalUrl: '',
    lastError: i === 1_700 ? 'connection refused' : '',
    lastScrape: at,
    lastScrapeDuration: 0.012,
    health: i === 1_700 ? 'down' : 'up',
    scrapeInterval: '15s',
    scrapeTimeout: '10s',
  }));
  return route.fulfill({ json: { status: 'success', data: { activeTargets, droppedTargets: [] } } });
}

async function many() {
  for (const size of SIZES) {
    const seen = await watchedPage(browser, base, { theme: 'light', size });
    const { page } = seen;
    await crowded(page);
    await checks.run(`2,000 targets ${size.width}: the one that is down comes first`, async () => {
      await page.goto(`${base}/targets`);
      await page.waitForSelector('[data-test="target"]');
      const [first] = await page.$$eval('[data-test="target"]', (all) =>
        all.map((one) => one.dataset.health),
      );
      assert(first === 'down', `the first is ${first}`);
      const count = () => page.locator('[data-test="target"]').count();
      assert((await count()) === 100, `${await count()} are drawn`);
      await page.click('button:has-text("Show 100 more")');
      await page.waitForFunction(() => document.querySelectorAll('[data-test="target"]').length === 200);
      await page.fill('[aria-label="Filter targets"]', '10.0.7.207');
      await page.waitForFunction(() => document.querySelectorAll('[data-test="target"]').length === 1);
      await page.screenshot({ path: join(out, `many-targets-${size.width}.png`) });
      await assertNoSidewaysScroll(page);
      seen.quiet();
    });
    await checks.run(`500 alerts ${size.width}: the first are shown, the others are counted`, async () => {
      await page.goto(`${base}/alerts?group=rule`);
      await page.waitForSelector('h2:has-text("PodCrashLooping") small:has-text("500")');
      await page.waitForSelector('button:has-text("more")');
      const drawn = await page.locator('[data-alert]').count();
      assert(drawn === 200, `${drawn} are drawn`);
      await page.screenshot({ path: join(out, `many-alerts-${size.width}.png`) });
      await assertNoSidewaysScroll(page);
      await page.goto(`${base}/`);
      await page.waitForSelector('text=PodCrashLooping: 500 at once');
      await page.screenshot({ path: join(out, `many-overview-${size.width}.png`) });
      await assertNoSidewaysScroll(page);
      seen.quiet();
    });
    await seen.close();
  }
}

async function shell() {
  const seen = await watchedPage(browser, base, { theme: 'light', size: SIZES[0] });
  const { page } = seen;
  await checks.run('shell: the keyboard goes to places and opens help and search', async () => {
    await open(page, PAGES[0]);
    await page.keyboard.press('g');
    await page.keyboard.press('a');
    await page.waitForURL(/\/alerts/);
    await page.waitForSelector('h1:has-text("Alerts")');
    await page.keyboard.press('?');
    await page.waitForSelector('dialog[open]:has-text("Keyboard")');
    await assertAccessible(page);
    await page.keyboard.press('Escape');
    await page.waitForSelector('dialog[open]', { state: 'detached' });
    await page.keyboard.press('Control+k');
    await page.waitForSelector('dialog[open] [role="option"]');
    await page.keyboard.type('node_load15');
    await page.waitForSelector('[role="option"][aria-selected="true"]:has-text("node_load15")');
    await assertAccessible(page);
    await page.screenshot({ path: join(out, 'search-light-1280.png') });
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/explore\?.*node_load15/);
    seen.quiet();
  });
  await checks.run('shell: back works', async () => {
    await page.goBack();
    await page.waitForSelector('h1:has-text("Alerts")');
    seen.quiet();
  });
  await checks.run('shell: a dialog opened while another closes stays open', async () => {
    await open(page, PAGES[0]);
    for (const [key, modified] of [
      ['?', false],
      ['k', true],
    ]) {
      await page.keyboard.press(modified ? `Control+${key}` : key);
      await page.waitForSelector('dialog[open]');
      // Both in one task: the event that tells of the closing comes after the press.
      await page.evaluate(() => {
        document.querySelector('dialog[open]').close();
        window.dispatchEvent(new KeyboardEvent('keydown', { key: 'k', ctrlKey: true, bubbles: true }));
      });
      await page.evaluate(() => new Promise((done) => setTimeout(() => requestAnimationFrame(done), 100)));
      await page.waitForSelector('dialog[open] [role="option"]', { timeout: 2_000 });
      await page.keyboard.press('Escape');
      await page.waitForFunction(() => !document.querySelector('dialog'));
    }
    seen.quiet();
  });
  await checks.run('shell: a chosen theme is remembered and set before the first paint', async () => {
    await page.click('button[aria-label="Switch to the dark theme"]');
    await page.waitForSelector('html[data-theme="dark"]');
    await page.goto(`${base}/targets`, { waitUntil: 'commit' });
    await page.waitForSelector('html[data-theme="dark"]');
    await page.waitForSelector('button[aria-label="Switch to the light theme"]');
    seen.quiet();
  });
  await checks.run('shell: a lost connection is told, and its end noticed', async () => {
    await open(page, PAGES[0]);
    seen.watch.allow = /ERR_FAILED|request failed/;
    await page.route('**/api/**', (route) => route.abort('failed'));
    await page.keyboard.press('r');
    await page.waitForSelector('text=No answer from the server', { timeout: 30_000 });
    assert((await page.locator('[data-test="tile-cpu"]').count()) === 1, 'the last numbers are gone');
    await page.screenshot({ path: join(out, 'lost-dark-1280.png') });
    await page.unroute('**/api/**');
    await page.waitForSelector('text=No answer from the server', { state: 'detached', timeout: 30_000 });
    seen.quiet();
    seen.watch.allow = null;
  });
  await seen.close();
}

try {
  for (const theme of THEMES) for (const size of SIZES) await everyPage(theme, size);
  await storage();
  await explore();
  await alertmanagerWithin();
  await oldAddresses();
  await badAnswers();
  await many();
  await shell();
  await liveValues();
} finally {
  await browser.close();
}
process.exit(checks.finish());
