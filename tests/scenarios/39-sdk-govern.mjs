// What the application's server does to a call while it goes on: mute, kick, move, split, merge, multicast. Nothing reconnects.
import { join } from 'node:path';
import { ownAddress } from '../lib/net.mjs';
import { Participant } from '../lib/participants.mjs';
import { sleep, until } from '../lib/process.mjs';
import { sdkApp } from '../lib/sdk.mjs';

/** @typedef {import('../lib/scenario.mjs').Context} Context */

/** Media of who stays together may be away for so long. */
const GAP_MS = 1000;

/** Which connection a participant has, and whether it was ever in doubt. @param {Participant} one @returns {Promise<string>} */
const connection = (one) => one.do((call) => `${call.room.peer.peer} ${call.told.includes('reconnecting') ? 'reconnected' : 'kept'}`);

/** @param {Context} t @param {Participant[]} all @param {string} stage */
async function look(t, all, stage) {
  for (const one of all) await one.page.screenshot({ path: join(t.resultsDir, `sdk-${stage}-${one.identity}.png`) });
}

/**
 * Does something to the room while these pairs see each other, and notes their gaps.
 * @param {Context} t @param {string} what @param {[Participant, Participant][]} pairs @param {() => Promise<unknown>} act
 */
async function without(t, what, pairs, act) {
  for (const [one, other] of pairs) await one.watchGaps([other.identity]);
  await sleep(1000);
  for (const [one] of pairs) await one.longestGapMs();
  await act();
  // What comes late would come by now.
  await sleep(2000);
  for (const [one, other] of pairs) {
    const gapMs = await one.longestGapMs();
    t.figure(`${what}: gap of ${other.identity} at ${one.identity} ms`, gapMs);
    t.checkTiming(gapMs <= GAP_MS, `${what}: ${one.identity} saw nothing of ${other.identity} for ${Math.round(gapMs)} ms`);
  }
}

/** @param {Participant} viewer @param {string} identity @param {boolean} there */
const isThere = (viewer, identity, there) =>
  until(`${viewer.identity} has ${there ? '' : 'no '}${identity} in the room`, 15_000, async () => {
    const names = await viewer.do((call) => call.room.getSnapshot().remotes.map((/** @type {any} */ one) => one.identity));
    return names.includes(identity) === there;
  });

/** @type {import('../lib/scenario.mjs').Scenario} */
const governed = {
  name: 'sdk-call-governed',
  timeoutS: 240,
  run: async (t) => {
    const server = await t.server({ host: ownAddress() });
    const app = await sdkApp(t);
    const [chromium, firefox] = [await t.chromium(), await t.firefox()];
    const names = ['anna', 'bob', 'carl', 'fritz'];
    /** @type {Participant[]} */
    const all = [];
    for (const identity of names) {
      const page = await (identity === 'fritz' ? firefox : chromium).newPage();
      const one = await Participant.join(page, app, { url: server.url, room: 'hall', identity });
      await one.publish();
      all.push(one);
    }
    const [anna, bob, carl, fritz] = /** @type {[Participant, Participant, Participant, Participant]} */ (/** @type {unknown} */ (all));
    const together = async (/** @type {string} */ when) => {
      await Promise.all(all.map((one) => one.seesAndHears(names.filter((name) => name !== one.identity), when, { timeoutMs: 60_000 })));
    };
    await together('at first');
    await look(t, all, 'together');
    const connections = await Promise.all(all.map(connection));

    // A screen, as the user chooses it: once more in the same sections.
    const sections = [];
    for (let round = 0; round < 2; round += 1) {
      await bob.do((call) => Promise.all((call.published.screen ?? []).map((/** @type {any} */ one) => one.unpublish())));
      sections.push(await bob.do(async (call) => {
        call.published.screen = await call.room.local.publishScreen();
        return call.room.peer.pc.getTransceivers().length;
      }));
    }
    t.check(sections[0] === sections[1], `a second screen took new sections: ${sections}`);
    for (const one of [anna, carl, fritz]) {
      await until(`${one.identity} sees the screen`, 20_000, async () => ((await one.seen()).find(({ source }) => source === 'screen_share')?.frames ?? 0) > 5);
    }
    await look(t, all, 'screen');
    await bob.do((call) => Promise.all(call.published.screen.map((/** @type {any} */ one) => one.unpublish())));

    // Muted, carl sends nothing until he resumes by himself.
    const camera = async () => (await anna.seen()).find(({ identity, source }) => identity === 'carl' && source === 'camera');
    await server.must('POST', '/v1/rooms/hall/participants/carl/mute', {});
    await until('anna sees that carl is muted', 10_000, async () => (await camera())?.muted === true);
    await until('carl is muted himself', 10_000, () => carl.do((call) => call.published.camera.paused && call.published.microphone.paused));
    const still = (await camera())?.frames;
    await sleep(1500);
    t.check((await camera())?.frames === still, 'pictures of who was muted arrive');
    await carl.do((call) => Promise.all([call.published.camera.resume(), call.published.microphone.resume()]));
    await anna.seesAndHears(['carl'], 'after he resumed');

    // One is moved, and comes back.
    const annaBob = /** @type {[Participant, Participant][]} */ ([[anna, bob], [bob, anna]]);
    await without(t, 'move', annaBob, () => server.must('POST', '/v1/rooms/hall/participants/fritz/move', { to: 'side' }));
    await fritz.told('moved');
    await anna.told('-fritz moved');
    await isThere(fritz, 'anna', false);
    await server.must('POST', '/v1/rooms/side/participants/fritz/move', { to: 'hall' });
    await together('after fritz came back');

    // Two and two, and all again.
    const carlFritz = /** @type {[Participant, Participant][]} */ ([[carl, fritz], [fritz, carl]]);
    const pairs = [...annaBob, ...carlFritz];
    await without(t, 'split', pairs, () => server.must('POST', '/v1/rooms/hall/split', { to: 'side', identities: ['carl', 'fritz'] }));
    await isThere(anna, 'carl', false);
    await isThere(fritz, 'bob', false);
    await Promise.all(pairs.map(([one, other]) => one.seesAndHears([other.identity], 'in two rooms')));
    await look(t, all, 'split');
    const rooms = await Promise.all(['hall', 'side'].map(async (room) => (await server.participants(room)).map(({ identity }) => identity).sort().join()));
    t.check(rooms.join(' ') === 'anna,bob carl,fritz', `the server has ${rooms.join(' and ')} in its rooms`);

    await without(t, 'merge', pairs, () => server.must('POST', '/v1/rooms/side/merge', { to: 'hall' }));
    await together('after the rooms were merged');
    await look(t, all, 'merged');
    t.check((await Promise.all(all.map(connection))).join() === connections.join(), `somebody reconnected: ${await Promise.all(all.map(connection))}`);

    // Removed, carl is told why; the others go on.
    await without(t, 'kick', annaBob, () => server.must('DELETE', '/v1/rooms/hall/participants/carl'));
    await carl.told('closed kicked');
    for (const one of [anna, bob, fritz]) await one.told('-carl kicked');
    for (const one of [anna, bob, fritz]) await one.isHealthy(t);
    for (const one of [anna, bob, fritz]) await one.do((call) => call.room.leave());
    await until('The room is empty', 10_000, async () => (await server.participants('hall')).length === 0);
  },
};

