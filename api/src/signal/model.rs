use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::MediaKind;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String)]
        #[cfg_attr(test, derive(ts_rs::TS), ts(type = "string"))]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let number = text.strip_prefix(concat!($prefix, "_")).ok_or(NotAnId)?;
                number.parse().map(Self).map_err(|_| NotAnId)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;
            fn try_from(text: String) -> Result<Self, NotAnId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

/// A string is no id of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such id")]
pub struct NotAnId;

id!(
    /// A participant, for as long as it is connected; `PA_` and a number. It stays the same when the
    /// participant resumes, restarts ICE or is moved to another room; who joins again has another.
    ParticipantId,
    "PA"
);
id!(
    /// A published track, from its first offer until it is unpublished; `PB_` and a number. It stays
    /// the same when its publisher renegotiates, or connects a new transport with the same `cid`.
    PublicationId,
    "PB"
);

/// Where a track comes from; the words of the grant `canPublishSources`.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum Source {
    /// A camera.
    Camera,
    /// A microphone.
    Microphone,
    /// A screen, window or tab.
    ScreenShare,
    /// What sounds there.
    ScreenShareAudio,
    /// Anything else; needs a token that does not restrict sources.
    #[default]
    Other,
}

/// What a participant may do. All of it can change while it is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[expect(clippy::struct_excessive_bools, reason = "each is a grant of its own")]
pub struct Permissions {
    /// May publish tracks.
    pub can_publish: bool,
    /// Which; empty is all.
    pub can_publish_sources: Vec<Source>,
    /// May receive tracks.
    pub can_subscribe: bool,
    /// May send data messages.
    pub can_publish_data: bool,
    /// May change its own name, metadata and attributes.
    pub can_update_own_metadata: bool,
    /// Is not shown to others.
    pub hidden: bool,
    /// May govern the room: passes its lobby, and moderates over the HTTP API.
    pub room_admin: bool,
}

impl Default for Permissions {
    /// What a token allows that says nothing but `roomJoin`.
    fn default() -> Self {
        Self {
            can_publish: true,
            can_publish_sources: Vec::new(),
            can_subscribe: true,
            can_publish_data: true,
            can_update_own_metadata: false,
            hidden: false,
            room_admin: false,
        }
    }
}

impl Permissions {
    /// Whether a track from there may be published.
    pub fn may_publish(&self, source: Source) -> bool {
        let listed = self.can_publish_sources.contains(&source);
        self.can_publish && (listed || self.can_publish_sources.is_empty())
    }
}

/// What kind of client a participant is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum ParticipantKind {
    /// The SDK: publishes and subscribes over one transport.
    #[default]
    Sdk,
    /// A WHIP publisher.
    Whip,
    /// A WHEP viewer; others are not told of it.
    Whep,
    /// Not here: its publication is multicast from another room.
    Guest,
}

/// Where a participant stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum ParticipantState {
    /// Waits in the lobby until somebody admits it; sees and hears nothing, and is shown to admins.
    Lobby,
    /// In the room.
    #[default]
    Active,
    /// In the room, and its signalling and media are gone for now; it has some time to come back.
    Disconnected,
}

/// A participant as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ParticipantInfo {
    /// Which.
    pub id: ParticipantId,
    /// The `sub` of its token; unique among the SDK participants of a room.
    pub identity: String,
    /// Display name; may be empty.
    pub name: String,
    /// What kind of client it is.
    pub kind: ParticipantKind,
    /// Where it stands.
    pub state: ParticipantState,
    /// Grows with each change of anything here but its publications.
    pub version: u32,
    /// The application's own, opaque to the server.
    pub metadata: String,
    /// The application's own, by key.
    pub attributes: BTreeMap<String, String>,
    /// Seconds since the Unix epoch.
    #[cfg_attr(test, ts(type = "number"))]
    pub joined_at_s: u64,
    /// Whether it may moderate.
    pub is_admin: bool,
    /// How good its connection is; absent: not known yet.
    #[serde(default, skip_serializing_if = "Quality::is_unknown")]
    #[cfg_attr(test, ts(optional, as = "Option<Quality>"))]
    pub quality: Quality,
    /// Its tracks.
    pub publications: Vec<PublicationInfo>,
}

/// One RTP stream of a publication, as its publisher describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct LayerInfo {
    /// RTP stream id (RFC 8852); empty without simulcast.
    pub rid: String,
    /// Pixels; 0 where unknown.
    pub width: u32,
    /// Pixels; 0 where unknown.
    pub height: u32,
    /// What it takes at most, bits per second; 0 where unknown.
    pub max_bitrate_bps: u32,
}

