import { type CallOptions, abortable, throwIfAborted } from '../async.js';
import { Emitter } from '../emitter.js';
import { IonError, ionError } from '../errors.js';
import { receivableCodecs } from '../media/codecs.js';
import { type NegotiationHooks, PeerTransport } from '../peer/transport.js';
import type { Wanted } from '../peer/sections.js';
import { SignalClient, type TokenSource } from '../signal/client.js';
import { type RoomStats, StatsMeter } from '../stats.js';
import { Store } from '../store.js';
import type { Event, Joined, PublicationId, SubscriptionChange } from '../wire/signal.js';
import { decodeData, fromBase64 } from './data.js';
import type { FrameEncryption } from '../e2ee/encryption.js';
import type { RoomEvents } from './events.js';
import { type CannotDecode, FALLBACK_TOPIC, parseCannotDecode } from './fallback.js';
import { LocalParticipant } from './local.js';
import type { LocalPublication } from './publication.js';
import { Recovery, type RecoveryInput } from './recovery.js';
import { type RoomInput, type Told, find, findPublication, reduce } from './reduce.js';
import { RemotePublication } from './remote.js';
import { SlotTracks } from './slots.js';
import { NO_ROOM, type RoomSnapshot, type RoomStatus } from './snapshot.js';
import { StallWatch } from './stall.js';
import { Wishes } from './wishes.js';
import { VERSION } from '../version.js';

/**
 * What a {@link Room} is made with.
 */
export interface RoomOptions {
  /** Subscribe to what is published, as it comes. Default true. */
  readonly autoSubscribe?: boolean | undefined;
  /** Receive what attached elements show, in their size. Default true. */
  readonly adaptiveStream?: boolean | undefined;
  /** Stop encoding layers that nobody watches. Default true. */
  readonly dynacast?: boolean | undefined;
  /** End-to-end encryption of all media. */
  readonly encryption?: FrameEncryption | undefined;
  /** Instead of those that the server names. */
  readonly iceServers?: readonly RTCIceServer[] | undefined;
  /** Look at offers and answers, and may change them. */
  readonly hooks?: NegotiationHooks | undefined;
  /** Time between two `stats` events. Default 2000; 0 is none. */
  readonly statsIntervalMs?: number | undefined;
}

/**
 * Which room to join, and as whom.
 */
export interface ConnectOptions extends CallOptions {
  /** Asked for again when a room has to be joined anew. */
  readonly token?: TokenSource | undefined;
  /** Default: the one that the token names. */
  readonly room?: string | undefined;
  /** For guests of a development server. */
  readonly identity?: string | undefined;
  /** Display name. */
  readonly name?: string | undefined;
}

/**
 * A room: joins it, keeps the connection, and knows everything about it. State is in `getSnapshot()`, changes in `subscribe()` and
 * in events; `local` publishes, `publication(id)` governs what is received.
 */
export class Room extends Emitter<RoomEvents> {
  /** Ourselves. */
  readonly local: LocalParticipant;
  /** Calls a listener after each change, until the returned function is called. */
  readonly subscribe: (listener: () => void) => () => void;
  /** Everything that is known now, immutable: the same object until something changes. */
  readonly getSnapshot: () => RoomSnapshot;
  readonly #options: RoomOptions;
  readonly #store = new Store(NO_ROOM);
  readonly #remotes = new Map<PublicationId, RemotePublication>();
  readonly #recovery = new Recovery();
  readonly #wishes: Wishes;
  readonly #meter = new StatsMeter();
  readonly #listening = new AbortController();
  #client: SignalClient | undefined;
  #peer: PeerTransport | undefined;
  #peers = 0;
  #stallWatch: StallWatch | undefined;
  #joined: Joined | undefined;
  #subscriptions: readonly PublicationId[] = [];
  readonly #slots = new SlotTracks();
  #recoveryTimer: ReturnType<typeof setTimeout> | undefined;
  #statsTimer: ReturnType<typeof setInterval> | undefined;

