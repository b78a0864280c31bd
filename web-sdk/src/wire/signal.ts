// Generated from api/src/signal by `make wire`. Do not edit.

/** Version of the protocol. */
export const PROTOCOL = 1;

/** WebSocket subprotocol. */
export const SUBPROTOCOL = "ion.signal.v1";

/**
 * A participant, for as long as it is connected; `PA_` and a number. It stays the same when the
 * participant resumes, restarts ICE or is moved to another room; who joins again has another.
 */
export type ParticipantId = string;

/**
 * A published track, from its first offer until it is unpublished; `PB_` and a number. It stays
 * the same when its publisher renegotiates, or connects a new transport with the same `cid`.
 */
export type PublicationId = string;

/**
 * Where a track comes from; the words of the grant `canPublishSources`.
 */
export type Source = "camera" | "microphone" | "screen_share" | "screen_share_audio" | "other";

/**
 * What a participant may do. All of it can change while it is connected.
 */
export type Permissions = { 
/**
 * May publish tracks.
 */
canPublish: boolean, 
/**
 * Which; empty is all.
 */
canPublishSources: Array<Source>, 
/**
 * May receive tracks.
 */
canSubscribe: boolean, 
/**
 * May send data messages.
 */
canPublishData: boolean, 
/**
 * May change its own name, metadata and attributes.
 */
canUpdateOwnMetadata: boolean, 
/**
 * Is not shown to others.
 */
hidden: boolean, 
/**
 * May govern the room: passes its lobby, and moderates over the HTTP API.
 */
roomAdmin: boolean, };

/**
 * What kind of client a participant is.
 */
export type ParticipantKind = "sdk" | "whip" | "whep" | "guest";

/**
 * Where a participant stands.
 */
export type ParticipantState = "lobby" | "active" | "disconnected";

/**
 * A participant as others see it.
 */
export type ParticipantInfo = { 
/**
 * Which.
 */
id: ParticipantId, 
/**
 * The `sub` of its token; unique among the SDK participants of a room.
 */
identity: string, 
/**
 * Display name; may be empty.
 */
name: string, 
/**
 * What kind of client it is.
 */
kind: ParticipantKind, 
/**
 * Where it stands.
 */
state: ParticipantState, 
/**
 * Grows with each change of anything here but its publications.
 */
version: number, 
/**
 * The application's own, opaque to the server.
 */
metadata: string, 
/**
 * The application's own, by key.
 */
attributes: { [key in string]: string }, 
/**
 * Seconds since the Unix epoch.
 */
joinedAtS: number, 
/**
 * Whether it may moderate.
 */
isAdmin: boolean, 
/**
 * How good its connection is; absent: not known yet.
 */
quality?: Quality, 
/**
 * Its tracks.
 */
publications: Array<PublicationInfo>, };

/**
 * One RTP stream of a publication, as its publisher describes it.
 */
export type LayerInfo = { 
/**
 * RTP stream id (RFC 8852); empty without simulcast.
 */
rid: string, 
/**
 * Pixels; 0 where unknown.
 */
width: number, 
/**
 * Pixels; 0 where unknown.
 */
height: number, 
/**
 * What it takes at most, bits per second; 0 where unknown.
 */
maxBitrateBps: number, };

/**
 * A published track as others see it.
 */
export type PublicationInfo = { 
/**
 * Which.
 */
id: PublicationId, 
/**
 * Whose.
 */
participant: ParticipantId, 
/**
 * Audio or video.
 */
kind: "audio" | "video", 
/**
 * Where it comes from.
 */
source: Source, 
/**
 * The publisher's name for it; may be empty.
 */
name: string, 
/**
 * Codec as in SDP (`opus`, `VP8`, …); empty before the first answer.
 */
codec: string, 
/**
 * Its RTP streams, lowest quality first.
 */
layers: Array<LayerInfo>, 
/**
 * SVC mode of the encoder (`L3T3_KEY`, …); empty without.
 */
scalabilityMode: string, 
/**
 * End-to-end encrypted: its payload is opaque.
 */
encrypted: boolean, 
/**
 * Its publisher has muted it, or a moderator has; the publisher may unmute it.
 */
muted: boolean, 
/**
 * A moderator has stopped it; nobody receives it, and only a moderator lets it go on.
 */
paused: boolean, 
/**
 * Tracks of one participant with the same stream play in sync.
 */
stream: string, 
/**
 * Grows with each change of anything here.
 */
version: number, 
/**
 * The publisher's own id of the track; given to the publisher alone.
 */
cid?: string, };

/**
 * How much of a publication a subscriber wants. What is absent does not bound.
 */
