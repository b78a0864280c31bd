//! What the forwarding process counts of one participant's media: `GET /v1/rooms/{room}/participants/{identity}/stats`.
//!
//! Names and units are those of W3C webrtc-stats wherever that has one for the thing (times are then seconds); what it has
//! no name for is named as everywhere in this API. Counters count from the beginning of the stream.

use super::{MediaKind, Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All sessions of one identity in a room.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ParticipantStats {
    /// A publisher and a viewer of one identity are two sessions.
    pub sessions: Vec<SessionStats>,
}

/// One session: a transport, what comes in over it and what goes out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionStats {
    /// Publisher or viewer.
    pub role: Role,
    /// When it began, seconds since the Unix epoch.
    pub joined_at_s: u64,
    /// Its transport.
    pub transport: TransportStats,
    /// RTP streams that it publishes: an entry for each encoding of each track.
    pub inbound: Vec<InboundStats>,
    /// RTP streams that it is sent: an entry for each subscription.
    pub outbound: Vec<OutboundStats>,
}

/// One ICE/DTLS association.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TransportStats {
    /// Datagrams received and authenticated.
    pub packets_received: u64,
    /// UDP payload bytes of those.
    pub bytes_received: u64,
    /// Datagrams sent.
    pub packets_sent: u64,
    /// UDP payload bytes of those.
    pub bytes_sent: u64,
    /// Seconds, by RTCP.
    pub current_round_trip_time: Option<f64>,
    /// What the client's network is taken to carry, bits per second.
    pub available_outgoing_bitrate: Option<u64>,
    /// Packets from or for it that were dropped; why is counted by worker.
    pub packets_dropped: u64,
    /// RTCP compounds received.
    pub rtcp_packets_received: u64,
    /// RTCP compounds sent.
    pub rtcp_packets_sent: u64,
    /// Packets that wait for their turn in the pacer.
    pub pacer_packets: u64,
    /// UDP payload bytes sent to find out what the network carries.
    pub probe_bytes_sent: u64,
    /// Packets sent that arrived with a congestion mark (ECN CE), as the client reports.
    pub packets_received_with_ce: u64,
    /// Packets that came from the client with such a mark.
    pub inbound_packets_with_ce: u64,
}

/// One RTP stream of a publisher.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InboundStats {
    /// Track that it is of.
    pub track_identifier: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// As in SDP: `video/VP8`.
    pub mime_type: String,
    /// Its m-section.
    pub mid: String,
    /// Simulcast layer; empty without simulcast.
    pub rid: String,
    /// SSRC in use; 0 before the first packet.
    pub ssrc: u32,
    /// RTP packets, useful retransmissions included.
    pub packets_received: u64,
    /// Bytes of RTP payload.
    pub bytes_received: u64,
    /// By sequence numbers; duplicates can make it negative. A source that is silent loses nothing.
    pub packets_lost: i64,
    /// Seconds (RFC 3550, 6.4.1).
    pub jitter: f64,
    /// Seconds to the publisher, by its answers to requests.
    pub round_trip_time: Option<f64>,
    /// Pictures, for video.
    pub frames_received: u64,
    /// Keyframes begun.
    pub key_frames_received: u64,
    /// NACK messages sent.
    pub nack_count: u64,
    /// Sequence numbers in them.
    pub packets_nacked: u64,
    /// Picture loss indications sent.
    pub pli_count: u64,
    /// Full intra requests sent.
    pub fir_count: u64,
    /// Retransmissions that filled a gap.
    pub retransmitted_packets_received: u64,
    /// Bytes of RTP payload of those.
    pub retransmitted_bytes_received: u64,
    /// Retransmissions of what was already here.
    pub retransmitted_packets_useless: u64,
    /// Packets that redundancy (RED, FEC) gave back.
    pub packets_recovered: u64,
    /// Packets that came as RED.
    pub red_packets_received: u64,
    /// Repair packets (FlexFEC).
    pub fec_packets_received: u64,
    /// Bytes of RTP payload of those.
    pub fec_bytes_received: u64,
    /// Of those packets, the ones from which nothing was made.
    pub fec_packets_discarded: u64,
    /// 0 to 1, linear; of audio whose publisher says levels (RFC 6464).
    pub audio_level: Option<f64>,
    /// Live bitrate.
    pub bitrate_bps: u64,
    /// Live bitrate of each spatial layer with all that it needs, the lowest first; empty where there are no
    /// layers, or nobody on the publisher's worker is sent them.
    pub spatial_bitrates_bps: Vec<u64>,
}

