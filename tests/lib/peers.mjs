// A publisher and a viewer inside a browser page, driven through the page's own session.js, and what their statistics say.

import { goTo } from './browsers.mjs';

/** @typedef {import('./browsers.mjs').Page} Page */

/**
 * @typedef {object} Transport what was negotiated; empty text where the browser does not tell
 * @property {string} dtls
 * @property {string} cipher
 * @property {string} srtp
 */
/**
 * @typedef {object} Sample one reading of a peer: numbers of video, unless the name says otherwise. What a side does not have is 0.
 * @property {number} atMs
 * @property {string} iceState
 * @property {string} codec
 * @property {Transport} transport
 * @property {number} framesSent
 * @property {number} packetsSent
 * @property {number} audioPacketsSent
 * @property {number} availableOutgoingBitrate bit/s
 * @property {number} framesReceived
 * @property {number} framesDecoded
 * @property {number} framesDropped
 * @property {number} jitterBufferDelay seconds that all frames together were held back
 * @property {number} jitterBufferEmittedCount those frames
 * @property {number} freezeCount
 * @property {number} totalFreezesDuration seconds
 * @property {number} packetsReceived
 * @property {number} packetsLost
 * @property {number} audioPacketsReceived
 * @property {number} audioPacketsLost
 * @property {number} totalAudioEnergy
 * @property {number} concealedSamples
 * @property {number} retransmittedPacketsSent
 * @property {number} retransmittedPacketsReceived
 * @property {number} retransmittedBytesReceived
 * @property {number} fecPacketsReceived
 * @property {number} fecPacketsDiscarded
 * @property {number} fecBytesReceived
 * @property {number} bytesReceived
 * @property {number} totalSamplesReceived audio
 * @property {number} nackCount
 * @property {number} pliCount
 * @property {number} frameWidth
 * @property {number} frameHeight
 * @property {number} framesPerSecond
 * @property {string} limitedBy
 * @property {number} ssrc
 * @property {number} rtxSsrc
 * @property {number} audioSsrc
 */

/** DTLS versions as they stand on the wire. @type {Record<string, string>} */
const DTLS_VERSIONS = { FEFF: 'DTLS 1.0', FEFD: 'DTLS 1.2', FEFC: 'DTLS 1.3' };

class Peer {
  /** @param {Page} page */
  constructor(page) {
    this.page = page;
  }

  /** @returns {Promise<Sample>} */
  async sample() {
    const sample = await this.page.evaluate(readStatistics);
    sample.transport.dtls = DTLS_VERSIONS[sample.transport.dtls.toUpperCase()] ?? sample.transport.dtls;
    return sample;
  }

  /** @returns {Promise<string>} URL of the session resource */
  resource() {
    return this.page.evaluate(() => /** @type {any} */ (globalThis).ionPeer.resource);
  }

  /** @returns {Promise<string[]>} every state of ICE so far, in order */
  iceStates() {
    return this.page.evaluate(() => /** @type {any} */ (globalThis).ionPeer.iceStates);
  }

  /** @returns {Promise<void>} */
  restartIce() {
    return this.page.evaluate(() => /** @type {any} */ (globalThis).ionPeer.restartIce());
  }

  /** @returns {Promise<void>} */
  close() {
    return this.page.evaluate(() => /** @type {any} */ (globalThis).ionPeer.close());
  }
}

export class Publisher extends Peer {
  /**
   * @param {Page} page @param {string} url of the server, as the page sees it
   * @param {{room: string, codec?: string, width?: number, height?: number, maxBitrate?: number, encodings?: object[], origin?: string}} options
   *   `maxBitrate` in bit/s; `encodings` of the video, as `addTransceiver` takes them; `origin`: where the page comes from, when not from the server
   */
  static async open(page, url, { room, codec = '', width = 640, height = 360, maxBitrate = 0, encodings = [], origin = url }) {
    await goTo(page, `${origin}/plain`);
    await page.evaluate(publishInPage, { endpoint: `${url}/whip/${room}`, codec, width, height, maxBitrate, encodings });
    return new Publisher(page);
  }

  async sent() {
    return (await this.sample()).framesSent;
  }

  /** Ends the video and gives its last frames time to arrive. @returns {Promise<number>} frames sent in all */
  async finish() {
    await this.page.evaluate(() => {
      for (const track of /** @type {any} */ (globalThis).ionPeer.stream.getVideoTracks()) track.stop();
    });
    await new Promise((resolve) => setTimeout(resolve, 600));
    return this.sent();
  }
}

export class Viewer extends Peer {
  /**
   * @param {Page} page @param {string} url
   * @param {{room: string, origin?: string, without?: string[]}} options `without`: what it does not offer, like `audio/red`
   */
  static async open(page, url, { room, origin = url, without = [] }) {
    await goTo(page, `${origin}/plain`);
    await page.evaluate(watchInPage, { endpoint: `${url}/whep/${room}`, without });
    return new Viewer(page);
  }

