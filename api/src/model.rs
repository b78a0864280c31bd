//! The JSON bodies of `/v1`: what the server knows about rooms, participants, tracks and itself.
//!
//! Field names are camelCase; units are last in the name. Times are seconds since the Unix epoch.
//! Counters count since the session began; `bitrateBps` is a live figure over the last seconds.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Keys, users, tokens.
pub mod access;
/// Events and webhooks.
pub mod events;
/// Changing rooms.
pub mod rooms;
/// Counters of one participant's media.
pub mod stats;

/// `GET /v1/rooms`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RoomList {
    /// Rooms that have a participant, or are kept, in order.
    pub rooms: Vec<RoomInfo>,
    /// Cursor of the next page, if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `GET /v1/rooms/{room}`, and one entry of the list. Hidden participants and their tracks are
/// not counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RoomInfo {
    /// The room's name.
    pub name: String,
    /// When its first participant came.
    pub created_at_s: u64,
    /// Participants that publish.
    pub publishers: u32,
    /// Participants that play.
    pub viewers: u32,
    /// Tracks published.
    pub tracks: u32,
    /// Live bitrate of all media received in this room.
    pub received_bps: u64,
    /// Live bitrate of all media sent to this room's viewers.
    pub sent_bps: u64,
}

/// `GET /v1/rooms/{room}/participants`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ParticipantList {
    /// Publishers and viewers that are not hidden.
    pub participants: Vec<ParticipantInfo>,
    /// Sessions that ended in the last minutes, the oldest first: why somebody is not there.
    pub ended: Vec<EndedInfo>,
}

/// A session that is no more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EndedInfo {
    /// The `sub` of its token.
    pub identity: String,
    /// Display name; may be empty.
    pub name: String,
    /// Publisher or viewer.
    pub role: Role,
    /// When the session began.
    pub joined_at_s: u64,
    /// When it ended.
    pub ended_at_s: u64,
    /// Why, as a stable word: the `cause` of the metric `ion_sessions_ended_total`.
    pub cause: String,
    /// Why, for people.
    pub detail: String,
}

/// What a session is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Sends media: WHIP.
    #[default]
    Publisher,
    /// Receives media: WHEP.
    Viewer,
    /// Both, over `/v1/signal`.
    Participant,
}

/// How far a session has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum SessionState {
    /// Negotiated over HTTP; no connectivity check has come.
    #[default]
    Negotiated,
    /// ICE works, DTLS is under way.
    Connecting,
    /// Media may flow.
    Connected,
    /// Connected, and consent is late.
    Disconnected,
}

/// One participant. With several sessions of one identity there are several entries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ParticipantInfo {
    /// The `sub` of its token.
    pub identity: String,
    /// Display name; may be empty.
    pub name: String,
    /// Publisher or viewer.
    pub role: Role,
    /// State of its transport.
    pub state: SessionState,
    /// When the session began.
    pub joined_at_s: u64,
    /// `1.2` or `1.3`, once DTLS is done.
    pub dtls_version: Option<String>,
    /// SRTP profile, once DTLS is done.
    pub srtp_profile: Option<String>,
    /// Round-trip time, where it is known.
    pub rtt_ms: Option<f64>,
    /// Tracks that it publishes, or plays now.
    pub tracks: u32,
    /// Live bitrate of media received from it.
    pub received_bps: u64,
    /// Live bitrate of media sent to it.
    pub sent_bps: u64,
    /// Worker that owns its transport.
    pub worker: u32,
}

/// `GET /v1/rooms/{room}/participants/{identity}/tracks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrackList {
    /// Tracks that the participant publishes, or is subscribed to.
    pub tracks: Vec<TrackInfo>,
}

/// Audio or video.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum MediaKind {
    /// Sound.
    #[default]
    Audio,
    /// Pictures.
    Video,
}

