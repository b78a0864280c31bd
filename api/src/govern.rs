//! What a moderator, or the application's server, asks of a room.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::accounts::Quota;
use crate::documents::Expected;
use crate::names::{Identity, RoomName};
use crate::signal::model::{Permissions, SubscriptionRule};
use crate::signal::{PublicationId, model};

/// A room's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RoomSettings {
    /// The application's own, opaque to the server.
    pub metadata: String,
    /// Shared room state, the application's own, by key.
    pub attributes: BTreeMap<String, String>,
    /// Who joins waits until admitted.
    pub lobby: bool,
    /// Participants; 0: as many as the server allows.
    pub max_participants: u32,
    /// Stays when nobody is in it.
    pub keep: bool,
    /// How its sound is forwarded.
    pub audio: AudioSettings,
}

/// How a room's sound is forwarded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AudioSettings {
    /// As how many streams SDK participants get it at most: those of the loudest, by turns; 0: everybody's. Who
    /// subscribes by himself gets what he subscribes to. A viewer over WHEP plays one publisher, with or without slots:
    /// that one's own sound, whoever speaks, since it has one stream of sound and cannot be told whose it is.
    #[schema(maximum = 16)]
    pub slots: u8,
    /// What becomes of silence; for viewers over WHEP too.
    pub silence: Silence,
}

/// What becomes of packets of sound whose publisher says that they are silence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Silence {
    /// They are sent like all others.
    #[default]
    Forward,
    /// They are not sent.
    Drop,
}

/// How a room is set up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RoomDetails {
    /// Its settings.
    pub settings: RoomSettings,
    /// Publications of other rooms that are forwarded here too.
    #[schema(value_type = Vec<String>)]
    pub guests: Vec<PublicationId>,
    /// Its streams of sound, and whose each is now.
    pub audio_slots: Vec<model::AudioSlot>,
}

/// A participant as the application's server sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// As others see it, its publications among that.
    #[serde(flatten)]
    pub info: model::ParticipantInfo,
    /// What it may do.
    pub permissions: Permissions,
}

/// How much anybody gets of a publication. What is absent does not bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Cap {
    /// Highest simulcast layer, or without simulcast spatial layer, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_spatial: Option<u8>,
    /// Highest temporal layer, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_temporal: Option<u8>,
    /// Only layers that are said to take no more, bits per second; the lowest always goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bitrate_bps: Option<u32>,
}

/// An API key that makes a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maker {
    /// The key.
    pub key: String,
    /// How much it may hold.
    pub quota: Quota,
}

/// What to do in a room. All of one act happens, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Makes the room, or changes its settings.
    Configure {
        /// What it must be by now: its `version`.
        expected: Expected,
        /// How it is to be.
        settings: RoomSettings,
        /// The API key that makes it, where it is made, and how many that key may have.
        maker: Option<Maker>,
    },
    /// Ends the room and everybody's stay in it.
    Close,
    /// Lets a participant out of the lobby, into the room.
    Admit(Identity),
    /// Ends a participant's stay; its tokens for the room are dead.
    Kick(Identity),
    /// A participant may do other things from now on.
    Permit(Identity, Permissions),
    /// A participant is described anew. What is `None` stays.
    Describe {
        /// Who.
        identity: Identity,
        /// Display name.
        name: Option<String>,
        /// The application's own.
        metadata: Option<String>,
        /// Sets these; an empty value removes.
        attributes: BTreeMap<String, String>,
    },
    /// Mutes all that a participant publishes, or all of one kind; it may undo that.
    MuteAll(Identity, Option<crate::model::MediaKind>),
    /// Moves participants to another room, which comes to be if need be; nothing reconnects.
    Move {
        /// Who; nobody means everybody.
        identities: Vec<Identity>,
        /// Where to.
        to: RoomName,
    },
    /// Mutes a publication; its publisher may undo that.
    Mute(PublicationId),
    /// Stops a publication, or lets it go on.
    Pause(PublicationId, bool),
    /// Bounds what anybody gets of a publication; replaces all bounds before.
    Throttle(PublicationId, Cap),
    /// Ends a publication.
    Unpublish(PublicationId),
    /// Decides for a subscriber.
    Rule(Identity, PublicationId, SubscriptionRule),
    /// Forwards a publication into another room too.
    Attach(PublicationId, RoomName),
    /// No longer.
    Detach(PublicationId, RoomName),
    /// Sends data to participants, as the application's server.
    Send {
        /// To whom; `None` is everybody.
        to: Option<Vec<Identity>>,
        /// For the application.
        topic: String,
        /// The bytes, in base64.
        payload: String,
        /// May be lost.
        lossy: bool,
    },
}
