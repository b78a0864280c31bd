// The page's session.js alone, without the server: a second page answers in its place, so that each step of WHEP and of an
// ICE restart can be looked at from both ends.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { until } from '../lib/process.mjs';

/** @typedef {{method: string, path: string, headers: import('node:http').IncomingHttpHeaders, body: string}} Seen */

/**
 * An endpoint whose media end is a browser page: refuses the first POST with 409, takes the second, restarts ICE on PATCH.
 * @param {import('../lib/scenario.mjs').Context} t @param {import('playwright-core').Page} page
 */
async function answeringServer(t, page) {
  const script = await readFile(join(dirname(t.testsDir), 'api', 'assets', 'session.js'), 'utf8');
  /** @type {Seen[]} */
  const seen = [];
  /** @param {Seen} request @returns {Promise<[number, Record<string, string>, string]>} */
  const answer = async ({ method, path, body }) => {
    if (path === '/session.js') return [200, { 'content-type': 'text/javascript' }, script];
    if (path === '/') return [200, { 'content-type': 'text/html' }, '<!doctype html><video muted autoplay></video>'];
    if (!path.startsWith('/whep/')) return [404, {}, ''];
    if (method === 'POST' && seen.filter((one) => one.method === 'POST').length === 1) {
      const problem = { type: 'about:blank', title: 'Nobody publishes', detail: 'Come back later.' };
      return [409, { 'retry-after': '1', 'content-type': 'application/problem+json' }, JSON.stringify(problem)];
    }
    if (method === 'POST') {
      const headers = { location: '/whep/r/one', etag: '"first"', 'content-type': 'application/sdp' };
      return [201, headers, await page.evaluate(answerInPage, body)];
    }
    if (method === 'PATCH') {
      const headers = { etag: '"second"', 'content-type': 'application/trickle-ice-sdpfrag' };
      return [200, headers, await page.evaluate(restartInPage, body)];
    }
    return [200, {}, ''];
  };
  const server = createServer(async (request, response) => {
    const { method = '', url: path = '', headers } = request;
    const one = { method, path, headers, body: await text(request) };
    if (path.startsWith('/whep/')) seen.push(one);
    const [status, more, body] = await answer(one).catch((error) => [500, {}, String(error)]);
    response.writeHead(Number(status), /** @type {any} */ (more)).end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => server.close());
  const address = server.address();
  return { seen, url: `http://localhost:${typeof address === 'object' ? address?.port : 0}/` };
}

/** @param {string} offer */
async function answerInPage(offer) {
  const page = /** @type {any} */ (globalThis);
  const pc = new RTCPeerConnection();
  page.pc = pc;
  const canvas = document.createElement('canvas');
  const paint = canvas.getContext('2d');
  setInterval(() => paint?.fillRect(Math.random() * 200, 0, 20, 20), 33);
  const [track] = canvas.captureStream(30).getVideoTracks();
  await pc.setRemoteDescription({ type: 'offer', sdp: offer });
  for (const transceiver of pc.getTransceivers()) {
    if (transceiver.receiver.track.kind !== 'video') continue;
    transceiver.direction = 'sendonly';
    await transceiver.sender.replaceTrack(track ?? null);
  }
  await pc.setLocalDescription();
  await new Promise((resolve) => setTimeout(resolve, 500));
  return pc.localDescription?.sdp ?? '';
}

/** @param {string} fragment */
async function restartInPage(fragment) {
  const { pc } = /** @type {any} */ (globalThis);
  const { withIceOf, iceFragment } = await import(String('/session.js'));
  await pc.setRemoteDescription({ type: 'offer', sdp: withIceOf(pc.remoteDescription.sdp, fragment) });
  await pc.setLocalDescription();
  await new Promise((resolve) => setTimeout(resolve, 500));
  return iceFragment(pc.localDescription.sdp);
}

/** @type {import('../lib/scenario.mjs').Scenario} */
const session = {
  name: 'page-session',
  timeoutS: 60,
  run: async (t) => {
    const browser = await t.chromium();
    const [viewer, far] = [await browser.newPage(), await browser.newPage()];
    const endpoint = await answeringServer(t, far);
    await viewer.goto(endpoint.url);
    await far.goto(endpoint.url);

    const retries = await viewer.evaluate(async () => {
      const page = /** @type {any} */ (globalThis);
      const { Session } = await import(String('/session.js'));
      /** @type {string[]} */
      const retries = [];
      const onRetry = (/** @type {string} */ text, /** @type {number} */ seconds) => retries.push(`${text} ${seconds}`);
      page.peer = await Session.watch('/whep/r', { token: 'abc', onRetry, signal: AbortSignal.timeout(10_000) });
      addEventListener('pagehide', () => page.peer.close());
      Object.assign(document.querySelector('video') ?? {}, { srcObject: page.peer.stream });
      return retries;
    });
    t.check(retries.length === 1 && retries[0] === 'Nobody publishes: Come back later. (HTTP 409) 1', `told of the 409: ${retries}`);

    const framesGrow = async (/** @type {string} */ when) => {
      const grew = await viewer.evaluate(async () => {
        const { pc } = /** @type {any} */ (globalThis).peer;
        const frames = async () => {
          for (const one of (await pc.getStats()).values()) if (one.type === 'inbound-rtp' && one.kind === 'video') return one.framesDecoded;
          return 0;
        };
        const before = await frames();
        for (let look = 0; look < 80; look += 1) {
          if ((await frames()) > before + 10 && pc.iceConnectionState === 'connected') return true;
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
        return false;
      });
      t.check(grew, `no frames ${when}`);
    };
    await framesGrow('at first');
    const credentials = () => viewer.evaluate(() => /a=ice-ufrag:(\S+)/.exec(/** @type {any} */ (globalThis).peer.pc.remoteDescription.sdp)?.[1]);
    const before = await credentials();
    const etag = await viewer.evaluate(async () => {
      const { peer } = /** @type {any} */ (globalThis);
      await peer.restartIce();
      return peer.etag;
    });
    t.check(etag === '"second"', `the entity tag after the restart is ${etag}`);
    t.check((await credentials()) !== before, 'the restart left the old credentials');
    await framesGrow('after an ICE restart');

    const patch = endpoint.seen.find((one) => one.method === 'PATCH');
    t.check(patch?.headers['if-match'] === '*', `If-Match of the restart: ${patch?.headers['if-match']}`);
    t.check(patch?.headers['content-type'] === 'application/trickle-ice-sdpfrag', 'content type of the restart');
    t.check(/^a=group:BUNDLE .*\r\nm=audio .*\r\n/.test(patch?.body ?? ''), `the fragment begins ${patch?.body.slice(0, 80)}`);

    // Leaving the page ends the session.
    await viewer.goto('about:blank');
    const left = await until('The page deletes its session when it is left', 5000, () => endpoint.seen.find((one) => one.method === 'DELETE'));
    t.check(left.path === '/whep/r/one', `DELETE of ${left.path}`);
    t.check(endpoint.seen.every((one) => one.headers.authorization === 'Bearer abc'), 'a request went without the token');
    t.figure('requests', endpoint.seen.map((one) => one.method).join(' '));
  },
};

export const scenarios = [session];