  constructor(options: RoomOptions = {}) {
    super();
    this.#options = options;
    this.subscribe = this.#store.subscribe;
    this.getSnapshot = this.#store.getSnapshot;
    this.#wishes = new Wishes((changes) => {
      this.#tellWishes(changes);
    });
    this.local = this.#makeLocal();
  }

  /** Where the room stands. */
  get status(): RoomStatus {
    return this.getSnapshot().status;
  }

  /** The signalling session, for what this class does not cover; undefined before `connect`. */
  get signal(): SignalClient | undefined {
    return this.#client;
  }

  /** The media connection, likewise. Another one after a full reconnection. */
  get peer(): PeerTransport | undefined {
    return this.#peer;
  }

  /**
   * Joins, once for each `Room`. Resolves when the room is joined, or its lobby; media follows. Rejects with the server's reason.
   */
  async connect(url: string | URL, options: ConnectOptions = {}): Promise<RoomSnapshot> {
    const { signal, token, room, identity, name } = options;
    throwIfAborted(signal);
    if (this.#client !== undefined) throw new IonError('wrongState', 'This room was connected already: make another.');
    const client = new SignalClient({ url, token });
    this.#client = client;
    this.#listen(client);
    this.#reduce({ type: 'status', status: 'connecting' });
    const { autoSubscribe = true, statsIntervalMs = 2000 } = this.#options;
    const join = { autoSubscribe, client: `ion-sdk-js/${VERSION}`, ...defined({ room, identity, name }) };
    await client.join(join, { signal });
    // Whoever closes the page leaves the room, and does not keep a seat for a return.
    globalThis.addEventListener('pagehide', ({ persisted }) => { if (!persisted) void this.leave(); }, { signal: this.#listening.signal });
    if (statsIntervalMs > 0) {
      this.#statsTimer = setInterval(() => {
        this.getStats().then((stats) => { this.emit('stats', stats); }, () => undefined);
      }, statsIntervalMs);
    }
    return this.getSnapshot();
  }

  /** Leaves. The room cannot be used after it. */
  async leave(options: CallOptions = {}): Promise<void> {
    const left = this.#client?.leave(options);
    this.#end(undefined);
    await left;
  }

  /** Governs somebody else's publication; undefined where there is none. */
  publication(id: PublicationId): RemotePublication | undefined {
    return this.#remotes.get(id);
  }

  /** Whether to subscribe to what is published from now on. */
  async setAutoSubscribe(autoSubscribe: boolean, options: CallOptions = {}): Promise<void> {
    await this.#requireClient().request('subscribe', { autoSubscribe, changes: [] }, options);
  }

  /** Rates since the call before, or since the last `stats` event. */
  async getStats(options: CallOptions = {}): Promise<RoomStats> {
    const peer = this.#peer;
    if (peer === undefined) throw new IonError('wrongState', 'There is no connection.');
    const { tracks, ...rest } = this.#meter.update(await abortable(peer.pc.getStats(), options.signal));
    const publicationOf = (mid: string): string => {
      const carried = peer.carriedBy(mid) ?? '';
      return this.local.publications.find(({ cid }) => cid === carried)?.id ?? carried;
    };
    return { ...rest, tracks: tracks.map((one) => ({ ...one, publication: publicationOf(one.mid) })) };
  }

  #listen(client: SignalClient): void {
    client.on('joined', (joined, again) => {
      this.#onJoined(joined, again);
    });
    client.on('event', (event) => {
      this.#onEvent(event);
    });
    client.on('state', (state) => {
      this.#recover({ type: 'signal', open: state === 'open' });
    });
    client.on('ended', (error) => {
      this.#end(error.reason === 'closed' || error.reason === 'left' ? undefined : error);
    });
  }

  #onJoined(joined: Joined, again: boolean): void {
    this.#joined = joined;
    this.#subscriptions = joined.snapshot.subscriptions.map((one) => one.publication);
    this.#reduce({ type: 'joined', snapshot: joined.snapshot });
    if (again) {
      this.#wishes.again();
      this.#dropPeer();
      this.#recover({ type: 'lost' });
    } else this.#beginMedia();
  }

  #onEvent(event: Event): void {
    if (event.type === 'room') this.#subscriptions = event.snapshot.subscriptions.map((one) => one.publication);
    if (event.type === 'subscriptions') this.#subscriptions = event.subscriptions.map((one) => one.publication);
    this.#reduce(event);
    switch (event.type) {
      case 'room':
        this.#beginMedia();
        this.#showSlots();
        this.#receive();
        this.#showStatus();
        break;
      case 'subscriptions':
        this.#showSlots();
        this.#receive();
        break;
      case 'audioSlots':
      case 'published':
        this.#showSlots();
        break;
      case 'publicationUpdated':
        // A moderator has muted us.
        if (event.publication.muted) this.#quietly(this.#localById(event.publication.id)?.pause());
        break;
      case 'layersWatched':
        if (this.#options.dynacast !== false) this.#quietly(this.#localById(event.publication)?.watched(event.watched));
        break;
      case 'dataReceived':
        this.#onData(fromBase64(event.payload), event.topic, event.from);
        break;
      case 'transportChanged':
        if (event.transport.peer === this.#peer?.peer && event.transport.state === 'lost') this.#recover({ type: 'lost' });
        break;
      default:
        break;
    }
  }

  #onData(payload: Uint8Array, topic: string, from: string | undefined): void {
    if (topic === FALLBACK_TOPIC) {
      const message = parseCannotDecode(payload);
      if (message !== undefined) this.#quietly(this.local.fallBack(message.publication, message.can));
      return;
    }
    const sender = from === undefined ? undefined : find(this.getSnapshot(), from);
    this.emit('data', { payload, topic, from: sender });
  }

  #localById(id: PublicationId): LocalPublication | undefined {
    return this.local.publications.find((one) => one.id === id);
  }

  /** Makes a connection where there is none and there may be one. */
  #beginMedia(): void {
    if (this.#peer === undefined && this.getSnapshot().local?.state !== 'lobby') this.#connectPeer();
  }

  #connectPeer(): void {
    this.#dropPeer();
    this.#peers += 1;
    const { encryption, iceServers = this.#joined?.iceServers, hooks } = this.#options;
    const client = this.#requireClient();
    const peer = new PeerTransport({
      peer: `p${this.#peers}`,
      iceServers,
      hooks,
      encodedStreams: encryption?.encodedStreams,
      exchange: (offer, options) => client.request('offer', offer, options),
    });
    this.#peer = peer;
    this.#stallWatch = new StallWatch((afterMs) => peer.newestPacketMs(afterMs), (stalled) => { this.#recover({ type: 'stalled', stalled }); });
    this.#listenTo(peer);
    this.#recover({ type: 'media', state: 'connecting' });
    this.local.moveTo(peer);
    void peer.receive(this.#wanted()).catch(() => undefined);
    this.#quietly(peer.negotiate().then(() => this.local.begin()));
  }

  #listenTo(peer: PeerTransport): void {
    const { encryption } = this.#options;
    peer.on('state', (state) => {
      this.#recover({ type: 'media', state });
    });
    peer.on('sending', (_cid, { sender }) => encryption?.encrypt(sender));
    peer.on('published', (info) => {
      const track = this.local.publications.find(({ cid }) => cid === info.cid)?.track;
      this.#reduce({ type: 'localPublished', publication: info, track });
      this.local.published(info);
    });
    peer.on('refused', (cid, problem) => {
      this.local.refused(cid, problem);
    });
    peer.on('assigned', (id, { receiver }) => {
      encryption?.decrypt(receiver, findPublication(this.getSnapshot(), id)?.[0].encrypted === true);
    });
    peer.on('receiving', (id, { receiver }) => {
      this.#received(id, receiver.track);
    });
    peer.on('stopped', (id) => {
      this.#received(id, undefined);
    });
    peer.on('declined', (id, problem) => {
      const found = findPublication(this.getSnapshot(), id);
      if (found === undefined) return;
      this.emit('subscriptionFailed', found[0], new IonError(problem.reason, problem.detail));
      // If it is for want of the codec, the publisher may have another.
      const message = JSON.stringify({ publication: id, can: receivableCodecs() } satisfies CannotDecode);
      if (found[0].kind === 'video') this.#quietly(this.local.sendData(message, { topic: FALLBACK_TOPIC, to: [found[1].identity] }));
    });
    peer.on('data', (bytes) => {
      const message = decodeData(bytes);
      if (message !== undefined) this.#onData(message.payload, message.header.topic, message.header.from);
    });
  }

  #dropPeer(): void {
    const peer = this.#peer;
    this.#peer = undefined;
    this.#stallWatch?.close();
    peer?.close();
    this.#slots.clear();
    for (const id of this.#remotes.keys()) this.#trackIs(id, undefined);
  }

  #receive(): void {
    if (this.#peer !== undefined) this.#quietly(this.#peer.receive(this.#wanted()));
  }

  #wanted(): Wanted[] {
    return this.#subscriptions.flatMap((publication) => {
      const isSlot = this.getSnapshot().audioSlots.some((slot) => slot.publication === publication);
      const kind = isSlot ? 'audio' : findPublication(this.getSnapshot(), publication)?.[0].kind;
      return kind === undefined ? [] : [{ publication, kind }];
    });
  }

  /** What a publication, or an audio slot, is received as. */
  #received(id: PublicationId, track: MediaStreamTrack | undefined): void {
    if (this.getSnapshot().audioSlots.some((slot) => slot.publication === id)) {
      this.#slots.set(id, track);
      this.#showSlots();
    } else this.#trackIs(id, track);
  }

  /** Gives the publications that have an audio slot its track, and takes it from those that have none any more. */
  #showSlots(): void {
    const { audioSlots } = this.getSnapshot();
    const heard = (id: PublicationId): boolean => {
      const one = findPublication(this.getSnapshot(), id)?.[0];
      return one !== undefined && !one.local && !one.subscribed;
    };
    for (const [id, track] of this.#slots.moves(audioSlots, heard)) this.#trackIs(id, track);
  }

  #trackIs(id: PublicationId, track: MediaStreamTrack | undefined): void {
    this.#reduce({ type: 'track', publication: id, track });
    this.#remotes.get(id)?.trackChanged(track);
  }

  #tellWishes(changes: SubscriptionChange[]): void {
    if (this.#joined !== undefined && this.status !== 'closed') {
      this.#quietly(this.#requireClient().request('subscribe', { changes }));
    }
  }

  #recover(input: RecoveryInput): void {
    if (this.#client === undefined || this.status === 'closed') return;
    const effects = this.#recovery.handle(input, performance.now());
    clearTimeout(this.#recoveryTimer);
    const { timerMs } = this.#recovery;
    if (timerMs !== Infinity) {
      this.#recoveryTimer = setTimeout(() => { this.#recover({ type: 'timer' }); }, Math.max(0, timerMs - performance.now()));
    }
    for (const effect of effects) {
      switch (effect.type) {
        case 'probe':
          this.#client.probe();
          this.#quietly(this.#client.request('ping', { at: 0 }).then(() => { this.#recover({ type: 'signal', open: true }); }));
          break;
        case 'restartIce':
          if (this.#peer !== undefined) this.#quietly(this.#peer.restartIce());
          break;
        case 'newConnection':
          this.#connectPeer();
          break;
        case 'giveUp':
          this.#end(new IonError('media', 'The server can be reached, but media does not get through.'));
          break;
      }
    }
    this.#showStatus();
  }

  #showStatus(): void {
    const { status, local } = this.getSnapshot();
    if (local === undefined || status === 'closed') return;
    if (!this.#recovery.healthy) {
      if (status !== 'connecting') this.#reduce({ type: 'status', status: 'reconnecting' });
    } else this.#reduce({ type: 'status', status: local.state === 'lobby' ? 'lobby' : 'connected' });
  }

  #end(error: IonError | undefined): void {
    if (this.status === 'closed') return;
    this.#listening.abort();
    clearTimeout(this.#recoveryTimer);
    clearInterval(this.#statsTimer);
    this.#wishes.close();
    this.local.end(error);
    this.#dropPeer();
    this.#reduce({ type: 'status', status: 'closed', error });
    if (error !== undefined) this.#client?.close();
    for (const one of this.#remotes.values()) one.close();
    this.#remotes.clear();
  }

  /** Takes a step in the room's state, then tells of it. */
  #reduce(input: RoomInput): void {
    const { snapshot, told } = reduce(this.getSnapshot(), input);
    this.#store.set(snapshot);
    // Handles are there before anybody hears of their publications, and until all have heard that they are gone.
    for (const [name, subject] of told) {
      if (name === 'published' && !subject.local && !this.#remotes.has(subject.id)) this.#remotes.set(subject.id, this.#makeRemote(subject.id));
    }
    for (const one of told) this.#tell(one);
    for (const [name, subject] of told) {
      if (name !== 'unpublished' || findPublication(snapshot, subject.id) !== undefined) continue;
      this.#remotes.get(subject.id)?.close();
      this.#remotes.delete(subject.id);
      this.#wishes.forget(subject.id);
    }
  }

  #tell([name, ...args]: Told): void {
    this.emit(name, ...args);
  }

  /** Errors of what nobody waits for become events; those of an ended connection or session are told otherwise. */
  #quietly(task: Promise<unknown> | undefined): void {
    task?.catch((error: unknown) => {
      const reason = ionError(error);
      if (reason.reason !== 'closed' && reason.reason !== 'noSuchSession') this.emit('error', reason);
    });
  }

  #requireClient(): SignalClient {
    if (this.#client === undefined) throw new IonError('wrongState', 'Connect the room first.');
    return this.#client;
  }

  #makeRemote(id: PublicationId): RemotePublication {
    return new RemotePublication(id, {
      adaptiveStream: this.#options.adaptiveStream !== false && typeof document !== 'undefined',
      snapshot: (of) => findPublication(this.getSnapshot(), of)?.[0],
      wish: (of, wish) => {
        this.#wishes.set(of, wish);
      },
      receiver: (of) => this.#peer?.receiver(of)?.receiver,
      arrived: (of, { signal }) => {
        const done = new AbortController();
        const arrival = new Promise<MediaStreamTrack>((resolve, reject) => {
          this.on('trackSubscribed', (track, one) => { if (one.id === of) resolve(track); }, done);
          this.on('subscriptionFailed', (one, error) => { if (one.id === of) reject(error); }, done);
          this.on('closed', (error) => { reject(error ?? new IonError('closed', 'The room was left.')); }, done);
        });
        return abortable(arrival, signal).finally(() => { done.abort(); });
      },
    });
  }

  #makeLocal(): LocalParticipant {
    const peer = (): PeerTransport | undefined => this.#peer;
    const snapshot = this.getSnapshot;
    const encrypted = this.#options.encryption !== undefined;
    return new LocalParticipant({
      get peer() {
        return peer();
      },
      get dataChannels() {
        return snapshot().transport?.dataChannels !== false;
      },
      encrypted,
      client: () => this.#requireClient(),
      snapshot: () => snapshot().local,
      trackChanged: ({ id, track, paused }) => {
        if (id !== undefined) this.#reduce({ type: 'track', publication: id, track: paused && track.readyState === 'ended' ? undefined : track });
      },
      failed: (error) => {
        this.emit('error', error);
      },
    });
  }
}

/** The members that have a value. */
function defined(all: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}
