// What becomes of a call when its network, its socket or the server's control plane goes away: it goes on by itself.
import { impairedNetwork } from '../lib/net.mjs';
import { Participant } from '../lib/participants.mjs';
import { sleep, until } from '../lib/process.mjs';
import { routedApp, sdkApp } from '../lib/sdk.mjs';

/** Frames of others are looked for this often, in milliseconds. */
const LOOK_MS = 50;

/** Begins to note the longest time in which no frame of anybody was decoded. @param {Participant} viewer */
async function watchGaps(viewer) {
  await viewer.do(
    (call, lookMs) => {
      const gaps = { longestMs: 0, lastFrames: -1, lastAtMs: performance.now() };
      call.gaps = gaps;
      call.look = setInterval(async () => {
        const atMs = performance.now();
        let frames = 0;
        for (const one of (await call.room.peer?.pc.getStats())?.values() ?? []) if (one.type === 'inbound-rtp' && one.kind === 'video') frames += one.framesDecoded ?? 0;
        // Counters of a new connection begin anew.
        if (frames === gaps.lastFrames || frames === 0) gaps.longestMs = Math.max(gaps.longestMs, atMs - gaps.lastAtMs);
        else Object.assign(gaps, { lastFrames: frames, lastAtMs: atMs });
      }, lookMs);
    },
    LOOK_MS,
  );
}

/** @param {Participant} viewer @returns {Promise<number>} milliseconds since the last call, or since the watch began */
const longestGap = (viewer) =>
  viewer.do((call) => {
    const { longestMs } = call.gaps;
    call.gaps.longestMs = 0;
    return longestMs;
  });

/** @param {import('../lib/scenario.mjs').Context} t @param {Participant} one */
async function healthy(t, one, timeoutMs = 15_000) {
  await until(`${one.identity} is connected again`, timeoutMs, async () => (await one.do((call) => call.room.status)) === 'connected');
  const errors = await one.do((call) => call.errors);
  t.check(errors.length === 0, `${one.identity} met errors: ${errors}`);
}

/** @param {number} seconds @returns {import('../lib/scenario.mjs').Scenario} */
const drop = (seconds) => ({
  name: `sdk-drop-${seconds}s`,
  fullOnly: seconds > 5,
  timeoutS: 150,
  run: async (t) => {
    const network = await impairedNetwork(t, { delayAb: 5, delayBa: 5 });
    const server = await t.server({ netns: network.a.netns, host: network.a.address });
    const [near, far] = [await t.chromium({ netns: network.a.netns }), await t.chromium({ netns: network.b.netns })];
    const join = async (/** @type {any} */ browser, /** @type {string} */ url, /** @type {string} */ identity) => {
      const page = await browser.newPage();
      const one = await Participant.join(page, await routedApp(t, page), { url, room: 'drop', identity });
      await one.publish();
      return one;
    };
    const anna = await join(near, server.url, 'anna');
    const bob = await join(far, server.farUrl, 'bob');
    await Promise.all([anna.seesAndHears(['bob'], 'at first'), bob.seesAndHears(['anna'], 'at first')]);
    await watchGaps(bob);
    await watchGaps(anna);

    network.wire(false);
    await sleep(seconds * 1000);
    network.wire(true);
    await Promise.all([anna.seesAndHears(['bob'], 'after the drop'), bob.seesAndHears(['anna'], 'after the drop')]);
    for (const one of [anna, bob]) {
      const gapMs = await longestGap(one);
      t.figure(`gap of ${one.identity} ms`, gapMs);
      t.check(gapMs >= seconds * 900, `${one.identity} did not notice the drop of ${seconds} s: ${gapMs} ms`);
      t.checkTiming(gapMs <= seconds * 1000 + 1000, `media of ${one.identity} was away for ${Math.round(gapMs)} ms`);
    }
    // Signalling works again too, both ways.
    await bob.do((call) => call.room.local.sendData('back', { topic: 'chat' }));
    await until('anna reads bob again', 15_000, () => anna.do((call) => call.data.includes('chat bob: back')));
    await healthy(t, bob);
    await healthy(t, anna);
    t.figure('told', (await bob.do((call) => call.told)).join(' '));
  },
});

