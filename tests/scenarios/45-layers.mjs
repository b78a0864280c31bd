// Chromium publishes layers at 720p; three viewers with different networks each get what theirs carries.
import { limitedNetwork } from '../lib/net.mjs';
import { Publisher, Viewer } from '../lib/peers.mjs';
import { sleep } from '../lib/process.mjs';

/** Bits per second of each viewer's network; 0 is no limit. */
const LIMITS_BPS = [300_000, 1_000_000, 0];
/** From the viewer's start until its layer must be the right one. */
const SETTLED_WITHIN_S = 10;
const SWITCHES_A_MINUTE = 2;
const MOST_FREEZE_MS = 300;
/** The publisher's own estimate takes its time until all layers are sent. */
const ALL_LAYERS_WITHIN_S = 45;
const LOOK_MS = 250;

const SIMULCAST = [{ rid: 'q', scaleResolutionDownBy: 4 }, { rid: 'h', scaleResolutionDownBy: 2 }, { rid: 'f' }];
const SVC = [{ scalabilityMode: 'L3T3_KEY' }];

/** @typedef {{rid: string, height: number, fps: number, bytes: number, mode: string, limitedBy: string, implementation: string}} Outbound */

/** What the publisher sends now, an entry for each of its streams. @param {Publisher} publisher @returns {Promise<{atMs: number, streams: Outbound[]}>} */
function outbound(publisher) {
  return publisher.page.evaluate(async () => {
    const { pc } = /** @type {any} */ (globalThis).ionPeer;
    const streams = [];
    for (const one of (await pc.getStats()).values()) {
      if (one.type !== 'outbound-rtp' || one.kind !== 'video') continue;
      const { rid = '', frameHeight = 0, framesPerSecond = 0, bytesSent = 0, scalabilityMode = '' } = one;
      const { qualityLimitationReason = '', encoderImplementation = '' } = one;
      const about = { mode: scalabilityMode, limitedBy: qualityLimitationReason, implementation: encoderImplementation };
      streams.push({ rid, height: frameHeight, fps: framesPerSecond, bytes: bytesSent, ...about });
    }
    return { atMs: performance.now(), streams };
  });
}

/** @typedef {{s: number, height: number, decoded: number, freezes: number}} Look */

/** Follows a viewer from its start. @param {Viewer} viewer @param {number} seconds */
async function follow(viewer, seconds) {
  const started = performance.now();
  /** @type {Look[]} */
  const looks = [];
  let settled = false;
  while (performance.now() - started < seconds * 1000) {
    const { frameHeight, framesDecoded, freezeCount } = await viewer.sample();
    const s = (performance.now() - started) / 1000;
    looks.push({ s, height: frameHeight, decoded: framesDecoded, freezes: freezeCount });
    if (!settled && s >= SETTLED_WITHIN_S) {
      settled = true;
      await viewer.watchGaps();
    }
    await sleep(LOOK_MS);
  }
  return { looks, gaps: await viewer.gaps() };
}

/** Changes of the picture's height, as text and in number, from a moment on. @param {Look[]} looks @param {number} fromS */
function changes(looks, fromS) {
  const all = looks.filter(({ height }, at) => height !== looks[at - 1]?.height);
  const text = all.map(({ s, height }) => `${height}p@${s.toFixed(1)}`).join(' ');
  return { text, late: all.filter(({ s }) => s > fromS).length };
}

/** @param {string} name @param {string} codec @param {object[]} encodings @returns {import('../lib/scenario.mjs').Scenario} */
const layers = (name, codec, encodings) => ({
  name: `layers-${name}`,
  fullOnly: true,
  timeoutS: 240,
  run: async (t) => {
    const network = await limitedNetwork(t, LIMITS_BPS);
    const server = await t.server({ netns: network.near.netns, host: network.near.address });
    const near = await t.chromium({ netns: network.near.netns });
    const publisher = await Publisher.open(await near.newPage(), server.url, { room: 'layers', codec, width: 1280, height: 720, encodings });
    const browsers = await Promise.all(network.viewers.map(({ netns }) => t.chromium({ netns })));

    const started = performance.now();
    const seconds = () => (performance.now() - started) / 1000;
    let now = await outbound(publisher);
    const complete = () => now.streams.some(({ height, fps }) => height === 720 && fps > 0);
    while (!complete() && seconds() < ALL_LAYERS_WITHIN_S) {
      await sleep(500);
      now = await outbound(publisher);
    }
    t.figure('720p sent after s', seconds());
    t.check(complete(), `the publisher sends ${JSON.stringify(now.streams)}`);

    const viewers = await Promise.all(
      network.viewers.map(async ({ limitBps }, at) => {
        const page = await (browsers[at] ?? near).newPage();
        const viewer = await Viewer.open(page, server.farUrl, { room: 'layers' });
        return { limitBps, ...(await follow(viewer, SETTLED_WITHIN_S + t.seconds)) };
      }),
    );
    const after = await outbound(publisher);
    for (const { rid, height, fps, bytes, mode, limitedBy, implementation } of after.streams) {
      const before = now.streams.find((one) => one.rid === rid);
      const kbps = ((bytes - (before?.bytes ?? 0)) * 8) / (after.atMs - now.atMs);
      t.figure(`sent ${rid || 'in all'}`, `${height}p ${Math.round(fps)}/s ${Math.round(kbps)} kbit/s ${mode} ${limitedBy} ${implementation}`);
    }
    for (const { limitBps, looks, gaps } of viewers) {
      const who = limitBps === 0 ? 'unlimited' : `${limitBps / 1000} kbit/s`;
      const { text, late } = changes(looks, SETTLED_WITHIN_S);
      const last = looks.at(-1);
      const first = looks.find(({ s }) => s >= SETTLED_WITHIN_S);
      const passed = (last?.s ?? 0) - (first?.s ?? 0);
      const fps = ((last?.decoded ?? 0) - (first?.decoded ?? 0)) / passed;
      t.figure(who, `${text}, ${fps.toFixed(1)} pictures/s, longest freeze ${Math.round(gaps.longestFreezeMs)} ms (gap ${Math.round(gaps.longestGapMs)})`);
      t.check(late <= Math.max(1, (SWITCHES_A_MINUTE * passed) / 60), `${who}: ${late} switches in ${passed.toFixed(0)} s: ${text}`);
      t.checkTiming(gaps.longestFreezeMs <= MOST_FREEZE_MS, `${who}: a freeze of ${Math.round(gaps.longestFreezeMs)} ms`);
    }
  },
});

export const scenarios = [layers('vp8-simulcast', 'VP8', SIMULCAST), layers('vp9-svc', 'VP9', SVC), layers('av1-svc', 'AV1', SVC)];
