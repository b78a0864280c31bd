// What the web app does around a call: its lobby, a lost socket, other devices, another browser, many people.
import { join } from 'node:path';
import { controls, grows, inspect, joinCall, keepConnections, openPage, received, tile } from '../lib/app.mjs';
import { ownAddress } from '../lib/net.mjs';
import { run, until } from '../lib/process.mjs';
import { openApp, sdkApp } from '../lib/sdk.mjs';
import { RUNNERS_OWN } from '../lib/server.mjs';

/** @typedef {import('playwright-core').Page} Page */

/** @type {import('../lib/scenario.mjs').Scenario} */
const lobby = {
  name: 'app-lobby',
  timeoutS: 120,
  run: async (t) => {
    const env = { ION_KEYS: 'testkey: a-secret-of-more-than-32-characters-0' };
    const server = await t.server({ dev: false, env });
    const token = async (/** @type {string[]} */ ...more) =>
      (await run(join(t.binDir, 'ion'), ['token', 'create', '--room', 'club', ...more], { env: { ...RUNNERS_OWN, ...env } })).trim();
    await server.must('POST', '/v1/rooms', { name: 'club', lobby: true }, await token('--identity', 'root', '--server-admin'));
    const [one, other] = [await t.chromium(), await t.chromium()];
    const enter = async (/** @type {{newPage: () => Promise<Page>}} */ browser, /** @type {string} */ bearer, /** @type {string} */ name) => {
      const page = await openPage(t, browser, `${server.url}/room/club#token=${bearer}`);
      await page.getByLabel('Your name').fill(name);
      await page.getByRole('button', { name: 'Join', exact: true }).click();
      return page;
    };
    const host = await enter(one, await token('--identity', 'host', '--admin'), 'Hanna');
    await controls(host).waitFor({ timeout: 20_000 });
    const guest = await enter(other, await token('--identity', 'guest'), 'Gus');
    await guest.getByRole('heading', { name: 'Almost there' }).waitFor({ timeout: 20_000 });
    await inspect(t, guest, 'waiting');
    t.check((await tile(host, 'Gus').count()) === 0, 'who waits is on stage');

    // The host is told, and lets him in.
    await controls(host).getByRole('button', { name: 'People: 1 new' }).click({ timeout: 10_000 });
    await host.getByRole('button', { name: 'Let in Gus' }).waitFor();
    await inspect(t, host, 'lobby-host');
    await host.getByRole('button', { name: 'Let in Gus' }).click();
    await controls(guest).waitFor({ timeout: 15_000 });
    await Promise.all([grows(host, 'The host sees and hears the guest'), grows(guest, 'The guest sees and hears the host')]);

    // Another is refused, and learns it.
    const stranger = await enter(other, await token('--identity', 'stranger'), 'Stan');
    await host.getByRole('button', { name: 'Refuse Stan' }).click({ timeout: 20_000 });
    await stranger.getByRole('heading', { name: 'You are not in club any more' }).waitFor({ timeout: 10_000 });
    t.check((await tile(host, 'Stan').count()) === 0, 'who was refused is on stage');
  },
};

/** Makes the sockets of a page losable. */
function losableSockets() {
  const page = /** @type {any} */ (globalThis);
  page.sockets = new Set();
  page.isCut = false;
  page.WebSocket = class extends WebSocket {
    /** @param {string} url @param {string[]} protocols */
    constructor(url, protocols) {
      // A path at which there is nothing.
      super(page.isCut ? `${url}/cut` : url, protocols);
      page.sockets.add(this);
    }
  };
}

