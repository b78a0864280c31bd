// Real browsers with fake devices, headless: Chromium through Playwright, Firefox through Puppeteer (WebDriver BiDi).
import { access, chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Missing } from './scenario.mjs';

const LAUNCH_TIMEOUT_MS = 30_000;

const CHROMIUM_FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--use-fake-device-for-media-stream=fps=30',
  '--use-fake-ui-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
  // Plain addresses in candidates: there is no mDNS responder here. Pages that remote control serves may reach the server.
  '--disable-features=WebRtcHideLocalIpsWithMdns,LocalNetworkAccessChecks',
  '--allow-loopback-in-peer-connection',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // Several pages run at once: none of them is in the background.
  '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
  '--disable-background-timer-throttling',
];

/**
 * What a page must be able to do here; Playwright's and Puppeteer's pages both do.
 * @typedef {object} Page
 * @property {(url: string) => Promise<unknown>} goto
 * @property {(run: (arg: any) => any, arg?: any) => Promise<any>} evaluate
 * @property {(options: {path: any}) => Promise<unknown>} screenshot
 */
/**
 * @typedef {object} Browser
 * @property {() => Promise<Page>} newPage
 * @property {() => Promise<void>} close
 */

/** @param {string[]} candidates @param {string} what @returns {Promise<string>} */
async function firstOf(candidates, what) {
  for (const path of candidates) {
    const there = await access(path).then(
      () => true,
      () => false,
    );
    if (there) return path;
  }
  throw new Missing(`${what} is not installed (tests/setup.sh installs it)`);
}

/**
 * A start script that puts the browser into a network namespace; file descriptors pass through, so remote control works.
 * @param {string} binary @param {string} netns @param {string} directory
 */
async function wrapped(binary, netns, directory) {
  const script = join(directory, 'browser-in-netns.sh');
  await writeFile(script, `#!/bin/sh\nexec ip netns exec ${netns} ${binary} "$@"\n`);
  await chmod(script, 0o755);
  return script;
}

/** @param {{netns?: string | null, args?: string[]}} [options] @returns {Promise<{newPage: () => Promise<import("playwright-core").Page>, close: () => Promise<void>}>} */
export async function launchChromium({ netns = null, args = [] } = {}) {
  const { chromium } = await import('playwright-core');
  const paths = [process.env.ION_CHROMIUM ?? '', '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
  const binary = await firstOf(paths.filter((path) => path !== ''), 'Chromium');
  const directory = await mkdtemp(join(tmpdir(), 'ion-e2e-chromium-'));
  const browser = await chromium.launch({
    executablePath: netns ? await wrapped(binary, netns, directory) : binary,
    headless: true,
    args: [...CHROMIUM_FLAGS, ...args],
    timeout: LAUNCH_TIMEOUT_MS,
  });
  return {
    newPage: async () => (await browser.newContext({ viewport: { width: 1000, height: 900 } })).newPage(),
    close: async () => {
      await browser.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** @returns {Promise<Browser>} */
export async function launchFirefox() {
  const { default: puppeteer } = await import('puppeteer-core');
  const paths = [process.env.ION_FIREFOX ?? '', '/usr/bin/firefox-esr', '/usr/bin/firefox'];
  const binary = await firstOf(paths.filter((path) => path !== ''), 'Firefox');
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: binary,
    headless: true,
    timeout: LAUNCH_TIMEOUT_MS,
    extraPrefsFirefox: {
      'media.navigator.streams.fake': true,
      'media.navigator.permission.disabled': true,
      'media.autoplay.default': 0,
      'media.peerconnection.ice.loopback': true,
      'media.peerconnection.ice.obfuscate_host_addresses': false,
      'network.captive-portal-service.enabled': false,
      'network.connectivity-service.enabled': false,
      'app.update.enabled': false,
      'browser.safebrowsing.update.enabled': false,
      'datareporting.policy.dataSubmissionEnabled': false,
      'toolkit.telemetry.enabled': false,
      'media.gmp-manager.updateEnabled': false,
      'services.settings.server': 'http://127.0.0.1:9/',
    },
  });
  return {
    newPage: () => browser.newPage(),
    close: () => browser.close(),
  };
}

/**
 * Opens an address. A browser that was started while its network was being set up takes what it loads for lost when it
 * hears of that: then it is asked again.
 * @param {Page} page @param {string} url
 */
export async function goTo(page, url) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await page.goto(url);
    } catch (error) {
      if (tries === 5 || !/ERR_NETWORK_CHANGED|chrome-error:/.test(String(error))) throw error;
      // The page that says so comes by itself, and would be in the way of the next try.
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }
}
