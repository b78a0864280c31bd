import { type CallOptions, Serial } from '../async.js';
import { Emitter } from '../emitter.js';
import { IonError, ionError } from '../errors.js';
import type { AudioOptions, SendEncoding, VideoCodec, VideoOptions } from '../media/codecs.js';
import type { SendTrack } from '../peer/transport.js';
import type { PublicationId, PublicationInfo, Source, UpdatePublication } from '../wire/signal.js';
import { sendTrackOf } from './encode.js';
import { fallbackFor } from './fallback.js';

/**
 * How to publish a track.
 */
export interface PublishOptions extends CallOptions {
  /** Where it comes from. Default `other`. */
  readonly source?: Source | undefined;
  /** A name for it. */
  readonly name?: string | undefined;
  /** Tracks with the same stream play in sync. Default: camera with microphone, screen with its sound. */
  readonly stream?: string | undefined;
  readonly video?: VideoOptions | undefined;
  readonly audio?: AudioOptions | undefined;
  /** Opens the device again with other constraints: for `restart`, and for `resume` where `pause` let go of it. */
  readonly capture?: ((constraints: MediaTrackConstraints | undefined, options: CallOptions) => Promise<MediaStreamTrack>) | undefined;
  /** Let go of the device while paused, so that its light goes out; needs `capture`. Default true for cameras. */
  readonly releaseOnPause?: boolean | undefined;
}

/**
 * Events of a {@link LocalPublication}.
 */
export interface LocalPublicationEvents {
  paused: [];
  resumed: [];
  /** Another track is sent: by `replaceTrack`, `restart` or `resume`. */
  restarted: [track: MediaStreamTrack];
  /** It was part of another offer and answer. */
  renegotiated: [publication: PublicationInfo];
  /** Which layers are encoded has changed, as nobody watches the others; lowest first. */
  layers: [active: readonly boolean[]];
  /** It is not published any more; with an error unless `unpublish` was called. */
  ended: [error: IonError | undefined];
}

/** What a publication needs of its room. @internal */
export interface PublicationHost {
  /** The sender of the present connection. */
  sender(cid: string): RTCRtpSender | undefined;
  update(change: UpdatePublication, options: CallOptions): Promise<void>;
  unpublish(publication: LocalPublication, options: CallOptions): Promise<void>;
  trackChanged(publication: LocalPublication): void;
  failed(error: IonError): void;
}

/**
 * A track that we publish. Stays the same object, whatever becomes of connections.
 */