/** @type {import('../lib/scenario.mjs').Scenario} */
const reconnecting = {
  name: 'app-reconnecting',
  timeoutS: 120,
  run: async (t) => {
    const server = await t.server();
    const [one, other] = [await t.chromium(), await t.chromium({ args: ['--use-fake-device-for-media-stream=device-count=3,fps=30'] })];
    const ann = await openPage(t, one, `${server.url}/room/lossy`, losableSockets);
    await joinCall(ann, 'Ann');
    const bob = await openPage(t, other, `${server.url}/room/lossy`);
    await joinCall(bob, 'Bob');
    await Promise.all([grows(ann, 'Ann sees and hears Bob'), grows(bob, 'Bob sees and hears Ann')]);

    // Without signalling the call goes on, and says so.
    await ann.evaluate(() => {
      const page = /** @type {any} */ (globalThis);
      page.isCut = true;
      for (const socket of page.sockets) socket.close();
    });
    const banner = ann.getByRole('status').getByText('The connection was lost');
    await banner.waitFor({ timeout: 10_000 });
    await grows(ann, 'Ann sees and hears Bob without signalling');
    await inspect(t, ann, 'reconnecting');
    await ann.evaluate(() => {
      /** @type {any} */ (globalThis).isCut = false;
    });
    await banner.waitFor({ state: 'hidden', timeout: 20_000 });
    await ann.getByRole('log', { name: 'What happened' }).getByText('Connected again.').waitFor({ timeout: 10_000 });

    // Another camera and microphone while the call goes on.
    const sent = () =>
      bob.evaluate(() => {
        const [connection] = /** @type {any} */ (globalThis).ionConnections;
        /** @type {Record<string, string>} */
        const ids = {};
        for (const { track } of connection.getSenders()) if (track) ids[track.kind] = track.getSettings().deviceId;
        return ids;
      });
    const before = await sent();
    await bob.keyboard.press('d');
    const dialog = bob.getByRole('dialog', { name: 'Devices' });
    for (const [label, kind] of /** @type {const} */ ([['Camera', 'video'], ['Microphone', 'audio']])) {
      const select = dialog.getByLabel(label);
      const ids = await select.locator('option').evaluateAll((options) => options.map((one) => /** @type {HTMLOptionElement} */ (one).value));
      // The second of Chromium's fake cameras makes no pictures but depths.
      const next = ids.findLast((id) => id !== '' && id !== before[kind]);
      if (next === undefined) throw new Error(`There is no other ${label}: ${ids}`);
      await select.selectOption(next);
      await until(`${label} is another`, 10_000, async () => (await sent())[kind] === next);
    }
    await bob.keyboard.press('Escape');
    await grows(ann, 'Ann sees and hears Bob from his other devices');
    t.figure('frames', (await received(ann)).frames);
  },
};

/** @type {import('../lib/scenario.mjs').Scenario} */
const firefox = {
  name: 'app-firefox',
  timeoutS: 120,
  run: async (t) => {
    const server = await t.server({ host: ownAddress() });
    const [chromium, fox] = [await t.chromium(), /** @type {any} */ (await t.firefox())];
    const ann = await openPage(t, chromium, `${server.url}/room/two-browsers`);
    await joinCall(ann, 'Ann');
    /** Puppeteer's, not Playwright's. */
    const fritz = await fox.newPage();
    await fritz.setViewport({ width: 1280, height: 800 });
    await fritz.evaluateOnNewDocument(keepConnections);
    fritz.on('pageerror', (/** @type {Error} */ error) => t.check(false, `Firefox threw: ${error.message}`));
    await fritz.goto(`${server.url}/room/two-browsers`);
    await (await fritz.waitForSelector('input[autocomplete=name]')).type('Fritz');
    await (await fritz.waitForSelector('button[type=submit]')).click();
    await fritz.waitForSelector('[aria-label="Call controls"]', { timeout: 20_000 });
    await Promise.all([grows(ann, 'Chromium sees and hears Firefox'), grows(fritz, 'Firefox sees and hears Chromium')]);
    await tile(ann, 'Fritz').waitFor();
    await fritz.waitForSelector('li[aria-label="Ann"]');
    await fritz.screenshot({ path: join(t.resultsDir, 'app-firefox.png') });
    await ann.screenshot({ path: join(t.resultsDir, 'app-firefox-chromium.png') });
  },
};

