// @ts-check
/**
 * One WHIP (RFC 9725) or WHEP (draft-ietf-wish-whep) session of a browser: the offer, the answer, the HTTP resource that
 * stands for it, ICE restart, and the end. No user interface in here.
 *
 * Offers are sent with all candidates in them, so trickle PATCHes are never needed; a PATCH is always an ICE restart.
 */

/** Longest wait for ICE gathering, in milliseconds: host candidates are there at once, a STUN server may never answer. */
const GATHERING_TIMEOUT_MS = 1500;
/** An ICE `disconnected` often heals by itself: wait this long before a restart is asked for. */
const DISCONNECTED_GRACE_MS = 2000;
/** ICE restarts in a row that may fail before the session is given up. */
const MAX_RESTARTS = 5;
/** Longest wait for the answer to a DELETE before the connection is closed all the same, in milliseconds. */
const DELETE_GRACE_MS = 1000;
/** Nobody publishes yet, too many requests, server full: the same request may do later. */
const RETRIED = [409, 429, 503];
/** Bounds of what a `Retry-After` may make us wait, in seconds. */
const RETRY_AFTER_S = { least: 1, most: 30, unsaid: 2 };

/**
 * @typedef {object} Options
 * @property {string} [token] bearer token
 * @property {string} [codec] of a publisher: `VP8`, `VP9`, `H264` or `AV1`, and no other video codec
 * @property {RTCRtpEncodingParameters[]} [encodings] of a publisher's video: simulcast layers, scalability
 * @property {AbortSignal} [signal] gives up while the session is being set up
 * @property {(text: string, seconds: number) => void} [onRetry] called before each wait asked for by the server
 */

/** A refusal of the server: what `application/problem+json` said (RFC 9457), else the status line. */
export class Problem extends Error {
  /**
   * @param {string} message
   * @param {{status: number, type?: string, retryAfter?: number | null}} about
   */
  constructor(message, { status, type = 'about:blank', retryAfter = null }) {
    super(message);
    this.name = 'Problem';
    this.status = status;
    this.type = type;
    /** Seconds, or null when the server named none. */
    this.retryAfter = retryAfter;
  }

  /** @param {Response} response */
  static async of(response) {
    const text = await response.text().catch(() => '');
    const retryAfter = retryAfterSeconds(response.headers.get('retry-after'));
    /** @type {{title?: unknown, detail?: unknown, type?: unknown}} */
    let body = {};
    if ((response.headers.get('content-type') ?? '').includes('json')) {
      try {
        body = JSON.parse(text) ?? {};
      } catch {
        // A broken body is no reason to hide the status.
      }
    }
    const said = [body.title, body.detail].filter((part) => typeof part === 'string' && part !== '');
    const message = said.length > 0 ? said.join(': ') : text.slice(0, 200) || response.statusText;
    const type = typeof body.type === 'string' ? body.type : undefined;
    return new Problem(`${message} (HTTP ${response.status})`, { status: response.status, type, retryAfter });
  }
}

/**
 * A session in progress. Events: `state` (any of the connection's states changed), `restart` (an ICE restart was done),
 * `error` (a CustomEvent whose `detail` is the Error; the session goes on if it can), `close`.
 */
export class Session extends EventTarget {
  /** @param {string} endpoint @param {RTCPeerConnection} pc @param {MediaStream} stream @param {Options} options */
  constructor(endpoint, pc, stream, options) {
    super();
    this.endpoint = endpoint;
    this.pc = pc;
    this.stream = stream;
    this.token = options.token ?? '';
    /** URL of the session resource; null until the server made one. @type {string | null} */
    this.resource = null;
    /** Entity tag of the ICE session. @type {string | null} */
    this.etag = null;
    this.closed = false;
    this.restarts = 0;
    this.restarting = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    pc.addEventListener('iceconnectionstatechange', () => this.handleIceState());
    pc.addEventListener('connectionstatechange', () => this.emit('state'));
  }

  /**
   * Publishes `stream` to a WHIP endpoint. The stream's tracks are stopped by {@link Session.close}.
   * @param {string} endpoint @param {MediaStream} stream @param {Options} [options]
   */
  static async publish(endpoint, stream, options = {}) {
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const session = new Session(endpoint, pc, stream, options);
    for (const track of stream.getTracks()) {
      const sendEncodings = track.kind === 'video' ? (options.encodings ?? []) : [];
      const transceiver = pc.addTransceiver(track, { direction: 'sendonly', streams: [stream], sendEncodings });
      if (track.kind === 'video') preferCodec(transceiver, options.codec);
    }
    return session.start(options);
  }