export type SubscriptionBounds = { 
/**
 * Send nothing for now; the subscription stays.
 */
paused: boolean, 
/**
 * Highest simulcast layer, or without simulcast spatial layer, from 0.
 */
maxSpatial?: number, 
/**
 * Highest temporal layer, from 0.
 */
maxTemporal?: number, 
/**
 * Size at which it is shown, device pixels: the smallest layer that fills it is enough.
 */
width?: number, 
/**
 * Size at which it is shown, device pixels.
 */
height?: number, 
/**
 * Higher goes first when there is not room for all; 128 without a word.
 */
priority?: number, };

/**
 * Who decides about a subscription.
 */
export type SubscriptionRule = "free" | "forced" | "forbidden";

/**
 * A publication that this participant is to receive.
 */
export type SubscriptionInfo = { 
/**
 * Which.
 */
publication: PublicationId, 
/**
 * The m-section that carries it, once an answer has bound one.
 */
mid?: string, 
/**
 * What this participant asked for.
 */
bounds: SubscriptionBounds, 
/**
 * Who decided.
 */
rule: SubscriptionRule, };

/**
 * A room's settings, as participants see them.
 */
export type RoomState = { 
/**
 * Its name.
 */
name: string, 
/**
 * The application's own, opaque to the server.
 */
metadata: string, 
/**
 * Shared room state, the application's own, by key.
 */
attributes: { [key in string]: string }, 
/**
 * Grows with each change.
 */
version: number, 
/**
 * Who joins waits until admitted.
 */
lobby: boolean, };

/**
 * One of a room's streams of sound, which is of one source after the other: the loudest.
 */
export type AudioSlot = { 
/**
 * What it is called in subscriptions, as if it were a publication.
 */
publication: PublicationId, 
/**
 * The publication that it is of now; absent: of none so far.
 */
source?: PublicationId, };

/**
 * Everything that a participant knows of its room.
 */
export type Snapshot = { 
/**
 * The room.
 */
room: RoomState, 
/**
 * This participant.
 */
me: ParticipantInfo, 
/**
 * What it may do.
 */
permissions: Permissions, 
/**
 * The others, in order of arrival. In the lobby: none.
 */
participants: Array<ParticipantInfo>, 
/**
 * What to receive, in order; see [`super::Event::Subscriptions`].
 */
subscriptions: Array<SubscriptionInfo>, 
/**
 * Streams of sound that the room has, where it has so many, and whose each is now.
 */
audioSlots?: Array<AudioSlot>, 
/**
 * State of the transport; absent before the first offer.
 */
transport?: TransportInfo, };

/**
 * How a transport is.
 */
export type TransportState = "connecting" | "connected" | "disconnected" | "lost";

/**
 * A participant's transport.
 */
export type TransportInfo = { 
/**
 * The client's name for its `RTCPeerConnection`, from its offer.
 */
peer: string, 
/**
 * How it is.
 */
state: TransportState, 
/**
 * Whether data channels work. Not after the server's negotiating process was restarted: media
 * goes on, data goes by [`super::Request::Data`] until the client offers a new `peer`.
 */
dataChannels: boolean, };

/**
 * A STUN or TURN server for `RTCConfiguration.iceServers`.
 */
export type IceServer = { 
/**
 * `stun:…`, `turn:…` or `turns:…`.
 */
urls: Array<string>, 
/**
 * For TURN.
 */
username?: string, 
/**
 * For TURN.
 */
credential?: string, };

/**
 * How good a participant's connection is.
 */
export type Quality = "unknown" | "lost" | "poor" | "good" | "excellent";

/**
 * A text message of the client.
 */
export type ClientMessage = { 
/**
 * Comes back in the answer; without one there is no answer.
 */
id?: number, } & ({ "type": "join" } & Join | { "type": "resume" } & Resume | { "type": "offer" } & Offer | { "type": "candidates" } & Candidates | { "type": "updatePublication" } & UpdatePublication | { "type": "unpublish" } & Unpublish | { "type": "subscribe" } & Subscribe | { "type": "updateSelf" } & UpdateSelf | { "type": "data" } & Data | { "type": "ping" } & Ping | { "type": "leave" } & Leave);

/**
 * What a client may ask for. The first one is `join` or `resume`.
 */
export type Request = { "type": "join" } & Join | { "type": "resume" } & Resume | { "type": "offer" } & Offer | { "type": "candidates" } & Candidates | { "type": "updatePublication" } & UpdatePublication | { "type": "unpublish" } & Unpublish | { "type": "subscribe" } & Subscribe | { "type": "updateSelf" } & UpdateSelf | { "type": "data" } & Data | { "type": "ping" } & Ping | { "type": "leave" } & Leave;

