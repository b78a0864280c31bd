// The SDK's WHIP and WHEP helpers, from the packed package, against the server.
import { openApp, sdkApp } from '../lib/sdk.mjs';
import { until } from '../lib/process.mjs';

/** @typedef {import('playwright-core').Page} Page */

/** Frames of video and packets of audio that a page's session received. @param {Page} page */
function received(page) {
  return page.evaluate(async () => {
    const figures = { frames: 0, freezes: 0, audio: 0, lost: 0 };
    for (const one of (await /** @type {any} */ (globalThis).session.pc.getStats()).values()) {
      if (one.type !== 'inbound-rtp') continue;
      if (one.kind === 'video') Object.assign(figures, { frames: one.framesDecoded, freezes: one.freezeCount });
      else figures.audio = one.packetsReceived;
      figures.lost += one.packetsLost;
    }
    return figures;
  });
}

/** @type {import('../lib/scenario.mjs').Scenario} */
const whipWhep = {
  name: 'sdk-whip-whep',
  timeoutS: 90,
  run: async (t) => {
    const server = await t.server();
    const app = await sdkApp(t);
    const browser = await t.chromium();
    const [publisher, viewer] = [await browser.newPage(), await browser.newPage()];
    /** @type {{method: string, status: number}[]} */
    const seen = [];
    for (const page of [publisher, viewer]) {
      page.on('response', (one) => {
        const method = one.request().method();
        if (['POST', 'PATCH', 'DELETE'].includes(method)) seen.push({ method, status: one.status() });
      });
    }
    await openApp(publisher, app);
    await openApp(viewer, app);

    // A bad request is refused by reason, and leaves nothing open.
    const refused = await viewer.evaluate(async (url) => {
      const { ion } = /** @type {any} */ (globalThis);
      return ion.playWhep(`${url}/whep/no%2Fsuch%00room`).catch((/** @type {any} */ error) => [error.name, error.reason, error.status]);
    }, server.url);
    t.check(refused[0] === 'IonError' && refused[1] === 'badMessage', `a bad name is refused with ${refused}`);

    // The viewer comes first, and waits.
    const watching = viewer.evaluate(async (url) => {
      const page = /** @type {any} */ (globalThis);
      let retries = 0;
      const onRetry = () => (retries += 1);
      const { session, stream } = await page.ion.playWhep(`${url}/whep/sdk`, { onRetry, signal: AbortSignal.timeout(30_000) });
      page.session = session;
      page.restarts = 0;
      session.on('restart', () => (page.restarts += 1));
      const video = document.createElement('video');
      Object.assign(video, { srcObject: stream, muted: true, autoplay: true });
      document.body.append(video);
      return retries;
    }, server.url);
    await publisher.evaluate(async (url) => {
      const page = /** @type {any} */ (globalThis);
      page.media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360 } });
      page.session = await page.ion.publishWhip(`${url}/whip/sdk`, page.media);
    }, server.url);
    t.figure('waits of the viewer', await watching);

    const grows = (/** @type {string} */ when, from = { frames: 0, audio: 0 }) =>
      until(`Video and audio arrive ${when}`, 15_000, async () => {
        const now = await received(viewer);
        return now.frames > from.frames + 30 && now.audio > from.audio + 30;
      });
    await grows('at first');
    const trickled = await until('Both sides trickle', 5000, () => seen.filter(({ method }) => method === 'PATCH').length >= 2);
    t.check(trickled && seen.every(({ method, status }) => method !== 'PATCH' || status === 204), `PATCHes: ${JSON.stringify(seen)}`);

    // ICE restarts on both sides while media flows.
    for (const page of [viewer, publisher]) {
      const etagged = await page.evaluate(async () => {
        const { session } = /** @type {any} */ (globalThis);
        const ufrag = () => /a=ice-ufrag:(\S+)/.exec(session.pc.remoteDescription.sdp)?.[1];
        const before = ufrag();
        await session.restartIce();
        return before !== ufrag();
      });
      t.check(etagged, 'the server kept its credentials in an ICE restart');
    }
    await grows('after ICE restarts', await received(viewer));
    await grows('still', await received(viewer));
    const end = await received(viewer);
    t.figure('frames', end.frames);
    t.figure('freezes', end.freezes);
    t.figure('lost', end.lost);

    // close() sends the DELETE and leaves the tracks to the app.
    for (const page of [publisher, viewer]) {
      const live = await page.evaluate(async () => {
        const page = /** @type {any} */ (globalThis);
        await page.session.close();
        return page.session.state === 'closed' && (page.media?.getTracks() ?? []).every((/** @type {any} */ one) => one.readyState === 'live');
      });
      t.check(live, 'closing did not end the session, or stopped the tracks');
    }
    const deletes = seen.filter(({ method }) => method === 'DELETE');
    t.check(deletes.length === 2 && deletes.every(({ status }) => status < 300), `DELETEs: ${JSON.stringify(deletes)}`);
    await until('The room is empty', 5000, async () => (await server.participants('sdk')).length === 0);
    t.figure('requests', seen.map(({ method, status }) => `${method} ${status}`).join(', '));
  },
};

export const scenarios = [whipWhep];
