import { type CallOptions, abortable, throwIfAborted } from '../async.js';
import { IonError, ionError } from '../errors.js';
import { type CameraConstraints, type ScreenConstraints, captureCamera, captureMicrophone, captureScreen } from '../media/capture.js';
import type { VideoCodec } from '../media/codecs.js';
import type { PeerTransport } from '../peer/transport.js';
import type { SignalClient } from '../signal/client.js';
import type { Problem, PublicationId, PublicationInfo, UpdateSelf } from '../wire/signal.js';
import { encodeData, toBase64 } from './data.js';
import { LocalPublication, type PublicationHost, type PublishOptions } from './publication.js';
import type { ParticipantSnapshot } from './snapshot.js';

/**
 * How to send data.
 */
export interface DataOptions extends CallOptions {
  /** For the app, to tell its messages apart. */
  readonly topic?: string | undefined;
  /** Identities; without a word everybody in the room. */
  readonly to?: readonly string[] | undefined;
  /** May be lost and overtaken, and so never waits: for cursors and the like. */
  readonly lossy?: boolean | undefined;
}

/** What the local participant needs of its room. @internal */
export interface LocalHost {
  readonly peer: PeerTransport | undefined;
  readonly encrypted: boolean;
  /** Whether the server takes data channels of ours now. */
  readonly dataChannels: boolean;
  client(): SignalClient;
  snapshot(): ParticipantSnapshot | undefined;
  trackChanged(publication: LocalPublication): void;
  failed(error: IonError): void;
}

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: IonError) => void;
}

/**
 * Ourselves in a room: publishes, sends data, changes what others see of us.
 */
export class LocalParticipant {
  readonly #host: LocalHost;
  readonly #publications = new Map<string, LocalPublication>();
  readonly #waiting = new Map<string, Waiting>();
  readonly #publicationHost: PublicationHost;

