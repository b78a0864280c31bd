// WHEP viewers on libdatachannel, many in one process, that count RTP packets by sequence number instead of decoding them.
//
//   node ldc_viewers.mjs WHEP-URL COUNT
//
// Standard output, one JSON object a line: {"joined": n} when all receive, then an answer to each line of standard input:
// `report` gives {"viewers": [...]}, `quit` deletes the sessions, reports, and ends.
import { createInterface } from 'node:readline';
import nodeDataChannel from 'node-datachannel';

const JOIN_TIMEOUT_MS = 30_000;
/** POSTs under way at once. */
const JOINING_AT_ONCE = 4;

/** Packets of one SSRC: how many distinct ones came, and how many are missing between the first and the last. */
class SequenceCount {
  constructor() {
    this.received = 0;
    this.duplicates = 0;
    this.first = -1;
    this.highest = -1;
    /** Numbers between first and highest that did not come yet. @type {Set<number>} */
    this.missing = new Set();
  }

  /** @param {number} sequence 16 bits */
  take(sequence) {
    if (this.highest < 0) {
      this.first = this.highest = sequence;
      this.received = 1;
      return;
    }
    const step = ((sequence - this.highest) << 16) >> 16;
    const extended = this.highest + step;
    if (step > 0) {
      for (let lost = this.highest + 1; lost < extended; lost += 1) this.missing.add(lost);
      this.highest = extended;
      this.received += 1;
    } else if (this.missing.delete(extended)) {
      this.received += 1;
    } else if (extended >= this.first) {
      this.duplicates += 1;
    }
  }
}

function audio() {
  const media = new nodeDataChannel.Audio('0', 'RecvOnly');
  media.addOpusCodec(111);
  return media;
}

function video() {
  const media = new nodeDataChannel.Video('1', 'RecvOnly');
  media.addVP8Codec(96);
  media.addH264Codec(98);
  return media;
}

class Viewer {
  /** @param {number} index */
  constructor(index) {
    this.pc = new nodeDataChannel.PeerConnection(`viewer-${index}`, { iceServers: [], disableAutoNegotiation: true });
    this.tracks = [this.track('audio'), this.track('video')];
    this.resource = '';
    /** @type {string[]} */
    this.states = [];
    this.pc.onStateChange((state) => this.states.push(state));
  }

  /** @param {'audio' | 'video'} kind */
  track(kind) {
    const media = kind === 'audio' ? audio() : video();
    const track = this.pc.addTrack(media);
    /** @type {Map<number, SequenceCount>} */
    const bySsrc = new Map();
    let bytes = 0;
    track.onMessage((packet) => {
      // RTCP shares the port: its packet types are 192 to 223 (RFC 5761).
      const type = packet[1] ?? 0;
      if (packet.length < 12 || (type >= 192 && type <= 223)) return;
      const ssrc = packet.readUInt32BE(8);
      let count = bySsrc.get(ssrc);
      if (!count) bySsrc.set(ssrc, (count = new SequenceCount()));
      count.take(packet.readUInt16BE(2));
      bytes += packet.length;
    });
    return { kind, track, bySsrc, bytes: () => bytes };
  }

  /** @param {string} url */
  async join(url) {
    const gathered = new Promise((resolve) => {
      this.pc.onGatheringStateChange((state) => state === 'complete' && resolve(null));
    });
    this.pc.setLocalDescription('offer');
    await gathered;
    const offer = this.pc.localDescription()?.sdp ?? '';
    const signal = AbortSignal.timeout(JOIN_TIMEOUT_MS);
    for (;;) {
      const response = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: offer, signal });
      const body = await response.text();
      if (response.status === 201) {
        this.resource = new URL(response.headers.get('location') ?? '', url).href;
        this.pc.setRemoteDescription(body, 'answer');
        return;
      }
      if (![409, 429, 503].includes(response.status)) throw new Error(`POST ${url}: ${response.status} ${body.slice(0, 300)}`);
      const seconds = Number(response.headers.get('retry-after')) || 1;
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    }
  }

  get receives() {
    return this.tracks.every(({ bySsrc }) => bySsrc.size > 0);
  }

  report() {
    const tracks = this.tracks.map(({ kind, bySsrc, bytes }) => {
      const sum = { kind, bytes: bytes(), ssrcs: bySsrc.size, received: 0, missing: 0, duplicates: 0 };
      for (const count of bySsrc.values()) {
        sum.received += count.received;
        sum.missing += count.missing.size;
        sum.duplicates += count.duplicates;
      }
      return sum;
    });
    return { state: this.pc.state(), states: this.states, tracks };
  }

  async leave() {
    const response = await fetch(this.resource, { method: 'DELETE' }).catch(() => null);
    this.pc.close();
    return response?.status ?? 0;
  }
}

/** @param {unknown} what */
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

const [url = '', count = '1'] = process.argv.slice(2);
const viewers = Array.from({ length: Number(count) }, (_, index) => new Viewer(index));
try {
  const waiting = [...viewers];
  const joinSome = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) await next.join(url);
  };
  await Promise.all(Array.from({ length: JOINING_AT_ONCE }, joinSome));
  const deadline = performance.now() + JOIN_TIMEOUT_MS;
  while (!viewers.every((viewer) => viewer.receives)) {
    if (performance.now() > deadline) {
      const deaf = viewers.filter((viewer) => !viewer.receives).length;
      throw new Error(`${deaf} of ${viewers.length} viewers receive nothing: ${JSON.stringify(viewers[0]?.report())}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  say({ joined: viewers.length });
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === 'quit') break;
    if (line === 'report') say({ viewers: viewers.map((viewer) => viewer.report()) });
  }
  const deleted = [];
  for (const viewer of viewers) deleted.push(await viewer.leave());
  say({ deleted });
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
process.exit();