/** The rate may differ by so much from what it was: encoders do not hold theirs better. */
const TOLERANCE = 0.15;

/** What a publisher sends of its camera in so many seconds. @param {Participant} publisher @param {number} seconds */
async function uplink(publisher, seconds) {
  const sent = () =>
    publisher.do(async (call) => {
      const streams = [...(await call.room.peer.pc.getStats()).values()].filter((one) => one.type === 'outbound-rtp' && one.kind === 'video');
      return { streams: streams.filter((one) => one.bytesSent > 0).length, bytes: streams.reduce((sum, one) => sum + one.bytesSent, 0), atMs: performance.now() };
    });
  const from = await sent();
  await sleep(seconds * 1000);
  const to = await sent();
  return { bps: ((to.bytes - from.bytes) * 8000) / (to.atMs - from.atMs), streams: to.streams };
}

/** @type {import('../lib/scenario.mjs').Scenario} */
const multicast = {
  name: 'sdk-multicast',
  timeoutS: 150,
  run: async (t) => {
    const server = await t.server();
    const app = await sdkApp(t);
    const chromium = await t.chromium();
    const enter = async (/** @type {string} */ room, /** @type {string} */ identity) =>
      Participant.join(await chromium.newPage(), app, { url: server.url, room, identity });
    const anna = await enter('studio', 'anna');
    await anna.publish({ audio: false, video: { simulcast: false } });
    const viewers = { studio: await enter('studio', 'stu'), north: await enter('north', 'nora'), south: await enter('south', 'sue') };
    await viewers.studio.seesAndHears(['anna'], 'in her own room', { audio: false });

    // Encoders take their time to settle.
    let before = await uplink(anna, 3);
    await until('The publisher sends at an even rate', 40_000, async () => {
      const last = before;
      before = await uplink(anna, 3);
      return Math.abs(before.bps / last.bps - 1) < TOLERANCE / 3;
    });
    before = await uplink(anna, 5);
    const track = await anna.do((call) => call.published.camera.id);
    const frames = async (/** @type {Participant} */ one) => (await one.seen()).reduce((sum, { frames }) => sum + frames, 0) || one.do(async (call) => {
      let frames = 0;
      for (const entry of (await call.room.peer.pc.getStats()).values()) if (entry.type === 'inbound-rtp') frames += entry.framesDecoded ?? 0;
      return frames;
    });
    const plays = async (/** @type {keyof typeof viewers} */ room, /** @type {string} */ when) => {
      const from = await frames(viewers[room]);
      await until(`${room} plays ${when}`, 20_000, async () => (await frames(viewers[room])) > from + 30);
    };
    for (const room of ['north', 'south']) await server.must('PUT', `/v1/rooms/studio/tracks/${track}/rooms/${room}`);
    for (const room of /** @type {const} */ (['studio', 'north', 'south'])) await plays(room, 'when it is sent there');
    const after = await uplink(anna, 5);
    for (const room of /** @type {const} */ (['studio', 'north', 'south'])) await plays(room, 'still');
    t.figure('uplink kbit/s, one room and three', `${Math.round(before.bps / 1000)} ${Math.round(after.bps / 1000)}`);
    t.figure('streams, one room and three', `${before.streams} ${after.streams}`);
    t.check(before.streams === 1 && after.streams === 1, `the publisher sends ${before.streams}, then ${after.streams} streams`);
    t.check(Math.abs(after.bps / before.bps - 1) <= TOLERANCE, `the uplink went from ${Math.round(before.bps)} to ${Math.round(after.bps)} bit/s`);

    // One room less: the others do not notice.
    await server.must('DELETE', `/v1/rooms/studio/tracks/${track}/rooms/south`);
    await sleep(500);
    const still = await frames(viewers.south);
    await Promise.all([plays('studio', 'without south'), plays('north', 'without south')]);
    t.check((await frames(viewers.south)) <= still, 'south still plays');
    for (const one of [anna, ...Object.values(viewers)]) await one.isHealthy(t);
  },
};

export const scenarios = [governed, multicast];