/**
 * Enter a room.
 */
export type Join = { 
/**
 * The protocol version, 1.
 */
protocol: number, 
/**
 * The token, where it was not sent with the request.
 */
token?: string | null, 
/**
 * Which room; absent: the one that the token names.
 */
room?: string | null, 
/**
 * Guests of a development server only: who they are.
 */
identity?: string | null, 
/**
 * Display name; needs `canUpdateOwnMetadata`, where the token names another.
 */
name?: string | null, 
/**
 * Whether publications are subscribed as they come; absent is yes.
 */
autoSubscribe?: boolean | null, 
/**
 * Name and version of the client, for logs and statistics.
 */
client?: string | null, };

/**
 * Go on after the socket was lost.
 */
export type Resume = { 
/**
 * From `joined`: whoever knows it is this participant.
 */
session: string, 
/**
 * `seq` of the last event that arrived; 0 if none did.
 */
seq: number, };

/**
 * The offer of the client's one `RTCPeerConnection`, and what its m-sections are for. A section
 * that is named in neither map must be inactive, or m=application.
 */
export type Offer = { 
/**
 * The client's name for this `RTCPeerConnection`. A new name is a new transport, which replaces
 * the old one; publications with the same `cid` stay what they are.
 */
peer: string, 
/**
 * The description.
 */
sdp: string, 
/**
 * Sections that send: what they publish, by MID. All of them, in each offer.
 */
tracks: { [key in string]: TrackOffer }, 
/**
 * Sections that receive: which publication, by MID. All of them, in each offer.
 */
subscriptions: { [key in string]: PublicationId }, };

/**
 * A track that a section publishes.
 */
export type TrackOffer = { 
/**
 * The client's own id of the track; the same `cid` is the same publication.
 */
cid: string, 
/**
 * Where it comes from.
 */
source: Source, 
/**
 * A name for it; may be empty.
 */
name: string, 
/**
 * Tracks with the same stream play in sync; absent: all of this participant's of its kind
 * (camera with microphone, screen with its sound).
 */
stream?: string | null, 
/**
 * Its RTP streams, lowest quality first; empty: one of unknown size.
 */
layers: Array<LayerInfo>, 
/**
 * SVC mode of the encoder; empty without.
 */
scalabilityMode: string, 
/**
 * End-to-end encrypted.
 */
encrypted: boolean, 
/**
 * Begins muted.
 */
muted: boolean, };

/**
 * Candidates that were found later. The server is a lite agent that learns them from connectivity
 * checks, so that sending them is optional.
 */
export type Candidates = { 
/**
 * Of which peer connection.
 */
peer: string, 
/**
 * `candidate:…` lines.
 */
candidates: Array<string>, };

/**
 * Change one's own publication. What is absent stays.
 */
export type UpdatePublication = { 
/**
 * Which.
 */
publication: PublicationId, 
/**
 * Muted or not; false also lifts the mute of a moderator.
 */
muted?: boolean | null, 
/**
 * Its name.
 */
name?: string | null, 
/**
 * What its RTP streams are now.
 */
layers?: Array<LayerInfo> | null, };

/**
 * End one's own publication.
 */
export type Unpublish = { 
/**
 * Which.
 */
publication: PublicationId, };

/**
 * Choose what to receive.
 */
export type Subscribe = { 
/**
 * Whether publications that come from now on are subscribed; absent: as before.
 */
autoSubscribe?: boolean | null, 
/**
 * Changes, by publication. Those that are not here, or not there any more, stay.
 */
changes: Array<SubscriptionChange>, };

/**
 * A wish about one publication. What is absent stays.
 */
export type SubscriptionChange = { 
/**
 * Which.
 */
publication: PublicationId, 
/**
 * Whether to receive it.
 */
subscribed?: boolean | null, 
/**
 * How much of it; replaces all that was said before.
 */
bounds?: SubscriptionBounds | null, };

/**
 * Change one's own name, metadata, attributes. What is absent stays.
 */
export type UpdateSelf = { 
/**
 * Display name.
 */
name?: string | null, 
/**
 * The application's own.
 */
metadata?: string | null, 
/**
 * Sets these; an empty value removes.
 */
attributes?: { [key in string]: string } | null, };

/**
 * Send data to others.
 */
export type Data = { 
/**
 * Identities; absent: everybody in the room.
 */
to?: Array<string> | null, 
/**
 * For the application, to tell its messages apart.
 */
topic: string, 
/**
 * The bytes, in base64.
 */
payload: string, 
/**
 * May be lost: goes over the receivers' `lossy` channel where they have one.
 */
lossy: boolean, };

