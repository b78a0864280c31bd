// Chromium publishes layers at 720p; viewers with different networks each get what theirs carries.
import { limitedNetwork } from '../lib/net.mjs';
import { Publisher, Viewer } from '../lib/peers.mjs';
import { sleep, until } from '../lib/process.mjs';

/** Bits per second of each viewer's network; 0 is no limit. */
const LIMITS_BPS = [300_000, 1_000_000, 0];
/** From the viewer's start until its layer must be the right one. */
const SETTLED_WITHIN_S = 10;
const SWITCHES_A_MINUTE = 2;
const MOST_FREEZE_MS = 300;
/** The publisher's own estimate takes its time until all layers are sent at their full rates. */
const RAMP_S = 25;
const LOOK_MS = 250;
/** A layer that takes no more than this of a network must be got through it; one that takes more than the network has cannot be. */
const SURELY_FITS = 0.75;

const SIMULCAST = [{ rid: 'q', scaleResolutionDownBy: 4 }, { rid: 'h', scaleResolutionDownBy: 2 }, { rid: 'f' }];
/** Of a picture of 360p, browsers send two. */
const TWO = [{ rid: 'h', scaleResolutionDownBy: 2 }, { rid: 'f' }];
const SVC = [{ scalabilityMode: 'L3T3_KEY' }];
const HEIGHTS = [180, 360, 720];

/** @typedef {{rid: string, height: number, fps: number, mode: string, limitedBy: string, implementation: string}} Outbound */

/** What the publisher sends now, an entry for each of its streams. @param {Publisher} publisher @returns {Promise<Outbound[]>} */
function outbound(publisher) {
  return publisher.page.evaluate(async () => {
    const { pc } = /** @type {any} */ (globalThis).ionPeer;
    const streams = [];
    for (const one of (await pc.getStats()).values()) {
      if (one.type !== 'outbound-rtp' || one.kind !== 'video') continue;
      const { rid = '', frameHeight = 0, framesPerSecond = 0, scalabilityMode = '' } = one;
      const { qualityLimitationReason = '', encoderImplementation = '' } = one;
      const about = { mode: scalabilityMode, limitedBy: qualityLimitationReason, implementation: encoderImplementation };
      streams.push({ rid, height: frameHeight, fps: Math.round(framesPerSecond), ...about });
    }
    return streams;
  });
}

/** Bits per second of each picture height, as the server measures them. @param {import('../lib/server.mjs').Server} server @param {string} room @returns {Promise<number[]>} */
async function ratesOf(server, room) {
  const [publisher] = await server.statistics(room, 'publisher');
  const video = publisher?.inbound.filter((/** @type {any} */ one) => one.kind === 'video') ?? [];
  if (video.length === 1) return video[0].spatialBitratesBps;
  return video.map((/** @type {any} */ one) => one.bitrateBps);
}

/** @typedef {{s: number, height: number, decoded: number}} Look */

/** Follows a viewer from its start; gaps count from when it must have settled. @param {Viewer} viewer @param {number} seconds */
async function follow(viewer, seconds) {
  const started = performance.now();
  /** @type {Look[]} */
  const looks = [];
  let settled = false;
  let ssrc = 0;
  while (performance.now() - started < seconds * 1000) {
    const { frameHeight, framesDecoded, ...rest } = await viewer.sample();
    ssrc = rest.ssrc;
    const s = (performance.now() - started) / 1000;
    looks.push({ s, height: frameHeight, decoded: framesDecoded });
    if (!settled && s >= SETTLED_WITHIN_S) {
      settled = true;
      await viewer.watchGaps();
    }
    await sleep(LOOK_MS);
  }
  return { looks, ssrc, gaps: await viewer.gaps() };
}

/** Changes of the picture's height from a moment on. @param {Look[]} looks @param {number} fromS */
function changes(looks, fromS) {
  const all = looks.filter(({ height }, at) => height !== looks[at - 1]?.height);
  const text = all.map(({ s, height }) => `${height}p@${s.toFixed(1)}`).join(' ');
  return { text, late: all.filter(({ s }) => s > fromS).length };
}

