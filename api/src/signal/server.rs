use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::{
    AudioSlot, IceServer, ParticipantId, ParticipantInfo, Permissions, PublicationId,
    PublicationInfo, Quality, RoomState, Snapshot, SubscriptionInfo, TransportInfo,
};

/// A text message of the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum ServerMessage {
    /// To a request.
    Answer {
        /// Of the request.
        id: u32,
        /// The answer.
        #[serde(flatten)]
        answer: Answer,
    },
    /// Something happened.
    Event {
        /// One more than that of the event before; the first of a session is 1.
        #[cfg_attr(test, ts(type = "number"))]
        seq: u64,
        /// What.
        #[serde(flatten)]
        event: Event,
    },
    /// To a message without an `id`, or that could not be read.
    Error {
        /// Always `error`.
        #[serde(rename = "type")]
        #[cfg_attr(test, ts(type = "\"error\""))]
        kind: ErrorTag,
        /// What was wrong.
        #[serde(flatten)]
        problem: Problem,
    },
}

/// The type of a [`ServerMessage::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorTag {
    /// The one there is.
    Error,
}

/// To a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum Answer {
    /// Done.
    Ok,
    /// To `join`.
    Joined(Box<Joined>),
    /// To `resume`.
    Resumed(Resumed),
    /// To `offer`.
    Answer(OfferAnswer),
    /// To `ping`.
    Pong(Pong),
    /// Refused; nothing has changed.
    Error(Problem),
}

/// Why something was refused, or why a session ended. Clients decide by it what to do next; one that
/// they do not know counts as `internal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum Reason {
    /// The message is no JSON, has no known type, or lacks something.
    BadMessage,
    /// Not before `join`, or not in the lobby, or twice.
    WrongState,
    /// The client speaks another version of the protocol.
    UnsupportedProtocol,
    /// No token was sent.
    TokenMissing,
    /// The token is none of this server's.
    TokenInvalid,
    /// The token has expired.
    TokenExpired,
    /// The token was revoked, or its holder was kicked.
    TokenRevoked,
    /// The token is for another room.
    OtherRoom,
    /// The grants do not allow it.
    Forbidden,
    /// There is no such participant, publication or room.
    NotFound,
    /// The session to resume is over, or never was: join again.
    NoSuchSession,
    /// The SDP does not parse.
    MalformedSdp,
    /// The SDP cannot be served.
    UnprocessableSdp,
    /// The room is full, or has as many publications as it may have.
    RoomFull,
    /// Something is larger, longer or more than allowed.
    TooLarge,
    /// Too many messages in too short a time; try again later.
    RateLimited,
    /// The server has no room for it now; try again later.
    Overloaded,
    /// Somebody else joined with the same identity.
    DuplicateIdentity,
    /// A moderator removed this participant; its token is dead.
    Kicked,
    /// The room was closed.
    RoomClosed,
    /// This participant left.
    Left,
    /// It was moved to another room.
    Moved,
    /// It does not publish any more (multicast from another room).
    Detached,
    /// Nothing was heard of this participant for too long.
    TimedOut,
    /// Another socket resumed this session.
    Superseded,
    /// The client did not read what was sent to it.
    TooSlow,
    /// The server stops; resume in a moment.
    ServerStopping,
    /// The server's fault.
    Internal,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Problem {
    /// For programs.
    pub reason: Reason,
    /// For people.
    pub detail: String,
    /// When trying again makes sense, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub retry_after_ms: Option<u32>,
}

impl Problem {
    /// A refusal.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            retry_after_ms: None,
        }
    }
}

impl From<crate::Problem> for Problem {
    fn from(problem: crate::Problem) -> Self {
        let reason = match problem.kind {
            "token-missing" => Reason::TokenMissing,
            "token-invalid" => Reason::TokenInvalid,
            "token-expired" => Reason::TokenExpired,
            "token-revoked" => Reason::TokenRevoked,
            "forbidden" => Reason::Forbidden,
            "not-found" => Reason::NotFound,
            "no-such-session" => Reason::NoSuchSession,
            "malformed-sdp" => Reason::MalformedSdp,
            "unprocessable-sdp" => Reason::UnprocessableSdp,
            "bad-request" | "bad-name" => Reason::BadMessage,
            "conflict" => Reason::WrongState,
            "too-large" => Reason::TooLarge,
            _ => match problem.status.as_u16() {
                429 => Reason::RateLimited,
                503 => Reason::Overloaded,
                _ => Reason::Internal,
            },
        };
        Self {
            reason,
            detail: problem.detail,
            retry_after_ms: problem.retry_after_s.map(|s| s.saturating_mul(1_000)),
        }
    }
}

/// To `join`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Joined {
    /// The protocol version, 1.
    pub protocol: u32,
    /// Version of the server.
    pub server: String,
    /// Secret of this session, for `resume`.
    pub session: String,
    /// How long the session waits for a `resume` after its socket and its transport are lost,
    /// milliseconds.
    pub resume_within_ms: u32,
    /// How often the client should `ping`, milliseconds. A socket on which nothing comes for three
    /// times this long is closed.
    pub ping_interval_ms: u32,
    /// For `RTCConfiguration`.
    pub ice_servers: Vec<IceServer>,
    /// What the server takes.
    pub limits: Limits,
    /// The room as it is. `seq` counts from here: the first event after it is 1.
    pub snapshot: Snapshot,
}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joined")
            .field("snapshot", &self.snapshot)
            .finish_non_exhaustive()
    }
}

/// What the server takes of one participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Limits {
    /// Bytes of a text message.
    pub message_bytes: u32,
    /// Sections of an offer; recycle inactive ones.
    pub sections: u32,
    /// Publications.
    pub publications: u32,
    /// Subscriptions.
    pub subscriptions: u32,
    /// Bytes of the payload of a data message.
    pub data_bytes: u32,
    /// Bytes of the metadata, and of all attributes with their keys.
    pub metadata_bytes: u32,
}