  /** Waits for a number of decoded frames. @param {number} count @param {number} timeoutMs */
  async decoded(count, timeoutMs) {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const sample = await this.sample();
      if (sample.framesDecoded >= count) return sample;
      if (performance.now() > deadline) {
        throw new Error(
          `The viewer decoded ${sample.framesDecoded} of ${count} frames in ${timeoutMs / 1000} s ` +
            `(ICE ${sample.iceState}, ${sample.packetsReceived} video and ${sample.audioPacketsReceived} audio packets received).`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Starts to take down when each frame is shown. */
  watchFrames() {
    return this.page.evaluate(recordFrames);
  }

  /**
   * Since {@link watchFrames}: the time of each frame on its way, up to a constant that is the same for all viewers of a stream
   * on one machine: by wall clock less RTP timestamp, which is passed on to those who have seen one source only.
   * @returns {Promise<number[]>} milliseconds
   */
  async frameDelays() {
    /** @type {[number, number][]} */
    const frames = await this.page.evaluate(() => /** @type {any} */ (globalThis).ionFrames);
    // Of 48 hours, so that the clock's wraps do not matter and the difference is exact enough.
    const wrapMs = 2 ** 32 / 90;
    return frames.map(([shownMs, rtp]) => (((shownMs - rtp / 90) % wrapMs) + wrapMs) % wrapMs);
  }

  /** Starts to watch for gaps, looking every 50 ms. */
  watchGaps() {
    return this.page.evaluate(recordGaps);
  }

  /**
   * Since {@link watchGaps}: the longest time without a newly decoded frame, and the longest freeze as the browser itself
   * counts them (a gap between shown frames of three times the usual one, or of 150 ms more than it).
   * `longestStallMs` is how late the page itself was at most: a busy machine makes gaps that no server can help.
   * @returns {Promise<{longestGapMs: number, atMs: number, longestFreezeMs: number, longestStallMs: number}>}
   */
  gaps() {
    return this.page.evaluate(() => /** @type {any} */ (globalThis).ionGaps);
  }
}

// What follows runs inside the page: no names of this module may be used in there.

/** @param {{endpoint: string, codec: string, width: number, height: number, maxBitrate: number, encodings: object[]}} options */
async function publishInPage({ endpoint, codec, width, height, maxBitrate, encodings }) {
  const page = /** @type {any} */ (globalThis);
  const { Session } = await import(String('/session.js'));
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width, height, frameRate: 30 } });
  const peer = await Session.publish(endpoint, stream, { codec, ...(encodings.length > 0 ? { encodings } : {}) });
  peer.iceStates = [peer.pc.iceConnectionState];
  peer.addEventListener('state', () => peer.iceStates.push(peer.pc.iceConnectionState));
  page.ionPeer = peer;
  if (maxBitrate === 0) return;
  for (const sender of peer.pc.getSenders()) {
    if (sender.track?.kind !== 'video') continue;
    const parameters = sender.getParameters();
    for (const encoding of parameters.encodings) encoding.maxBitrate = maxBitrate;
    await sender.setParameters(parameters);
  }
}

/** @param {{endpoint: string, without: string[]}} options */
async function watchInPage({ endpoint, without }) {
  const page = /** @type {any} */ (globalThis);
  const { addTransceiver } = RTCPeerConnection.prototype;
  /** @type {typeof addTransceiver} */
  RTCPeerConnection.prototype.addTransceiver = function (/** @type {string | MediaStreamTrack} */ kind, /** @type {RTCRtpTransceiverInit} */ init) {
    const transceiver = addTransceiver.call(this, kind, init);
    const codecs = RTCRtpReceiver.getCapabilities(transceiver.receiver.track.kind)?.codecs ?? [];
    const offered = codecs.filter(({ mimeType }) => !without.includes(mimeType));
    if (offered.length < codecs.length) transceiver.setCodecPreferences(offered);
    return transceiver;
  };
  const { Session } = await import(String('/session.js'));
  const signal = AbortSignal.timeout(15_000);
  const peer = await Session.watch(endpoint, { signal });
  peer.iceStates = [peer.pc.iceConnectionState];
  peer.addEventListener('state', () => peer.iceStates.push(peer.pc.iceConnectionState));
  page.ionPeer = peer;
  const video = document.querySelector('#watch-video') ?? document.body.appendChild(document.createElement('video'));
  Object.assign(video, { srcObject: peer.stream, autoplay: true });
  /** @type {HTMLVideoElement} */ (video).play().catch(() => {});
}

