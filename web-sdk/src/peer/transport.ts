import { type CallOptions, Serial, abortable } from '../async.js';
import { Emitter } from '../emitter.js';
import { IonError, ionError } from '../errors.js';
import type { SendEncoding } from '../media/codecs.js';
import type { Offer, OfferAnswer, Problem, PublicationId, PublicationInfo, TrackOffer } from '../wire/signal.js';
import { type OpusParameters, withOpus } from './opus.js';
import { type MediaKind, type Section, type Wanted, planReceiving } from './sections.js';

/**
 * Looks at descriptions on their way, and may change them.
 */
export interface NegotiationHooks {
  /** Our offer, before it is set and sent. */
  readonly offer?: ((sdp: string) => string) | undefined;
  /** The server's answer, before it is set. */
  readonly answer?: ((sdp: string) => string) | undefined;
}

/**
 * What a {@link PeerTransport} is made with.
 */
export interface PeerOptions {
  /** Name of this connection, unique in the session. */
  readonly peer: string;
  readonly iceServers?: readonly RTCIceServer[] | undefined;
  /** Gives an offer to the server: `SignalClient.request('offer', …)`. */
  readonly exchange: (offer: Offer, options: CallOptions) => Promise<OfferAnswer>;
  readonly hooks?: NegotiationHooks | undefined;
  /** For encryption where there is no `RTCRtpScriptTransform`: allows `createEncodedStreams`. */
  readonly encodedStreams?: boolean | undefined;
}

/**
 * A track to send.
 */
export interface SendTrack {
  readonly track: MediaStreamTrack;
  /** What the server is told about it. */
  readonly offer: TrackOffer;
  readonly encodings: readonly RTCRtpEncodingParameters[];
  /** In order of preference; empty for the browser's own. */
  readonly codecs: readonly RTCRtpCodec[];
  readonly opus?: OpusParameters | undefined;
}

/**
 * Events of a {@link PeerTransport}.
 */
export interface PeerEvents {
  state: [state: RTCPeerConnectionState];
  /** From now on this transceiver sends that track. Before the offer that says so. */
  sending: [cid: string, transceiver: RTCRtpTransceiver];
  /** The server has taken a track, or says more about it. */
  published: [publication: PublicationInfo];
  /** The server declined the section of a track to send; it is not sent any more. */
  refused: [cid: string, problem: Problem];
  /** This transceiver is going to receive that publication. Before the offer that says so. */
  assigned: [publication: PublicationId, transceiver: RTCRtpTransceiver];
  /** The server has agreed: this transceiver receives that publication. */
  receiving: [publication: PublicationId, transceiver: RTCRtpTransceiver];
  /** No section receives that publication any more. */
  stopped: [publication: PublicationId];
  /** The server declined the section of a publication to receive. */
  declined: [publication: PublicationId, problem: Problem];
  /** A message over a data channel. */
  data: [bytes: ArrayBuffer];
}

interface TransceiverSection extends Section {
  readonly transceiver: RTCRtpTransceiver;
  /** Whether it was made for simulcast. */
  readonly layered: boolean;
  send: SendTrack | undefined;
  /** Whether `receiving` was told of its present use. */
  told: boolean;
}

/**
 * The one `RTCPeerConnection` of a participant: offers one at a time, uses sections again, keeps the two data channels.
 */
export class PeerTransport extends Emitter<PeerEvents> {
  /** The peer connection, for statistics and for what this class does not cover. */
  readonly pc: RTCPeerConnection;
  /** Its name. */
  readonly peer: string;
  readonly #options: PeerOptions;
  readonly #sections: TransceiverSection[] = [];
  readonly #serial = new Serial();
  readonly #channels: Readonly<Record<'reliable' | 'lossy', RTCDataChannel>>;
  readonly #refused = new Map<string, Problem>();
  readonly #closing = new AbortController();
  #wanted: readonly Wanted[] = [];
  #queued: Promise<void> | undefined;
  #restart = false;

