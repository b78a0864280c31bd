// A participant in a page: the SDK's room, driven from here, and what it sees and hears of each of the others.
import { until } from './process.mjs';
import { openApp } from './sdk.mjs';

/** @typedef {import('./browsers.mjs').Page} Page */

/**
 * @typedef {object} Seen what a participant receives of one publication
 * @property {string} identity whose it is
 * @property {string} id
 * @property {string} source
 * @property {boolean} muted
 * @property {number} frames decoded
 * @property {number} height of the picture that is decoded
 * @property {number} freezes
 * @property {number} samples of audio that were received, and not made up
 * @property {number} energy of audio
 * @property {number} bytes
 */

/** Frames of others are looked for this often, in milliseconds. */
const LOOK_MS = 50;

/** @param {{url: string, token: string, room: string, identity: string, options: object, tile: {width: number, height: number}}} how */
async function joinInPage({ url, token, room: name, identity, options, tile }) {
  const page = /** @type {any} */ (globalThis);
  const { ion } = page;
  let encryption;
  if (/** @type {any} */ (options).passphrase !== undefined) {
    encryption = new ion.E2ee();
    await encryption.setPassphrase(/** @type {any} */ (options).passphrase, 'salt');
  }
  const room = new ion.Room({ ...options, ...(encryption ? { encryption } : {}) });
  page.call = { room, identity, told: /** @type {string[]} */ ([]), data: /** @type {string[]} */ ([]), errors: /** @type {string[]} */ ([]), published: {}, spoke: new Set() };
  const { call } = page;
  for (const event of ['reconnecting', 'reconnected', 'moved', 'admitted']) room.on(event, () => call.told.push(event));
  room.on('status', (/** @type {string} */ status) => call.told.push(status));
  room.on('participantJoined', (/** @type {any} */ who) => call.told.push(`+${who.identity}`));
  room.on('participantLeft', (/** @type {any} */ who, /** @type {string} */ reason) => call.told.push(`-${who.identity} ${reason}`));
  room.on('closed', (/** @type {any} */ error) => call.told.push(`closed ${error?.reason ?? ''}`));
  room.on('error', (/** @type {any} */ error) => call.errors.push(`${error.reason}: ${error.message}`));
  room.on('speakers', (/** @type {any[]} */ speakers) => speakers.forEach((one) => call.spoke.add(one.identity)));
  room.on('data', (/** @type {any} */ { payload, topic, from }) => call.data.push(`${topic} ${from?.identity}: ${new TextDecoder().decode(payload)}`));
  room.on('trackSubscribed', (/** @type {MediaStreamTrack} */ track, /** @type {any} */ publication, /** @type {any} */ who) => {
    const element = document.createElement(track.kind === 'video' ? 'video' : 'audio');
    Object.assign(element, { autoplay: true, muted: true, title: `${who.identity} ${publication.source}` });
    Object.assign(element.style, { width: `${tile.width}px`, height: `${tile.height}px` });
    element.dataset.publication = publication.id;
    document.body.append(element);
    room.publication(publication.id).attach(element);
  });
  room.on('trackUnsubscribed', (/** @type {unknown} */ _, /** @type {any} */ publication) => {
    document.querySelector(`[data-publication="${publication.id}"]`)?.remove();
  });
  await room.connect(url, { room: name, identity, ...(token === '' ? {} : { token }) });
  return room.status;
}

export class Participant {
  /** @param {Page} page @param {string} identity */
  constructor(page, identity) {
    this.page = page;
    this.identity = identity;
  }

  /**
   * @param {Page} page @param {string} app
   * @param {{url: string, room: string, identity: string, token?: string, options?: object, tile?: {width: number, height: number}}} how
   *   `tile`: size of the elements in which others are shown
   */
  static async join(page, app, { token = '', options = {}, tile = { width: 320, height: 180 }, ...how }) {
    await openApp(page, app);
    const participant = new Participant(page, how.identity);
    await page.evaluate(joinInPage, { token, options, tile, ...how });
    return participant;
  }

  /** @param {{width?: number, height?: number, video?: object, audio?: boolean}} [what] */
  async publish({ width = 320, height = 180, video = {}, audio = true } = {}) {
    await this.page.evaluate(
      async (/** @type {any} */ { width, height, video, audio }) => {
        const { room, published } = /** @type {any} */ (globalThis).call;
        const camera = room.local.publishCamera({ width, height, frameRate: 15 }, { video });
        const microphone = audio ? room.local.publishMicrophone() : undefined;
        Object.assign(published, { camera: await camera, microphone: await microphone });
      },
      { width, height, video, audio },
    );
  }

