/**
 * The browser test of the Alertmanager's pages: opens each in both themes and two sizes, and does what a person would do.
 *
 * Environment: CUPOLA_URL (a running `cupola alertmanager` that has the alerts of tests/tests/browser.rs), OUT_DIR, CHROMIUM
 * and ONLY as in browser.mjs. Ends with a line "N passed, M failed"; the exit code is 1 when anything failed.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  assert,
  assertAccessible,
  assertNoSidewaysScroll,
  Checks,
  launch,
  SIZES,
  THEMES,
  watchedPage,
} from './harness.mjs';

const base = process.env.CUPOLA_URL?.replace(/\/$/, '');
if (!base) {
  console.error('CUPOLA_URL is not set: it names a running `cupola alertmanager`');
  process.exit(2);
}
const out = process.env.OUT_DIR || new URL('./out', import.meta.url).pathname;
mkdirSync(out, { recursive: true });

const checks = new Checks(process.env.ONLY);
const browser = await launch();
const wide = { theme: 'light', size: SIZES[0] };

/** Every page as a link of Alertmanager's own names it, or as ours does, and what must be there. */
const PAGES = [
  { name: 'am-alerts', path: '/#/alerts', ready: '[data-alert="DiskFull"]' },
  {
    name: 'am-alerts-open',
    path: '/alertmanager?group=job&filter=DiskFull',
    ready: '[data-alert="DiskFull"]',
    also: async (page) => {
      await page.click('[data-alert="DiskFull"] [data-toggle] >> nth=0');
      await page.waitForSelector('[data-alert="DiskFull"] dl');
      await page.click('[data-alert="DiskFull"] button:has-text("Acknowledge") >> nth=0');
      await page.waitForSelector('[data-test="ack-form"]');
    },
  },
  { name: 'am-silences', path: '/#/silences', ready: '[data-test="silence"]' },
  { name: 'am-weekly', path: '/alertmanager/silences?state=weekly', ready: '[data-test="weekly"]' },
  {
    name: 'am-silence-new',
    path: `/#/silences/new?filter=${encodeURIComponent('{job=~"node.*", zone=~".*"}')}`,
    ready: '[data-test="warning"]',
  },
  {
    name: 'am-silence-weekly',
    path: '/alertmanager/silences/new?repeat=weekly&filter=job%3D%22backup%22',
    ready: '[data-test="muted"]',
  },
  { name: 'am-notifications', path: '/alertmanager/notifications', ready: '[data-test="message"]' },
  {
    name: 'am-why',
    path: `/alertmanager/why?filter=${encodeURIComponent('alertname="DiskFull"')}`,
    ready: '[data-test="step"]',
  },
  { name: 'am-status', path: '/#/status', ready: '[data-test="am-config"]' },
];

async function everyPage(theme, size) {
  const at = `${theme} ${size.width}`;
  const seen = await watchedPage(browser, base, { theme, size });
  const { page } = seen;
  for (const one of PAGES) {
    await checks.run(`${one.name} ${at}: shown, quiet, fits, accessible`, async () => {
      await page.goto('about:blank');
      await page.goto(base + one.path, { waitUntil: 'load' });
      await page.waitForSelector(one.ready, { timeout: 30_000 });
      await one.also?.(page);
      await page.waitForLoadState('networkidle', { timeout: 15_000 });
      assert(!page.url().includes('#'), `the old address stays: ${page.url()}`);
      await page.screenshot({ path: join(out, `${one.name}-${theme}-${size.width}.png`), fullPage: true });
      await assertNoSidewaysScroll(page);
      await assertAccessible(page);
      seen.quiet();
    });
  }
  await seen.close();
}

/** The state words of the alerts with this name. */
const states = (page, name) =>
  page.$$eval(`[data-alert="${name}"]`, (rows) => rows.map((row) => row.dataset.state).sort());

