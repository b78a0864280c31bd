/**
 * Encrypts what is sent and decrypts what is received, frame by frame; see `E2ee`.
 */
export interface FrameEncryption {
  /** Whether connections must allow `createEncodedStreams`. */
  readonly encodedStreams: boolean;
  /** From now on, what this sender sends. May be called again. */
  encrypt(sender: RTCRtpSender): void;
  /** From now on, what this receiver receives, where it is encrypted. May be called again. */
  decrypt(receiver: RTCRtpReceiver, encrypted: boolean): void;
}