  /**
   * Plays a WHEP endpoint: the tracks arrive in `stream`. Waits and asks again for as long as the server says that nobody
   * publishes (409) or that it is busy (503), until `options.signal` ends that.
   * @param {string} endpoint @param {Options} [options]
   */
  static async watch(endpoint, options = {}) {
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const stream = new MediaStream();
    const session = new Session(endpoint, pc, stream, options);
    pc.addEventListener('track', ({ track }) => stream.addTrack(track));
    pc.addTransceiver('audio', { direction: 'recvonly' });
    askForDescriptors(pc.addTransceiver('video', { direction: 'recvonly' }));
    return session.start(options);
  }

  /** @param {Options} options */
  async start(options) {
    try {
      await this.pc.setLocalDescription();
      await gatheringDone(this.pc);
      const answer = await this.post(options);
      await this.pc.setRemoteDescription({ type: 'answer', sdp: answer });
      options.signal?.throwIfAborted();
      return this;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Sends the offer until it is taken or refused for good. @param {Options} options @returns {Promise<string>} the answer */
  async post({ signal, onRetry }) {
    for (;;) {
      const response = await fetch(this.endpoint, {
        method: 'POST',
        headers: this.headers({ 'Content-Type': 'application/sdp' }),
        body: this.pc.localDescription?.sdp ?? '',
        signal: signal ?? null,
      });
      if (response.status === 201) {
        const location = response.headers.get('location');
        if (location === null) throw new Error('The server made a session but did not say where (no Location header).');
        this.resource = new URL(location, response.url).href;
        this.etag = response.headers.get('etag');
        return response.text();
      }
      const problem = await Problem.of(response);
      if (!RETRIED.includes(response.status)) throw problem;
      const seconds = problem.retryAfter ?? RETRY_AFTER_S.unsaid;
      onRetry?.(problem.message, seconds);
      await sleep(seconds * 1000, signal);
    }
  }

  /** @param {Record<string, string>} more */
  headers(more = {}) {
    return this.token === '' ? more : { ...more, Authorization: `Bearer ${this.token}` };
  }

  handleIceState() {
    this.emit('state');
    clearTimeout(this.timer);
    const state = this.pc.iceConnectionState;
    if (state === 'connected' || state === 'completed') this.restarts = 0;
    else if (state === 'failed') this.restartOrGiveUp();
    else if (state === 'disconnected') {
      this.timer = setTimeout(() => this.restartOrGiveUp(), DISCONNECTED_GRACE_MS);
    }
  }

  async restartOrGiveUp() {
    if (this.closed || this.restarting) return;
    this.restarts += 1;
    if (this.restarts > MAX_RESTARTS) {
      this.fail(new Error('The connection is lost, and could not be made again.'));
      this.close();
      return;
    }
    try {
      await this.restartIce();
    } catch (error) {
      if (this.closed) return;
      this.fail(error);
      if (error instanceof Problem && [401, 403, 404, 410].includes(error.status)) this.close();
      else this.timer = setTimeout(() => this.restartOrGiveUp(), DISCONNECTED_GRACE_MS);
    }
  }

  /**
   * Asks for new ICE credentials (RFC 9725 section 4.3.3) and takes them over. The rest of the session stays as negotiated.
   * @throws {Problem} when the server refuses; the session is then as it was before
   */
  async restartIce() {
    if (this.resource === null || this.closed) throw new Error('There is no session to restart.');
    this.restarting = true;
    const { pc } = this;
    const answer = pc.remoteDescription?.sdp ?? '';
    try {
      await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }));
      await gatheringDone(pc);
      const response = await fetch(this.resource, {
        method: 'PATCH',
        // A restart replaces whatever ICE session there is: "*" is what the RFC asks for.
        headers: this.headers({ 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': '*' }),
        body: iceFragment(pc.localDescription?.sdp ?? ''),
      });
      if (!response.ok) throw await Problem.of(response);
      this.etag = response.headers.get('etag') ?? this.etag;
      await pc.setRemoteDescription({ type: 'answer', sdp: withIceOf(answer, await response.text()) });
      this.emit('restart');
    } catch (error) {
      if (pc.signalingState === 'have-local-offer') await pc.setLocalDescription({ type: 'rollback' });
      throw error;
    } finally {
      this.restarting = false;
    }
  }

  /** Ends the session at both ends. Safe to call again, and while the page is being left. */
  close() {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.timer);
    for (const track of this.stream.getTracks()) track.stop();
    if (this.resource === null) {
      this.pc.close();
    } else {
      // keepalive lets the request outlive the page. DTLS is closed after it: closing first would end the session under the
      // DELETE, which would then find nothing.
      const asked = fetch(this.resource, { method: 'DELETE', headers: this.headers(), keepalive: true });
      Promise.race([asked, sleep(DELETE_GRACE_MS)])
        .catch(() => {})
        .finally(() => this.pc.close());
    }
    this.emit('close');
  }

