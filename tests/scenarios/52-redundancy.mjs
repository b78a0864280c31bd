// Redundancy of each viewer's own, against none: two viewers at the same time behind the same lossy network.
import { impairedNetwork } from '../lib/net.mjs';
import { Publisher, Viewer } from '../lib/peers.mjs';
import { sleep } from '../lib/process.mjs';

/** @param {number[]} values @param {number} share */
const quantile = (values, share) => values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN;

/**
 * A publisher near the server, and far away two viewers, of whom the second does not offer `without`.
 * @param {import('../lib/scenario.mjs').Context} t
 * @param {{without: string, impairment: import('../lib/net.mjs').Impairment}} options
 */
async function compared(t, { without, impairment }) {
  const network = await impairedNetwork(t, impairment);
  const server = await t.server({ netns: network.a.netns, host: network.a.address });
  const near = await t.chromium({ netns: network.a.netns });
  const far = await t.chromium({ netns: network.b.netns });
  await Publisher.open(await near.newPage(), server.url, { room: 'redundancy', codec: 'VP8', maxBitrate: 1_000_000 });
  const viewers = {
    with: await Viewer.open(await far.newPage(), server.farUrl, { room: 'redundancy' }),
    without: await Viewer.open(await far.newPage(), server.farUrl, { room: 'redundancy', without: [without] }),
  };
  await Promise.all(Object.values(viewers).map((viewer) => viewer.decoded(60, 15_000)));
  return { server, viewers };
}

/** @type {import('../lib/scenario.mjs').Scenario} */
const flexfec = {
  name: 'fec-against-rtx',
  timeoutS: 120,
  run: async (t) => {
    const { server, viewers } = await compared(t, { without: 'video/flexfec-03', impairment: { lossAb: 0.1, delayAb: 75, delayBa: 75, seed: 3 } });
    // Its own reports tell the server of loss and round trip, and what it was asked to wait before that is taken back slowly.
    await sleep(t.full ? 15_000 : 6000);
    const both = Object.values(viewers);
    const before = await Promise.all(both.map((viewer) => viewer.sample()));
    await Promise.all(both.map((viewer) => viewer.watchFrames()));
    await sleep(t.seconds * 1000);
    const after = await Promise.all(both.map((viewer) => viewer.sample()));
    // What the server knows of it by their feedback.
    const video = (await server.statistics('redundancy', 'viewer')).flatMap(({ outbound }) => outbound).filter(({ kind }) => kind === 'video');
    const told = (/** @type {string} */ name) => video.reduce((sum, one) => sum + one[name], 0);
    const delays = await Promise.all(both.map((viewer) => viewer.frameDelays()));
    const least = Math.min(...delays.flat());
    const [fec, rtx] = after.map((sample, index) => {
      /** @param {keyof import('../lib/peers.mjs').Sample} name */
      const grown = (name) => Number(sample[name]) - Number(before[index]?.[name]);
      const own = delays[index] ?? [];
      const added = grown('fecBytesReceived') + grown('retransmittedBytesReceived');
      return {
        frozenS: grown('totalFreezesDuration'),
        medianMs: quantile(own, 0.5) - least,
        lateMs: quantile(own, 0.95) - least,
        shown: own.length,
        fecPackets: grown('fecPacketsReceived'),
        overhead: added / (grown('bytesReceived') - grown('retransmittedBytesReceived')),
        fecOverhead: grown('fecBytesReceived') / grown('bytesReceived'),
      };
    });
    if (!fec || !rtx) throw new Error('two viewers were opened');
    for (const [name, one] of Object.entries({ fec, rtx })) {
      for (const [what, value] of Object.entries(one)) t.figure(`${name} ${what}`, value);
    }
    const repairs = { sent: told('fecPacketsSent'), arrived: told('fecPacketsReceived'), counted: after.reduce((sum, one) => sum + one.fecPacketsReceived, 0) };
    const again = { sent: told('retransmittedPacketsSent'), arrived: told('retransmittedPacketsReceived') };
    t.figure('repair packets sent, arrived as told, and as the viewer counts', Object.values(repairs).join());
    t.figure('retransmissions sent, arrived as told', Object.values(again).join());
    t.check(Math.abs(repairs.arrived - repairs.counted) <= 0.1 * repairs.counted, `${repairs.arrived} repair packets are said to have arrived, ${repairs.counted} have`);
    for (const { sent, arrived } of [repairs, again]) {
      t.check(arrived > 0.75 * sent && arrived < sent, `${arrived} of ${sent} are said to have arrived where a tenth is lost`);
    }
    t.check(fec.fecPackets > 0, 'the viewer that offers FlexFEC got no repair packet');
    t.check(rtx.fecPackets === 0, 'the viewer that does not offer FlexFEC got repair packets');
    t.check(fec.lateMs < rtx.lateMs, `95 % of the frames within ${Math.round(fec.lateMs)} ms, ${Math.round(rtx.lateMs)} ms with retransmission alone`);
    t.check(fec.frozenS <= rtx.frozenS, `frozen for ${fec.frozenS.toFixed(2)} s, ${rtx.frozenS.toFixed(2)} s with retransmission alone`);
  },
};