/// One track, as published by or as sent to the participant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrackInfo {
    /// Stable while the track lives.
    pub id: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// Codec name as in SDP (`opus`, `VP8`, …).
    pub codec: String,
    /// Identification of its m-section; empty where the offer had none.
    pub mid: String,
    /// Whether the participant publishes or plays it.
    pub direction: Role,
    /// For a track played: the identity that publishes it.
    pub publisher: Option<String>,
    /// For a track published: how many play it.
    pub viewers: u32,
    /// For a track published on which somebody speaks: how loud the speech began, dBov (RFC 6464).
    pub speaking_dbov: Option<i16>,
    /// Sums over `encodings`.
    pub bitrate_bps: u64,
    /// RTP packets.
    pub packets: u64,
    /// RTP payload bytes.
    pub bytes: u64,
    /// RTP packets lost, after retransmission where that is known.
    pub lost: u64,
    /// Each RTP stream of the track.
    pub encodings: Vec<EncodingInfo>,
}

/// One RTP stream of a track.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EncodingInfo {
    /// RTP stream id of a simulcast layer (RFC 8852); empty without simulcast.
    pub rid: String,
    /// Synchronization source.
    pub ssrc: u32,
    /// Live bitrate.
    pub bitrate_bps: u64,
    /// RTP packets.
    pub packets: u64,
    /// RTP payload bytes.
    pub bytes: u64,
    /// RTP packets lost.
    pub lost: u64,
    /// Packets sent or received again as RTX or as they were.
    pub retransmitted: u64,
    /// NACKed packets.
    pub nacks: u64,
    /// Keyframe requests (PLI and FIR).
    pub keyframe_requests: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1), where it is measured.
    pub jitter_ms: Option<f64>,
    /// For a track published: whether anybody is sent this or a higher layer, or would be if it came. An encoder
    /// need not make the others.
    pub watched: bool,
}

/// `GET /v1/status`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Version of the control plane.
    pub version: String,
    /// How long the control plane has been up.
    pub uptime_s: u64,
    /// Whether it is ready to take sessions.
    pub ready: bool,
    /// How often a control plane has attached to this dataplane.
    pub attachments: u64,
    /// Rooms that have a participant.
    pub rooms: u32,
    /// Publishing sessions.
    pub publishers: u32,
    /// Playing sessions.
    pub viewers: u32,
    /// The forwarding process.
    pub dataplane: DataplaneStatus,
    /// Each pinned forwarding thread.
    pub workers: Vec<WorkerStatus>,
    /// Use of the shared tables.
    pub tables: Vec<TableUsage>,
    /// The XDP program in front of the interface.
    pub xdp: XdpStatus,
}

/// The XDP program in front of the interface.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct XdpStatus {
    /// `none`, `native` (in the driver) or `generic` (behind it).
    pub attached: String,
    /// Frames by what became of them, since the program was loaded; what never happened is left out.
    pub frames: std::collections::BTreeMap<String, u64>,
    /// Some of the packets that it dropped last, the newest first.
    pub dropped: Vec<DroppedPacket>,
}

/// A packet that the XDP program dropped.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DroppedPacket {
    /// Why: a key of `frames`.
    pub verdict: String,
    /// Where it came from.
    pub remote: String,
    /// Where it went.
    pub local: String,
    /// Bytes of its UDP payload; 0 where the lengths contradict each other.
    pub payload_bytes: u16,
    /// Its first bytes, in hexadecimal.
    pub payload_start: String,
}

/// The forwarding process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DataplaneStatus {
    /// Process id; 0 when it is not attached.
    pub pid: u32,
    /// How long it has been up.
    pub uptime_s: u64,
    /// Addresses of the media port.
    pub media: Vec<String>,
}

/// One pinned forwarding thread.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerStatus {
    /// Index of the worker.
    pub worker: u32,
    /// Transports it owns.
    pub transports: u32,
    /// Packets received.
    pub received_packets: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Live bitrate received.
    pub received_bps: u64,
    /// Live bitrate sent.
    pub sent_bps: u64,
    /// Packets dropped, for whatever reason.
    pub dropped_packets: u64,
    /// Packets sent through AF_XDP; part of those sent.
    pub ring_sent_packets: u64,
}

/// How full one shared table is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TableUsage {
    /// `transport`, `encoding`, `track` or `subscription`.
    pub table: String,
    /// Rows in use.
    pub used: u32,
    /// Rows there are.
    pub capacity: u32,
}
