// The worker that encrypts and decrypts frames. Loaded by `E2ee`; keys never leave it.
import { ionError } from '../errors.js';
import { FrameSealer, KeyRing, clearBytes, openFrame } from './frames.js';
import type { EncodedFrame, FromWorker, ToWorker, TransformSettings } from './messages.js';

/** Failures are told at most this often. */
const TELL_MS = 1000;

/** The part of `DedicatedWorkerGlobalScope` that is used: the types of pages and workers cannot be had together. */
interface Scope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  onrtctransform: ((event: { readonly transformer: Transformer }) => void) | null;
  postMessage(message: FromWorker): void;
}

interface Transformer {
  readonly readable: ReadableStream<EncodedFrame>;
  readonly writable: WritableStream<EncodedFrame>;
  readonly options: TransformSettings;
}

const scope = globalThis as unknown as Scope;
const ring = new KeyRing();
const settings = new Map<number, TransformSettings>();
/** Keys are set one after the other, in the order in which they were told. */
let keys: Promise<void> = Promise.resolve();
let toldMs = -Infinity;

function failed(error: unknown): void {
  const now = performance.now();
  if (now < toldMs + TELL_MS) return;
  toldMs = now;
  scope.postMessage({ type: 'failed', detail: ionError(error).message });
}

function pipe(given: TransformSettings, readable: ReadableStream<EncodedFrame>, writable: WritableStream<EncodedFrame>): void {
  settings.set(given.id, given);
  const sealer = new FrameSealer(ring);
  const transform = async (frame: EncodedFrame, controller: TransformStreamDefaultController<EncodedFrame>): Promise<void> => {
    const { side, encrypted } = settings.get(given.id) ?? given;
    // Opus sends empty frames in silence.
    if (frame.data.byteLength > 0 && (side === 'send' || encrypted)) {
      try {
        await keys;
        const data = new Uint8Array(frame.data);
        const kind = frame.type === undefined ? 'audio' : 'video';
        const done = side === 'send' ? await sealer.seal(data, clearBytes(kind, frame.type === 'key')) : await openFrame(data, ring);
        frame.data = done.buffer;
      } catch (error) {
        // The frame is dropped.
        failed(error);
        return;
      }
    }
    controller.enqueue(frame);
  };
  readable.pipeThrough(new TransformStream({ transform })).pipeTo(writable).catch(() => settings.delete(given.id));
}

function later(task: () => Promise<void>): void {
  keys = keys.then(task).catch(failed);
}

scope.onmessage = ({ data }) => {
  switch (data.type) {
    case 'key':
      later(() => ring.set(data.index, data.material));
      break;
    case 'use':
      later(() => {
        ring.current = data.index;
        return Promise.resolve();
      });
      break;
    case 'ratchet':
      later(() => ring.ratchet(data.index));
      break;
    case 'settings':
      settings.set(data.settings.id, data.settings);
      break;
    case 'streams':
      pipe(data.settings, data.readable, data.writable);
      break;
  }
};
scope.onrtctransform = ({ transformer }) => {
  pipe(transformer.options, transformer.readable, transformer.writable);
};