  constructor(options: PeerOptions) {
    super();
    this.#options = options;
    this.peer = options.peer;
    const config: RTCConfiguration & { encodedInsertableStreams?: boolean } = {
      bundlePolicy: 'max-bundle',
      iceServers: [...(options.iceServers ?? [])],
    };
    if (options.encodedStreams === true) config.encodedInsertableStreams = true;
    this.pc = new RTCPeerConnection(config);
    this.pc.addEventListener('connectionstatechange', () => {
      this.emit('state', this.pc.connectionState);
    });
    this.#channels = {
      reliable: this.pc.createDataChannel('reliable', { ordered: true }),
      lossy: this.pc.createDataChannel('lossy', { ordered: false, maxRetransmits: 0 }),
    };
    for (const channel of Object.values(this.#channels)) {
      channel.binaryType = 'arraybuffer';
      channel.addEventListener('message', ({ data }: MessageEvent<unknown>) => {
        if (data instanceof ArrayBuffer) this.emit('data', data);
      });
    }
  }

  /** Adds a section that sends; `negotiate` tells the server. */
  send(send: SendTrack): RTCRtpTransceiver {
    const { track, offer, encodings, codecs } = send;
    const kind = track.kind as MediaKind;
    let section = this.#sections.find((one) => one.use.side === 'send' && one.use.cid === undefined && fits(one, kind, encodings));
    if (section === undefined) {
      const init: RTCRtpTransceiverInit = { direction: 'sendonly', streams: [new MediaStream([track])] };
      if (encodings.length > 0) init.sendEncodings = encodings.map((one) => ({ ...one }));
      const transceiver = this.pc.addTransceiver(track, init);
      section = { kind, transceiver, layered: encodings.length > 1, use: { side: 'send', cid: offer.cid }, send, told: true };
      this.#sections.push(section);
    } else {
      const { sender } = section.transceiver;
      section.transceiver.direction = 'sendonly';
      void sender.replaceTrack(track);
      const parameters = sender.getParameters();
      parameters.encodings.forEach((one, at) => Object.assign(one, encodings[at], { active: true }));
      void sender.setParameters(parameters).catch(() => undefined);
    }
    section.use = { side: 'send', cid: offer.cid };
    section.send = send;
    if (codecs.length > 0 && 'setCodecPreferences' in section.transceiver) section.transceiver.setCodecPreferences([...codecs]);
    this.emit('sending', offer.cid, section.transceiver);
    return section.transceiver;
  }

  /** Stops sending; `negotiate` tells the server. */
  unsend(cid: string): void {
    const section = this.#sections.find((one) => one.use.side === 'send' && one.use.cid === cid);
    if (section === undefined) return;
    section.use = { side: 'send', cid: undefined };
    section.send = undefined;
    // A section that was never in an answered offer need not be.
    if (section.transceiver.mid === null) {
      section.transceiver.stop();
      this.#sections.splice(this.#sections.indexOf(section), 1);
      return;
    }
    section.transceiver.direction = 'inactive';
    void section.transceiver.sender.replaceTrack(null);
  }

  /** The transceiver that sends a track. */
  sender(cid: string): RTCRtpTransceiver | undefined {
    return this.#sections.find((one) => one.use.side === 'send' && one.use.cid === cid)?.transceiver;
  }

  /** The transceiver that receives a publication. */
  receiver(publication: PublicationId): RTCRtpTransceiver | undefined {
    return this.#sections.find((one) => one.use.side === 'receive' && one.use.publication === publication)?.transceiver;
  }

  /** What a section carries: the publication received or the `cid` sent. */
  carriedBy(mid: string): string | undefined {
    const use = this.#sections.find(({ transceiver }) => transceiver.mid === mid)?.use;
    return use?.side === 'send' ? use.cid : use?.publication;
  }