const TILES = 49;

/** @type {import('../lib/scenario.mjs').Scenario} */
const crowd = {
  name: 'app-crowd',
  timeoutS: 240,
  run: async (t) => {
    const server = await t.server({ env: { ION_RATE_BURST: '100000', ION_RATE_PER_SECOND: '100000' } });
    const app = await sdkApp(t);
    const [one, other] = [await t.chromium(), await t.chromium()];
    const page = await other.newPage();
    await openApp(page, app);
    // The others: participants of one page, each with a small picture of its own.
    await page.evaluate(
      async ({ url, count }) => {
        const { ion } = /** @type {any} */ (globalThis);
        const enter = async (/** @type {number} */ at) => {
          const canvas = document.createElement('canvas');
          Object.assign(canvas, { width: 160, height: 90 });
          const paint = canvas.getContext('2d');
          let step = 0;
          setInterval(() => {
            if (!paint) return;
            step += 1;
            paint.fillStyle = `hsl(${(at * 360) / count} 60% 45%)`;
            paint.fillRect(0, 0, 160, 90);
            paint.fillStyle = 'white';
            paint.fillRect((step * 8) % 160, 60, 12, 12);
            paint.font = '40px sans-serif';
            paint.fillText(String(at + 1), 60, 50);
          }, 250);
          const room = new ion.Room({ autoSubscribe: false, statsIntervalMs: 0 });
          await room.connect(url, { room: 'crowd', identity: `p${at + 1}`, name: `Person ${at + 1}` });
          await room.local.publish(canvas.captureStream(4).getVideoTracks()[0], { source: 'camera', video: { simulcast: false } });
        };
        // A few at a time: it is one processor that encodes for all of them.
        for (let at = 0; at < count; at += 6) await Promise.all(Array.from({ length: Math.min(6, count - at) }, (_, more) => enter(at + more)));
      },
      { url: server.url, count: TILES - 1 },
    );
    const ann = await openPage(t, one, `${server.url}/room/crowd`);
    await joinCall(ann, 'Ann');
    const stage = ann.getByRole('list', { name: 'Participants' });
    await until('Everybody has a tile', 60_000, async () => (await stage.getByRole('listitem').count()) === TILES);
    /** Pictures that were decoded, by stream. @returns {Promise<number[]>} */
    const decoded = () =>
      ann.evaluate(async () => {
        const [connection] = /** @type {any} */ (globalThis).ionConnections;
        const all = [];
        for (const one of (await connection.getStats()).values()) if (one.type === 'inbound-rtp' && one.kind === 'video') all.push(one.framesDecoded);
        return all;
      });
    await until('All pictures move', 90_000, async () => (await decoded()).filter((frames) => frames > 3).length === TILES - 1);
    await inspect(t, ann, 'crowd');
    t.figure('tiles', await stage.getByRole('listitem').count());
    t.figure('pictures', (await decoded()).length);
  },
};

/** @type {import('../lib/scenario.mjs').Scenario} */
const documents = {
  name: 'app-documents',
  timeoutS: 60,
  run: async (t) => {
    const server = await t.server();
    const browser = await t.chromium();
    const docs = await openPage(t, browser, `${server.url}/docs`);
    // The description is read, and an operation can be tried.
    await docs.getByLabel('Find').fill('list rooms');
    const operation = docs.locator('details#listRooms');
    await operation.locator('summary').click();
    await operation.getByRole('button', { name: 'Send' }).click();
    await operation.getByText(/^200 /).waitFor({ timeout: 10_000 });
    await inspect(t, docs, 'docs');
    await inspect(t, await openPage(t, browser, `${server.url}/plain`), 'plain');
  },
};

export const scenarios = [lobby, reconnecting, firefox, crowd, documents];
