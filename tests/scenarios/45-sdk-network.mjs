// What becomes of a call when its network, its socket or the server's control plane goes away: it goes on by itself.
import { impairedNetwork } from '../lib/net.mjs';
import { Participant } from '../lib/participants.mjs';
import { sleep, until } from '../lib/process.mjs';
import { routedApp, sdkApp } from '../lib/sdk.mjs';

/** Two in a call, bob with a wire of his own to the server. @param {import('../lib/scenario.mjs').Context} t */
async function apart(t) {
  const network = await impairedNetwork(t, { delayAb: 5, delayBa: 5 });
  const server = await t.server({ netns: network.a.netns, host: network.a.address });
  const [near, far] = [await t.chromium({ netns: network.a.netns }), await t.chromium({ netns: network.b.netns })];
  const join = async (/** @type {any} */ browser, /** @type {string} */ url, /** @type {string} */ identity) => {
    const page = await browser.newPage();
    const one = await Participant.join(page, await routedApp(t, page), { url, room: 'apart', identity });
    await one.publish();
    return one;
  };
  const anna = await join(near, server.url, 'anna');
  const bob = await join(far, server.farUrl, 'bob');
  await Promise.all([anna.seesAndHears(['bob'], 'at first'), bob.seesAndHears(['anna'], 'at first')]);
  await bob.watchGaps();
  await anna.watchGaps();
  return { network, anna, bob };
}

/** Media is back within a second of the network, and signalling works both ways. @param {import('../lib/scenario.mjs').Context} t @param {{anna: Participant, bob: Participant}} both @param {number} awayMs */
async function back(t, { anna, bob }, awayMs) {
  await Promise.all([anna.seesAndHears(['bob'], 'again'), bob.seesAndHears(['anna'], 'again')]);
  for (const one of [anna, bob]) {
    const gapMs = await one.longestGapMs();
    t.figure(`gap of ${one.identity} ms`, gapMs);
    t.check(gapMs >= awayMs * 0.9, `${one.identity} did not notice that the network was away for ${awayMs} ms: ${gapMs} ms`);
    t.checkTiming(gapMs <= awayMs + 1000, `media of ${one.identity} was away for ${Math.round(gapMs)} ms`);
  }
  await bob.do((call) => call.room.local.sendData('back', { topic: 'chat' }));
  await until('anna reads bob again', 15_000, () => anna.do((call) => call.data.includes('chat bob: back')));
  await bob.isHealthy(t);
  await anna.isHealthy(t);
  t.figure('told', (await bob.do((call) => call.told)).join(' '));
}

/** @param {number} seconds @returns {import('../lib/scenario.mjs').Scenario} */
const drop = (seconds) => ({
  name: `sdk-drop-${seconds}s`,
  fullOnly: seconds > 5,
  timeoutS: 150,
  run: async (t) => {
    const { network, ...both } = await apart(t);
    network.wire(false);
    await sleep(seconds * 1000);
    network.wire(true);
    await back(t, both, seconds * 1000);
  },
});

/** @type {import('../lib/scenario.mjs').Scenario} */
const address = {
  name: 'sdk-address-changes',
  timeoutS: 150,
  run: async (t) => {
    const { network, ...both } = await apart(t);
    // Chromium looks for addresses every other second: until then, the new network is none for it.
    await both.bob.do((call, address) => {
      call.room.peer.pc.addEventListener('icecandidate', (/** @type {RTCPeerConnectionIceEvent} */ { candidate }) => {
        if (candidate?.address === address) call.knownAtMs ??= Date.now();
      });
    }, network.elsewhere);
    const movedAtMs = Date.now();
    await network.move();
    const knownAtMs = await until('The browser knows its new address', 15_000, () => both.bob.do((call) => call.knownAtMs));
    t.figure('known to the browser after ms', knownAtMs - movedAtMs);
    await back(t, both, knownAtMs - movedAtMs);
    const used = await both.bob.do(async (call) => {
      const all = await call.room.peer.pc.getStats();
      const pair = [...all.values()].find((one) => one.type === 'candidate-pair' && one.nominated && one.state === 'succeeded');
      return all.get(pair?.localCandidateId)?.address;
    });
    t.check(used === network.elsewhere, `media goes over ${used}, not over ${network.elsewhere}`);
  },
};

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
    await anna.watchGaps();
    await bob.watchGaps();
    await sleep(2000);
    const before = { anna: await anna.longestGapMs(), bob: await bob.longestGapMs() };
    const peer = await anna.do((call) => call.room.peer.peer);

    await page.evaluate(() => /** @type {any} */ (globalThis).sockets.at(-1).close());
    // What happens meanwhile is told after it.
    await bob.do((call) => call.published.camera.pause());
    await anna.told('reconnected');
    await until('anna learns what she missed', 5000, async () => (await anna.seen()).some(({ muted }) => muted));
    await bob.do((call) => call.published.camera.resume());
    await anna.seesAndHears(['bob'], 'after the socket was lost');
    const gapMs = await bob.longestGapMs();
    t.figure('gap of who did not pause, before and after, ms', `${Math.round(before.bob)} ${Math.round(gapMs)}`);
    t.checkTiming(gapMs < before.bob + 300, `media was away for ${Math.round(gapMs)} ms`);
    t.check((await anna.do((call) => call.room.peer.peer)) === peer, 'a lost socket cost the connection');
    await anna.isHealthy(t);
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
    await anna.watchGaps();
    await sleep(2000);
    const before = await anna.longestGapMs();
    const pid = await server.pidOf('ion-controlplane');
    process.kill(pid ?? -1, 'SIGKILL');
    await anna.told('reconnected', 30_000);
    await bob.told('reconnected', 30_000);
    await Promise.all([anna.seesAndHears(['bob'], 'after the kill'), bob.seesAndHears(['anna'], 'after the kill')]);
    const gapMs = await anna.longestGapMs();
    t.figure('gap before and after, ms', `${Math.round(before)} ${Math.round(gapMs)}`);
    t.checkTiming(gapMs < before + 500, `media was away for ${Math.round(gapMs)} ms`);
    // The room is what it was: chat and new publications go on.
    await bob.do((call) => call.room.local.sendData('still here', { topic: 'chat' }));
    await until('anna reads bob', 10_000, () => anna.do((call) => call.data.includes('chat bob: still here')));
    const carl = await Participant.join(await chromium.newPage(), app, { ...where, identity: 'carl' });
    await carl.publish();
    await anna.seesAndHears(['carl'], 'who came after the kill');
    await carl.seesAndHears(['anna', 'bob'], 'who were there before it');
    await anna.isHealthy(t);
    await bob.isHealthy(t);
    t.figure('told', (await anna.do((call) => call.told)).join(' '));
  },
};

export const scenarios = [drop(3), drop(15), address, socket, controlPlane];
