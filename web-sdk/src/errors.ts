/**
 * Why something failed. Stable: apps switch on it; the message is for people. The first group is the server's words (the
 * signalling's `Reason`; HTTP statuses are put into them), the second what only a client sees.
 *
 * - `aborted` the caller's signal was aborted
 * - `closed` the room or session had ended
 * - `timeout` no answer in time
 * - `network` the server could not be reached
 * - `media` media did not get through, though the server could be reached
 * - `protocol` the server said something that makes no sense
 * - `device` a camera, microphone or screen cannot be had
 * - `unsupported` this browser cannot do it
 * - `encryption` a key is missing or a frame could not be opened
 */
export type ErrorReason =
  | 'badMessage'
  | 'wrongState'
  | 'unsupportedProtocol'
  | 'tokenMissing'
  | 'tokenInvalid'
  | 'tokenExpired'
  | 'tokenRevoked'
  | 'otherRoom'
  | 'forbidden'
  | 'notFound'
  | 'conflict'
  | 'noSuchSession'
  | 'malformedSdp'
  | 'unprocessableSdp'
  | 'roomFull'
  | 'tooLarge'
  | 'rateLimited'
  | 'overloaded'
  | 'duplicateIdentity'
  | 'kicked'
  | 'roomClosed'
  | 'left'
  | 'moved'
  | 'detached'
  | 'timedOut'
  | 'superseded'
  | 'tooSlow'
  | 'serverStopping'
  | 'internal'
  | 'aborted'
  | 'closed'
  | 'timeout'
  | 'network'
  | 'media'
  | 'protocol'
  | 'device'
  | 'unsupported'
  | 'encryption';

const RETRYABLE: ReadonlySet<ErrorReason> = new Set(['timeout', 'network', 'overloaded', 'rateLimited', 'serverStopping']);

/**
 * What an {@link IonError} may carry.
 */
export interface IonErrorOptions extends ErrorOptions {
  readonly retryAfterMs?: number | undefined;
}

/**
 * What every failure of this SDK is.
 */
export class IonError extends Error {
  override readonly name = 'IonError';
  /** What kind of failure it is. */
  readonly reason: ErrorReason;

  /** When the server wants to be asked again, milliseconds; undefined where it named no time. */
  readonly retryAfterMs: number | undefined;

  constructor(reason: ErrorReason, message: string, options: IonErrorOptions = {}) {
    super(message, options);
    this.reason = reason;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** Whether the same call may succeed when tried again later. */
  get retryable(): boolean {
    return RETRYABLE.has(this.reason);
  }
}

/** `error` as an {@link IonError}: itself, or wrapped as the cause of one. */
export function ionError(error: unknown, reason: ErrorReason = 'internal'): IonError {
  if (error instanceof IonError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new IonError(isAbort(error) ? 'aborted' : reason, message, { cause: error });
}

/** What a failed `getUserMedia` or `getDisplayMedia` means. */
export function deviceError(error: unknown): IonError {
  const name = error instanceof DOMException ? error.name : '';
  switch (name) {
    case 'NotAllowedError':
      return new IonError('device', 'The browser was not allowed to use the device.', { cause: error });
    case 'NotFoundError':
    case 'OverconstrainedError':
      return new IonError('device', 'No such device is connected.', { cause: error });
    case 'NotReadableError':
      return new IonError('device', 'The device is in use by another program.', { cause: error });
    default:
      return ionError(error, 'device');
  }
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}
