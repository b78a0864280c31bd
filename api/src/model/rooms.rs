//! The bodies of `/v1/rooms/…` that change something.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{MediaKind, RoomInfo};
pub use crate::govern::{AudioSettings, Cap, Member, RoomDetails, RoomSettings};
use crate::names::{Identity, RoomName};
use crate::signal::model::{Permissions, SubscriptionInfo, SubscriptionRule};

/// `POST /v1/rooms`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRoom {
    /// Its name.
    #[schema(value_type = String, pattern = r"^(?!\.{1,2}$)[A-Za-z0-9_.~@:+=|-]+$",
        min_length = 1, max_length = 128)]
    pub name: RoomName,
    /// The application's own; at most 4096 bytes.
    #[serde(default)]
    #[schema(max_length = 4096)]
    pub metadata: String,
    /// Shared room state; at most 32 of together at most 4096 bytes.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Who joins waits until admitted.
    #[serde(default)]
    pub lobby: bool,
    /// Participants; 0: as many as the server allows.
    #[serde(default)]
    pub max_participants: u32,
    /// Stays when nobody is in it.
    #[serde(default = "yes")]
    pub keep: bool,
    /// How its sound is forwarded.
    #[serde(default)]
    pub audio: AudioSettings,
}

fn yes() -> bool {
    true
}

/// `PATCH /v1/rooms/{room}`: what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RoomChange {
    /// The application's own; at most 4096 bytes.
    #[schema(max_length = 4096)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// Shared room state; replaces all; at most 32 of together at most 4096 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, String>>,
    /// Who joins waits until admitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lobby: Option<bool>,
    /// Participants; 0: as many as the server allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_participants: Option<u32>,
    /// Stays when nobody is in it; `false` of a room in which nobody is ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<bool>,
    /// How its sound is forwarded; replaces all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioSettings>,
}

/// `PATCH /v1/rooms/{room}/participants/{identity}`: what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ParticipantChange {
    /// What it may do from now on; replaces all permissions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
    /// Display name.
    #[schema(max_length = 256)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The application's own; at most 4096 bytes.
    #[schema(max_length = 4096)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// Sets these; an empty value removes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// `GET /v1/rooms/{room}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RoomView {
    /// What goes on there.
    #[serde(flatten)]
    pub info: RoomInfo,
    /// How it is set up.
    #[serde(flatten)]
    pub details: RoomDetails,
}

/// What to mute of a participant.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MuteAll {
    /// Only this; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<MediaKind>,
}

/// Where to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Destination {
    /// The room that takes them; it comes to be if need be.
    #[schema(value_type = String, pattern = r"^(?!\.{1,2}$)[A-Za-z0-9_.~@:+=|-]+$",
        min_length = 1, max_length = 128)]
    pub to: RoomName,
}

/// Whom to take where.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Split {
    /// The room that takes them; it comes to be if need be.
    #[schema(value_type = String, pattern = r"^(?!\.{1,2}$)[A-Za-z0-9_.~@:+=|-]+$",
        min_length = 1, max_length = 128)]
    pub to: RoomName,
    /// Who; all of them or none.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 1000)]
    pub identities: Vec<Identity>,
}

/// `PATCH /v1/rooms/{room}/tracks/{track}`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TrackChange {
    /// `true`: nobody gets it until a moderator lets it go on, by `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// `true` mutes it; its publisher may undo that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted: Option<bool>,
    /// Bounds what anybody gets; replaces all bounds before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<Cap>,
}

/// `PUT /v1/rooms/{room}/participants/{identity}/subscriptions/{track}`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Decision {
    /// Who decides from now on.
    pub rule: SubscriptionRule,
}

/// What a participant receives.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionList {
    /// In order.
    pub subscriptions: Vec<SubscriptionInfo>,
}

/// Who is in a room.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberList {
    /// In order of arrival, those in the lobby among them.
    pub members: Vec<Member>,
}

/// `POST /v1/rooms/{room}/data`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewData {
    /// To whom; absent: everybody in the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, max_items = 1000)]
    pub to: Option<Vec<Identity>>,
    /// For the application, to tell its messages apart.
    #[serde(default)]
    #[schema(max_length = 128)]
    pub topic: String,
    /// The bytes, in base64.
    #[schema(max_length = 43692)]
    pub payload: String,
    /// May be lost.
    #[serde(default)]
    pub lossy: bool,
}