/**
 * A keep-alive.
 */
export type Ping = { 
/**
 * Comes back as it is: the client's clock.
 */
at: number, };

/**
 * Leave at once.
 */
export type Leave = Record<symbol, never>;

/**
 * A text message of the server.
 */
export type ServerMessage = { 
/**
 * Of the request.
 */
id: number, } & ({ "type": "ok" } | { "type": "joined" } & Joined | { "type": "resumed" } & Resumed | { "type": "answer" } & OfferAnswer | { "type": "pong" } & Pong | { "type": "error" } & Problem) | { 
/**
 * One more than that of the event before; the first of a session is 1.
 */
seq: number, } & ({ "type": "room" } & RoomChanged | { "type": "roomUpdated" } & RoomUpdated | { "type": "participantJoined" } & ParticipantChanged | { "type": "participantUpdated" } & ParticipantChanged | { "type": "participantLeft" } & ParticipantLeft | { "type": "published" } & PublicationChanged | { "type": "publicationUpdated" } & PublicationChanged | { "type": "unpublished" } & Unpublished | { "type": "subscriptions" } & Subscriptions | { "type": "permissionsChanged" } & PermissionsChanged | { "type": "speakers" } & Speakers | { "type": "audioSlots" } & AudioSlots | { "type": "qualityChanged" } & QualityChanged | { "type": "layersWatched" } & LayersWatched | { "type": "dataReceived" } & DataReceived | { "type": "transportChanged" } & TransportChanged | { "type": "ended" } & Ended) | { 
/**
 * Always `error`.
 */
type: "error", 
/**
 * For programs.
 */
reason: Reason, 
/**
 * For people.
 */
detail: string, 
/**
 * When trying again makes sense, milliseconds.
 */
retryAfterMs?: number, };

/**
 * To a request.
 */
export type Answer = { "type": "ok" } | { "type": "joined" } & Joined | { "type": "resumed" } & Resumed | { "type": "answer" } & OfferAnswer | { "type": "pong" } & Pong | { "type": "error" } & Problem;

/**
 * Why something was refused, or why a session ended. Clients decide by it what to do next; one that
 * they do not know counts as `internal`.
 */
export type Reason = "badMessage" | "wrongState" | "unsupportedProtocol" | "tokenMissing" | "tokenInvalid" | "tokenExpired" | "tokenRevoked" | "otherRoom" | "forbidden" | "notFound" | "noSuchSession" | "malformedSdp" | "unprocessableSdp" | "roomFull" | "tooLarge" | "rateLimited" | "overloaded" | "duplicateIdentity" | "kicked" | "roomClosed" | "left" | "moved" | "detached" | "timedOut" | "superseded" | "tooSlow" | "serverStopping" | "internal";

/**
 * Why a request was refused.
 */
export type Problem = { 
/**
 * For programs.
 */
reason: Reason, 
/**
 * For people.
 */
detail: string, 
/**
 * When trying again makes sense, milliseconds.
 */
retryAfterMs?: number, };

/**
 * To `join`.
 */
export type Joined = { 
/**
 * The protocol version, 1.
 */
protocol: number, 
/**
 * Version of the server.
 */
server: string, 
/**
 * Secret of this session, for `resume`.
 */
session: string, 
/**
 * How long the session waits for a `resume` after its socket and its transport are lost,
 * milliseconds.
 */
resumeWithinMs: number, 
/**
 * How often the client should `ping`, milliseconds. A socket on which nothing comes for three
 * times this long is closed.
 */
pingIntervalMs: number, 
/**
 * For `RTCConfiguration`.
 */
iceServers: Array<IceServer>, 
/**
 * What the server takes.
 */
limits: Limits, 
/**
 * The room as it is. `seq` counts from here: the first event after it is 1.
 */
snapshot: Snapshot, };

/**
 * What the server takes of one participant.
 */
export type Limits = { 
/**
 * Bytes of a text message.
 */
messageBytes: number, 
/**
 * Sections of an offer; recycle inactive ones.
 */
sections: number, 
/**
 * Publications.
 */
publications: number, 
/**
 * Subscriptions.
 */
subscriptions: number, 
/**
 * Bytes of the payload of a data message.
 */
dataBytes: number, 
/**
 * Bytes of the metadata, and of all attributes with their keys.
 */
metadataBytes: number, };

/**
 * To `resume`.
 */
export type Resumed = { 
/**
 * `seq` of the event that comes next. Where it is not one more than the client's, that event is
 * a `room` with everything.
 */
nextSeq: number, };

/**
 * To `offer`.
 */