/** The least and the most that a network may be sent of layers with these rates, as heights. @param {number} limitBps @param {number[]} rates */
function allowed(limitBps, rates) {
  const within = (/** @type {number} */ bps) => HEIGHTS[rates.findLastIndex((rate) => limitBps === 0 || rate <= bps)] ?? 0;
  return { least: within(SURELY_FITS * limitBps), most: within(limitBps) };
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
    const room = 'layers';
    const publisher = await Publisher.open(await near.newPage(), server.url, { room, codec, width: 1280, height: 720, encodings });
    const browsers = await Promise.all(network.viewers.map(({ netns }) => t.chromium({ netns })));
    await sleep(RAMP_S * 1000);
    const before = await outbound(publisher);
    t.check(before.length === encodings.length && before.some(({ height }) => height === 720), `the publisher sends ${JSON.stringify(before)}`);

    /** @type {number[][]} */
    const measured = [];
    let measuring = true;
    const measure = async () => {
      for (; measuring; await sleep(1000)) measured.push(await ratesOf(server, room));
    };
    const measurement = measure();
    const viewers = await Promise.all(
      network.viewers.map(async ({ limitBps }, at) => {
        const page = await (browsers[at] ?? near).newPage();
        const viewer = await Viewer.open(page, server.farUrl, { room });
        return { limitBps, ...(await follow(viewer, SETTLED_WITHIN_S + t.seconds)) };
      }),
    );
    measuring = false;
    await measurement;
    const rates = HEIGHTS.map((_, layer) => {
      const all = measured.map((one) => one[layer] ?? 0).filter((bps) => bps > 0);
      return all.reduce((sum, bps) => sum + bps, 0) / Math.max(1, all.length);
    });
    for (const one of await outbound(publisher)) {
      t.figure(`sent ${one.rid || 'in all'}`, `${one.height}p ${one.fps}/s ${one.mode} ${one.limitedBy} ${one.implementation}`);
    }
    t.figure('kbit/s of layers', rates.map((bps) => Math.round(bps / 1000)).join(' '));
    t.check(rates.every((bps) => bps > 0), `not all layers came: ${rates}`);
    const sessions = await server.statistics(room, 'viewer');
    for (const { limitBps, looks, ssrc, gaps } of viewers) {
      const who = limitBps === 0 ? 'unlimited' : `${limitBps / 1000} kbit/s`;
      const { text, late } = changes(looks, SETTLED_WITHIN_S);
      const settled = looks.filter(({ s }) => s >= SETTLED_WITHIN_S);
      const [first, last] = [settled.at(0), settled.at(-1)];
      const passed = (last?.s ?? 0) - (first?.s ?? 0);
      const fps = ((last?.decoded ?? 0) - (first?.decoded ?? 0)) / passed;
      t.figure(who, `${text}, ${fps.toFixed(1)} pictures/s, longest freeze ${Math.round(gaps.longestFreezeMs)} ms, page's stall ${Math.round(gaps.longestStallMs)} ms`);
      const { least, most } = allowed(limitBps, rates);
      const wrong = settled.filter(({ height }) => height < least || height > most);
      const right = least === most ? `${most}p` : `${least}p to ${most}p`;
      t.check(wrong.length === 0, `${who}: ${wrong.length} of ${settled.length} looks show ${[...new Set(wrong.map((one) => one.height))]}, not ${right}`);
      t.check(fps > 5, `${who}: ${fps.toFixed(1)} pictures a second`);
      t.check(late <= Math.max(1, (SWITCHES_A_MINUTE * passed) / 60), `${who}: ${late} switches in ${passed.toFixed(0)} s`);
      t.checkTiming(gaps.longestFreezeMs <= MOST_FREEZE_MS, `${who}: a freeze of ${Math.round(gaps.longestFreezeMs)} ms`);
      const isIts = (/** @type {any} */ one) => one.ssrc === ssrc;
      const session = sessions.find((one) => one.outbound.some(isIts));
      const video = session?.outbound.find(isIts);
      if (video) {
        const { availableOutgoingBitrate, probeBytesSent } = session.transport;
        const about = `${video.qualityLimitationReason}, ${video.layerSwitches} switches, ${video.freezeCount} freezes, ${video.packetsLost} lost`;
        t.figure(`${who}, the server says`, `${about}, estimate ${Math.round(availableOutgoingBitrate / 1000)} kbit/s, probes ${Math.round(probeBytesSent / 1000)} kB`);
      }
    }
  },
});

/** Noticed, and routed around, within. */
const ROUTED_AROUND_MS = 1000;

/**
 * A publisher stops its highest simulcast layer, and sends it again: its viewer goes on with the next one, and comes back.
 * @type {import('../lib/scenario.mjs').Scenario}
 */
