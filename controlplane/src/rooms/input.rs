//! What can happen to rooms.

use super::{Key, Slot};
use crate::record::Kind;
use ion_api::govern::AudioSettings;
use ion_api::names::{Identity, RoomName};
use ion_api::signal::PublicationId;
use ion_api::signal::model::{
    LayerInfo, ParticipantKind, Permissions, Quality, Source, SubscriptionBounds, SubscriptionRule,
};
use ion_api::signal::server::Reason;
use ion_api::token::TokenRef;
use ion_sdp::TrackCodec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Something happened, or is asked for. What is asked for may be [`Refused`](super::Refused), and
/// then nothing has changed.
#[derive(Debug, Clone)]
pub enum Input {
    // Participants.
    /// Somebody enters a room, or its lobby.
    Join(Box<Join>),
    /// Its media can flow.
    Live(Key),
    /// Its media cannot flow any more; it may connect again.
    Down(Key),
    /// Whether anything of it, socket or transport, is connected.
    Presence {
        /// Who.
        key: Key,
        /// False: it has a while to come back.
        is_connected: bool,
    },
    /// It is gone.
    Leave {
        /// Who.
        key: Key,
        /// Why, for the others.
        reason: Reason,
    },
    /// It changes what it says of itself. What is `None` stays.
    Describe {
        /// Who.
        key: Key,
        /// What.
        changes: Description,
        /// Asked for by itself, so that its permissions count.
        is_own: bool,
    },

    // Publications.
    /// A participant publishes something, or what it publishes was negotiated anew.
    Publish(Box<Publish>),
    /// A publication ends, for whatever reason.
    Unpublish(PublicationId),
    /// A publication is described anew by its publisher. What is `None` stays.
    Redescribe {
        /// Which.
        publication: PublicationId,
        /// Whose it must be.
        key: Key,
        /// Muted or not.
        muted: Option<bool>,
        /// Its name.
        name: Option<String>,
        /// Its RTP streams.
        layers: Option<Vec<LayerInfo>>,
    },

    // Subscriptions.
    /// A participant's m-sections that receive, all of them. Their places in the list are for ever.
    Slots {
        /// Who.
        key: Key,
        /// What stands at each place.
        slots: Vec<Slot>,
    },
    /// A participant chooses what to receive.
    Subscribe {
        /// Who.
        key: Key,
        /// Whether what comes from now on is subscribed.
        auto: Option<bool>,
        /// Wishes by publication.
        changes: Vec<Wish>,
    },

    // Moderation: what `/v1/rooms/…` asks for.
    /// A participant may do other things from now on.
    Permit {
        /// Who.
        key: Key,
        /// What.
        permissions: Permissions,
    },
    /// Out of the lobby, into the room.
    Admit(Key),
    /// Out of the room.
    Kick(Key),
    /// Stops a publication; its publisher may undo it.
    Mute(PublicationId),
    /// Stops a publication until a moderator lets it go on.
    Pause {
        /// Which.
        publication: PublicationId,
        /// Stop or go on.
        is_paused: bool,
    },
    /// Bounds what anybody gets of a publication.
    Throttle {
        /// Which.
        publication: PublicationId,
        /// How much at most; replaces all that was said before.
        cap: Cap,
    },
    /// Decides for a subscriber.
    Rule {
        /// Who.
        key: Key,
        /// About what.
        publication: PublicationId,
        /// What.
        rule: SubscriptionRule,
    },
    /// Into another room, which comes to be if need be, with all publications; nothing reconnects.
    Move {
        /// Who; all of one room, all or none.
        keys: Vec<Key>,
        /// Where to.
        to: RoomName,
    },
    /// Everybody of one room into another.
    Merge {
        /// The room that becomes empty.
        from: RoomName,
        /// The room that takes them.
        into: RoomName,
    },
    /// Multicast: a publication is forwarded into another room too.
    Attach {
        /// Which.
        publication: PublicationId,
        /// Where to.
        room: RoomName,
    },
    /// It is no longer.
    Detach {
        /// Which.
        publication: PublicationId,
        /// Where.
        room: RoomName,
    },
    /// Makes a room that stays without participants, or changes its settings.
    Configure {
        /// Which.
        room: RoomName,
        /// How it is to be.
        settings: Settings,
    },
    /// Ends a room and everybody's stay in it.
    Close(RoomName),

