// The web app in a browser: opened, watched for complaints, looked at in both colour schemes and on a phone, and put before axe.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { goTo } from './browsers.mjs';
import { until } from './process.mjs';

/** @typedef {import('playwright-core').Page} Page */
/** @typedef {import('./scenario.mjs').Context} Context */

const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 360, height: 740 };

/** Keeps every connection of a page, for its statistics. */
export function keepConnections() {
  const page = /** @type {any} */ (globalThis);
  page.ionConnections = [];
  page.RTCPeerConnection = class extends page.RTCPeerConnection {
    /** @param {any[]} given */
    constructor(...given) {
      super(...given);
      page.ionConnections.push(this);
    }
  };
}

/**
 * A page of the app. What its own policy refuses, and what throws, is a failure of the scenario.
 * @param {Context} t @param {{newPage: () => Promise<Page>}} browser @param {string} url @param {() => void} [prepare] runs in the page before its own scripts
 * @returns {Promise<Page>}
 */
export async function openPage(t, browser, url, prepare = () => {}) {
  const page = await browser.newPage();
  await page.setViewportSize(DESKTOP);
  await page.addInitScript(keepConnections);
  await page.addInitScript(prepare);
  page.on('pageerror', (error) => t.check(false, `${page.url()} threw: ${error.message}`));
  page.on('console', (line) => {
    if (/content security policy|refused to/i.test(line.text())) t.check(false, `${page.url()}: ${line.text()}`);
  });
  await goTo(page, url);
  if (await page.getByText('was not built into it').count()) throw new Error('The server has no web app: run `make build`.');
  return page;
}

/**
 * Screenshots in dark, light and at phone width, and what axe says of each.
 * @param {Context} t @param {Page} page @param {string} name of the files @param {{fullPage?: boolean}} [options]
 */
export async function inspect(t, page, name, { fullPage = false } = {}) {
  const axe = await readFile(join(t.testsDir, 'node_modules', 'axe-core', 'axe.min.js'), 'utf8');
  await page.evaluate(axe);
  for (const look of /** @type {const} */ (['dark', 'light', 'phone'])) {
    await page.setViewportSize(look === 'phone' ? PHONE : DESKTOP);
    await page.emulateMedia({ colorScheme: look === 'dark' ? 'dark' : 'light' });
    // Transitions of colours are part of what axe would see.
    await page.waitForTimeout(400);
    await page.screenshot({ path: join(t.resultsDir, `app-${name}-${look}.png`), fullPage });
    for (const { impact, id, nodes } of await violations(page)) {
      t.check(false, `axe, ${name} ${look}: ${impact} ${id}: ${nodes.join(' | ')}`);
    }
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    t.check(overflow <= 0, `${name} ${look} is ${overflow} px wider than the window`);
  }
  await page.setViewportSize(DESKTOP);
  await page.emulateMedia({ colorScheme: null });
}

/** Serious and critical findings. @param {Page} page @returns {Promise<{impact: string, id: string, nodes: string[]}[]>} */
function violations(page) {
  return page.evaluate(async () => {
    const { violations: found } = await /** @type {any} */ (globalThis).axe.run();
    return found
      .filter((/** @type {any} */ one) => ['serious', 'critical'].includes(one.impact))
      .map((/** @type {any} */ { impact, id, nodes }) => ({
        impact,
        id,
        nodes: nodes.map((/** @type {any} */ node) => `${node.target.join(' ')} ${node.failureSummary}`.replace(/\s+/g, ' ')),
      }));
  });
}

/** Frames decoded and packets of sound received, over all connections of a page. @param {Page} page */
export function received(page) {
  return page.evaluate(async () => {
    const sums = { frames: 0, audio: 0 };
    for (const connection of /** @type {any} */ (globalThis).ionConnections) {
      for (const one of (await connection.getStats()).values()) {
        if (one.type !== 'inbound-rtp') continue;
        if (one.kind === 'video') sums.frames += one.framesDecoded;
        else sums.audio += one.packetsReceived;
      }
    }
    return sums;
  });
}

/** Waits until more of both has come. @param {Page} page @param {string} what */
export async function grows(page, what) {
  const before = await received(page);
  await until(what, 20_000, async () => {
    const now = await received(page);
    return now.frames > before.frames + 15 && now.audio > before.audio + 25;
  });
}

/** Joins a room through its lobby. @param {Page} page @param {string} name */
export async function joinCall(page, name) {
  await page.getByLabel('Your name').fill(name);
  await page.getByRole('button', { name: 'Join', exact: true }).click();
  await controls(page).waitFor({ timeout: 20_000 });
}

/** @param {Page} page */
export const controls = (page) => page.getByRole('region', { name: 'Call controls' });
/** A participant's tile. @param {Page} page @param {string} name */
export const tile = (page, name) => page.getByRole('listitem', { name, exact: true });

/** Presses a button of somebody's moderation menu. @param {Page} page @param {string} who @param {string} action */
export async function moderate(page, who, action) {
  await page.getByRole('button', { name: `Moderate ${who}` }).click();
  await page.getByRole('group', { name: `Moderate ${who}` }).getByRole('button', { name: action }).click();
}
