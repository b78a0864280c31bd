// What happens around a room: pages of other sites, publishers that come back.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { measureDelivery } from '../lib/delivery.mjs';
import { Publisher, Viewer } from '../lib/peers.mjs';
import { until } from '../lib/process.mjs';
import { startLdcViewers } from '../lib/viewers.mjs';

/** Another site: a blank page, and the client. @param {import('../lib/scenario.mjs').Context} t @returns {Promise<string>} */
async function otherSite(t) {
  const script = await readFile(join(dirname(t.testsDir), 'api', 'assets', 'session.js'), 'utf8');
  const server = createServer((request, response) => {
    const client = request.url === '/session.js';
    response.setHeader('content-type', client ? 'text/javascript' : 'text/html');
    response.end(client ? script : '<!doctype html><video id="watch-video" muted autoplay></video>');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => server.close());
  const address = server.address();
  return `http://localhost:${typeof address === 'object' ? address?.port : 0}`;
}

/** @type {import('../lib/scenario.mjs').Scenario} */
const crossOrigin = {
  name: 'cross-origin',
  timeoutS: 60,
  run: async (t) => {
    const server = await t.server();
    const origin = await otherSite(t);
    const browser = await t.chromium();
    const publisher = await Publisher.open(await browser.newPage(), server.url, { room: 'cors', codec: 'VP8', origin });
    const viewer = await Viewer.open(await browser.newPage(), server.url, { room: 'cors', origin });
    // PATCH and DELETE are preflighted, and the answers' Location and ETag must be readable.
    await viewer.decoded(10, 15_000);
    await viewer.restartIce();
    const { framesDecoded } = await viewer.sample();
    await viewer.decoded(framesDecoded + 30, 10_000);
    const resources = [await viewer.resource(), await publisher.resource()];
    t.check(resources.every((resource) => resource.startsWith(server.url)), `resources are ${resources}`);
    for (const [peer, resource] of /** @type {const} */ ([[viewer, resources[0]], [publisher, resources[1]]])) {
      const status = await peer.page.evaluate(async (url) => (await fetch(url, { method: 'DELETE' })).status, resource);
      t.check([200, 204].includes(status), `DELETE ${resource} gave ${status}`);
    }
    t.figure('requests', 'POST, PATCH and DELETE from another origin');
  },
};

/** @type {import('../lib/scenario.mjs').Scenario} */
const publisherReturns = {
  name: 'publisher-returns',
  timeoutS: 90,
  run: async (t) => {
    const server = await t.server();
    const browser = await t.chromium();
    const first = await Publisher.open(await browser.newPage(), server.url, { room: 'again', codec: 'VP8' });
    const viewer = await Viewer.open(await browser.newPage(), server.url, { room: 'again' });
    await viewer.decoded(30, 15_000);
    const resource = await viewer.resource();
    await first.close();
    const second = await Publisher.open(await browser.newPage(), server.url, { room: 'again', codec: 'VP8' });
    const { framesDecoded } = await viewer.sample();
    await viewer.decoded(framesDecoded + 30, 15_000);
    const { after } = await measureDelivery(t, second, viewer, { seconds: 4 });
    t.check((await viewer.resource()) === resource, 'the viewer had to make a new session');
    t.check(after.iceState === 'connected', `ICE of the viewer is ${after.iceState}`);
  },
};

/** @type {import('../lib/scenario.mjs').Scenario} */
const vanished = {
  name: 'vanished-viewer',
  fullOnly: true,
  timeoutS: 120,
  run: async (t) => {
    const server = await t.server();
    const browser = await t.chromium();
    await Publisher.open(await browser.newPage(), server.url, { room: 'gone', codec: 'VP8' });
    const viewers = await startLdcViewers(t, `${server.url}/whep/gone`, 1);
    const roles = async () => (await server.participants('gone')).map((one) => one.role).sort().join(' ');
    t.check((await roles()) === 'publisher viewer', `in the room: ${await roles()}`);
    // No DELETE, no DTLS close: consent to send expires (RFC 7675: 30 s).
    process.kill(viewers.pid, 'SIGKILL');
    const started = performance.now();
    await until('The session of the vanished viewer ends', 60_000, async () => (await roles()) === 'publisher', 500);
    t.figure('gone after s', (performance.now() - started) / 1000);
  },
};

export const scenarios = [crossOrigin, publisherReturns, vanished];
