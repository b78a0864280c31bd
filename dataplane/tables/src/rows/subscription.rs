//! Tracks sent over transports.

use super::{RowHead, RowLink};
use crate::counters::Counter;
use crate::plain;
use crate::values::Text;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One track sent over one transport.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SubscriptionConfig {
    /// Generation and life.
    pub head: RowHead,
    /// The viewer's transport.
    pub transport: RowLink,
    /// The track sent; may be replaced while running (the stream goes on at the next keyframe).
    pub track: RowLink,
    /// SSRC towards the viewer.
    pub ssrc: u32,
    /// SSRC of retransmissions towards the viewer; 0 is none.
    pub rtx_ssrc: u32,
    /// The viewer's worker.
    pub worker: u16,
    /// Payload type of the track's codec at the viewer.
    pub payload_type: u8,
    /// Payload type of RTX at the viewer; 0: send the plain packet again.
    pub rtx_payload_type: u8,
    /// Payload type of RED at the viewer; 0 is none.
    pub red_payload_type: u8,
    /// Highest encoding of the track that may be sent.
    pub max_layer: u8,
    /// [`SubscriptionConfig::PAUSED`] and the like.
    pub flags: u8,
    /// Higher goes first when there is not room for all.
    pub priority: u8,
    /// MID of the m-section at the viewer; empty if it did not negotiate MID.
    pub mid: Text<19>,
    /// RTP clock, hertz.
    pub clock_rate: u32,
    /// Spatial layers inside an encoding that may be sent; 0: all.
    pub spatial_layers: u8,
    /// Temporal layers that may be sent; 0: all.
    pub temporal_layers: u8,
    /// Payload type of repair packets (FlexFEC-03) at the viewer; 0 is none.
    pub fec_payload_type: u8,
    /// Zero.
    pub reserved: u8,
    /// SSRC of repair packets towards the viewer; 0 is none.
    pub fec_ssrc: u32,
}

impl SubscriptionConfig {
    /// Nothing is sent.
    pub const PAUSED: u8 = 1;
    /// The viewer negotiated generic NACK.
    pub const NACK: u8 = 1 << 1;
    /// Audio that says that it is silence is not sent.
    pub const DROP_SILENCE: u8 = 1 << 2;
}

/// What a worker needs to go on sending a subscription.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SubscriptionState {
    /// Generation of the config this belongs to.
    pub generation: u32,
    /// The encoding that is being forwarded, as its row number plus one; 0 is none.
    pub encoding: u32,
    /// Next 48-bit SRTP index that has never been sent with.
    pub srtp_next: u64,
    /// The same of the retransmission SSRC.
    pub rtx_srtp_next: u64,
    /// The same of the SSRC of repair packets.
    pub fec_srtp_next: u64,
    /// Outgoing SRTP index less the place in that encoding's stream
    /// ([`EncodingState::position_offset`]).
    pub sequence_offset: i64,
    /// Outgoing minus incoming RTP timestamp of that encoding, modulo 2^32.
    pub timestamp_offset: u32,
    /// RTP timestamp sent last.
    pub timestamp: u32,
    /// Packets sent since the SSRC was first used, modulo 2^32 (for sender reports).
    pub sender_packets: u32,
    /// Payload octets sent since then, modulo 2^32.
    pub sender_octets: u32,
    /// Least playout delay that the viewer was last told, milliseconds; 0 is none.
    pub playout_ms: u16,
    /// VP8 or VP9 picture id sent last, of 15 bits.
    pub picture_id: u16,
    /// Outgoing minus incoming picture id of that encoding.
    pub picture_id_offset: u16,
    /// Frame number of a dependency descriptor sent last.
    pub frame_number: u16,
    /// Outgoing minus incoming frame number.
    pub frame_number_offset: u16,
    /// TL0PICIDX sent last.
    pub tl0_picidx: u8,
    /// Outgoing minus incoming TL0PICIDX.
    pub tl0_picidx_offset: u8,
    /// KEYIDX sent last.
    pub keyidx: u8,
    /// Outgoing minus incoming KEYIDX.
    pub keyidx_offset: u8,
    /// Spatial layer in use inside the encoding, the highest that may be sent.
    pub spatial: u8,
    /// Temporal layer in use, likewise.
    pub temporal: u8,
}