async function alerts() {
  const seen = await watchedPage(browser, base, wide);
  const { page } = seen;
  await checks.run('alerts: grouped as sent, what keeps one quiet is named', async () => {
    await page.goto(`${base}/`);
    await page.waitForSelector('[data-alert="DiskFull"]');
    assert(
      (await states(page, 'NodeWarning')).join() === 'inhibited',
      'the inhibited one is not shown as such',
    );
    assert((await states(page, 'NightNoise')).join() === 'muted', 'the muted one is not shown as such');
    await page.click('[data-alert="NodeWarning"] [data-toggle]');
    await page.waitForSelector('[data-alert="NodeWarning"] dd a:has-text("NodeDown")');
    await page.click('[data-alert="NightNoise"] [data-toggle]');
    await page.waitForSelector('[data-alert="NightNoise"] dd:has-text("always")');
    seen.quiet();
  });
  await checks.run(
    'alerts: columns stand below each other, whatever can be done about an alert',
    async () => {
      await page.goto(`${base}/alertmanager`);
      await page.waitForSelector('[data-alert="DiskFull"]');
      for (const part of ['[data-toggle] > :nth-child(3)', '[data-toggle] > :nth-child(4)']) {
        const lefts = await page
          .locator(`[data-alert] ${part}`)
          .evaluateAll((all) => all.map((one) => Math.round(one.getBoundingClientRect().left)));
        assert(lefts.length >= 7 && new Set(lefts).size === 1, `${part} begin at ${lefts.join(', ')} px`);
      }
      seen.quiet();
    },
  );
  await checks.run(
    'alerts: filtered by matchers, state, receiver and label, all in the address',
    async () => {
      await page.goto(`${base}/#/alerts?filter=${encodeURIComponent('{severity="critical"}')}`);
      await page.waitForSelector('[data-alert="NodeDown"]');
      await page.waitForSelector('[data-alert="NodeWarning"]', { state: 'detached' });
      await page.fill('[aria-label="Filter alerts"]', '');
      await page.click('button:has-text("Suppressed")');
      await page.waitForSelector('[data-alert="DiskFull"]', { state: 'detached' });
      await page.waitForSelector('[data-alert="NodeWarning"]');
      await page.click('button:has-text("All")');
      await page.selectOption('label:has-text("Receiver") select', 'night');
      await page.waitForSelector('[data-alert="DiskFull"]', { state: 'detached' });
      await page.waitForSelector('[data-alert="NightNoise"]');
      await page.selectOption('label:has-text("Receiver") select', '');
      await page.fill('label:has-text("Group by") input', 'severity');
      await page.waitForSelector('[data-test="group"] h2:has-text("critical")');
      await page.reload();
      await page.waitForSelector('[data-test="group"] h2:has-text("critical")');
      seen.quiet();
    },
  );
  await checks.run('alerts: somebody acknowledges one, and takes it back', async () => {
    await page.goto(`${base}/alertmanager?filter=${encodeURIComponent('alertname="NodeDown"')}`);
    await page.click('[data-alert="NodeDown"] button:has-text("Acknowledge")');
    await page.fill('[data-test="ack-form"] label:has-text("Your name") input', 'ada');
    await page.fill('[data-test="ack-form"] label:has-text("Note") input', 'is rebooting');
    await page.click('[data-test="ack-form"] button[type="submit"]');
    await page.waitForSelector('[data-test="ack"]:has-text("ada looks after it: is rebooting")');
    await page.reload();
    await page.waitForSelector('[data-test="ack"]:has-text("is rebooting")');
    await page.click('[data-alert="NodeDown"] a:has-text("Why?")');
    await page.waitForSelector('[data-test="step"]:has-text("Acknowledged by ada")');
    await page.goBack();
    await page.click('[data-test="ack"] button');
    await page.waitForSelector('[data-test="ack"]', { state: 'detached' });
    // A whole group at once, and back to how it was.
    await page.goto(`${base}/alertmanager?filter=DiskFull`);
    await page.click('[data-test="group"] button:has-text("Acknowledge all")');
    await page.waitForSelector('[data-test="ack-form"]');
    assert(page.url().includes('acknowledge=group'), page.url());
    await page.click('[data-test="ack-form"] button:has-text("Acknowledge 2")');
    await page.waitForFunction(() => document.querySelectorAll('[data-test="ack"]').length === 2);
    await page.click('[data-test="ack"] button >> nth=0');
    await page.waitForFunction(() => document.querySelectorAll('[data-test="ack"]').length === 1);
    await page.click('[data-test="ack"] button');
    await page.waitForSelector('[data-test="ack"]', { state: 'detached' });
    // The name is remembered.
    await page.goto(`${base}/alertmanager?filter=NodeDown`);
    await page.click('[data-alert="NodeDown"] button:has-text("Acknowledge")');
    const name = await page.inputValue('[data-test="ack-form"] label:has-text("Your name") input');
    assert(name === 'ada', `the name is "${name}"`);
    seen.quiet();
  });
  await seen.close();
}

