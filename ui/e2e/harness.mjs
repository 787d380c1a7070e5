/** What the browser test stands on: a browser, a watch over everything that must not happen, named checks. */
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const THEMES = ['light', 'dark'];
export const SIZES = [
  { width: 1280, height: 800 },
  { width: 390, height: 844 },
];

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: [
      '--headless=new',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** Counts checks and prints each as it is done. A failed check does not stop the others. */
export class Checks {
  passed = 0;
  failed = 0;

  /** `only`: a regular expression that names the checks to run; all when left out. For work on one page. */
  constructor(only) {
    this.only = only ? new RegExp(only) : null;
  }

  async run(name, body) {
    if (this.only && !this.only.test(name)) return;
    const started = Date.now();
    try {
      await body();
      this.passed += 1;
      console.log(`ok      ${name} (${Date.now() - started} ms)`);
    } catch (error) {
      this.failed += 1;
      console.log(
        `FAILED  ${name}\n        ${String(error?.message ?? error).replaceAll('\n', '\n        ')}`,
      );
    }
  }

  finish() {
    console.log(`${this.passed} passed, ${this.failed} failed`);
    return this.failed === 0 ? 0 : 1;
  }
}

export function assert(condition, message) {
  if (!condition) throw new Error(message);
}

/**
 * A page that is watched: console errors, faults, violations of the Content-Security-Policy, requests to another
 * origin and failed requests are kept in `complaints`, unless `allow` (a regular expression) expects them.
 */
export async function watchedPage(browser, base, { theme, size }) {
  const context = await browser.newContext({ viewport: size, colorScheme: theme, reducedMotion: 'reduce' });
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      console.error(
        `policy violated: ${event.violatedDirective} by ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`,
      );
    });
  });
  const page = await context.newPage();
  const watch = { complaints: [], allow: null };
  const complain = (text) => {
    if (!watch.allow?.test(text)) watch.complaints.push(text);
  };
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') {
      complain(`console ${message.type()}: ${message.text()} (${message.location().url})`);
    }
  });
  page.on('pageerror', (error) => complain(`fault: ${error.stack ?? error.message}`));
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (!['data:', 'blob:'].includes(url.protocol) && url.origin !== new URL(base).origin) {
      complain(`request to another origin: ${request.url()}`);
    }
  });
  page.on('requestfailed', (request) => {
    const reason = request.failure()?.errorText ?? '';
    // Leaving a page or changing a query aborts what is under way; that is as it should be.
    if (!/ERR_ABORTED/.test(reason)) complain(`request failed: ${request.url()} ${reason}`);
  });
  return {
    page,
    watch,
    /** Fails when anything complained since the last call. */
    quiet() {
      const list = [...new Set(watch.complaints.splice(0))];
      assert(list.length === 0, list.join('\n'));
    },
    close: () => context.close(),
  };
}

/** Fails when the page is wider than its window. */
export async function assertNoSidewaysScroll(page) {
  const wide = await page.evaluate(() => {
    const root = document.documentElement;
    if (root.scrollWidth <= root.clientWidth) return null;
    const worst = [...document.querySelectorAll('body *')]
      .map((element) => ({ element, right: element.getBoundingClientRect().right }))
      .sort((a, b) => b.right - a.right)[0];
    return `${root.scrollWidth} of ${root.clientWidth} px, widest: ${worst?.element.tagName} .${worst?.element.className}`;
  });
  assert(wide === null, `the page scrolls sideways: ${wide}`);
}

/** Runs axe-core; fails on serious and critical findings. */
export async function assertAccessible(page) {
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, {
      resultTypes: ['violations'],
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    });
    return violations
      .filter((violation) => violation.impact === 'serious' || violation.impact === 'critical')
      .map(
        (violation) =>
          `${violation.impact} ${violation.id}: ${violation.help}\n` +
          violation.nodes
            .slice(0, 4)
            .map(
              (node) =>
                `  ${node.target.join(' ')}: ${node.failureSummary?.split('\n').slice(1, 2).join(' ')}`,
            )
            .join('\n'),
      );
  });
  assert(found.length === 0, found.join('\n'));
}

/** Waits until the texts of all elements that match `selector` are others than now. */
export async function waitForChange(page, selector, timeout = 90_000) {
  await page.waitForSelector(selector, { timeout: 30_000 });
  const read = (selector) =>
    [...document.querySelectorAll(selector)].map((element) => element.textContent).join(' | ');
  const first = await page.evaluate(read, selector);
  assert(/\d/.test(first), `there is no number to watch in ${selector}: "${first}"`);
  await page.waitForFunction(
    ({ selector, first }) => {
      const texts = [...document.querySelectorAll(selector)]
        .map((element) => element.textContent)
        .join(' | ');
      return texts !== '' && texts !== first;
    },
    { selector, first },
    { timeout, polling: 200 },
  );
}

/** How many pixels of the canvases inside `selector` are coloured, that is neither empty nor grey. */
export function colouredPixels(page, selector) {
  return page.evaluate((selector) => {
    let coloured = 0;
    for (const canvas of document.querySelectorAll(`${selector} canvas`)) {
      if (canvas.width === 0 || canvas.height === 0) continue;
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3] < 100) continue;
        const spread =
          Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]);
        if (spread > 40) coloured += 1;
      }
    }
    return coloured;
  }, selector);
}
