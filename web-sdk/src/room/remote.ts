import { type CallOptions, abortable } from '../async.js';
import { IonError } from '../errors.js';
import type { PublicationId, SubscriptionBounds } from '../wire/signal.js';
import { type ManualBounds, type Shown, type VideoQuality, boundsOf } from './bounds.js';
import type { PublicationSnapshot } from './snapshot.js';
import { ElementWatch } from './watch.js';

/** What a remote publication needs of its room. @internal */
export interface RemoteHost {
  readonly adaptiveStream: boolean;
  snapshot(id: PublicationId): PublicationSnapshot | undefined;
  wish(id: PublicationId, wish: { subscribed?: boolean; bounds?: SubscriptionBounds }): void;
  receiver(id: PublicationId): RTCRtpReceiver | undefined;
  /** The next time that a track for it is there. */
  arrived(id: PublicationId, options: CallOptions): Promise<MediaStreamTrack>;
}

/**
 * Somebody else's publication: whether and how much of it to receive, and where it is shown. The same object for as long as the
 * publication lives.
 */
export class RemotePublication {
  readonly id: PublicationId;
  readonly #host: RemoteHost;
  readonly #elements = new Set<HTMLMediaElement>();
  readonly #watch: ElementWatch | undefined;
  #manual: ManualBounds = {};
  #shown: Shown | undefined;

  /** For the room. @internal */
  constructor(id: PublicationId, host: RemoteHost) {
    this.id = id;
    this.#host = host;
    if (host.adaptiveStream && this.snapshot?.kind === 'video') {
      this.#watch = new ElementWatch((shown) => {
        this.#shown = shown;
        this.#apply();
      });
    }
  }

  /** How it is now; undefined when it is gone. */
  get snapshot(): PublicationSnapshot | undefined {
    return this.#host.snapshot(this.id);
  }

  /** What to show or play; undefined while nothing is received. */
  get track(): MediaStreamTrack | undefined {
    return this.snapshot?.track;
  }

  /** Whether to receive it at all. Resolves when that is so: with subscribing, when there is a track. */
  async setSubscribed(subscribed: boolean, options: CallOptions = {}): Promise<void> {
    this.#host.wish(this.id, { subscribed });
    if (subscribed && this.track === undefined) await this.#host.arrived(this.id, options);
  }

  /** Receives nothing for now; quicker to undo than a subscription. */
  setPaused(paused: boolean): void {
    this.#set({ ...this.#manual, paused });
  }

  /** Receives this layer at most. */
  setQuality(quality: VideoQuality): void {
    this.#set({ ...this.#manual, quality });
  }

  /** The size at which it is shown, in device pixels, where no attached element tells; undefined takes it back. */
  setDimensions(size: { readonly width: number; readonly height: number } | undefined): void {
    const width = size === undefined ? undefined : Math.round(size.width);
    const height = size === undefined ? undefined : Math.round(size.height);
    this.#set({ ...this.#manual, width, height });
  }

  /** What goes first when there is not room for all: 0 to 255, 128 without a word. */
  setPriority(priority: number): void {
    this.#set({ ...this.#manual, priority });
  }

  /** Highest temporal layer, from 0; undefined for all. */
  setMaxTemporal(layer: number | undefined): void {
    this.#set({ ...this.#manual, maxTemporal: layer });
  }

  /**
   * Shows or plays it in an element, now and whenever its track changes, until the returned function is called. With adaptive
   * streams the element's size and visibility decide how much is received.
   */
  attach(element: HTMLMediaElement): () => void {
    this.#elements.add(element);
    this.#watch?.add(element);
    show(element, this.track);
    return () => {
      if (!this.#elements.delete(element)) return;
      this.#watch?.delete(element);
      show(element, undefined);
    };
  }

  /** The browser's statistics of what is received. */
  async getStats(options: CallOptions = {}): Promise<RTCStatsReport | undefined> {
    const report = this.#host.receiver(this.id)?.getStats();
    return report === undefined ? undefined : abortable(report, options.signal);
  }

  /** The track is another, or none. @internal */
  trackChanged(track: MediaStreamTrack | undefined): void {
    for (const element of this.#elements) show(element, track);
  }

  /** It is gone. @internal */
  close(): void {
    this.#watch?.close();
    for (const element of this.#elements) show(element, undefined);
    this.#elements.clear();
  }

  #set(manual: ManualBounds): void {
    if (this.snapshot === undefined) throw new IonError('notFound', 'This publication is gone.');
    this.#manual = manual;
    this.#apply();
  }

  #apply(): void {
    this.#host.wish(this.id, { bounds: boundsOf(this.#manual, this.#shown) });
  }
}

/** Puts a track into an element, or takes it out; leaves an element alone that shows it already. */
function show(element: HTMLMediaElement, track: MediaStreamTrack | undefined): void {
  const { srcObject } = element;
  const now = srcObject instanceof MediaStream ? srcObject.getTracks() : [];
  if (track === undefined ? srcObject === null : now.length === 1 && now[0] === track) return;
  element.srcObject = track === undefined ? null : new MediaStream([track]);
  if (track !== undefined && element.autoplay) void element.play().catch(() => undefined);
}
