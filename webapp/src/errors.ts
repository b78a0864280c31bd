// What to tell the user of a failure.
import { IonError, type ErrorReason } from '@ion-sfu/sdk';

const WORDS: Partial<Record<ErrorReason, string>> = {
  tokenMissing: 'This server asks for a token.',
  tokenInvalid: 'This token is not accepted.',
  tokenExpired: 'This token has expired. Ask for a new one.',
  tokenRevoked: 'This token was revoked.',
  otherRoom: 'This token is for another room.',
  forbidden: 'Your token does not allow this.',
  roomFull: 'The room is full.',
  overloaded: 'The server is too busy. Try again in a moment.',
  rateLimited: 'Too many attempts. Try again in a moment.',
  duplicateIdentity: 'Somebody joined as you, from elsewhere.',
  kicked: 'A moderator removed you from the room.',
  roomClosed: 'The room was closed.',
  timedOut: 'The connection was lost for too long.',
  network: 'The server cannot be reached.',
  timeout: 'The server does not answer.',
};

/** One sentence or two. */
export function explain(error: unknown): string {
  if (error instanceof IonError) {
    const words = WORDS[error.reason];
    if (words === undefined) return error.message;
    return error.reason === 'forbidden' ? `${words} (${error.message})` : words;
  }
  return error instanceof Error ? error.message : String(error);
}

/** Whether another token may help. */
export function wantsToken(error: unknown): boolean {
  return error instanceof IonError && ['tokenMissing', 'tokenInvalid', 'tokenExpired', 'tokenRevoked', 'otherRoom'].includes(error.reason);
}

/** Whether it only says that the caller itself had enough. */
export function isAborted(error: unknown): boolean {
  return error instanceof IonError ? error.reason === 'aborted' : error instanceof Error && error.name === 'AbortError';
}