  /** @param {string} name */
  emit(name) {
    this.dispatchEvent(new Event(name));
  }

  /** @param {unknown} error */
  fail(error) {
    this.dispatchEvent(new CustomEvent('error', { detail: error }));
  }
}

/**
 * Leaves only `codec` (and what goes with it: RTX, RED, FEC) in the offer of a video transceiver that sends.
 * @param {RTCRtpTransceiver} transceiver @param {string | undefined} codec
 */
function preferCodec(transceiver, codec) {
  if (!codec) return;
  const all = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
  const wanted = all.filter((one) => one.mimeType.toLowerCase() === `video/${codec.toLowerCase()}`);
  if (wanted.length === 0) throw new Error(`This browser has no ${codec}.`);
  const helpers = all.filter((one) => /\/(rtx|red|ulpfec|flexfec-03)$/i.test(one.mimeType));
  transceiver.setCodecPreferences([...wanted, ...helpers]);
}

/** The header extension that tells spatial layers of AV1 apart. */
const DEPENDENCY_DESCRIPTOR = 'https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension';

/**
 * Asks for dependency descriptors, without which only the lowest spatial layer of AV1 can be played. Browsers that offer them
 * unasked have no method for it.
 * @param {RTCRtpTransceiver} transceiver that receives
 */
function askForDescriptors(transceiver) {
  const extended = /** @type {any} */ (transceiver);
  const extensions = extended.getHeaderExtensionsToNegotiate?.() ?? [];
  for (const one of extensions) if (one.uri === DEPENDENCY_DESCRIPTOR) one.direction = 'sendrecv';
  extended.setHeaderExtensionsToNegotiate?.(extensions);
}

/** @param {RTCPeerConnection} pc @returns {Promise<void>} */
function gatheringDone(pc) {
  return new Promise((resolve) => {
    if (pc.iceGatheringState === 'complete') {
      resolve();
      return;
    }
    const timer = setTimeout(resolve, GATHERING_TIMEOUT_MS);
    pc.addEventListener('icegatheringstatechange', () => {
      if (pc.iceGatheringState !== 'complete') return;
      clearTimeout(timer);
      resolve();
    });
  });
}

/**
 * The ICE part of an offer as an SDP fragment (RFC 8840): session lines, then the first m-section, which owns the transport.
 * @param {string} sdp
 */
export function iceFragment(sdp) {
  const lines = sdp.split(/\r?\n/);
  const first = lines.findIndex((line) => line.startsWith('m='));
  const next = lines.findIndex((line, at) => at > first && line.startsWith('m='));
  const section = lines.slice(first, next === -1 ? undefined : next);
  const group = lines.slice(0, first).filter((line) => line.startsWith('a=group:BUNDLE'));
  const wanted = /^a=(mid:|ice-ufrag:|ice-pwd:|ice-options:|candidate:|end-of-candidates)/;
  return [...group, section[0], ...section.filter((line) => wanted.test(line)), ''].join('\r\n');
}

/**
 * The earlier answer with the credentials and candidates of a restart's fragment in their place.
 * @param {string} answer @param {string} fragment
 */
export function withIceOf(answer, fragment) {
  const found = fragment.split(/\r?\n/);
  const ufrag = found.find((line) => line.startsWith('a=ice-ufrag:'));
  const pwd = found.find((line) => line.startsWith('a=ice-pwd:'));
  if (!ufrag || !pwd) throw new Error('The server answered the ICE restart without new credentials.');
  const candidates = found.filter((line) => line.startsWith('a=candidate:'));
  return answer
    .split(/\r?\n/)
    .filter((line) => candidates.length === 0 || !line.startsWith('a=candidate:'))
    .flatMap((line) => {
      if (line.startsWith('a=ice-ufrag:')) return [ufrag];
      if (line.startsWith('a=ice-pwd:')) return [pwd, ...candidates];
      return [line];
    })
    .join('\r\n');
}

/** @param {string | null} header seconds or an HTTP date @returns {number | null} seconds, within bounds */
export function retryAfterSeconds(header) {
  if (header === null) return null;
  const seconds = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  if (Number.isNaN(seconds)) return null;
  return Math.min(Math.max(seconds, RETRY_AFTER_S.least), RETRY_AFTER_S.most);
}

/** @param {number} ms @param {AbortSignal} [signal] @returns {Promise<void>} */
function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