/// One RTP stream to a viewer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OutboundStats {
    /// The subscription.
    pub track_identifier: String,
    /// Identity that publishes what is sent now.
    pub publisher: Option<String>,
    /// Audio or video.
    pub kind: MediaKind,
    /// As in SDP: `video/VP8`.
    pub mime_type: String,
    /// Its m-section at the viewer.
    pub mid: String,
    /// SSRC towards the viewer.
    pub ssrc: u32,
    /// RTP packets, without retransmissions.
    pub packets_sent: u64,
    /// Bytes of RTP payload.
    pub bytes_sent: u64,
    /// Retransmissions.
    pub retransmitted_packets_sent: u64,
    /// Bytes of RTP payload of those.
    pub retransmitted_bytes_sent: u64,
    /// Of those packets, the ones that the viewer's feedback says arrived: they were of use, but where what was missed
    /// came late instead. Known where retransmissions have an SSRC of their own (RTX).
    pub retransmitted_packets_received: u64,
    /// RED payloads made for it.
    pub red_packets_sent: u64,
    /// Repair packets (FlexFEC) made for it.
    pub fec_packets_sent: u64,
    /// Bytes of RTP payload of those.
    pub fec_bytes_sent: u64,
    /// Of those packets, the ones that the viewer's feedback says arrived. How many were of use it does not say.
    pub fec_packets_received: u64,
    /// Pictures, for video.
    pub frames_sent: u64,
    /// Keyframes begun.
    pub key_frames_sent: u64,
    /// NACK messages received.
    pub nack_count: u64,
    /// Sequence numbers in them.
    pub packets_nacked: u64,
    /// Of those, no longer here.
    pub packets_nacked_missed: u64,
    /// Of those, not answered because of a limit, or sent a moment before.
    pub packets_nacked_suppressed: u64,
    /// Picture loss indications received.
    pub pli_count: u64,
    /// Full intra requests received.
    pub fir_count: u64,
    /// Packets that the viewer reports lost.
    pub packets_lost: i64,
    /// Of the last report, 0 to 1.
    pub fraction_lost: f64,
    /// Seconds, of the last report.
    pub jitter: f64,
    /// Seconds, by the last report.
    pub round_trip_time: Option<f64>,
    /// Gaps between pictures sent that the viewer must have seen as freezes.
    pub freeze_count: u64,
    /// Seconds.
    pub total_freezes_duration: f64,
    /// What is sent of the track now.
    pub layer_in_use: Option<Layer>,
    /// What is to be sent as soon as the codec allows.
    pub layer_wanted: Option<Layer>,
    /// Why the best is not sent.
    pub quality_limitation_reason: Limitation,
    /// Changes of encoding, and of layers inside encodings.
    pub layer_switches: u64,
    /// Packets not sent: paused, before the first keyframe, of other layers.
    pub packets_withheld: u64,
    /// Of those, of layers above its own.
    pub packets_of_other_layers: u64,
    /// Empty packets sent in place of late ones of layers above its own.
    pub packets_blanked: u64,
    /// Packets withheld because they were silence.
    pub packets_of_silence: u64,
    /// Live bitrate.
    pub bitrate_bps: u64,
}

/// One layer of a track.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Layer {
    /// RTP stream id of the encoding; empty without simulcast.
    pub rid: String,
    /// Place of the encoding, the lowest quality is 0.
    pub encoding: u8,
    /// Spatial layer inside it.
    pub spatial: u8,
    /// Temporal layer inside it.
    pub temporal: u8,
}

/// Why a viewer is not sent the best that there is of a track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Limitation {
    /// It is.
    #[default]
    None,
    /// Its network carries no more.
    Bandwidth,
    /// No more was asked for, or is allowed.
    Requested,
    /// The publisher does not send more at present.
    Publisher,
    /// It is paused.
    Paused,
    /// It could not take more apart: spatial layers of AV1 without the dependency descriptor.
    Viewer,
}
