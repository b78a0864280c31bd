import { Emitter } from '../emitter.js';
import { IonError } from '../errors.js';
import type { FrameEncryption } from './encryption.js';
import { KEY_SLOTS, materialOf } from './frames.js';
import type { EncodedFrame, FromWorker, ToWorker, TransformSettings } from './messages.js';

/**
 * Events of {@link E2ee}.
 */
export interface E2eeEvents {
  /** Frames could not be encrypted or decrypted, for want of the key; told once a second at most. */
  error: [error: IonError];
}

/** What older Chromium has. */
interface EncodedStreams {
  createEncodedStreams?: () => {
    readonly readable: ReadableStream<EncodedFrame>;
    readonly writable: WritableStream<EncodedFrame>;
  };
}

/**
 * End-to-end encryption of frames with keys that the app gives; the server forwards what it cannot read. Runs in a worker, by
 * `RTCRtpScriptTransform` or `createEncodedStreams`. Video is VP8 or VP9; audio goes without RED.
 *
 * ```ts
 * const encryption = new E2ee();
 * await encryption.setPassphrase('correct horse battery staple', 'room name');
 * const room = new Room({ encryption });
 * ```
 */
export class E2ee extends Emitter<E2eeEvents> implements FrameEncryption {
  readonly encodedStreams: boolean;
  readonly #worker: Worker;
  readonly #transforms = new WeakMap<RTCRtpSender | RTCRtpReceiver, TransformSettings>();
  #nextId = 1;
  #current = 0;

  /** `worker`: for apps whose bundler does not find the SDK's own, `@ion-sfu/sdk/e2ee-worker`. */
  constructor(worker: Worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' })) {
    super();
    const scripted = 'RTCRtpScriptTransform' in globalThis;
    this.encodedStreams = !scripted;
    if (!scripted && !('createEncodedStreams' in RTCRtpSender.prototype)) {
      throw new IonError('unsupported', 'This browser cannot encrypt media end to end.');
    }
    this.#worker = worker;
    worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => {
      this.emit('error', new IonError('encryption', data.detail));
    });
  }

  /** Sets a key by a passphrase, and sends with it. All of a room give the same passphrase and salt (the room's name will do). */
  async setPassphrase(passphrase: string, salt: string, index = 0): Promise<void> {
    this.setKey(await materialOf(passphrase, salt), index);
  }

  /** Sets a key of 32 random bytes, and sends with it. Up to 16 keys by index: those of before still open what is under way. */
  setKey(material: Uint8Array<ArrayBuffer>, index = 0): void {
    if (material.length !== 32) throw new IonError('encryption', 'A key has 32 bytes.');
    this.#current = index % KEY_SLOTS;
    this.#tell({ type: 'key', index: this.#current, material });
    this.#tell({ type: 'use', index: this.#current });
  }

  /** Goes on to the next key of the chain; the others follow by themselves. */
  ratchet(): void {
    this.#tell({ type: 'ratchet', index: this.#current });
  }

  encrypt(sender: RTCRtpSender): void {
    this.#transform(sender, 'send', true);
  }

  decrypt(receiver: RTCRtpReceiver, encrypted: boolean): void {
    this.#transform(receiver, 'receive', encrypted);
  }

  /** Ends the worker: nothing is sent or received through it any more. */
  close(): void {
    this.#worker.terminate();
    this.removeAllListeners();
  }

  #transform(end: RTCRtpSender | RTCRtpReceiver, side: 'send' | 'receive', encrypted: boolean): void {
    const before = this.#transforms.get(end);
    const settings: TransformSettings = { id: before?.id ?? this.#nextId++, side, encrypted };
    this.#transforms.set(end, settings);
    if (before !== undefined) this.#tell({ type: 'settings', settings });
    else if (!this.encodedStreams) end.transform = new RTCRtpScriptTransform(this.#worker, settings);
    else {
      const streams = (end as EncodedStreams).createEncodedStreams?.();
      if (streams === undefined) throw new IonError('unsupported', 'This browser cannot encrypt media end to end.');
      this.#tell({ type: 'streams', settings, ...streams }, [streams.readable, streams.writable]);
    }
  }

  #tell(message: ToWorker, transfer: Transferable[] = []): void {
    this.#worker.postMessage(message, transfer);
  }
}