/// A published track as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct PublicationInfo {
    /// Which.
    pub id: PublicationId,
    /// Whose.
    pub participant: ParticipantId,
    /// Audio or video.
    #[cfg_attr(test, ts(type = "\"audio\" | \"video\""))]
    pub kind: MediaKind,
    /// Where it comes from.
    pub source: Source,
    /// The publisher's name for it; may be empty.
    pub name: String,
    /// Codec as in SDP (`opus`, `VP8`, …); empty before the first answer.
    pub codec: String,
    /// Its RTP streams, lowest quality first.
    pub layers: Vec<LayerInfo>,
    /// SVC mode of the encoder (`L3T3_KEY`, …); empty without.
    pub scalability_mode: String,
    /// End-to-end encrypted: its payload is opaque.
    pub encrypted: bool,
    /// Its publisher has muted it, or a moderator has; the publisher may unmute it.
    pub muted: bool,
    /// A moderator has stopped it; nobody receives it, and only a moderator lets it go on.
    pub paused: bool,
    /// Tracks of one participant with the same stream play in sync.
    pub stream: String,
    /// Grows with each change of anything here.
    pub version: u32,
    /// The publisher's own id of the track; given to the publisher alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub cid: Option<String>,
}

/// How much of a publication a subscriber wants. What is absent does not bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SubscriptionBounds {
    /// Send nothing for now; the subscription stays.
    pub paused: bool,
    /// Highest simulcast layer, or without simulcast spatial layer, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub max_spatial: Option<u8>,
    /// Highest temporal layer, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub max_temporal: Option<u8>,
    /// Size at which it is shown, device pixels: the smallest layer that fills it is enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub width: Option<u32>,
    /// Size at which it is shown, device pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub height: Option<u32>,
    /// Higher goes first when there is not room for all; 128 without a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub priority: Option<u8>,
}

/// Who decides about a subscription.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum SubscriptionRule {
    /// The subscriber.
    #[default]
    Free,
    /// A moderator: it is always there.
    Forced,
    /// A moderator: it is never there.
    Forbidden,
}

/// A publication that this participant is to receive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SubscriptionInfo {
    /// Which.
    pub publication: PublicationId,
    /// The m-section that carries it, once an answer has bound one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub mid: Option<String>,
    /// What this participant asked for.
    pub bounds: SubscriptionBounds,
    /// Who decided.
    pub rule: SubscriptionRule,
}

/// A room's settings, as participants see them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct RoomState {
    /// Its name.
    pub name: String,
    /// The application's own, opaque to the server.
    pub metadata: String,
    /// Shared room state, the application's own, by key.
    pub attributes: BTreeMap<String, String>,
    /// Grows with each change.
    pub version: u32,
    /// Who joins waits until admitted.
    pub lobby: bool,
}

/// Everything that a participant knows of its room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Snapshot {
    /// The room.
    pub room: RoomState,
    /// This participant.
    pub me: ParticipantInfo,
    /// What it may do.
    pub permissions: Permissions,
    /// The others, in order of arrival. In the lobby: none.
    pub participants: Vec<ParticipantInfo>,
    /// What to receive, in order; see [`super::Event::Subscriptions`].
    pub subscriptions: Vec<SubscriptionInfo>,
    /// Streams of sound that the room has, where it has so many, and whose each is now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, ts(optional, as = "Option<Vec<AudioSlot>>"))]
    pub audio_slots: Vec<AudioSlot>,
    /// State of the transport; absent before the first offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub transport: Option<TransportInfo>,
}

/// One of a room's streams of sound, which is of one source after the other: the loudest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct AudioSlot {
    /// What it is called in subscriptions, as if it were a publication.
    #[schema(value_type = String)]
    pub publication: PublicationId,
    /// The publication that it is of now; absent: of none so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    #[schema(value_type = Option<String>)]
    pub source: Option<PublicationId>,
}

/// How a transport is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum TransportState {
    /// ICE and DTLS are under way.
    #[default]
    Connecting,
    /// Media flows.
    Connected,
    /// Nothing has come from the client for some seconds; restart ICE.
    Disconnected,
    /// It is gone; offer a new one, with another `peer`.
    Lost,
}

/// A participant's transport.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct TransportInfo {
    /// The client's name for its `RTCPeerConnection`, from its offer.
    pub peer: String,
    /// How it is.
    pub state: TransportState,
    /// Whether data channels work. Not after the server's negotiating process was restarted: media
    /// goes on, data goes by [`super::Request::Data`] until the client offers a new `peer`.
    pub data_channels: bool,
}

/// A STUN or TURN server for `RTCConfiguration.iceServers`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct IceServer {
    /// `stun:…`, `turn:…` or `turns:…`.
    pub urls: Vec<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub username: Option<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub credential: Option<String>,
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("IceServer");
        shown.field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// How good a participant's connection is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum Quality {
    /// Not known yet.
    #[default]
    Unknown,
    /// Nothing comes.
    Lost,
    /// Much is lost, or video is starved.
    Poor,
    /// Some is lost.
    Good,
    /// Nothing to complain about.
    Excellent,
}

impl Quality {
    fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}
