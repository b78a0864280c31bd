/**
 * Web SDK of the Ion SFU.
 * @packageDocumentation
 */
export type { CallOptions } from './async.js';
export { Emitter } from './emitter.js';
export { IonError, type ErrorReason } from './errors.js';
export { HttpError } from './http/problem.js';
export { HttpSession, type HttpSessionEvents, type HttpSessionOptions, type HttpSessionState } from './http/session.js';
export type { AudioOptions, VideoCodec, VideoOptions } from './media/codecs.js';
export { Store } from './store.js';
export { playWhep, publishWhip, type WhepPlayback, type WhipOptions } from './whip.js';
