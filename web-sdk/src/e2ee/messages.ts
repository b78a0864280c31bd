// What the page and the encryption worker say to each other.

/** What a transform is for. */
export interface TransformSettings {
  readonly id: number;
  readonly side: 'send' | 'receive';
  /** Whether what is received is encrypted; what is sent always is. */
  readonly encrypted: boolean;
}

export type ToWorker =
  | { readonly type: 'key'; readonly index: number; readonly material: Uint8Array<ArrayBuffer> }
  /** Send with this key from now on. */
  | { readonly type: 'use'; readonly index: number }
  | { readonly type: 'ratchet'; readonly index: number }
  | { readonly type: 'settings'; readonly settings: TransformSettings }
  /** Where there is no `RTCRtpScriptTransform`. */
  | {
      readonly type: 'streams';
      readonly settings: TransformSettings;
      readonly readable: ReadableStream<EncodedFrame>;
      readonly writable: WritableStream<EncodedFrame>;
    };

export interface FromWorker {
  readonly type: 'failed';
  readonly detail: string;
}

/** A frame of either kind; only video has a type. */
export interface EncodedFrame {
  data: ArrayBuffer;
  readonly type?: string;
}