  /** When a packet came last, on the clock of `getSynchronizationSources`; undefined if none came after `afterMs`. Looks no further than at the first. */
  newestPacketMs(afterMs: number): number | undefined {
    for (const { use, transceiver } of this.#sections) {
      if (use.side !== 'receive' || use.publication === undefined) continue;
      for (const { timestamp } of transceiver.receiver.getSynchronizationSources()) if (timestamp > afterMs) return timestamp;
    }
    return undefined;
  }

  /** What to receive from now on, all of it. Resolves when the server has agreed; at once if nothing changes. */
  async receive(wanted: readonly Wanted[], options: CallOptions = {}): Promise<void> {
    const same = new Set(wanted.map((one) => one.publication));
    // What was declined is tried again when it is asked for anew.
    this.#wanted = wanted;
    const { free, reuse, add } = planReceiving(this.#sections, wanted);
    for (const one of this.#refused.keys()) if (!same.has(one)) this.#refused.delete(one);
    if (free.length + reuse.length + add.length > 0) await this.negotiate(options);
  }

  /** Offers what is, one exchange at a time. A call while another exchange is under way is served by the next one. */
  negotiate(options: CallOptions = {}): Promise<void> {
    this.#queued ??= this.#serial.run(async () => {
      this.#queued = undefined;
      await this.#exchange();
    });
    return abortable(this.#queued, options.signal);
  }

  /** Restarts ICE; the rest stays. */
  restartIce(options: CallOptions = {}): Promise<void> {
    this.#restart = true;
    return this.negotiate(options);
  }

  /** Sends over a data channel. False where that channel is not open, or its buffer is full. */
  sendData(channel: 'reliable' | 'lossy', bytes: Uint8Array<ArrayBuffer>): boolean {
    const one = this.#channels[channel];
    if (one.readyState !== 'open') return false;
    // What may be lost is not worth queueing for long.
    if (channel === 'lossy' && one.bufferedAmount > LOSSY_BUFFER_BYTES) return true;
    try {
      one.send(bytes);
      return true;
    } catch {
      return false;
    }
  }

  /** Ends the connection. */
  close(): void {
    this.#closing.abort(new IonError('closed', 'The connection was closed.'));
    this.pc.close();
    this.removeAllListeners();
  }

  async #exchange(): Promise<void> {
    const { pc } = this;
    const { signal } = this.#closing;
    if (signal.aborted) throw new IonError('closed', 'The connection was closed.');
    const assigned = this.#arrange();
    const restart = this.#restart;
    const opus = new Map<string, OpusParameters>();
    try {
      for (const { transceiver, layered } of this.#sections) if (layered) offerStreamIds(transceiver);
      const made = await pc.createOffer({ iceRestart: restart });
      const sdp = this.#options.hooks?.offer?.(made.sdp ?? '') ?? made.sdp ?? '';
      await pc.setLocalDescription({ type: 'offer', sdp });
      this.#restart = false;
      const offer: Offer = { peer: this.peer, sdp: pc.localDescription?.sdp ?? sdp, tracks: {}, subscriptions: {} };
      for (const { transceiver, use, send } of this.#sections) {
        if (transceiver.mid === null) continue;
        if (send !== undefined) offer.tracks[transceiver.mid] = send.offer;
        if (send?.opus !== undefined) opus.set(transceiver.mid, send.opus);
        if (use.side === 'receive' && use.publication !== undefined) offer.subscriptions[transceiver.mid] = use.publication;
      }
      const answer = await abortable(this.#options.exchange(offer, { signal }), signal);
      const agreed = withOpus(answer.sdp, opus);
      await pc.setRemoteDescription({ type: 'answer', sdp: this.#options.hooks?.answer?.(agreed) ?? agreed });
      this.#settle(answer, assigned);
    } catch (error) {
      if (restart) this.#restart = true;
      if (pc.signalingState === 'have-local-offer') await pc.setLocalDescription({ type: 'rollback' });
      throw ionError(error, 'media');
    }
  }

  /** Brings the receiving sections to what is wanted. Returns those that receive something that was not told yet. */
  #arrange(): TransceiverSection[] {
    const wanted = this.#wanted.filter(({ publication }) => !this.#refused.has(publication));
    const { free, reuse, add } = planReceiving(this.#sections, wanted);
    const gone = [...free, ...reuse.map(({ section }) => section)];
    for (const { use } of gone) if (use.side === 'receive' && use.publication !== undefined) this.emit('stopped', use.publication);
    for (const section of free) {
      section.use = { side: 'receive', publication: undefined };
      section.transceiver.direction = 'inactive';
    }
    for (const { section, publication } of reuse) {
      section.use = { side: 'receive', publication };
      section.told = false;
      section.transceiver.direction = 'recvonly';
      this.emit('assigned', publication, section.transceiver);
    }
    for (const { kind, publication } of add) {
      const transceiver = this.pc.addTransceiver(kind, { direction: 'recvonly' });
      this.#sections.push({ kind, transceiver, layered: false, use: { side: 'receive', publication }, send: undefined, told: false });
      this.emit('assigned', publication, transceiver);
    }
    return this.#sections.filter(({ use, told }) => !told && use.side === 'receive' && use.publication !== undefined);
  }

  #settle(answer: OfferAnswer, assigned: readonly TransceiverSection[]): void {
    for (const publication of Object.values(answer.publications)) this.emit('published', publication);
    for (const [mid, problem] of Object.entries(answer.declined)) {
      const section = this.#sections.find(({ transceiver }) => transceiver.mid === mid);
      if (section?.use.side === 'send' && section.use.cid !== undefined) {
        const { cid } = section.use;
        this.unsend(cid);
        this.emit('refused', cid, problem);
      }
      if (section?.use.side !== 'receive' || section.use.publication === undefined) continue;
      const { publication } = section.use;
      this.#refused.set(publication, problem);
      section.use = { side: 'receive', publication: undefined };
      section.transceiver.direction = 'inactive';
      this.emit('stopped', publication);
      this.emit('declined', publication, problem);
    }
    for (const section of assigned) {
      if (section.use.side !== 'receive' || section.use.publication === undefined) continue;
      section.told = true;
      this.emit('receiving', section.use.publication, section.transceiver);
    }
  }
}

/** Bytes waiting in the lossy channel beyond which new messages are dropped. */
const LOSSY_BUFFER_BYTES = 64 * 1024;

/** What Chromium has of webrtc-extensions. */
interface ExtensionControl {
  getHeaderExtensionsToNegotiate?: () => { uri: string; direction: RTCRtpTransceiverDirection | 'stopped' }[];
  setHeaderExtensionsToNegotiate?: (extensions: { uri: string }[]) => void;
}

/**
 * Offers the extensions that simulcast needs. Chromium leaves out of later offers what the last answer did not take, such as that to
 * a section which has stopped sending, and then refuses its own offer.
 */
function offerStreamIds(transceiver: RTCRtpTransceiver): void {
  const control = transceiver as ExtensionControl;
  const extensions = control.getHeaderExtensionsToNegotiate?.() ?? [];
  if (extensions.length === 0) return;
  for (const one of extensions) if (one.uri.endsWith('rtp-stream-id')) one.direction = 'sendrecv';
  control.setHeaderExtensionsToNegotiate?.(extensions);
}

/** Whether a section that sent before can send this: its streams and their names cannot change. */
function fits(section: TransceiverSection, kind: MediaKind, encodings: readonly SendEncoding[]): boolean {
  if (section.kind !== kind) return false;
  const had = section.transceiver.sender.getParameters().encodings;
  const names = (all: readonly SendEncoding[]): string => all.map(({ rid = '' }) => rid).join();
  return had.length === Math.max(1, encodings.length) && names(had) === names(encodings);
}