  /** For the room. @internal */
  constructor(host: LocalHost) {
    this.#host = host;
    this.#publicationHost = {
      sender: (cid) => host.peer?.sender(cid)?.sender,
      update: (change, options) => host.client().request('updatePublication', change, options),
      unpublish: (publication, options) => this.#unpublish(publication, options),
      trackChanged: (publication) => {
        host.trackChanged(publication);
      },
      failed: (error) => {
        host.failed(error);
      },
    };
  }

  /** How others see us; undefined before the room was joined. */
  get snapshot(): ParticipantSnapshot | undefined {
    return this.#host.snapshot();
  }

  /** What we publish, in order. */
  get publications(): readonly LocalPublication[] {
    return [...this.#publications.values()];
  }

  /** What we publish of a source: the first, if several. */
  publication(source: LocalPublication['source']): LocalPublication | undefined {
    return this.publications.find((one) => one.source === source);
  }

  /**
   * Publishes a track. Resolves when the server has taken it (in the lobby: once admitted); several calls at once share one
   * negotiation. The track stays the caller's: `unpublish` does not stop it.
   */
  async publish(track: MediaStreamTrack, options: PublishOptions = {}): Promise<LocalPublication> {
    throwIfAborted(options.signal);
    if (this.snapshot === undefined) throw new IonError('wrongState', 'Join the room first.');
    const publication = new LocalPublication(this.#publicationHost, crypto.randomUUID(), track, options);
    const { cid } = publication;
    const send = publication.toSend(this.#host.encrypted);
    this.#publications.set(cid, publication);
    const taken = new Promise<void>((resolve, reject) => this.#waiting.set(cid, { resolve, reject }));
    try {
      // Without a connection the next one takes it; likewise when a negotiation fails because its connection ends.
      const { peer } = this.#host;
      peer?.send(send);
      peer?.negotiate().catch((error: unknown) => {
        const reason = ionError(error);
        if (reason.reason !== 'closed' && reason.reason !== 'noSuchSession') this.#waiting.get(cid)?.reject(reason);
      });
      await abortable(taken, options.signal);
      await publication.begin();
      return publication;
    } catch (error) {
      const reason = ionError(error);
      this.#forget(publication, reason);
      throw reason;
    } finally {
      this.#waiting.delete(cid);
    }
  }

  /** Opens the camera and publishes it. */
  async publishCamera(
    constraints: CameraConstraints = {},
    options: Omit<PublishOptions, 'source' | 'capture' | 'audio'> = {},
  ): Promise<LocalPublication> {
    const capture: PublishOptions['capture'] = (other, call) => captureCamera({ ...constraints, ...other }, call);
    return this.#captured(await capture(undefined, options), { ...options, source: 'camera', capture });
  }

  /** Opens the microphone and publishes it. */
  async publishMicrophone(
    constraints: MediaTrackConstraints = {},
    options: Omit<PublishOptions, 'source' | 'capture' | 'video'> = {},
  ): Promise<LocalPublication> {
    const capture: PublishOptions['capture'] = (other, call) => captureMicrophone({ ...constraints, ...other }, call);
    return this.#captured(await capture(undefined, options), { ...options, source: 'microphone', capture });
  }

  /** Lets the user choose a screen and publishes it, with its sound where there is any. The first is the picture. */
  async publishScreen(
    constraints: ScreenConstraints = {},
    options: Omit<PublishOptions, 'source' | 'capture'> = {},
  ): Promise<LocalPublication[]> {
    const tracks = await captureScreen(constraints, options);
    const published = tracks.map((track) => {
      const source = track.kind === 'video' ? 'screen_share' : 'screen_share_audio';
      return this.#captured(track, { ...options, source, capture: track.kind === 'video' ? again : never });
    });
    return Promise.all(published);
  }

  /** Sends bytes, or text as UTF-8, to others. Resolves when they are on their way. */
  async sendData(payload: Uint8Array | string, options: DataOptions = {}): Promise<void> {
    const { topic = '', to, lossy = false, signal } = options;
    throwIfAborted(signal);
    const bytes = typeof payload === 'string' ? new TextEncoder().encode(payload) : payload;
    const channel = lossy ? 'lossy' : 'reliable';
    const { peer, dataChannels } = this.#host;
    if (dataChannels && peer?.sendData(channel, encodeData(to === undefined ? { topic } : { topic, to }, bytes)) === true) return;
    const request = { topic, payload: toBase64(bytes), lossy, ...(to === undefined ? {} : { to: [...to] }) };
    await this.#host.client().request('data', request, { signal });
  }

  /** Changes what others see of us; needs `canUpdateOwnMetadata`. An attribute with an empty value is removed. */
  async update(change: UpdateSelf, options: CallOptions = {}): Promise<void> {
    await this.#host.client().request('updateSelf', change, options);
  }

  /** Somebody can decode no other codecs than these: sends what all can, in place of what was sent. @internal */
  async fallBack(id: PublicationId, can: readonly VideoCodec[]): Promise<void> {
    const publication = this.publications.find((one) => one.id === id);
    const codec = publication?.fallback(can);
    if (publication === undefined || codec === undefined) return;
    const { peer } = this.#host;
    peer?.unsend(publication.cid);
    this.#publications.delete(publication.cid);
    publication.recode(crypto.randomUUID(), codec);
    this.#publications.set(publication.cid, publication);
    await this.#host.client().request('unpublish', { publication: id });
    if (publication.ended) return;
    peer?.send(publication.toSend(this.#host.encrypted));
    await peer?.negotiate();
    await publication.begin();
  }

  /** The server has taken a track. @internal */
  published(info: PublicationInfo): void {
    const publication = this.#publications.get(info.cid ?? '');
    publication?.published(info);
    if (publication !== undefined) this.#waiting.get(publication.cid)?.resolve();
  }

  /** The server does not take a track. @internal */
  refused(cid: string, problem: Problem): void {
    const publication = this.#publications.get(cid);
    if (publication === undefined) return;
    const error = new IonError(problem.reason, problem.detail, { retryAfterMs: problem.retryAfterMs });
    const waiting = this.#waiting.get(cid);
    if (waiting === undefined) this.#forget(publication, error);
    else waiting.reject(error);
  }

  /** Gives everything to a new connection; the room negotiates. @internal */
  moveTo(peer: PeerTransport): void {
    for (const publication of this.#publications.values()) peer.send(publication.toSend(this.#host.encrypted));
  }

  /** A new connection is up. @internal */
  async begin(): Promise<void> {
    for (const publication of this.#publications.values()) await publication.begin();
  }

  /** The room is over. @internal */
  end(error: IonError | undefined): void {
    const reason = error ?? new IonError('closed', 'The room was left.');
    for (const { reject } of this.#waiting.values()) reject(reason);
    for (const publication of this.#publications.values()) publication.end(error);
    this.#publications.clear();
  }

  async #captured(track: MediaStreamTrack, options: PublishOptions): Promise<LocalPublication> {
    try {
      return await this.publish(track, options);
    } catch (error) {
      track.stop();
      throw error;
    }
  }

  async #unpublish(publication: LocalPublication, options: CallOptions): Promise<void> {
    if (publication.ended) return;
    const { id } = publication;
    this.#forget(publication, undefined);
    if (id !== undefined) await this.#host.client().request('unpublish', { publication: id }, options);
    await this.#host.peer?.negotiate(options);
  }

  #forget(publication: LocalPublication, error: IonError | undefined): void {
    this.#publications.delete(publication.cid);
    this.#host.peer?.unsend(publication.cid);
    publication.end(error);
  }
}

/** The sound of a screen comes with its picture or not at all. */
function never(): Promise<MediaStreamTrack> {
  return Promise.reject(new IonError('unsupported', 'The sound of a screen cannot be captured again.'));
}

/** Asks the user again. */
async function again(constraints: MediaTrackConstraints | undefined, options: CallOptions): Promise<MediaStreamTrack> {
  const [track] = await captureScreen({ audio: false, ...(constraints === undefined ? {} : { video: constraints }) }, options);
  if (track === undefined) throw new IonError('device', 'The browser gave no track.');
  return track;
}
