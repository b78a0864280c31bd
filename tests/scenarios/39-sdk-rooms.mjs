// Rooms of the SDK against the server: three Chromiums and a Firefox in a call.
import { ownAddress } from '../lib/net.mjs';
import { Participant } from '../lib/participants.mjs';
import { until } from '../lib/process.mjs';
import { sdkApp } from '../lib/sdk.mjs';

/** @type {import('../lib/scenario.mjs').Scenario} */
const call = {
  name: 'sdk-call',
  timeoutS: 240,
  run: async (t) => {
    const server = await t.server({ host: ownAddress() });
    const app = await sdkApp(t);
    const [chromium, firefox] = [await t.chromium(), await t.firefox()];
    const where = { url: server.url, room: 'call' };
    const names = ['anna', 'bob', 'carl', 'fritz'];
    /** @type {Participant[]} */
    const all = [];
    for (const identity of names) {
      const page = await (identity === 'fritz' ? firefox : chromium).newPage();
      const one = await Participant.join(page, app, { ...where, identity });
      await one.publish();
      all.push(one);
    }
    const [anna, bob, carl, fritz] = /** @type {[Participant, Participant, Participant, Participant]} */ (/** @type {unknown} */ (all));
    await Promise.all(all.map((one) => one.seesAndHears(names.filter((name) => name !== one.identity), 'at first', { timeoutMs: 60_000 })));

    // Everybody's fake microphone beeps.
    for (const one of all) {
      await until(`${one.identity} hears somebody speak`, 15_000, () => one.do((call) => call.spoke.size >= 1));
    }

    // A shared picture, from a canvas: a headless browser has no screen to choose.
    await bob.do(async (call) => {
      const canvas = document.createElement('canvas');
      Object.assign(canvas, { width: 640, height: 360 });
      const paint = canvas.getContext('2d');
      setInterval(() => paint?.fillRect(Math.random() * 600, Math.random() * 300, 40, 40), 66);
      const [track] = canvas.captureStream(15).getVideoTracks();
      call.published.screen = await call.room.local.publish(track, { source: 'screen_share', name: 'slides' });
    });
    const screen = async (/** @type {Participant} */ one) => (await one.seen()).find(({ source }) => source === 'screen_share');
    for (const one of [anna, carl, fritz]) {
      await until(`${one.identity} sees the screen`, 20_000, async () => ((await screen(one))?.frames ?? 0) > 10);
    }

    // Chat reaches everybody else, or only whom it is for.
    await anna.do((call) => call.room.local.sendData('to all', { topic: 'chat' }));
    await fritz.do((call) => call.room.local.sendData('psst', { topic: 'chat', to: ['bob'] }));
    for (const one of [bob, carl, fritz]) {
      await until(`${one.identity} reads`, 5000, () => one.do((call) => call.data.includes('chat anna: to all')));
    }
    await until('bob reads what is for him', 5000, () => bob.do((call) => call.data.includes('chat fritz: psst')));
    t.check(!(await carl.do((call) => call.data.join())).includes('psst'), 'carl reads what is for bob');

    // Who pauses is shown as muted, and sends nothing.
    await carl.do((call) => call.published.camera.pause());
    const carlsCamera = async () => (await anna.seen()).find(({ identity, source }) => identity === 'carl' && source === 'camera');
    await until('anna sees that carl is muted', 5000, async () => (await carlsCamera())?.muted === true);
    const still = (await carlsCamera())?.frames;
    await new Promise((resolve) => setTimeout(resolve, 1500));
    t.check((await carlsCamera())?.frames === still, 'pictures of a paused camera arrive');
    await carl.do((call) => call.published.camera.resume());
    await anna.seesAndHears(['carl'], 'after he resumed');

    // The screen ends, and then bob leaves.
    await bob.do((call) => call.published.screen.unpublish());
    await until('the screen is gone', 5000, async () => (await screen(anna)) === undefined);
    await bob.do((call) => call.room.leave());
    for (const one of [anna, carl, fritz]) await one.told('-bob left');
    await anna.seesAndHears(['carl', 'fritz'], 'after bob left');
    for (const one of [anna, carl, fritz]) await one.isHealthy(t);
    t.figure('freezes', (await anna.seen()).reduce((sum, one) => sum + one.freezes, 0));
    for (const one of [anna, carl, fritz]) await one.do((call) => call.room.leave());
    await until('The room is empty', 10_000, async () => (await server.participants('call')).length === 0);
  },
};

/** @type {import('../lib/scenario.mjs').Scenario} */
const encrypted = {
  name: 'sdk-call-encrypted',
  timeoutS: 120,
  run: async (t) => {
    const server = await t.server();
    const app = await sdkApp(t);
    const chromium = await t.chromium();
    const join = async (/** @type {string} */ identity, /** @type {string} */ passphrase) =>
      Participant.join(await chromium.newPage(), app, { url: server.url, room: 'secret', identity, options: { passphrase } });
    const [anna, bob, eve] = [await join('anna', 'right'), await join('bob', 'right'), await join('eve', 'wrong')];
    // Two layers: the server reads them in spite of the encryption.
    await anna.publish({ width: 640, height: 360 });
    await bob.publish();
    await Promise.all([anna.seesAndHears(['bob'], 'with the same key'), bob.seesAndHears(['anna'], 'with the same key')]);
    // Otherwise there would be nothing to be shown.
    await until('something reaches who has the wrong key', 10_000, async () => (await eve.seen()).some(({ bytes }) => bytes > 10_000));
    const seen = await eve.seen();
    t.check(seen.every(({ frames }) => frames === 0), `with the wrong key: ${JSON.stringify(seen)}`);
    t.figure('frames', (await bob.seen()).map(({ frames }) => frames).join());
    for (const one of [anna, bob]) await one.isHealthy(t);
  },
};

export const scenarios = [call, encrypted];
