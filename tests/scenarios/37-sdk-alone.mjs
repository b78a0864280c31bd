// The SDK's rooms without the server: a stand-in inside the page answers, so that each step can be looked at from both ends, and a
// failure here is the SDK's own.
import { until } from '../lib/process.mjs';
import { openApp, sdkApp } from '../lib/sdk.mjs';
import { startInPage } from '../lib/signal-in-page.mjs';

/** @typedef {import('../lib/browsers.mjs').Page} Page */

/** Frames that the room receives and that the far end receives. @param {Page} page @returns {Promise<{near: number, far: number}>} */
function frames(page) {
  return page.evaluate(async () => {
    const { room, far } = /** @type {any} */ (globalThis);
    const decoded = async (/** @type {RTCPeerConnection | undefined} */ pc) => {
      let frames = 0;
      for (const one of (await pc?.getStats())?.values() ?? []) if (one.type === 'inbound-rtp' && one.kind === 'video') frames += one.framesDecoded ?? 0;
      return frames;
    };
    return { near: await decoded(room.peer?.pc), far: await decoded(far.pc) };
  });
}

/** @param {Page} page @param {string} when @param {{near?: number, far?: number}} from */
const flows = (page, when, { near = 0, far = 0 } = {}) =>
  until(`Media flows both ways ${when}`, 20_000, async () => {
    const now = await frames(page);
    return now.near > near + 15 && now.far > far + 15;
  });

/** @param {import('../lib/scenario.mjs').Context} t @param {Page} page @param {string} app */
async function alone(t, page, app) {
  await openApp(page, app);
  await page.evaluate(startInPage);
  const joined = await page.evaluate(async () => {
    const page = /** @type {any} */ (globalThis);
    const room = new page.ion.Room();
    page.room = room;
    /** @type {string[]} */
    page.told = [];
    for (const name of ['status', 'trackSubscribed', 'trackUnsubscribed', 'published', 'unpublished', 'reconnecting', 'reconnected', 'error']) {
      room.on(name, (/** @type {any[]} */ ...args) => page.told.push(name === 'status' ? `status ${args[0]}` : name === 'error' ? `error ${args[0]}` : name));
    }
    room.on('trackSubscribed', (/** @type {any} */ _track, /** @type {any} */ publication) => {
      const video = document.createElement('video');
      Object.assign(video, { autoplay: true, muted: true });
      document.body.append(video);
      room.publication(publication.id).attach(video);
    });
    page.data = [];
    room.on('data', (/** @type {any} */ message) => page.data.push(`${message.from?.identity}: ${new TextDecoder().decode(message.payload)}`));
    await room.connect('http://localhost:9', { token: 't', room: 'r' });
    const [camera, microphone] = await Promise.all([room.local.publishCamera({ width: 640, height: 360 }), room.local.publishMicrophone()]);
    page.camera = camera;
    return { status: room.status, camera: camera.id, microphone: microphone.id, offers: page.far.requests.filter((/** @type {any} */ one) => one.type === 'offer').length };
  });
  t.check(joined.status === 'connected' && joined.camera !== undefined && joined.microphone !== undefined, `joined: ${JSON.stringify(joined)}`);
  // One for receiving, one for both tracks, and perhaps one between.
  t.check(joined.offers <= 3, `${joined.offers} offers to receive one track and send two`);
  await flows(page, 'at first');

  // The element is 320×180: that is asked for, and nothing when it is hidden.
  const asked = () => page.evaluate(() => /** @type {any} */ (globalThis).far.requests.filter((/** @type {any} */ one) => one.type === 'subscribe').at(-1)?.changes[0].bounds);
  await until('The size of the element is asked for', 5000, async () => (await asked())?.width === 320);
  await page.evaluate(() => Object.assign(document.querySelector('video')?.style ?? {}, { display: 'none' }));
  await until('A hidden element pauses', 5000, async () => (await asked())?.paused === true);

  await page.evaluate(() => /** @type {any} */ (globalThis).room.local.sendData('hello', { topic: 'chat' }));
  await until('Data comes back', 5000, async () => (await page.evaluate(() => /** @type {any} */ (globalThis).data.join())).includes('PA_2: hello'));

  await page.evaluate(async () => {
    const { camera } = /** @type {any} */ (globalThis);
    await camera.pause();
    if (camera.track.readyState !== 'ended') throw new Error('The camera stays on while it is paused.');
    await camera.resume();
    await camera.restart({ width: 320, height: 180 });
  });
  await flows(page, 'after pause, resume and restart', await frames(page));

  await recover(t, page);

  // Publications end and begin; sections are used again.
  const sections = await page.evaluate(async () => {
    const { room, far } = /** @type {any} */ (globalThis);
    const count = () => room.peer.pc.getTransceivers().length;
    const before = count();
    for (let round = 0; round < 3; round += 1) {
      far.tell({ type: 'unpublished', publication: `PB_${round + 2}`, participant: 'PA_2' });
      far.tell({ type: 'subscriptions', subscriptions: [] });
      await room.peer.negotiate();
      const publication = { ...far.others[0].publications[0], id: `PB_${round + 3}` };
      far.tell({ type: 'published', publication });
      far.tell({ type: 'subscriptions', subscriptions: [{ publication: publication.id, bounds: { paused: false }, rule: 'free' }] });
      await room.peer.negotiate();
      if (room.publication(publication.id)?.track === undefined) throw new Error(`No track for ${publication.id}.`);
    }
    return { before, after: count() };
  });
  t.check(sections.before === sections.after, `sections grew from ${sections.before} to ${sections.after}`);
  await flows(page, 'in sections that are used again', await frames(page));

  await republish(t, page);

  const told = await page.evaluate(async () => {
    const page = /** @type {any} */ (globalThis);
    const stats = await page.room.getStats();
    await page.camera.unpublish();
    await page.room.leave();
    return { told: page.told, stats: stats.tracks.map((/** @type {any} */ one) => `${one.direction} ${one.kind} ${one.rid} of ${one.publication}`), requests: page.far.requests.slice(-3).map((/** @type {any} */ one) => one.type) };
  });
  t.check(!told.told.some((/** @type {string} */ one) => one.startsWith('error')), `errors: ${told.told}`);
  t.check(told.told.at(-1) === 'status closed' && told.requests.includes('leave'), `the end: ${told.told.at(-1)}, ${told.requests}`);
  const kinds = ['received video', 'sent video', 'sent audio'];
  t.check(kinds.every((kind) => told.stats.some((/** @type {string} */ one) => one.startsWith(kind) && /PB_\d+$/.test(one))), `statistics of: ${told.stats}`);
}

