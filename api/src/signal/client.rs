use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::model::{LayerInfo, PublicationId, Source, SubscriptionBounds};

/// A text message of the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ClientMessage {
    /// Comes back in the answer; without one there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub id: Option<u32>,
    /// What it wants.
    #[serde(flatten)]
    pub request: Request,
}

/// What a client may ask for. The first one is `join` or `resume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum Request {
    /// Enter a room. Answered by `joined`.
    Join(Join),
    /// Go on after the socket was lost. Answered by `resumed`, then by the events missed, or by a
    /// `room` event with everything where they are no longer kept.
    Resume(Resume),
    /// Begin or change the transport. Answered by `answer`.
    Offer(Offer),
    /// Candidates that were found later. Answered by `ok`.
    Candidates(Candidates),
    /// Change one's own publication. Answered by `ok`.
    UpdatePublication(UpdatePublication),
    /// End one's own publication; its m-section may be used again. Answered by `ok`.
    Unpublish(Unpublish),
    /// Choose what to receive, and how much of it. Answered by `ok`.
    Subscribe(Subscribe),
    /// Change one's own name, metadata, attributes. Answered by `ok`.
    UpdateSelf(UpdateSelf),
    /// Send data to others; the fall-back for data channels. Answered by `ok`.
    Data(Data),
    /// Answered by `pong`: a keep-alive that scripts in a browser can see.
    Ping(Ping),
    /// Leave at once. Answered by `ok`, then the socket is closed.
    Leave(Leave),
}

/// Enter a room.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct Join {
    /// The protocol version, 1.
    pub protocol: u32,
    /// The token, where it was not sent with the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Which room; absent: the one that the token names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// Guests of a development server only: who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Display name; needs `canUpdateOwnMetadata`, where the token names another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether publications are subscribed as they come; absent is yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_subscribe: Option<bool>,
    /// Name and version of the client, for logs and statistics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

impl fmt::Debug for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join")
            .field("protocol", &self.protocol)
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

/// Go on after the socket was lost.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Resume {
    /// From `joined`: whoever knows it is this participant.
    pub session: String,
    /// `seq` of the last event that arrived; 0 if none did.
    #[cfg_attr(test, ts(type = "number"))]
    pub seq: u64,
}

impl fmt::Debug for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resume")
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}

/// The offer of the client's one `RTCPeerConnection`, and what its m-sections are for. A section
/// that is named in neither map must be inactive, or m=application.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Offer {
    /// The client's name for this `RTCPeerConnection`. A new name is a new transport, which replaces
    /// the old one; publications with the same `cid` stay what they are.
    pub peer: String,
    /// The description.
    pub sdp: String,
    /// Sections that send: what they publish, by MID. All of them, in each offer.
    #[serde(default)]
    #[cfg_attr(test, ts(as = "BTreeMap<String, TrackOffer>"))]
    pub tracks: BTreeMap<String, TrackOffer>,
    /// Sections that receive: which publication, by MID. All of them, in each offer.
    #[serde(default)]
    #[cfg_attr(test, ts(as = "BTreeMap<String, PublicationId>"))]
    pub subscriptions: BTreeMap<String, PublicationId>,
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
            .field("peer", &self.peer)
            .field("tracks", &self.tracks)
            .field("subscriptions", &self.subscriptions)
            .finish_non_exhaustive()
    }
}

/// A track that a section publishes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct TrackOffer {
    /// The client's own id of the track; the same `cid` is the same publication.
    pub cid: String,
    /// Where it comes from.
    pub source: Source,
    /// A name for it; may be empty.
    pub name: String,
    /// Tracks with the same stream play in sync; absent: all of this participant's of its kind
    /// (camera with microphone, screen with its sound).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Its RTP streams, lowest quality first; empty: one of unknown size.
    pub layers: Vec<LayerInfo>,
    /// SVC mode of the encoder; empty without.
    pub scalability_mode: String,
    /// End-to-end encrypted.
    pub encrypted: bool,
    /// Begins muted.
    pub muted: bool,
}

/// Candidates that were found later. The server is a lite agent that learns them from connectivity
/// checks, so that sending them is optional.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Candidates {
    /// Of which peer connection.
    pub peer: String,
    /// `candidate:…` lines.
    pub candidates: Vec<String>,
}

/// Change one's own publication. What is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct UpdatePublication {
    /// Which.
    pub publication: PublicationId,
    /// Muted or not; false also lifts the mute of a moderator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted: Option<bool>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What its RTP streams are now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<LayerInfo>>,
}

/// End one's own publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Unpublish {
    /// Which.
    pub publication: PublicationId,
}

/// Choose what to receive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct Subscribe {
    /// Whether publications that come from now on are subscribed; absent: as before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_subscribe: Option<bool>,
    /// Changes, by publication. Those that are not here, or not there any more, stay.
    pub changes: Vec<SubscriptionChange>,
}

/// A wish about one publication. What is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct SubscriptionChange {
    /// Which.
    pub publication: PublicationId,
    /// Whether to receive it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribed: Option<bool>,
    /// How much of it; replaces all that was said before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<SubscriptionBounds>,
}

/// Change one's own name, metadata, attributes. What is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct UpdateSelf {
    /// Display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The application's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// Sets these; an empty value removes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, String>>,
}

/// Send data to others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct Data {
    /// Identities; absent: everybody in the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Vec<String>>,
    /// For the application, to tell its messages apart.
    pub topic: String,
    /// The bytes, in base64.
    pub payload: String,
    /// May be lost: goes over the receivers' `lossy` channel where they have one.
    pub lossy: bool,
}

/// A keep-alive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Ping {
    /// Comes back as it is: the client's clock.
    #[cfg_attr(test, ts(type = "number"))]
    pub at: u64,
}

/// Leave at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Leave {}
