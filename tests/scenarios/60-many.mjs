// One publisher, fifty viewers, two workers: every viewer gets every packet, whichever worker serves it.
import { Publisher } from '../lib/peers.mjs';
import { sleep } from '../lib/process.mjs';
import { startLdcViewers } from '../lib/viewers.mjs';

const PROCESSES = 2;
const VIEWERS_EACH = 25;
const WORKERS = 2;

/** @type {import('../lib/scenario.mjs').Scenario} */
const fifty = {
  name: 'fifty-viewers',
  fullOnly: true,
  timeoutS: 180,
  run: async (t) => {
    const server = await t.server({ workers: WORKERS });
    const browser = await t.chromium();
    const options = { room: 'many', codec: 'VP8', maxBitrate: 400_000 };
    const publisher = await Publisher.open(await browser.newPage(), server.url, options);
    const groups = [];
    for (let at = 0; at < PROCESSES; at += 1) groups.push(await startLdcViewers(t, `${server.url}/whep/many`, VIEWERS_EACH));
    const perWorker = new Map();
    for (const { role, worker } of await server.participants('many')) {
      if (role === 'viewer') perWorker.set(worker, (perWorker.get(worker) ?? 0) + 1);
    }
    const metricsBefore = await server.metrics();
    const sentBefore = await publisher.sample();
    const before = (await Promise.all(groups.map((group) => group.report()))).flat();
    await sleep(t.seconds * 1000);
    await publisher.finish();
    const sentAfter = await publisher.sample();
    const after = (await Promise.all(groups.map((group) => group.report()))).flat();
    const metricsAfter = await server.metrics();

    const sent = sentAfter.packetsSent - sentAfter.retransmittedPacketsSent - (sentBefore.packetsSent - sentBefore.retransmittedPacketsSent);
    for (const kind of ['video', 'audio']) {
      const tracks = after.map((viewer) => viewer.tracks.find((track) => track.kind === kind));
      const earlier = before.map((viewer) => viewer.tracks.find((track) => track.kind === kind));
      const received = tracks.map((track, at) => (track?.received ?? 0) - (earlier[at]?.received ?? 0));
      const missing = tracks.reduce((sum, track) => sum + (track?.missing ?? 0), 0);
      t.figure(`${kind} packets each`, `${Math.min(...received)} to ${Math.max(...received)}`);
      t.figure(`${kind} missing in all`, missing);
      t.check(missing === 0, `${missing} ${kind} packets are missing over ${after.length} viewers`);
      // Nobody's numbers may have stopped early either: all see the same, but for what came while the reports were made.
      const spread = Math.max(...received) - Math.min(...received);
      t.check(Math.min(...received) > 0 && spread <= 20, `from ${Math.min(...received)} to ${Math.max(...received)} ${kind} packets were received`);
      if (kind === 'video') t.check(sent - Math.min(...received) <= 20, `of ${sent} packets sent, a viewer received ${Math.min(...received)}`);
    }
    t.figure('viewers', [...perWorker].sort().map(([worker, count]) => `${count} on worker ${worker}`).join(' and '));
    t.check(after.length === PROCESSES * VIEWERS_EACH, `${after.length} viewers`);
    t.figure('video packets sent', sent);
    t.check(after.every(({ states }) => !states.some((state) => /disconnected|failed/.test(state))), 'a viewer was disconnected');

    const crossing = metricsAfter.grown(metricsBefore, /packets_crossed_in/);
    t.figure('packets crossing workers', crossing.join(' ') || 'no such metric');
    t.check(crossing.length > 0, 'no packet crossed from one worker to another, or no metric counts them');
    const drops = metricsAfter.losses(metricsBefore);
    t.check(drops.length === 0, `the dataplane dropped packets: ${drops.join(' ')}`);
    const deleted = (await Promise.all(groups.map((group) => group.quit()))).flat();
    t.check(deleted.every((code) => code === 200 || code === 204), `DELETE gave ${[...new Set(deleted)]}`);
  },
};

export const scenarios = [fifty];