/** When each frame is shown, by the wall clock in milliseconds, and its RTP timestamp. */
function recordFrames() {
  const page = /** @type {any} */ (globalThis);
  const video = /** @type {HTMLVideoElement} */ (document.querySelector('#watch-video') ?? document.querySelector('video'));
  page.ionFrames = [];
  /** @type {VideoFrameRequestCallback} */
  const shown = (_, { presentationTime, rtpTimestamp }) => {
    if (rtpTimestamp !== undefined) page.ionFrames.push([performance.timeOrigin + presentationTime, rtpTimestamp]);
    video.requestVideoFrameCallback(shown);
  };
  video.requestVideoFrameCallback(shown);
}

async function recordGaps() {
  const page = /** @type {any} */ (globalThis);
  const gaps = { longestGapMs: 0, atMs: 0, longestFreezeMs: 0, longestStallMs: 0 };
  page.ionGaps = gaps;
  let frames = -1;
  let freezes = -1;
  let frozenS = 0;
  let since = performance.now();
  const started = since;
  let due = since;
  const look = async () => {
    if (page.ionPeer.closed) return;
    gaps.longestStallMs = Math.max(gaps.longestStallMs, performance.now() - due);
    for (const one of (await page.ionPeer.pc.getStats()).values()) {
      if (one.type !== 'inbound-rtp' || one.kind !== 'video') continue;
      const now = performance.now();
      if (now - since > gaps.longestGapMs) Object.assign(gaps, { longestGapMs: now - since, atMs: now - started });
      if (one.framesDecoded !== frames) since = now;
      frames = one.framesDecoded;
      if (freezes >= 0 && one.freezeCount > freezes) {
        const eachMs = ((one.totalFreezesDuration - frozenS) * 1000) / (one.freezeCount - freezes);
        gaps.longestFreezeMs = Math.max(gaps.longestFreezeMs, eachMs);
      }
      freezes = one.freezeCount ?? 0;
      frozenS = one.totalFreezesDuration ?? 0;
    }
    due = performance.now() + 50;
    setTimeout(look, 50);
  };
  await look();
}

async function readStatistics() {
  const { pc } = /** @type {any} */ (globalThis).ionPeer;
  const report = await pc.getStats();
  /** @type {any} */
  const sample = {
    atMs: performance.now(),
    iceState: pc.iceConnectionState,
    codec: '',
    transport: { dtls: '', cipher: '', srtp: '' },
    limitedBy: '',
    ssrc: 0,
    rtxSsrc: 0,
    audioSsrc: 0,
  };
  const video = [
    'framesSent framesReceived framesDecoded framesDropped freezeCount totalFreezesDuration packetsSent packetsReceived packetsLost',
    'jitterBufferDelay jitterBufferEmittedCount',
    'retransmittedPacketsSent retransmittedPacketsReceived retransmittedBytesReceived nackCount pliCount frameWidth frameHeight framesPerSecond',
    'fecPacketsReceived fecPacketsDiscarded fecBytesReceived bytesReceived',
  ].flatMap((names) => names.split(' '));
  for (const name of [...video, 'audioPacketsSent', 'audioPacketsReceived', 'audioPacketsLost']) sample[name] = 0;
  for (const name of ['totalAudioEnergy', 'totalSamplesReceived', 'concealedSamples', 'availableOutgoingBitrate']) sample[name] = 0;
  for (const one of report.values()) {
    if (one.type === 'transport') {
      sample.transport = { dtls: one.tlsVersion ?? '', cipher: one.dtlsCipher ?? '', srtp: one.srtpCipher ?? '' };
    } else if (one.type === 'candidate-pair') {
      sample.availableOutgoingBitrate = Math.max(sample.availableOutgoingBitrate, one.availableOutgoingBitrate ?? 0);
    } else if ((one.type === 'inbound-rtp' || one.type === 'outbound-rtp') && one.kind === 'video') {
      for (const name of video) sample[name] += one[name] ?? 0;
      sample.codec = report.get(one.codecId)?.mimeType ?? '';
      sample.limitedBy = one.qualityLimitationReason ?? '';
      sample.ssrc = one.ssrc;
      sample.rtxSsrc = one.rtxSsrc ?? 0;
      // Firefox tells frames encoded, and not always frames sent.
      if (one.framesSent === undefined) sample.framesSent += one.framesEncoded ?? 0;
      if (one.framesReceived === undefined) sample.framesReceived += one.framesDecoded ?? 0;
    } else if (one.type === 'inbound-rtp' || one.type === 'outbound-rtp') {
      sample.audioSsrc = one.ssrc;
      sample.audioPacketsSent += one.packetsSent ?? 0;
      sample.audioPacketsReceived += one.packetsReceived ?? 0;
      sample.audioPacketsLost += one.packetsLost ?? 0;
      sample.totalAudioEnergy += one.totalAudioEnergy ?? 0;
      sample.totalSamplesReceived += one.totalSamplesReceived ?? 0;
      sample.concealedSamples += one.concealedSamples ?? 0;
    }
  }
  return sample;
}
