// The control plane is killed under a running stream, and the stream does not notice; the dataplane is killed, and it goes on.
import { noteTransport } from '../lib/delivery.mjs';
import { Publisher, Viewer } from '../lib/peers.mjs';
import { sleep, until } from '../lib/process.mjs';

/** A client's consent to send expires after 30 s (RFC 7675); browsers call it disconnected after 5 or so. */
const BACK_WITHIN_MS = 2000;
/** Nothing is promised of a crash of the dataplane but that it is short. */
const MEDIA_BACK_WITHIN_MS = 2000;

/** @param {string} name @param {{kills: number, apartS: number, fullOnly: boolean}} options @returns {import('../lib/scenario.mjs').Scenario} */
const controlKilled = (name, { kills, apartS, fullOnly }) => ({
  name,
  fullOnly,
  timeoutS: 60 + kills * apartS,
  run: async (t) => {
    const server = await t.server();
    const browser = await t.chromium();
    const publisher = await Publisher.open(await browser.newPage(), server.url, { room: 'restart', codec: 'VP8' });
    const viewer = await Viewer.open(await browser.newPage(), server.url, { room: 'restart' });
    await viewer.decoded(30, 15_000);
    const before = await viewer.sample();
    const sentBefore = await publisher.sent();
    const metricsBefore = await server.metrics();
    const dataplane = await server.pidOf('ion-dataplane');
    t.check(dataplane !== null, 'the launcher has no child ion-dataplane');
    await viewer.watchGaps();

    let slowestMs = 0;
    for (let kill = 0; kill < kills; kill += 1) {
      const round = performance.now();
      const old = await until('The control plane runs', 5000, () => server.pidOf('ion-controlplane'), 20);
      process.kill(old, 'SIGKILL');
      const killed = performance.now();
      await until('The control plane is back', 15_000, async () => {
        const now = await server.pidOf('ion-controlplane');
        return now !== null && now !== old && (await server.get('/readyz')).status === 200;
      }, 20);
      slowestMs = Math.max(slowestMs, performance.now() - killed);
      await sleep(Math.max(0, apartS * 1000 - (performance.now() - round)));
    }

    const after = await viewer.sample();
    const sent = (await publisher.sent()) - sentBefore;
    const gaps = await viewer.gaps();
    const metricsAfter = await server.metrics();
    const decoded = after.framesDecoded - before.framesDecoded;
    t.figure('kills', kills);
    t.figure('slowest return ms', Math.round(slowestMs));
    t.figure('frames', `${decoded}/${sent}`);
    t.figure('longest gap ms', Math.round(gaps.longestGapMs));
    t.figure('packets lost', after.packetsLost - before.packetsLost);
    t.figure('freezes', after.freezeCount - before.freezeCount);
    noteTransport(t, 'viewer', after.transport);
    t.checkTiming(slowestMs <= BACK_WITHIN_MS, `the control plane took ${Math.round(slowestMs)} ms to come back`);
    t.check(decoded >= sent * 0.98 - 3, `only ${decoded} of ${sent} frames were decoded`);
    t.checkTiming(gaps.longestGapMs < 500, `no frame for ${Math.round(gaps.longestGapMs)} ms`);
    t.check(after.packetsLost === before.packetsLost, `${after.packetsLost - before.packetsLost} packets were lost`);
    for (const [who, peer] of Object.entries({ publisher, viewer })) {
      const states = await peer.iceStates();
      t.check(!states.some((state) => /disconnected|failed/.test(state)), `ICE of the ${who} went ${states.join(' → ')}`);
    }
    t.check((await server.pidOf('ion-dataplane')) === dataplane, 'the dataplane was restarted too');
    const drops = metricsAfter.losses(metricsBefore);
    t.figure('drops', drops.length === 0 ? 'none' : drops.join(' '));
    t.check(drops.length === 0, `the dataplane dropped packets: ${drops.join(' ')}`);

    await afterwards(t, server, viewer, await browser.newPage(), 'restart');
  },
});

