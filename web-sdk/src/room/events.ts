import type { ErrorReason, IonError } from '../errors.js';
import type { RoomStats } from '../stats.js';
import type { Permissions, Quality, RoomState } from '../wire/signal.js';
import type { ParticipantSnapshot, PublicationSnapshot, RoomStatus } from './snapshot.js';

/**
 * A data message.
 */
export interface DataMessage {
  readonly payload: Uint8Array;
  /** For the app, to tell its messages apart. */
  readonly topic: string;
  /** Who sent it; undefined: the app's server, or somebody who is gone. */
  readonly from: ParticipantSnapshot | undefined;
}

/**
 * Events of a `Room`.
 */
export interface RoomEvents {
  status: [status: RoomStatus];
  /** Signalling or media is away and is being brought back. */
  reconnecting: [];
  reconnected: [];
  /** Over for good; with an error unless the room was left. */
  closed: [error: IonError | undefined];
  /** Out of the lobby. */
  admitted: [room: RoomState];
  /** A moderator moved us to another room. */
  moved: [room: RoomState];
  roomUpdated: [room: RoomState];
  permissions: [permissions: Permissions];
  participantJoined: [participant: ParticipantSnapshot];
  participantUpdated: [participant: ParticipantSnapshot];
  participantLeft: [participant: ParticipantSnapshot, reason: ErrorReason];
  published: [publication: PublicationSnapshot, participant: ParticipantSnapshot];
  publicationUpdated: [publication: PublicationSnapshot, participant: ParticipantSnapshot];
  unpublished: [publication: PublicationSnapshot, participant: ParticipantSnapshot];
  /** A publication can be shown or played. */
  trackSubscribed: [track: MediaStreamTrack, publication: PublicationSnapshot, participant: ParticipantSnapshot];
  trackUnsubscribed: [track: MediaStreamTrack, publication: PublicationSnapshot, participant: ParticipantSnapshot];
  /** The server or this browser cannot do it, for example for want of the codec. */
  subscriptionFailed: [publication: PublicationSnapshot, error: IonError];
  /** Who speaks, the loudest first. */
  speakers: [participants: readonly ParticipantSnapshot[]];
  quality: [participant: ParticipantSnapshot, quality: Quality];
  data: [message: DataMessage];
  /** Rates and losses of the last interval, of each track. */
  stats: [stats: RoomStats];
  /** Something failed that nobody waits for; the room goes on. */
  error: [error: IonError];
}