const stops = {
  name: 'layer-stops',
  timeoutS: 120,
  run: async (t) => {
    const server = await t.server();
    const browser = await t.chromium();
    const room = 'stops';
    const options = { room, codec: 'VP8', width: 640, height: 360, encodings: TWO };
    const publisher = await Publisher.open(await browser.newPage(), server.url, options);
    const viewer = await Viewer.open(await browser.newPage(), server.url, { room });
    const heightIs = (/** @type {number} */ height, /** @type {number} */ ms) =>
      until(`The viewer gets ${height}p`, ms, async () => (await viewer.sample()).frameHeight === height);
    const setActive = (/** @type {boolean} */ active) =>
      publisher.page.evaluate(async (on) => {
        for (const sender of /** @type {any} */ (globalThis).ionPeer.pc.getSenders()) {
          if (sender.track?.kind !== 'video') continue;
          const parameters = sender.getParameters();
          parameters.encodings.at(-1).active = on;
          await sender.setParameters(parameters);
        }
      }, active);
    await heightIs(360, 30_000);
    await sleep(3000);
    await viewer.watchGaps();
    const started = performance.now();
    await setActive(false);
    await heightIs(180, 10_000);
    const ms = performance.now() - started;
    await sleep(1000);
    const gaps = await viewer.gaps();
    t.figure('other layer seen after ms', Math.round(ms));
    t.figure('longest gap ms', Math.round(gaps.longestGapMs));
    t.figure('longest freeze ms', Math.round(gaps.longestFreezeMs));
    // The gap ends when the picture of the other layer is decoded.
    t.checkTiming(gaps.longestGapMs < ROUTED_AROUND_MS, `${Math.round(gaps.longestGapMs)} ms without a picture`);
    const [session] = await server.statistics(room, 'viewer');
    const video = session?.outbound.find((/** @type {any} */ one) => one.kind === 'video');
    t.figure('the server says', JSON.stringify({ inUse: video?.layerInUse, why: video?.qualityLimitationReason }));
    t.check(video?.layerInUse?.rid === 'h', `in use is ${JSON.stringify(video?.layerInUse)}`);
    await setActive(true);
    await heightIs(360, 15_000);
  },
};

/** The first events of a stream. @param {string} url @param {number} count @returns {Promise<{event: string, data: any}[]>} */
async function firstEvents(url, count) {
  const response = await fetch(url, { headers: { accept: 'text/event-stream' }, signal: AbortSignal.timeout(20_000) });
  const events = [];
  let text = '';
  for await (const chunk of response.body ?? []) {
    text += Buffer.from(chunk).toString();
    const parts = text.split('\n\n');
    text = parts.pop() ?? '';
    for (const part of parts) {
      const [, event = '', data = ''] = /event: ?(.*)\ndata: ?(.*)/.exec(part) ?? [];
      if (event !== '') events.push({ event, data: JSON.parse(data) });
    }
    if (events.length >= count) break;
  }
  return events;
}

/**
 * A WHEP player is told of layers, chooses one, and gives the choice back (draft-ietf-wish-whep-03).
 * @type {import('../lib/scenario.mjs').Scenario}
 */
const chosen = {
  name: 'whep-layers',
  timeoutS: 120,
  run: async (t) => {
    const server = await t.server();
    const browser = await t.chromium();
    const room = 'chosen';
    const options = { room, codec: 'VP8', width: 640, height: 360, encodings: TWO };
    await Publisher.open(await browser.newPage(), server.url, options);
    const viewer = await Viewer.open(await browser.newPage(), server.url, { room });
    const heightIs = (/** @type {number} */ height) =>
      until(`The viewer gets ${height}p`, 30_000, async () => (await viewer.sample()).frameHeight === height);
    await heightIs(360);
    const resource = await viewer.resource();
    const post = (/** @type {string} */ path, /** @type {unknown} */ body) =>
      fetch(`${resource}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
    const made = await post('/sse', ['active', 'inactive', 'layers', 'viewercount']);
    t.check(made.status === 201, `POST for events: ${made.status}`);
    const stream = new URL(made.headers.get('location') ?? '', resource).href;
    const events = await firstEvents(stream, 3);
    t.figure('events', JSON.stringify(events));
    t.check(events.map((one) => one.event).join() === 'active,layers,viewercount', 'the first events');
    const [media, layers] = Object.entries(events.find((one) => one.event === 'layers')?.data ?? {})[0] ?? ['', []];
    const rids = /** @type {any[]} */ (layers).map((one) => one.rid).join();
    t.check(rids === 'f,h', `layers ${rids} of media ${media}`);
    t.check((await post('/layer', { mediaId: media, rid: 'h' })).status === 200, 'the choice of h');
    await heightIs(180);
    t.check((await post('/layer', { mediaId: media, rid: 'none' })).status === 422, 'the choice of what there is not');
    t.check((await post('/layer', { mediaId: media })).status === 200, 'the choice given back');
    await heightIs(360);
  },
};

export const scenarios = [
  layers('vp8-simulcast', 'VP8', SIMULCAST),
  layers('vp9-svc', 'VP9', SVC),
  layers('av1-svc', 'AV1', SVC),
  stops,
  chosen,
];