export class LocalPublication extends Emitter<LocalPublicationEvents> {
  readonly source: Source;
  readonly kind: 'audio' | 'video';
  readonly #host: PublicationHost;
  #options: PublishOptions;
  readonly #serial = new Serial();
  #track: MediaStreamTrack;
  #cid: string;
  #id: PublicationId | undefined;
  #paused = false;
  #ended = false;
  /** Which layers the server wants; undefined: all. */
  #watched: readonly boolean[] | undefined;
  readonly #onEnded = (): void => {
    // The user stopped sharing, or the device was taken away.
    this.#host.unpublish(this, {}).catch((error: unknown) => {
      this.#host.failed(ionError(error));
    });
  };

  /** For the room. @internal */
  constructor(host: PublicationHost, cid: string, track: MediaStreamTrack, options: PublishOptions) {
    super();
    this.#host = host;
    this.#options = options;
    this.#track = track;
    this.#cid = cid;
    this.source = options.source ?? 'other';
    this.kind = track.kind === 'audio' ? 'audio' : 'video';
    track.addEventListener('ended', this.#onEnded);
  }

  /** Our own id of it. Another one after a change of codec. */
  get cid(): string {
    return this.#cid;
  }

  /** The server's id of it; undefined until published. Another one after a full reconnection, or a change of codec. */
  get id(): PublicationId | undefined {
    return this.#id;
  }

  /** What is sent, or was before it was paused. */
  get track(): MediaStreamTrack {
    return this.#track;
  }

  /** Others see it as `muted`. */
  get paused(): boolean {
    return this.#paused;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Sends nothing until `resume`; the publication stays. */
  pause(options: CallOptions = {}): Promise<void> {
    return this.#serial.run(async () => {
      if (this.#paused || this.#ended) return;
      this.#paused = true;
      const sender = this.#host.sender(this.cid);
      if (this.kind === 'audio') this.#track.enabled = false;
      else await sender?.replaceTrack(null);
      if (this.#releases) {
        this.#track.removeEventListener('ended', this.#onEnded);
        this.#track.stop();
      }
      this.#host.trackChanged(this);
      this.emit('paused');
      await this.#tell({ muted: true }, options);
    });
  }

  /** Sends again. */
  resume(options: CallOptions = {}): Promise<void> {
    return this.#serial.run(async () => {
      if (!this.#paused || this.#ended) return;
      if (this.#track.readyState === 'ended' && this.#options.capture !== undefined) {
        this.#adopt(await this.#options.capture(undefined, options));
      }
      this.#paused = false;
      this.#track.enabled = true;
      await this.#host.sender(this.cid)?.replaceTrack(this.#track);
      this.#host.trackChanged(this);
      this.emit('resumed');
      await this.#tell({ muted: false }, options);
    });
  }

  /** Opens the device anew, for example another camera: `restart({ deviceId })`. Needs `capture`; SDK-captured tracks have it. */
  async restart(constraints?: MediaTrackConstraints, options: CallOptions = {}): Promise<void> {
    const { capture } = this.#options;
    if (capture === undefined) throw new IonError('unsupported', 'This track was not captured by the SDK: use replaceTrack.');
    await this.#serial.run(async () => {
      // Some devices open once only.
      this.#track.removeEventListener('ended', this.#onEnded);
      this.#track.stop();
      await this.#replace(await capture(constraints, options));
    });
  }

  /** Sends another track of the same kind from now on. The former one is the caller's to stop. */
  replaceTrack(track: MediaStreamTrack): Promise<void> {
    return this.#serial.run(() => this.#replace(track));
  }

  /** Stops publishing, and stops the track where the SDK captured it. */
  unpublish(options: CallOptions = {}): Promise<void> {
    return this.#host.unpublish(this, options);
  }

  /** The browser's statistics of what is sent. */
  async getStats(): Promise<RTCStatsReport | undefined> {
    return this.#host.sender(this.cid)?.getStats();
  }

  /** The codec to send for viewers who can receive these only; undefined to stay. @internal */
  fallback(can: readonly VideoCodec[]): VideoCodec | undefined {
    const { codec = 'vp8', backupCodec = 'vp8' } = this.#options.video ?? {};
    return this.kind === 'video' ? fallbackFor(codec, backupCodec, can) : undefined;
  }

  /** Becomes another publication of the same track, in another codec. @internal */
  recode(cid: string, codec: VideoCodec): void {
    this.#cid = cid;
    this.#id = undefined;
    this.#watched = undefined;
    this.#options = { ...this.#options, video: { ...this.#options.video, codec, scalabilityMode: undefined } };
  }

  /** What to tell browser and server of it, for an offer. @internal */
  toSend(encrypted: boolean): SendTrack {
    return sendTrackOf(this.cid, this.#track, this.#options, { encrypted, muted: this.#paused });
  }

  /** After `toSend` was given to a connection: what a fresh sender does not know. @internal */
  async begin(): Promise<void> {
    if (this.#paused && this.kind === 'video') await this.#host.sender(this.cid)?.replaceTrack(null);
    await this.#applyLayers();
  }

  /** The server has it. @internal */
  published(info: PublicationInfo): void {
    this.#id = info.id;
    this.emit('renegotiated', info);
  }

  /** Layers that somebody watches. @internal */
  async watched(watched: readonly boolean[]): Promise<void> {
    this.#watched = watched;
    await this.#applyLayers();
  }

  /** It is over. @internal */
  end(error: IonError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#track.removeEventListener('ended', this.#onEnded);
    if (this.#options.capture !== undefined) this.#track.stop();
    this.emit('ended', error);
    this.removeAllListeners();
  }

  get #releases(): boolean {
    const { capture, releaseOnPause = this.source === 'camera' } = this.#options;
    return capture !== undefined && releaseOnPause;
  }

  async #replace(track: MediaStreamTrack): Promise<void> {
    if (track.kind !== this.kind) throw new IonError('badMessage', `A ${this.kind} track cannot become ${track.kind}.`);
    this.#adopt(track);
    if (this.kind === 'audio') track.enabled = !this.#paused;
    if (!this.#paused || this.kind === 'audio') await this.#host.sender(this.cid)?.replaceTrack(track);
    this.#host.trackChanged(this);
  }

  #adopt(track: MediaStreamTrack): void {
    this.#track.removeEventListener('ended', this.#onEnded);
    if (track.contentHint === '') track.contentHint = this.#track.contentHint;
    this.#track = track;
    track.addEventListener('ended', this.#onEnded);
    this.emit('restarted', track);
  }

  async #tell(change: Omit<UpdatePublication, 'publication'>, options: CallOptions): Promise<void> {
    // Before it is published, the offer says it.
    if (this.#id !== undefined) await this.#host.update({ publication: this.#id, ...change }, options);
  }

  /** Encodes what somebody watches, and nothing else. */
  async #applyLayers(): Promise<void> {
    const sender = this.#host.sender(this.cid);
    if (sender === undefined || this.#watched === undefined || this.kind !== 'video') return;
    const parameters = sender.getParameters();
    const encodings: SendEncoding[] = parameters.encodings;
    const active = encodings.map((_, at) => this.#watched?.[at] ?? true);
    if (encodings.every((one, at) => one.active === active[at])) return;
    encodings.forEach((one, at) => (one.active = active[at] ?? true));
    await sender.setParameters(parameters);
    this.emit('layers', active);
  }
}