/// Counters of a subscription.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct SubscriptionCounters {
    /// Generation of the config that these count for.
    pub generation: Counter,
    /// Media packets sent, retransmissions not included.
    pub packets_sent: Counter,
    /// Bytes of RTP payload of those.
    pub bytes_sent: Counter,
    /// Retransmissions sent.
    pub retransmitted_sent: Counter,
    /// Bytes of RTP payload of those.
    pub retransmitted_bytes: Counter,
    /// Sequence numbers asked for by the viewer.
    pub nacks_received: Counter,
    /// Of those, no longer in the history.
    pub nacks_missed: Counter,
    /// Of those, not answered because of a limit, or sent a moment ago.
    pub nacks_suppressed: Counter,
    /// Picture loss indications received.
    pub plis_received: Counter,
    /// Full intra requests received.
    pub firs_received: Counter,
    /// Packets that the viewer reports lost (cumulative; two's complement).
    pub packets_lost: Counter,
    /// Fraction lost in the last report, in 1/256.
    pub fraction_lost: Counter,
    /// Jitter in the last report, microseconds.
    pub jitter_us: Counter,
    /// Round-trip time by the last report, microseconds; 0 is unknown.
    pub rtt_us: Counter,
    /// Changes of encoding.
    pub switches: Counter,
    /// Packets not sent to this subscriber: before its first keyframe, paused, too large, of layers above its own.
    pub packets_withheld: Counter,
    /// Of those, of layers above its own.
    pub packets_of_other_layers: Counter,
    /// Empty packets sent in place of late ones of layers above its own.
    pub packets_blanked: Counter,
    /// Changes of layer inside an encoding.
    pub layer_switches: Counter,
    /// Layer in use: encoding, spatial and temporal layer, as [`SubscriptionCounters::layer`] makes it.
    pub layer_in_use: Counter,
    /// Layer wanted, likewise.
    pub layer_wanted: Counter,
    /// RED payloads made for it.
    pub red_sent: Counter,
    /// Repair packets (FlexFEC) made for it.
    pub fec_packets_sent: Counter,
    /// Bytes of RTP payload of those.
    pub fec_bytes_sent: Counter,
    /// Packets sent with the marker bit: pictures, for video.
    pub frames_sent: Counter,
    /// Keyframes begun.
    pub key_frames_sent: Counter,
    /// NACK messages received.
    pub nack_messages_received: Counter,
    /// Times that no picture was sent for so long that the viewer must have seen it stand still.
    pub freezes: Counter,
    /// How long those took in all, microseconds.
    pub freeze_us: Counter,
    /// Why it is not sent the best that there is: a [`Limit`].
    pub limit: Counter,
    /// Packets not sent because they were silence; part of those withheld.
    pub packets_of_silence: Counter,
    /// Retransmissions under an SSRC of their own that arrived, as the viewer says.
    pub retransmitted_arrived: Counter,
    /// Repair packets that arrived, as the viewer says. What it made of them it does not say.
    pub fec_packets_arrived: Counter,
    /// Zero.
    pub reserved: [Counter; 15],
}

/// Why a viewer is not sent the best that there is of a track.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Limit {
    /// It is.
    #[default]
    None = 0,
    /// Its network carries no more.
    Bandwidth = 1,
    /// Its row allows no more.
    Requested = 2,
    /// The publisher does not send more at present.
    Publisher = 3,
    /// Its row says that nothing be sent.
    Paused = 4,
    /// It could not take more apart.
    Viewer = 5,
}

impl Limit {
    /// All of them, by number.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Bandwidth,
        Self::Requested,
        Self::Publisher,
        Self::Paused,
        Self::Viewer,
    ];

    /// The one with this number.
    pub fn of(number: u64) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|&limit| limit as u64 == number)
    }

    /// As a word, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bandwidth => "bandwidth",
            Self::Requested => "requested",
            Self::Publisher => "publisher",
            Self::Paused => "paused",
            Self::Viewer => "viewer",
        }
    }
}

impl SubscriptionCounters {
    /// What [`SubscriptionCounters::layer`] made: encoding, spatial and temporal layer; `None` is none.
    pub fn layer_of(number: u64) -> Option<(u8, u8, u8)> {
        let part = |shift: u32| u8::try_from((number >> shift) & 0xff).ok()?.checked_sub(1);
        Some((part(16)?, part(8)?, part(0)?))
    }

    /// An encoding of the track and a layer inside it, each plus one, in one number; 0 is none.
    pub fn layer(encoding: u8, spatial: u8, temporal: u8) -> u64 {
        let plus_one = |part: u8| u64::from(part) + 1;
        plus_one(encoding) << 16 | plus_one(spatial) << 8 | plus_one(temporal)
    }
}

plain!(SubscriptionConfig, SubscriptionState);

// The sizes are part of the contract: who changes one raises `ABI_VERSION`.
#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<SubscriptionConfig>() == 72);
    assert!(size_of::<SubscriptionState>() == 72);
    assert!(size_of::<SubscriptionCounters>() == 384);
};