  /** Runs in the page with the call: its room, what it was told, what it published. @param {(call: any, arg?: any) => any} act @param {unknown} [arg] @returns {Promise<any>} */
  do(act, arg) {
    // Functions go to the page as text.
    return this.page.evaluate(
      (/** @type {{text: string, arg: unknown}} */ { text, arg }) => new Function(`return (${text})`)()(/** @type {any} */ (globalThis).call, arg),
      { text: act.toString(), arg },
    );
  }

  /** @returns {Promise<Seen[]>} */
  seen() {
    return this.page.evaluate(async () => {
      const { room } = /** @type {any} */ (globalThis).call;
      const all = [];
      for (const who of room.getSnapshot().remotes) {
        for (const { id, source, muted, kind } of who.publications) {
          const one = { identity: who.identity, id, source, muted, frames: 0, height: 0, freezes: 0, samples: 0, energy: 0, bytes: 0 };
          for (const entry of (await room.publication(id)?.getStats())?.values() ?? []) {
            if (entry.type !== 'inbound-rtp') continue;
            one.bytes += entry.bytesReceived;
            if (kind === 'video') Object.assign(one, { frames: entry.framesDecoded ?? 0, height: entry.frameHeight ?? 0, freezes: entry.freezeCount ?? 0 });
            else Object.assign(one, { samples: entry.totalSamplesReceived - entry.concealedSamples, energy: entry.totalAudioEnergy ?? 0 });
          }
          all.push(one);
        }
      }
      return all;
    });
  }

  /** Waits until pictures and sound of each of these keep coming. @param {string[]} identities @param {string} when */
  async seesAndHears(identities, when, { audio = true, timeoutMs = 30_000 } = {}) {
    const from = await this.seen();
    const count = (/** @type {Seen[]} */ all, /** @type {string} */ identity, /** @type {'frames' | 'samples'} */ what) =>
      all.filter((one) => one.identity === identity).reduce((sum, one) => sum + one[what], 0);
    await until(`${this.identity} sees and hears ${identities.join(', ')} ${when}`, timeoutMs, async () => {
      const now = await this.seen();
      const grown = (/** @type {string} */ one, /** @type {'frames' | 'samples'} */ what) => count(now, one, what) - count(from, one, what);
      const missed = identities.filter((one) => grown(one, 'frames') <= 10 || (audio && grown(one, 'samples') <= 10_000));
      if (missed.length > 0) throw new Error(missed.map((one) => `${one}: ${grown(one, 'frames')} frames, ${grown(one, 'samples')} samples`).join('; '));
      return true;
    });
  }

  /** @param {string} what @param {number} [timeoutMs] */
  async told(what, timeoutMs = 10_000) {
    await until(`${this.identity} is told “${what}”`, timeoutMs, async () => (await this.do((call) => call.told)).includes(what));
  }

  /** Begins to note the longest time in which no frame was decoded of these, or of anybody. @param {string[]} [identities] */
  async watchGaps(identities = []) {
    await this.do(
      (call, { identities, lookMs }) => {
        const gaps = { longestMs: 0, lastFrames: -1, lastAtMs: performance.now() };
        call.gaps = gaps;
        clearInterval(call.look);
        const isWatched = (/** @type {string} */ mid) => {
          const id = call.room.peer?.carriedBy(mid);
          const whose = call.room.getSnapshot().remotes.find((/** @type {any} */ one) => one.publications.some((/** @type {any} */ each) => each.id === id));
          return identities.length === 0 || identities.includes(whose?.identity);
        };
        call.look = setInterval(async () => {
          const atMs = performance.now();
          let frames = 0;
          for (const one of (await call.room.peer?.pc.getStats())?.values() ?? []) {
            if (one.type === 'inbound-rtp' && one.kind === 'video' && isWatched(one.mid)) frames += one.framesDecoded ?? 0;
          }
          // Counters of a new connection begin anew.
          if (frames === gaps.lastFrames || frames === 0) gaps.longestMs = Math.max(gaps.longestMs, atMs - gaps.lastAtMs);
          else Object.assign(gaps, { lastFrames: frames, lastAtMs: atMs });
        }, lookMs);
      },
      { identities, lookMs: LOOK_MS },
    );
  }

  /** @returns {Promise<number>} milliseconds since the last call, or since the watch began */
  longestGapMs() {
    return this.do((call) => {
      const { longestMs } = call.gaps;
      call.gaps.longestMs = 0;
      return longestMs;
    });
  }

  /** Waits until it is connected, and says that nothing failed. @param {import('./scenario.mjs').Context} t */
  async isHealthy(t) {
    await until(`${this.identity} is connected`, 15_000, async () => (await this.do((call) => call.room.status)) === 'connected');
    const errors = await this.do((call) => call.errors);
    t.check(errors.length === 0, `${this.identity} met errors: ${errors}`);
  }
}