async function silences() {
  const seen = await watchedPage(browser, base, wide);
  const { page } = seen;
  await checks.run('silences: made from an alert, seen, changed, expired', async () => {
    await page.goto(
      `${base}/alertmanager?filter=${encodeURIComponent('alertname="DiskFull", instance="b"')}`,
    );
    await page.click('[data-alert="DiskFull"] a:has-text("Silence")');
    await page.waitForSelector('[data-test="silence-form"]');
    const values = await page.$$eval('[data-test="matcher"]', (rows) =>
      rows.map((row) => [...row.querySelectorAll('input')].map((input) => input.value).join('=')),
    );
    assert(values.includes('alertname=DiskFull') && values.includes('instance=b'), values.join());
    await page.waitForFunction(() => document.querySelector('[data-test="muted"]')?.textContent === '1');
    await page.click('[aria-label="Duration"] button:has-text("4 h")');
    await page.fill('label:has-text("Your name") input', 'ada');
    await page.fill('label:has-text("Comment") input', 'a bigger disk is on its way');
    await page.click('button[type="submit"]:has-text("Silence")');
    await page.waitForSelector('[data-test="silence-card"]:has-text("a bigger disk is on its way")');
    await page.waitForSelector('h3:has-text("Mutes 1 alert now")');
    const address = page.url();
    // Alertmanager's own address of it.
    const id = address.split('/').pop();
    await page.goto(`${base}/#/silences/${id}`);
    await page.waitForSelector('[data-test="silence-card"]');
    assert(page.url() === address, page.url());
    await page.click('a:has-text("Edit")');
    await page.waitForSelector('[data-test="silence-form"]');
    await page.fill('label:has-text("Comment") input', 'the disk is here');
    await page.click('button[type="submit"]:has-text("Save")');
    await page.waitForSelector('[data-test="silence-card"]:has-text("the disk is here")');
    assert(page.url() === address, `it became another silence: ${page.url()}`);
    await page.goto(`${base}/alertmanager/silences?filter=disk`);
    await page.waitForSelector('[data-test="silence"][data-state="active"]:has-text("mutes 1 alert now")');
    // By keyboard, which stays where it is: what does no harm comes first.
    const focused = () => page.evaluate(() => document.activeElement?.textContent);
    await page.focus('[data-test="silence"] button:has-text("Expire")');
    await page.keyboard.press('Enter');
    await page.waitForSelector('[data-test="silence"] [role="group"]');
    assert((await focused()) === 'Keep', `the focus is on "${await focused()}"`);
    await page.keyboard.press('Enter');
    await page.waitForSelector('[data-test="silence"] [role="group"]', { state: 'detached' });
    assert((await focused()) === 'Expire', `the focus is on "${await focused()}"`);
    await page.click('[data-test="silence"] button:has-text("Expire")');
    await page.click('[data-test="silence"] [role="group"] button:has-text("Expire")');
    await page.waitForSelector('[data-test="silence"]', { state: 'detached' });
    await page.click('button:has-text("Expired")');
    await page.waitForSelector('[data-test="silence"][data-state="expired"]:has-text("the disk is here")');
    seen.quiet();
  });
  await checks.run('silences: a broad one is warned of and asks to be meant', async () => {
    await page.goto(
      `${base}/alertmanager/silences/new?filter=${encodeURIComponent('job=~".+"')}&comment=all`,
    );
    await page.waitForSelector('[data-test="warning"]:has-text("It would mute")');
    await page.fill('label:has-text("Your name") input', 'ada');
    assert(await page.isDisabled('button[type="submit"]'), 'it could be made at once');
    await page.check('label:has-text("Mute that much") input');
    await page.waitForSelector('button[type="submit"]:not([disabled])');
    await page.fill('[data-test="matcher"] [aria-label="Value 1"]', 'nothing like it');
    await page.waitForFunction(() => document.querySelector('[data-test="muted"]')?.textContent === '0');
    await page.waitForSelector('[data-test="warning"]', { state: 'detached' });
    assert(page.url().includes('nothing'), `the address does not say it: ${page.url()}`);
    seen.watch.allow = /status of 400/;
    await page.fill('[data-test="matcher"] [aria-label="Value 1"]', '(');
    await page.waitForSelector('[data-test="preview"] [role="alert"]:has-text("regular expression")');
    seen.quiet();
    seen.watch.allow = null;
  });
  await checks.run('silences: one that comes back every week is made and deleted', async () => {
    await page.goto(`${base}/alertmanager/silences/new?filter=${encodeURIComponent('job="restore"')}`);
    await page.waitForSelector('[data-test="muted"]');
    await page.click('button:has-text("Every week")');
    for (const day of ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sun']) {
      await page.click(`[aria-label="Days"] button:has-text("${day}")`);
    }
    await page.fill('label:has-text("Time zone") input', 'Europe/Berlin');
    await page.fill('label:has-text("Your name") input', 'ada');
    await page.fill('label:has-text("Comment") input', 'restore rehearsal');
    await page.click('button[type="submit"]:has-text("Silence every week")');
    const row = '[data-test="weekly"]:has-text("restore rehearsal")';
    await page.waitForSelector(`${row}:has-text("every day, 22:00 to 06:00 the next day, Europe/Berlin")`);
    // It has made ordinary silences.
    await page.click('button:has-text("Current")');
    await page.waitForSelector('[data-test="silence"]:has-text("restore rehearsal"):has-text("weekly")');
    await page.click('button:has-text("Weekly")');
    await page.click(`${row} button:has-text("Delete")`);
    await page.click(`${row} [role="group"] button:has-text("Delete")`);
    await page.waitForSelector(row, { state: 'detached' });
    await page.click('button:has-text("Current")');
    await page.waitForSelector('[data-test="silence"]:has-text("restore rehearsal")', { state: 'detached' });
    seen.quiet();
  });
  await seen.close();
}

