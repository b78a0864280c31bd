// Bandwidth estimation of a publisher, and viewers behind a network that loses packets.
import { measureDelivery, noteTransport } from '../lib/delivery.mjs';
import { impairedNetwork } from '../lib/net.mjs';
import { Publisher, Viewer } from '../lib/peers.mjs';
import { sleep } from '../lib/process.mjs';

const WANTED_BPS = 1_500_000;
const ESTIMATE_WITHIN_S = 30;

/** @type {import('../lib/scenario.mjs').Scenario} */
const estimate = {
  name: 'bandwidth-estimate',
  fullOnly: true,
  timeoutS: 90,
  run: async (t) => {
    const server = await t.server();
    const browser = await t.chromium();
    const publisher = await Publisher.open(await browser.newPage(), server.url, { room: 'estimate', codec: 'VP8', width: 1280, height: 720 });
    const started = performance.now();
    const seconds = () => (performance.now() - started) / 1000;
    let [reachedS, fullSizeS] = [0, 0];
    /** @type {number[]} */
    const late = [];
    let sample = await publisher.sample();
    while (seconds() < ESTIMATE_WITHIN_S) {
      await sleep(250);
      sample = await publisher.sample();
      if (reachedS === 0 && sample.availableOutgoingBitrate > WANTED_BPS) reachedS = seconds();
      if (fullSizeS === 0 && sample.frameHeight === 720) fullSizeS = seconds();
      if (seconds() > ESTIMATE_WITHIN_S - 5) late.push(sample.availableOutgoingBitrate);
    }
    const least = Math.min(...late);
    t.figure('estimate Mbit/s', sample.availableOutgoingBitrate / 1e6);
    t.figure('reached after s', reachedS);
    t.figure('least of the last 5 s', least / 1e6);
    t.figure('size', `${sample.frameWidth}x${sample.frameHeight}`);
    t.figure('720p after s', fullSizeS);
    t.figure('limited by', sample.limitedBy);
    t.check(reachedS > 0, `after ${ESTIMATE_WITHIN_S} s the estimate is ${(sample.availableOutgoingBitrate / 1e6).toFixed(2)} Mbit/s`);
    t.check(least > WANTED_BPS, `the estimate fell back to ${(least / 1e6).toFixed(2)} Mbit/s`);
  },
};

/**
 * Random loss and 50 ms of delay on the way from the server to the viewer; with `both`, what the viewer asks for is lost as often.
 * @param {number} percent @param {{mostFreezeMs: number, both?: boolean}} options @returns {import('../lib/scenario.mjs').Scenario}
 */
const lossy = (percent, { mostFreezeMs, both = false }) => ({
  name: `loss-${percent}${both ? '-both-ways' : ''}`,
  fullOnly: true,
  timeoutS: 120,
  run: async (t) => {
    const network = await impairedNetwork(t, { lossAb: percent / 100, lossBa: both ? percent / 100 : 0, delayAb: 50, seed: 7 + percent });
    const server = await t.server({ netns: network.a.netns, host: network.a.address });
    const near = await t.chromium({ netns: network.a.netns });
    const far = await t.chromium({ netns: network.b.netns });
    const publisher = await Publisher.open(await near.newPage(), server.url, { room: 'loss', codec: 'VP8' });
    const viewer = await Viewer.open(await far.newPage(), server.farUrl, { room: 'loss' });
    const figures = await measureDelivery(t, publisher, viewer, {
      seconds: t.seconds,
      leastRatio: 0.95,
      mostFreezes: Number.MAX_SAFE_INTEGER,
      warmUpFrames: 90,
    });
    noteTransport(t, 'viewer', figures.after.transport);
    const { ssrc, rtxSsrc, nackCount, retransmittedPacketsReceived } = figures.after;
    t.figure('NACKs', nackCount);
    t.figure('RTX received', retransmittedPacketsReceived);
    t.check(retransmittedPacketsReceived > 0, 'no retransmission reached the viewer');

    // A retransmission is of use once for each packet that the network lost: more of them than losses are useless ones.
    const { ab } = await network.stop();
    const media = ab.streams[String(ssrc)] ?? { packets: 0, lost: 0 };
    const rtx = ab.streams[String(rtxSsrc)] ?? { packets: 0, lost: 0 };
    const useless = Math.max(0, rtx.packets - rtx.lost - media.lost);
    t.figure('media lost on the way', `${media.lost}/${media.packets}`);
    t.figure('RTX lost on the way', `${rtx.lost}/${rtx.packets}`);
    t.figure('RTX useless', useless);
    t.check(media.lost > 0, 'the network lost nothing: there was nothing to measure');
    t.check(ab.longest <= 1514, `a packet of ${ab.longest} bytes was sent`);
    const { longestFreezeMs } = figures.gaps;
    t.checkTiming(longestFreezeMs <= mostFreezeMs, `a freeze of ${Math.round(longestFreezeMs)} ms, ${rtx.lost} retransmissions having been lost`);
    t.check(useless === 0, `${useless} retransmissions were useless`);
  },
});

export const scenarios = [
  estimate,
  lossy(5, { mostFreezeMs: 200 }),
  lossy(10, { mostFreezeMs: 500 }),
  lossy(5, { mostFreezeMs: 500, both: true }),
];
