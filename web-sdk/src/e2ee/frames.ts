// Encryption of single encoded frames. Pure but for WebCrypto.
//
//   clear header | AES-GCM ciphertext and tag | nonce (12) | length of the clear header (1) | key index (1)
//
// The clear header lets the server see what it must to forward layers (the VP8 payload header, the Opus TOC byte); it and its
// length are authenticated. A nonce is eight random bytes of this sender and a counter, so that senders who share a key never
// use the same one.
import { IonError } from '../errors.js';

const NONCE_BYTES = 12;
const TRAILER_BYTES = NONCE_BYTES + 2;
const TAG_BYTES = 16;
/** How far a receiver follows a sender's ratchet without being told. */
const RATCHET_WINDOW = 8;
/** Keys that a ring holds, by index. */
export const KEY_SLOTS = 16;

/** Bytes that stay readable: a VP8 payload header, of any video the same; the TOC byte of Opus. */
export function clearBytes(kind: 'audio' | 'video', isKeyFrame: boolean): number {
  if (kind === 'audio') return 1;
  return isKeyFrame ? 10 : 3;
}

interface Slot {
  readonly material: Uint8Array<ArrayBuffer>;
  readonly key: CryptoKey;
}

/** The keys of a room by index, each with its ratchet. */
export class KeyRing {
  readonly #slots = new Map<number, Slot>();
  /** Index of the key that we send with. */
  current = 0;

  /** Sets a key of 32 bytes. */
  async set(index: number, material: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#slots.set(index % KEY_SLOTS, { material, key: await frameKey(material) });
  }

  get(index: number): Slot | undefined {
    return this.#slots.get(index);
  }

  adopt(index: number, slot: Slot): void {
    this.#slots.set(index, slot);
  }

  /** Replaces a key by its successor: who joins later with that cannot read what was sent before. */
  async ratchet(index: number): Promise<void> {
    const slot = this.#slots.get(index);
    if (slot !== undefined) this.#slots.set(index, await successor(slot));
  }
}

/** Seals frames of one sender. */
export class FrameSealer {
  readonly #ring: KeyRing;
  readonly #nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  #counter = 0;

  constructor(ring: KeyRing) {
    this.#ring = ring;
  }

  /** The frame as it goes out. Throws `encryption` where there is no key: nothing may leave in the clear. */
  async seal(frame: Uint8Array<ArrayBuffer>, clear: number): Promise<Uint8Array<ArrayBuffer>> {
    const index = this.#ring.current;
    const slot = this.#ring.get(index);
    if (slot === undefined) throw new IonError('encryption', 'There is no key to encrypt with.');
    const head = Math.min(clear, frame.length);
    const iv = this.#nextNonce();
    const sealed = await crypto.subtle.encrypt(
      { name: 'AES-GCM', iv, additionalData: authenticated(frame, head) },
      slot.key,
      frame.subarray(head),
    );
    const out = new Uint8Array(head + sealed.byteLength + TRAILER_BYTES);
    out.set(frame.subarray(0, head));
    out.set(new Uint8Array(sealed), head);
    out.set(iv, head + sealed.byteLength);
    out.set([head, index], out.length - 2);
    return out;
  }

  #nextNonce(): Uint8Array<ArrayBuffer> {
    // More frames than this are never sent with one sealer: two years at a thousand per second are 2^36.
    this.#counter += 1;
    if (this.#counter > 0xffffffff) {
      crypto.getRandomValues(this.#nonce);
      this.#counter = 1;
    }
    const nonce = this.#nonce.slice();
    new DataView(nonce.buffer).setUint32(NONCE_BYTES - 4, this.#counter);
    return nonce;
  }
}

/** Opens a frame. Throws `encryption` when no key fits; follows a ratchet. */
export async function openFrame(frame: Uint8Array<ArrayBuffer>, ring: KeyRing): Promise<Uint8Array<ArrayBuffer>> {
  const [head = 0, index = 0] = frame.subarray(-2);
  const end = frame.length - TRAILER_BYTES;
  if (end - head < TAG_BYTES) throw new IonError('encryption', 'The frame is not encrypted.');
  let slot = ring.get(index);
  if (slot === undefined) throw new IonError('encryption', `There is no key ${index}.`);
  const algorithm = { name: 'AES-GCM', iv: frame.subarray(end, end + NONCE_BYTES), additionalData: authenticated(frame, head) };
  for (let step = 0; step <= RATCHET_WINDOW; step += 1) {
    try {
      const opened = await crypto.subtle.decrypt(algorithm, slot.key, frame.subarray(head, end));
      if (step > 0) ring.adopt(index, slot);
      const out = new Uint8Array(head + opened.byteLength);
      out.set(frame.subarray(0, head));
      out.set(new Uint8Array(opened), head);
      return out;
    } catch {
      slot = await successor(slot);
    }
  }
  throw new IonError('encryption', `Key ${index} does not open the frame.`);
}

/** 32 bytes of key material of a passphrase; the same passphrase and salt give the same. */
export async function materialOf(passphrase: string, salt: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new TextEncoder();
  const base = await crypto.subtle.importKey('raw', bytes.encode(passphrase), 'PBKDF2', false, ['deriveBits']);
  const algorithm = { name: 'PBKDF2', hash: 'SHA-256', salt: bytes.encode(salt), iterations: 210_000 };
  return new Uint8Array(await crypto.subtle.deriveBits(algorithm, base, 256));
}

function authenticated(frame: Uint8Array<ArrayBuffer>, head: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(head + 1);
  out.set(frame.subarray(0, head));
  out[head] = head;
  return out;
}

async function successor(slot: Slot): Promise<Slot> {
  const material = await derive(slot.material, 'ratchet', 256);
  return { material, key: await frameKey(material) };
}

async function frameKey(material: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  const bits = await derive(material, 'frames', 128);
  return crypto.subtle.importKey('raw', bits, 'AES-GCM', false, ['encrypt', 'decrypt']);
}

async function derive(material: Uint8Array<ArrayBuffer>, purpose: string, bits: number): Promise<Uint8Array<ArrayBuffer>> {
  const base = await crypto.subtle.importKey('raw', material, 'HKDF', false, ['deriveBits']);
  const info = new TextEncoder().encode(`ion e2ee ${purpose}`);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info }, base, bits));
}