/** @type {import('../lib/scenario.mjs').Scenario} */
const red = {
  name: 'red-against-none',
  timeoutS: 120,
  run: async (t) => {
    const { viewers } = await compared(t, { without: 'audio/red', impairment: { lossAb: 0.2, delayAb: 20, delayBa: 20, seed: 5 } });
    await sleep(4000);
    const both = Object.values(viewers);
    const before = await Promise.all(both.map((viewer) => viewer.sample()));
    await sleep(t.seconds * 1000);
    const after = await Promise.all(both.map((viewer) => viewer.sample()));
    const [withRed, without] = after.map((sample, index) => {
      /** @param {keyof import('../lib/peers.mjs').Sample} name */
      const grown = (name) => Number(sample[name]) - Number(before[index]?.[name]);
      return { concealed: grown('concealedSamples') / grown('totalSamplesReceived'), lost: grown('audioPacketsLost'), received: grown('audioPacketsReceived') };
    });
    if (!withRed || !without) throw new Error('two viewers were opened');
    for (const [name, one] of Object.entries({ red: withRed, none: without })) {
      for (const [what, value] of Object.entries(one)) t.figure(`${name} ${what}`, value);
    }
    t.check(without.concealed > 0, 'nothing was concealed: there was nothing to measure');
    t.check(withRed.concealed <= without.concealed / 2, `${withRed.concealed} of the audio was concealed with RED, ${without.concealed} without`);
  },
};

/** Repair packets that the server keeps for what may come yet. */
const MOST_WAITING = 16;

/** Field trials with which Chromium makes repair packets for what it sends. */
const FLEXFEC_TRIALS = '--force-fieldtrials=WebRTC-FlexFEC-03-Advertised/Enabled/WebRTC-FlexFEC-03/Enabled/';

/** @type {import('../lib/scenario.mjs').Scenario} */
const publisher = {
  name: 'fec-from-publisher',
  timeoutS: 120,
  run: async (t) => {
    const network = await impairedNetwork(t, { lossBa: 0.1, delayAb: 60, delayBa: 60, seed: 9 });
    const server = await t.server({ netns: network.a.netns, host: network.a.address });
    const near = await t.chromium({ netns: network.a.netns });
    // A page gets a camera only from an origin that counts as secure.
    const far = await t.chromium({ netns: network.b.netns, args: [FLEXFEC_TRIALS, `--unsafely-treat-insecure-origin-as-secure=${server.farUrl}`] });
    const source = await Publisher.open(await far.newPage(), server.farUrl, { room: 'uplink', codec: 'VP8', maxBitrate: 1_000_000 });
    const viewer = await Viewer.open(await near.newPage(), server.url, { room: 'uplink' });
    await viewer.decoded(60, 15_000);
    await sleep(4000);
    const before = await viewer.sample();
    await sleep(t.seconds * 1000);
    const [sent, after, metrics] = await Promise.all([source.sample(), viewer.sample(), server.metrics()]);
    /** @param {string} reason */
    const dropped = (reason) => metrics.sum(/^ion_worker_drops/, new RegExp(`"${reason}"`));
    const { ba } = await network.stop();
    const media = ba.streams[String(sent.ssrc)] ?? { packets: 0, lost: 0 };
    const others = [sent.ssrc, sent.rtxSsrc, sent.audioSsrc].map(String);
    const repair = Object.entries(ba.streams).find(([ssrc, { packets }]) => !others.includes(ssrc) && packets > 1)?.[1] ?? { packets: 0, lost: 0 };
    // Whichever repair packet is not dropped has mended something, or is one of those that wait.
    const useful = repair.packets - repair.lost - dropped('fec_useless') - dropped('fec_refused');
    t.figure('media lost', `${media.lost}/${media.packets}`);
    t.figure('repair packets lost', `${repair.lost}/${repair.packets}`);
    t.figure('useful', useful);
    t.figure('RTX sent', sent.retransmittedPacketsSent);
    t.figure('frozen s', after.totalFreezesDuration - before.totalFreezesDuration);
    t.check(repair.packets > 0, 'the publisher sent no repair packet');
    t.check(dropped('fec_refused') === 0, `${dropped('fec_refused')} repair packets were refused`);
    t.check(useful > MOST_WAITING, `${useful} repair packets were of use, of which ${MOST_WAITING} may still wait`);
  },
};

export const scenarios = [flexfec, red, publisher];
