// Messages of the data channels: the length of a header in two bytes, the header in JSON, the payload. Pure.
import type { ParticipantId } from '../wire/signal.js';

export interface DataHeader {
  readonly topic: string;
  readonly to?: readonly string[];
  readonly from?: ParticipantId;
}

/** One message as bytes. */
export function encodeData(header: DataHeader, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(2 + head.length + payload.length);
  new DataView(bytes.buffer).setUint16(0, head.length);
  bytes.set(head, 2);
  bytes.set(payload, 2 + head.length);
  return bytes;
}

/** Reads one message; undefined where it is none. */
export function decodeData(bytes: ArrayBuffer): { readonly header: DataHeader; readonly payload: Uint8Array } | undefined {
  if (bytes.byteLength < 2) return undefined;
  const end = 2 + new DataView(bytes).getUint16(0);
  if (end > bytes.byteLength) return undefined;
  try {
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 2, end - 2))) as Partial<DataHeader> | null;
    if (typeof header !== 'object' || header === null) return undefined;
    const { topic = '', from } = header;
    return { header: from === undefined ? { topic } : { topic, from }, payload: new Uint8Array(bytes, end) };
  } catch {
    return undefined;
  }
}

/** Base64, for the socket. */
export function toBase64(bytes: Uint8Array): string {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/** Bytes of base64; none where it is none. */
export function fromBase64(text: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}