/// To `resume`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Resumed {
    /// `seq` of the event that comes next. Where it is not one more than the client's, that event is
    /// a `room` with everything.
    #[cfg_attr(test, ts(type = "number"))]
    pub next_seq: u64,
}

/// To `offer`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct OfferAnswer {
    /// The description.
    pub sdp: String,
    /// What each sending section publishes, by MID.
    #[cfg_attr(test, ts(as = "BTreeMap<String, PublicationInfo>"))]
    pub publications: BTreeMap<String, PublicationInfo>,
    /// What each receiving section receives, by MID.
    #[cfg_attr(test, ts(as = "BTreeMap<String, PublicationId>"))]
    pub subscriptions: BTreeMap<String, PublicationId>,
    /// Sections that were declined, by MID, with the reason; they are inactive in the answer.
    #[cfg_attr(test, ts(as = "BTreeMap<String, Problem>"))]
    pub declined: BTreeMap<String, Problem>,
}

impl fmt::Debug for OfferAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfferAnswer")
            .field("publications", &self.publications)
            .field("subscriptions", &self.subscriptions)
            .field("declined", &self.declined)
            .finish_non_exhaustive()
    }
}

/// To `ping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Pong {
    /// Of the ping.
    #[cfg_attr(test, ts(type = "number"))]
    pub at: u64,
}

/// Something happened. Everything said here is also in the snapshot that a client would get now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum Event {
    /// Everything anew: this participant was admitted or moved, or missed too many events.
    Room(Box<RoomChanged>),
    /// The room's settings have changed.
    RoomUpdated(RoomUpdated),
    /// Somebody came. To admins also: somebody waits in the lobby.
    ParticipantJoined(ParticipantChanged),
    /// Somebody's name, metadata, attributes or state has changed; `publications` are as they are.
    ParticipantUpdated(ParticipantChanged),
    /// Somebody is gone, with all its publications.
    ParticipantLeft(ParticipantLeft),
    /// Somebody publishes something.
    Published(PublicationChanged),
    /// A publication has changed; one's own too, when a moderator did it.
    PublicationUpdated(PublicationChanged),
    /// A publication is gone.
    Unpublished(Unpublished),
    /// What to receive, complete and in order: the client adds receiving sections for what is new,
    /// stops those of what is gone, and offers.
    Subscriptions(Subscriptions),
    /// This participant may do other things now.
    PermissionsChanged(PermissionsChanged),
    /// Who speaks, the loudest first; complete.
    Speakers(Speakers),
    /// Whose each of the room's streams of sound is, complete and in order.
    AudioSlots(AudioSlots),
    /// Connections that got better or worse.
    QualityChanged(QualityChanged),
    /// Which layers of one's own publication anybody watches: the others need not be encoded.
    LayersWatched(LayersWatched),
    /// Data from a participant, or from the application's server.
    DataReceived(DataReceived),
    /// The transport is another way now.
    TransportChanged(TransportChanged),
    /// This session ends; the socket is closed next.
    Ended(Ended),
}

/// Why everything is told anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum RoomCause {
    /// Out of the lobby.
    Admitted,
    /// Into another room: by a move, a split or a merge.
    Moved,
    /// Events were missed.
    Resync,
}

/// Everything anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct RoomChanged {
    /// Why.
    pub cause: RoomCause,
    /// What is.
    pub snapshot: Snapshot,
}

/// The room's settings have changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct RoomUpdated {
    /// What they are.
    pub room: RoomState,
}

/// Somebody came, or has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ParticipantChanged {
    /// As it is now.
    pub participant: ParticipantInfo,
}

/// Somebody is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ParticipantLeft {
    /// Who.
    pub participant: ParticipantId,
    /// Why.
    pub reason: Reason,
}

/// A publication that is new or has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct PublicationChanged {
    /// As it is now.
    pub publication: PublicationInfo,
}

/// A publication is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Unpublished {
    /// Which.
    pub publication: PublicationId,
    /// Whose it was.
    pub participant: ParticipantId,
}

/// What to receive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Subscriptions {
    /// All of it, in order.
    pub subscriptions: Vec<SubscriptionInfo>,
}

/// This participant may do other things now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct PermissionsChanged {
    /// What it may do.
    pub permissions: Permissions,
}

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Speakers {
    /// The loudest first.
    pub speakers: Vec<Speaker>,
}

/// The room's streams of sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct AudioSlots {
    /// In order.
    pub slots: Vec<AudioSlot>,
}

/// Somebody who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Speaker {
    /// Who.
    pub participant: ParticipantId,
    /// How loud, -dBov (RFC 6464): 0 is loudest, 127 is silence.
    pub level: u8,
}

/// Connections that got better or worse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct QualityChanged {
    /// Each of them.
    pub qualities: Vec<ParticipantQuality>,
}

/// How good a participant's connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ParticipantQuality {
    /// Whose.
    pub participant: ParticipantId,
    /// How good.
    pub quality: Quality,
}

/// Which layers anybody watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct LayersWatched {
    /// One's own publication.
    pub publication: PublicationId,
    /// For each of its layers, in their order.
    pub watched: Vec<bool>,
}

/// Data that somebody sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct DataReceived {
    /// Who; absent: the application's server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub from: Option<ParticipantId>,
    /// For the application.
    pub topic: String,
    /// The bytes, in base64.
    pub payload: String,
}

/// The transport is another way now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct TransportChanged {
    /// How it is.
    pub transport: TransportInfo,
}

/// This session ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Ended {
    /// Why.
    pub reason: Reason,
    /// For people.
    pub detail: String,
}