    // What the dataplane says.
    /// How loud a publication is, or that it is silent.
    Speaking {
        /// Which.
        publication: PublicationId,
        /// -dBov (RFC 6464); `None` is silence.
        level: Option<u8>,
    },
    /// A room has these seats on its stage, for as many streams of sound.
    Stage {
        /// Which room.
        room: RoomName,
        /// All of them, in order; they are named as publications are.
        seats: Vec<PublicationId>,
    },
    /// A seat went to a source.
    Seated {
        /// Which seat.
        seat: PublicationId,
        /// Who has it; `None` is nobody.
        source: Option<PublicationId>,
    },
    /// How good a participant's connection is.
    Quality {
        /// Whose.
        key: Key,
        /// How good.
        quality: Quality,
    },
    /// Which layers of a publication anybody is sent.
    Watched {
        /// Which.
        publication: PublicationId,
        /// By layer, lowest quality first.
        watched: Vec<bool>,
    },

    /// Time passes: who did not come back is gone.
    Tick,
}

/// Somebody enters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The participant, in this process and in the store.
    pub key: Key,
    /// Where to.
    pub room: RoomName,
    /// Who it is.
    pub identity: Identity,
    /// What it says of itself.
    pub description: Description,
    /// What kind of client it is.
    pub kind: ParticipantKind,
    /// What it may do.
    pub permissions: Permissions,
    /// How it gets tracks.
    pub play: Play,
    /// Seconds since the Unix epoch.
    pub joined_at_s: u64,
    /// The token it came with.
    #[serde(default, rename = "tokenRef")]
    pub token: Option<TokenRef>,
    /// It was in the room already: no lobby.
    pub is_admitted: bool,
}

/// How a participant gets tracks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Play {
    /// By subscriptions, which its offers give an m-section each (the SDK).
    Subscribe {
        /// Whether publications are subscribed as they come.
        auto: bool,
    },
    /// Those of one publisher, whoever that is at the time (WHEP).
    Follow {
        /// Whom; `None` is the room's first publisher.
        wanted: Option<Identity>,
        /// Whom it plays already.
        current: Option<Key>,
    },
    /// None (WHIP).
    Nothing,
}

/// What a participant says of itself; in changes, what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Display name.
    pub name: Option<String>,
    /// The application's own.
    pub metadata: Option<String>,
    /// Sets these; an empty value removes.
    pub attributes: BTreeMap<String, String>,
}

/// A track that a participant publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// Whose.
    pub key: Key,
    /// Which; one that is there is changed.
    pub id: PublicationId,
    /// The publisher's own id of it.
    pub cid: String,
    /// Audio or video.
    pub kind: Kind,
    /// Codec, as negotiated.
    pub codec: crate::record::Codec,
    /// Where it comes from.
    pub source: Source,
    /// The publisher's name for it.
    pub name: String,
    /// What plays in sync with it.
    pub stream: String,
    /// Its RTP streams, lowest quality first.
    pub layers: Vec<LayerInfo>,
    /// SVC mode.
    pub scalability_mode: String,
    /// End-to-end encrypted.
    pub encrypted: bool,
    /// Begins muted.
    pub muted: bool,
}

impl Publish {
    /// The codec.
    pub fn codec(&self) -> &TrackCodec {
        &self.codec.0
    }
}

/// A subscriber's wish. What is `None` stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// About what.
    pub publication: PublicationId,
    /// Whether to receive it.
    pub subscribed: Option<bool>,
    /// How much of it.
    pub bounds: Option<SubscriptionBounds>,
}

/// Bounds on what anybody gets of a publication. What is `None` does not bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cap {
    /// Highest simulcast layer, or without simulcast spatial layer.
    pub max_spatial: Option<u8>,
    /// Highest temporal layer.
    pub max_temporal: Option<u8>,
    /// Only layers that are said to take no more, bits per second; the lowest always goes.
    pub max_bitrate_bps: Option<u32>,
}

/// A room's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The application's own.
    pub metadata: String,
    /// Shared room state.
    pub attributes: BTreeMap<String, String>,
    /// Who joins waits until admitted.
    pub lobby: bool,
    /// Participants; 0: as many as the server allows.
    pub max_participants: u32,
    /// Stays when nobody is in it.
    pub is_kept: bool,
    /// How its sound is forwarded.
    #[serde(default)]
    pub audio: AudioSettings,
    /// The API key that it was made with; stays as it was when the room was made.
    #[serde(default)]
    pub maker: Option<String>,
}