/**
 * What a client asks of a restarted server: an ICE restart of an old session, a new session, the end of an old one.
 * @param {import('../lib/scenario.mjs').Context} t @param {import('../lib/server.mjs').Server} server
 * @param {Viewer} viewer @param {import('../lib/browsers.mjs').Page} page @param {string} room
 */
async function afterwards(t, server, viewer, page, room) {
  await viewer.restartIce();
  const restarted = await viewer.sample();
  await viewer.decoded(restarted.framesDecoded + 30, 5000);
  const late = await Viewer.open(page, server.url, { room });
  await late.decoded(30, 15_000);
  const resource = new URL(await viewer.resource());
  const deleted = await server.get(resource.pathname, { method: 'DELETE' });
  t.check([200, 204].includes(deleted.status), `DELETE of a session from before the restart gave ${deleted.status}: ${deleted.text}`);
  const again = await server.get(resource.pathname, { method: 'DELETE' });
  t.check(again.status === 404, `DELETE of a deleted session gave ${again.status}`);
  const seen = await late.sample();
  await late.decoded(seen.framesDecoded + 30, 5000);
  t.figure('afterwards', 'ICE restart, new viewer and DELETE work');
}

/** The dataplane is killed: media stops until its successor has the rows, and then it goes on. @type {import('../lib/scenario.mjs').Scenario} */
const dataplaneKilled = {
  name: 'dataplane-killed',
  fullOnly: false,
  timeoutS: 60,
  run: async (t) => {
    const server = await t.server();
    const browser = await t.chromium();
    const publisher = await Publisher.open(await browser.newPage(), server.url, { room: 'crash', codec: 'VP8' });
    const viewer = await Viewer.open(await browser.newPage(), server.url, { room: 'crash' });
    await viewer.decoded(60, 15_000);
    await viewer.watchGaps();
    const control = await server.pidOf('ion-controlplane');
    const old = await until('The dataplane runs', 5000, () => server.pidOf('ion-dataplane'), 20);
    const before = await viewer.sample();
    process.kill(old, 'SIGKILL');
    const killed = performance.now();
    await until('Another dataplane runs', 5000, async () => {
      const now = await server.pidOf('ion-dataplane');
      return now !== null && now !== old;
    }, 20);
    // What was decoded just after the kill had arrived before it.
    const { framesDecoded } = await viewer.sample();
    await viewer.decoded(framesDecoded + 15, MEDIA_BACK_WITHIN_MS * 2);
    const backMs = performance.now() - killed;
    await sleep(6000);
    const after = await viewer.sample();
    const gaps = await viewer.gaps();
    t.figure('15 frames more after ms', Math.round(backMs));
    t.figure('longest gap ms', Math.round(gaps.longestGapMs));
    t.figure('longest freeze ms', Math.round(gaps.longestFreezeMs));
    t.figure('freezes', after.freezeCount - before.freezeCount);
    t.figure('packets lost', after.packetsLost - before.packetsLost);
    t.figure('frames', after.framesDecoded - before.framesDecoded);
    t.checkTiming(gaps.longestGapMs <= MEDIA_BACK_WITHIN_MS, `no frame for ${Math.round(gaps.longestGapMs)} ms`);
    const leastFrames = 30 * (6 - MEDIA_BACK_WITHIN_MS / 1000);
    t.check(after.framesDecoded - before.framesDecoded >= leastFrames, `only ${after.framesDecoded - before.framesDecoded} frames in 6 s after it`);
    t.check((await server.pidOf('ion-controlplane')) === control, 'the control plane was restarted too');
    for (const [who, peer] of Object.entries({ publisher, viewer })) {
      const states = await peer.iceStates();
      t.check(!states.some((state) => /disconnected|failed/.test(state)), `ICE of the ${who} went ${states.join(' → ')}`);
    }
    await afterwards(t, server, viewer, await browser.newPage(), 'crash');
  },
};

export const scenarios = [
  dataplaneKilled,
  controlKilled('control-killed', { kills: 1, apartS: 6, fullOnly: false }),
  controlKilled('control-killed-5', { kills: 5, apartS: 10, fullOnly: true }),
];