/** Sections that sent are used again too, and a codec that somebody lacks gives way. @param {import('../lib/scenario.mjs').Context} t @param {Page} page */
async function republish(t, page) {
  const sections = await page.evaluate(async () => {
    const { room } = /** @type {any} */ (globalThis);
    const counts = [];
    for (let round = 0; round < 3; round += 1) {
      const other = await room.local.publishCamera({ width: 320, height: 180 });
      counts.push(room.peer.pc.getTransceivers().length);
      await other.unpublish();
    }
    return counts;
  });
  t.check(new Set(sections).size === 1, `sections of one publication after another: ${sections}`);

  const codecs = await page.evaluate(async () => {
    const { room, far } = /** @type {any} */ (globalThis);
    const other = await room.local.publishCamera({ width: 320, height: 180 }, { video: { codec: 'vp9' } });
    const sends = async (/** @type {string} */ codec) => {
      for (let look = 0; look < 100; look += 1) {
        const report = (await other.getStats()) ?? new Map();
        for (const one of report.values()) if (one.type === 'outbound-rtp' && report.get(one.codecId)?.mimeType === `video/${codec}` && one.framesSent > 5) return true;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      return false;
    };
    const before = { vp9: await sends('VP9'), id: other.id };
    const payload = btoa(JSON.stringify({ publication: other.id, can: ['vp8', 'h264'] }));
    far.tell({ type: 'dataReceived', from: 'PA_2', topic: 'ion.codec', payload });
    const vp8 = await sends('VP8');
    const after = { vp8, isNew: other.id !== before.id, known: far.published[other.cid]?.id === other.id };
    await other.unpublish();
    return { vp9: before.vp9, ...after };
  });
  t.check(Object.values(codecs).every(Boolean), `a backup codec: ${JSON.stringify(codecs)}`);
}

/** The three steps of recovery. @param {import('../lib/scenario.mjs').Context} t @param {Page} page */
async function recover(t, page) {
  const status = () => page.evaluate(() => /** @type {any} */ (globalThis).room.status);
  const offers = () => page.evaluate(() => /** @type {any} */ (globalThis).far.requests.filter((/** @type {any} */ one) => one.type === 'offer').length);

  // The socket alone: media does not notice.
  const before = { frames: await frames(page), offers: await offers() };
  await page.evaluate(() => /** @type {any} */ (globalThis).far.socket.lose());
  await until('The socket is lost', 2000, async () => (await status()) === 'reconnecting');
  await until('The socket comes back', 5000, async () => (await status()) === 'connected');
  await flows(page, 'after the socket was lost', before.frames);
  t.check((await offers()) === before.offers, 'a lost socket caused an offer');

  // ICE: restarted by hand, as no network can be taken away inside a page.
  await page.evaluate(() => /** @type {any} */ (globalThis).room.peer.restartIce());
  await flows(page, 'after an ICE restart', await frames(page));

  // The session is over: everything anew, with the same publication objects.
  const lost = await page.evaluate(async () => {
    const { far, camera, room } = /** @type {any} */ (globalThis);
    const before = { peer: room.peer.peer, cid: camera.cid };
    far.keeps = false;
    far.published = {};
    far.socket.lose();
    return before;
  });
  await until('The room is joined anew', 10_000, async () =>
    page.evaluate((/** @type {string} */ peer) => {
      const { room } = /** @type {any} */ (globalThis);
      return room.status === 'connected' && room.peer?.peer !== peer && room.peer.pc.connectionState === 'connected';
    }, lost.peer),
  );
  await flows(page, 'after a new join');
  const again = await page.evaluate(() => {
    const { far, camera, room } = /** @type {any} */ (globalThis);
    return { known: far.published[camera.cid]?.id === camera.id, ended: camera.ended, local: room.getSnapshot().local.publications.length };
  });
  t.check(again.known && !again.ended && again.local === 2, `after a new join: ${JSON.stringify(again)}`);
}

/** @type {import('../lib/scenario.mjs').Scenario[]} */
export const scenarios = [
  {
    name: 'sdk-alone-chromium',
    timeoutS: 120,
    run: async (t) => alone(t, await (await t.chromium()).newPage(), await sdkApp(t)),
  },
  {
    name: 'sdk-alone-firefox',
    timeoutS: 120,
    run: async (t) => alone(t, await (await t.firefox()).newPage(), await sdkApp(t)),
  },
];
