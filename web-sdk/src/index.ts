/**
 * Web SDK of the Ion SFU. High level: {@link Room}. Under it, and open to apps too: {@link SignalClient}, {@link PeerTransport}.
 * Without rooms: {@link publishWhip}, {@link playWhep}.
 * @packageDocumentation
 */
export type { CallOptions } from './async.js';
export { E2ee, type E2eeEvents } from './e2ee/e2ee.js';
export type { FrameEncryption } from './e2ee/encryption.js';
export { Emitter } from './emitter.js';
export { IonError, type ErrorReason, type IonErrorOptions } from './errors.js';
export { HttpError } from './http/problem.js';
export { HttpSession, type HttpSessionEvents, type HttpSessionOptions, type HttpSessionState } from './http/session.js';
export {
  type CameraConstraints,
  type ScreenConstraints,
  captureCamera,
  captureMicrophone,
  captureScreen,
} from './media/capture.js';
export type { AudioOptions, VideoCodec, VideoOptions } from './media/codecs.js';
export type { OpusParameters } from './peer/opus.js';
export type { MediaKind, Wanted } from './peer/sections.js';
export {
  type NegotiationHooks,
  type PeerEvents,
  type PeerOptions,
  PeerTransport,
  type SendTrack,
} from './peer/transport.js';
export type { VideoQuality } from './room/bounds.js';
export type { DataMessage, RoomEvents } from './room/events.js';
export { type DataOptions, LocalParticipant } from './room/local.js';
export { LocalPublication, type LocalPublicationEvents, type PublishOptions } from './room/publication.js';
export { RemotePublication } from './room/remote.js';
export { type ConnectOptions, Room, type RoomOptions } from './room/room.js';
export type { ParticipantSnapshot, PublicationSnapshot, RoomSnapshot, RoomStatus } from './room/snapshot.js';
export {
  type AnswerTo,
  type RequestBody,
  SignalClient,
  type SignalEvents,
  type SignalOptions,
  type TokenSource,
} from './signal/client.js';
export type { SignalState } from './signal/machine.js';
export { type ConnectionStats, type RoomStats, StatsMeter, type TrackStats } from './stats.js';
export { Store } from './store.js';
export { VERSION } from './version.js';
export { playWhep, publishWhip, type WhepPlayback, type WhipOptions } from './whip.js';
export type * from './wire/signal.js';