export type OfferAnswer = { 
/**
 * The description.
 */
sdp: string, 
/**
 * What each sending section publishes, by MID.
 */
publications: { [key in string]: PublicationInfo }, 
/**
 * What each receiving section receives, by MID.
 */
subscriptions: { [key in string]: PublicationId }, 
/**
 * Sections that were declined, by MID, with the reason; they are inactive in the answer.
 */
declined: { [key in string]: Problem }, };

/**
 * To `ping`.
 */
export type Pong = { 
/**
 * Of the ping.
 */
at: number, };

/**
 * Something happened. Everything said here is also in the snapshot that a client would get now.
 */
export type Event = { "type": "room" } & RoomChanged | { "type": "roomUpdated" } & RoomUpdated | { "type": "participantJoined" } & ParticipantChanged | { "type": "participantUpdated" } & ParticipantChanged | { "type": "participantLeft" } & ParticipantLeft | { "type": "published" } & PublicationChanged | { "type": "publicationUpdated" } & PublicationChanged | { "type": "unpublished" } & Unpublished | { "type": "subscriptions" } & Subscriptions | { "type": "permissionsChanged" } & PermissionsChanged | { "type": "speakers" } & Speakers | { "type": "audioSlots" } & AudioSlots | { "type": "qualityChanged" } & QualityChanged | { "type": "layersWatched" } & LayersWatched | { "type": "dataReceived" } & DataReceived | { "type": "transportChanged" } & TransportChanged | { "type": "ended" } & Ended;

/**
 * Why everything is told anew.
 */
export type RoomCause = "admitted" | "moved" | "resync";

/**
 * Everything anew.
 */
export type RoomChanged = { 
/**
 * Why.
 */
cause: RoomCause, 
/**
 * What is.
 */
snapshot: Snapshot, };

/**
 * The room's settings have changed.
 */
export type RoomUpdated = { 
/**
 * What they are.
 */
room: RoomState, };

/**
 * Somebody came, or has changed.
 */
export type ParticipantChanged = { 
/**
 * As it is now.
 */
participant: ParticipantInfo, };

/**
 * Somebody is gone.
 */
export type ParticipantLeft = { 
/**
 * Who.
 */
participant: ParticipantId, 
/**
 * Why.
 */
reason: Reason, };

/**
 * A publication that is new or has changed.
 */
export type PublicationChanged = { 
/**
 * As it is now.
 */
publication: PublicationInfo, };

/**
 * A publication is gone.
 */
export type Unpublished = { 
/**
 * Which.
 */
publication: PublicationId, 
/**
 * Whose it was.
 */
participant: ParticipantId, };

/**
 * What to receive.
 */
export type Subscriptions = { 
/**
 * All of it, in order.
 */
subscriptions: Array<SubscriptionInfo>, };

/**
 * This participant may do other things now.
 */
export type PermissionsChanged = { 
/**
 * What it may do.
 */
permissions: Permissions, };

/**
 * The room's streams of sound.
 */
export type AudioSlots = { 
/**
 * In order.
 */
slots: Array<AudioSlot>, };

/**
 * Who speaks.
 */
export type Speakers = { 
/**
 * The loudest first.
 */
speakers: Array<Speaker>, };

/**
 * Somebody who speaks.
 */
export type Speaker = { 
/**
 * Who.
 */
participant: ParticipantId, 
/**
 * How loud, -dBov (RFC 6464): 0 is loudest, 127 is silence.
 */
level: number, };

/**
 * Connections that got better or worse.
 */
export type QualityChanged = { 
/**
 * Each of them.
 */
qualities: Array<ParticipantQuality>, };

/**
 * How good a participant's connection is.
 */
export type ParticipantQuality = { 
/**
 * Whose.
 */
participant: ParticipantId, 
/**
 * How good.
 */
quality: Quality, };

/**
 * Which layers anybody watches.
 */
export type LayersWatched = { 
/**
 * One's own publication.
 */
publication: PublicationId, 
/**
 * For each of its layers, in their order.
 */
watched: Array<boolean>, };

/**
 * Data that somebody sent.
 */
export type DataReceived = { 
/**
 * Who; absent: the application's server.
 */
from?: ParticipantId, 
/**
 * For the application.
 */
topic: string, 
/**
 * The bytes, in base64.
 */
payload: string, };

/**
 * The transport is another way now.
 */
export type TransportChanged = { 
/**
 * How it is.
 */
transport: TransportInfo, };

/**
 * This session ends.
 */
export type Ended = { 
/**
 * Why.
 */
reason: Reason, 
/**
 * For people.
 */
detail: string, };