async function told() {
  const seen = await watchedPage(browser, base, wide);
  const { page } = seen;
  await checks.run('notifications: to whom, what came back, and on to why', async () => {
    await page.goto(`${base}/alertmanager/notifications?outcome=sent`);
    const row = '[data-test="message"]:has-text("DiskFull")';
    await page.waitForSelector(row);
    await page.click(`${row} [data-toggle] >> nth=0`);
    await page.waitForSelector(`${row} dd:has-text("POST 127.0.0.1: 200")`);
    await page.reload();
    await page.waitForSelector(`${row} dd:has-text("POST 127.0.0.1: 200")`);
    await page.click(`${row} a:has-text("Why?") >> nth=0`);
    await page.waitForSelector('[data-test="life"]');
    const words = await page.$$eval('[data-test="step"]', (all) =>
      all.map((one) => one.textContent).join('\n'),
    );
    for (const part of ['Began to fire', 'Routed to on-call', 'Sent to on-call by webhook[0]']) {
      assert(words.includes(part), `"${part}" is not in\n${words}`);
    }
    await page.goto(`${base}/alertmanager/notifications?receiver=broken`);
    await page.waitForSelector('[data-test="message"]:has-text("500")');
    await page.waitForSelector(row, { state: 'detached' });
    seen.quiet();
  });
  await checks.run('why: an inhibited alert says by what', async () => {
    await page.goto(`${base}/alertmanager/why?filter=${encodeURIComponent('alertname="NodeWarning"')}`);
    await page.waitForSelector('[data-test="step"]:has-text("another alert inhibits it")');
    seen.quiet();
  });
  await checks.run(
    'status: the configuration without its secrets, and the rail is the Alertmanager’s',
    async () => {
      await page.goto(`${base}/`);
      await page.waitForSelector('[data-alert="DiskFull"]');
      await page.keyboard.press('g');
      await page.keyboard.press('t');
      await page.waitForSelector('h1:has-text("Status")');
      const config = await page.textContent('[data-test="am-config"]');
      assert(config.includes('<secret>') && !config.includes('/hook'), 'the URL of a receiver is shown');
      const rail = await page.$$eval('nav[aria-label="Places"] li', (all) =>
        all.map((one) => one.textContent.trim()),
      );
      assert(rail.join() === 'Alerts,Silences,Notifications,Status', rail.join());
      seen.quiet();
      seen.watch.allow = /status of 422/;
      await page.goto(`${base}/alertmanager/silences/none`);
      await page.waitForSelector('text=There is no such silence');
      seen.quiet();
    },
  );
  await seen.close();
}

try {
  for (const theme of THEMES) for (const size of SIZES) await everyPage(theme, size);
  await alerts();
  await silences();
  await told();
} finally {
  await browser.close();
}
process.exit(checks.finish());
