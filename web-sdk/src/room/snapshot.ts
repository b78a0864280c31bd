import type { IonError } from '../errors.js';
import type {
  AudioSlot,
  ParticipantId,
  ParticipantInfo,
  Permissions,
  PublicationInfo,
  Quality,
  RoomState,
  SubscriptionBounds,
  SubscriptionRule,
  TransportInfo,
} from '../wire/signal.js';

/**
 * Where a room stands. `lobby`: waiting to be admitted. `reconnecting`: signalling or media is away, and is being brought
 * back; nothing for the app to do. `closed`: over for good, see {@link RoomSnapshot.error}.
 */
export type RoomStatus = 'idle' | 'connecting' | 'lobby' | 'connected' | 'reconnecting' | 'closed';

/**
 * A published track, as it is now.
 */
export interface PublicationSnapshot extends Readonly<PublicationInfo> {
  /** Whether it is our own. */
  readonly local: boolean;
  /** What to show or play: our own track, or the received one; undefined while there is none. */
  readonly track: MediaStreamTrack | undefined;
  /** Whether the server sends it to us. */
  readonly subscribed: boolean;
  /** How much of it we asked for. */
  readonly bounds: Readonly<SubscriptionBounds>;
  /** Who decides about the subscription. */
  readonly rule: SubscriptionRule;
}

/**
 * A participant, as it is now.
 */
export interface ParticipantSnapshot extends Readonly<Omit<ParticipantInfo, 'publications'>> {
  /** Whether it is ourselves. */
  readonly local: boolean;
  readonly publications: readonly PublicationSnapshot[];
  readonly speaking: boolean;
  /** How loud, 0 to 1; 0 when it does not speak. */
  readonly audioLevel: number;
  /** How good its connection is. */
  readonly quality: Quality;
}

/**
 * Everything about a room, immutable: what has not changed is the same object as before.
 */
export interface RoomSnapshot {
  readonly status: RoomStatus;
  /** Why it is closed, unless it was left. */
  readonly error: IonError | undefined;
  /** Name, metadata and shared attributes. */
  readonly room: Readonly<RoomState>;
  /** Ourselves; undefined before the room was joined. */
  readonly local: ParticipantSnapshot | undefined;
  /** What we may do. */
  readonly permissions: Readonly<Permissions>;
  /** The others, in order of arrival. For admins, those in the lobby too. */
  readonly remotes: readonly ParticipantSnapshot[];
  /** Who speaks, the loudest first. */
  readonly speakers: readonly ParticipantId[];
  /**
   * The streams of sound that the room has, where it has a fixed number of them, and the publication that each is of now. That
   * publication's `track` is then the stream's.
   */
  readonly audioSlots: readonly Readonly<AudioSlot>[];
  /** The server's view of our transport. */
  readonly transport: Readonly<TransportInfo> | undefined;
}

/** A room before it is joined. */
export const NO_ROOM: RoomSnapshot = {
  status: 'idle',
  error: undefined,
  room: { name: '', metadata: '', attributes: {}, version: 0, lobby: false },
  local: undefined,
  permissions: {
    canPublish: false,
    canPublishSources: [],
    canSubscribe: false,
    canPublishData: false,
    canUpdateOwnMetadata: false,
    hidden: false,
    roomAdmin: false,
  },
  remotes: [],
  speakers: [],
  audioSlots: [],
  transport: undefined,
};