/** @type {import('../lib/scenario.mjs').Scenario} */
const socket = {
  name: 'sdk-drop-socket',
  timeoutS: 90,
  run: async (t) => {
    const server = await t.server();
    const app = await sdkApp(t);
    const chromium = await t.chromium();
    const page = await chromium.newPage();
    // The sockets of this page can be taken away.
    await page.addInitScript(() => {
      const page = /** @type {any} */ (globalThis);
      page.sockets = [];
      const Real = WebSocket;
      page.WebSocket = class extends Real {
        constructor(/** @type {string} */ url, /** @type {string[]} */ protocols) {
          super(url, protocols);
          page.sockets.push(this);
        }
      };
    });
    const where = { url: server.url, room: 'socket' };
    const anna = await Participant.join(page, app, { ...where, identity: 'anna' });
    const bob = await Participant.join(await chromium.newPage(), app, { ...where, identity: 'bob' });
    await Promise.all([anna.publish(), bob.publish()]);
    await Promise.all([anna.seesAndHears(['bob'], 'at first'), bob.seesAndHears(['anna'], 'at first')]);
    await watchGaps(anna);
    await watchGaps(bob);
    await sleep(2000);
    const before = { anna: await longestGap(anna), bob: await longestGap(bob) };
    const peer = await anna.do((call) => call.room.peer.peer);

    await page.evaluate(() => /** @type {any} */ (globalThis).sockets.at(-1).close());
    // What happens meanwhile is told after it.
    await bob.do((call) => call.published.camera.pause());
    await anna.told('reconnected');
    await until('anna learns what she missed', 5000, async () => (await anna.seen()).some(({ muted }) => muted));
    await bob.do((call) => call.published.camera.resume());
    await anna.seesAndHears(['bob'], 'after the socket was lost');
    const gapMs = await longestGap(bob);
    t.figure('gap of who did not pause, before and after, ms', `${Math.round(before.bob)} ${Math.round(gapMs)}`);
    t.checkTiming(gapMs < before.bob + 300, `media was away for ${Math.round(gapMs)} ms`);
    t.check((await anna.do((call) => call.room.peer.peer)) === peer, 'a lost socket cost the connection');
    await healthy(t, anna);
    t.figure('told', (await anna.do((call) => call.told)).join(' '));
  },
};

/** @type {import('../lib/scenario.mjs').Scenario} */
const controlPlane = {
  name: 'sdk-controlplane-killed',
  timeoutS: 120,
  run: async (t) => {
    const server = await t.server();
    const app = await sdkApp(t);
    const chromium = await t.chromium();
    const where = { url: server.url, room: 'killed' };
    const anna = await Participant.join(await chromium.newPage(), app, { ...where, identity: 'anna' });
    const bob = await Participant.join(await chromium.newPage(), app, { ...where, identity: 'bob' });
    await Promise.all([anna.publish(), bob.publish()]);
    await Promise.all([anna.seesAndHears(['bob'], 'at first'), bob.seesAndHears(['anna'], 'at first')]);
    await watchGaps(anna);
    await sleep(2000);
    const before = await longestGap(anna);
    const pid = await server.pidOf('ion-controlplane');
    process.kill(pid ?? -1, 'SIGKILL');
    await anna.told('reconnected', 30_000);
    await bob.told('reconnected', 30_000);
    await Promise.all([anna.seesAndHears(['bob'], 'after the kill'), bob.seesAndHears(['anna'], 'after the kill')]);
    const gapMs = await longestGap(anna);
    t.figure('gap before and after, ms', `${Math.round(before)} ${Math.round(gapMs)}`);
    t.checkTiming(gapMs < before + 500, `media was away for ${Math.round(gapMs)} ms`);
    // The room is what it was: chat and new publications go on.
    await bob.do((call) => call.room.local.sendData('still here', { topic: 'chat' }));
    await until('anna reads bob', 10_000, () => anna.do((call) => call.data.includes('chat bob: still here')));
    const carl = await Participant.join(await chromium.newPage(), app, { ...where, identity: 'carl' });
    await carl.publish();
    await anna.seesAndHears(['carl'], 'who came after the kill');
    await carl.seesAndHears(['anna', 'bob'], 'who were there before it');
    await healthy(t, anna);
    await healthy(t, bob);
    t.figure('told', (await anna.do((call) => call.told)).join(' '));
  },
};

export const scenarios = [drop(3), drop(15), socket, controlPlane];
