// Adaptive streams and dynacast: what is shown small is received small, and what nobody watches is not encoded.
import { Participant } from '../lib/participants.mjs';
import { sleep, until } from '../lib/process.mjs';
import { sdkApp } from '../lib/sdk.mjs';

const PUBLISHERS = 3;
const TILES = 9;

/** @param {Participant} viewer @param {number} seconds @returns {Promise<number>} bit/s of all video that arrives */
async function bitrate(viewer, seconds) {
  const bytes = async () => (await viewer.seen()).filter(({ source }) => source !== 'microphone').reduce((sum, one) => sum + one.bytes, 0);
  const from = await bytes();
  await sleep(seconds * 1000);
  return ((await bytes()) - from) * 8 / seconds;
}

/** @param {Participant} publisher @returns {Promise<string[]>} `rid active framesEncoded` of each layer of all cameras */
const layers = (publisher) =>
  publisher.do(async (call) => {
    /** @type {string[]} */
    const all = [];
    for (const one of call.room.local.publications) {
      for (const { rid, active, framesEncoded } of (await one.getStats())?.values() ?? []) if (rid !== undefined) all.push(`${rid} ${active} ${framesEncoded}`);
    }
    return all.sort();
  });

/** @type {import('../lib/scenario.mjs').Scenario} */
const tiles = {
  name: 'sdk-adaptive-dynacast',
  timeoutS: 180,
  run: async (t) => {
    const server = await t.server();
    const app = await sdkApp(t);
    const chromium = await t.chromium();
    const where = { url: server.url, room: 'tiles' };
    const page = await chromium.newPage();
    // Room for all tiles: those out of sight are not received.
    await page.setViewportSize({ width: 1960, height: 1120 });
    const viewer = await Participant.join(page, app, { ...where, identity: 'viewer', tile: { width: 640, height: 360 } });
    /** @type {Participant[]} */
    const publishers = [];
    for (let at = 0; at < PUBLISHERS; at += 1) {
      const one = await Participant.join(await chromium.newPage(), app, { ...where, identity: `p${at}`, options: { autoSubscribe: false } });
      // Nine tiles of three browsers: three cameras each, in three layers.
      await one.do(async (call, count) => {
        for (let camera = 0; camera < count; camera += 1) await call.room.local.publishCamera({ width: 960, height: 540, frameRate: 6 });
      }, TILES / PUBLISHERS);
      publishers.push(one);
    }
    const names = publishers.map(({ identity }) => identity);
    await viewer.seesAndHears(names, 'at first', { audio: false, timeoutMs: 60_000 });
    t.check((await viewer.seen()).length === TILES, `${(await viewer.seen()).length} tiles`);
    await until('Every tile shows the large layer', 40_000, async () => (await viewer.seen()).every(({ height }) => height === 540));
    const large = await bitrate(viewer, 6);

    await viewer.do(() => {
      for (const one of document.querySelectorAll('video')) Object.assign(one.style, { width: '160px', height: '90px' });
    });
    const shrunkAt = performance.now();
    await until('Publishers stop the layers that nobody watches', 20_000, async () => {
      const all = (await Promise.all(publishers.map(layers))).flat();
      return all.length >= 3 * TILES && all.filter((one) => !one.startsWith('q')).every((one) => one.includes('false'));
    });
    const stoppedS = (performance.now() - shrunkAt) / 1000;
    t.figure('layers stopped after s', stoppedS);
    t.checkTiming(stoppedS <= 10, `publishers needed ${stoppedS.toFixed(1)} s to stop unused layers`);
    const before = (await Promise.all(publishers.map(layers))).flat().filter((one) => one.startsWith('f'));
    const small = await bitrate(viewer, 6);
    const after = (await Promise.all(publishers.map(layers))).flat().filter((one) => one.startsWith('f'));
    t.check(before.join() === after.join(), 'a stopped layer is encoded all the same');
    t.figure('received Mbit/s, large and small', `${(large / 1e6).toFixed(2)} ${(small / 1e6).toFixed(2)}`);
    t.figure('falls by %', 100 * (1 - small / large));
    t.check(small <= 0.3 * large, `the bitrate fell by ${(100 * (1 - small / large)).toFixed(0)} % only`);
    await viewer.seesAndHears(names, 'in small', { audio: false });

    // One tile is enlarged: its large layer comes back, and no other.
    await viewer.do(() => Object.assign(document.querySelector('video')?.style ?? {}, { width: '640px', height: '360px' }));
    await until('The enlarged tile is large again', 20_000, async () => (await viewer.seen()).filter(({ height }) => height === 540).length === 1);
    // Hidden ones cost nothing.
    await viewer.do(() => {
      for (const one of document.querySelectorAll('video')) one.style.display = 'none';
    });
    await sleep(3000);
    const hidden = await bitrate(viewer, 3);
    t.figure('hidden kbit/s', hidden / 1000);
    t.check(hidden < 0.02 * large, `hidden tiles cost ${(hidden / 1000).toFixed(0)} kbit/s`);
  },
};

export const scenarios = [tiles];
