// The measurement behind most scenarios: of the frames that the publisher sent while a viewer watched, how many were decoded.
import { sleep } from './process.mjs';

/**
 * @typedef {object} FrameSource anything that sends video and counts its frames
 * @property {() => Promise<number>} sent frames sent so far
 * @property {() => Promise<number>} finish sends no more, and returns when the last frame had time to arrive: frames sent in all
 */

/**
 * Counts over a window that ends when the publisher stops, so that at its end nothing is under way. At its start, frames that
 * were received and not decoded yet belong to the window's past: they are taken off what was decoded.
 *
 * @param {import('./scenario.mjs').Context} t
 * @param {FrameSource} source @param {import('./peers.mjs').Viewer} viewer
 * @param {{seconds: number, leastRatio?: number, mostFreezes?: number, audio?: boolean, warmUpFrames?: number}} options
 */
export async function measureDelivery(t, source, viewer, { seconds, leastRatio = 0.98, mostFreezes = 0, audio = true, warmUpFrames = 30 }) {
  await viewer.decoded(warmUpFrames, 15_000);
  const earlier = await viewer.sample();
  await sleep(1000);
  const sentBefore = await source.sent();
  const before = await viewer.sample();
  await viewer.watchGaps();
  await sleep(seconds * 1000);
  const atEnd = await viewer.sample();
  const gaps = await viewer.gaps();
  const sent = (await source.finish()) - sentBefore;
  const after = await viewer.sample();
  // Frames that were dropped when shown late had been decoded: the difference may be below zero, but nothing is.
  const undecoded = before.framesReceived - before.framesDropped - before.framesDecoded;
  const underWay = Math.max(0, undecoded, heldBack(earlier, before));
  const decoded = after.framesDecoded - before.framesDecoded - underWay;
  const freezes = atEnd.freezeCount - before.freezeCount;
  const energy = atEnd.totalAudioEnergy - before.totalAudioEnergy;
  const ratio = sent > 0 ? decoded / sent : 0;
  t.figure('codec', after.codec);
  t.figure('size', `${after.frameWidth}x${after.frameHeight}`);
  t.figure('frames', `${decoded}/${sent}`);
  t.figure('under way at first', underWay);
  t.figure('ratio', ratio);
  t.figure('freezes', freezes);
  t.figure('longest gap ms', Math.round(gaps.longestGapMs));
  t.figure('longest freeze ms', Math.round(gaps.longestFreezeMs));
  t.figure('longest stall of the page ms', Math.round(gaps.longestStallMs));
  t.figure('frames dropped', after.framesDropped - before.framesDropped);
  t.figure('packets lost', after.packetsLost - before.packetsLost);
  if (audio) t.figure('audio energy', energy);
  t.check(sent >= seconds * 10, `the publisher sent only ${sent} frames in ${seconds} s`);
  t.check(ratio >= leastRatio, `${decoded} of ${sent} sent frames were decoded: ${ratio.toFixed(3)} < ${leastRatio}`);
  // Frames in the publisher's pacer and on their way at the first look count for the viewer only: a few, more on a busy machine.
  t.check(decoded <= sent + 8, `${decoded} frames were decoded, but only ${sent} sent: the count is wrong, or frames are made up`);
  t.checkTiming(freezes <= mostFreezes, `${freezes} freezes, ${(atEnd.totalFreezesDuration - before.totalFreezesDuration).toFixed(2)} s in all`);
  if (audio) t.check(energy > 0, 'no audio energy arrived');
  return { before, atEnd, after, gaps, sent, decoded };
}

/**
 * Frames that a viewer holds in its jitter buffer at the later of two looks: some browsers call them received only when they leave it.
 * @param {import('./peers.mjs').Sample} earlier @param {import('./peers.mjs').Sample} later
 */
function heldBack(earlier, later) {
  const count = later.jitterBufferEmittedCount - earlier.jitterBufferEmittedCount;
  if (count <= 0) return 0;
  const eachS = (later.jitterBufferDelay - earlier.jitterBufferDelay) / count;
  const perSecond = ((later.framesDecoded - earlier.framesDecoded) * 1000) / (later.atMs - earlier.atMs);
  return Math.floor(eachS * perSecond);
}

/**
 * Notes what was negotiated on a leg. @param {import('./scenario.mjs').Context} t @param {string} leg
 * @param {import('./peers.mjs').Transport} transport
 */
export function noteTransport(t, leg, { dtls, cipher, srtp }) {
  t.figure(leg, [dtls, cipher, srtp].filter((text) => text !== '').join(' '));
}

/**
 * Notes what the server negotiated with everybody in a room, which is the only word on clients that do not tell.
 * @param {import('./scenario.mjs').Context} t @param {import('./server.mjs').Server} server @param {string} room
 */
export async function noteParticipants(t, server, room) {
  const all = await server.participants(room);
  t.figure('server', all.map((one) => `${one.role} DTLS ${one.dtlsVersion} ${one.srtpProfile}`).join(', '));
  t.check(all.length >= 2 && all.every((one) => one.state === 'connected'), `the server knows ${JSON.stringify(all)}`);
}
