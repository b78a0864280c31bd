//! RTP streams of tracks.

use super::{RowHead, RowLink};
use crate::counters::Counter;
use crate::plain;
use crate::values::Text;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One RTP stream of a track.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EncodingConfig {
    /// Generation and life.
    pub head: RowHead,
    /// The track it belongs to.
    pub track: RowLink,
    /// The publisher's transport.
    pub transport: RowLink,
    /// SSRC announced in the offer; 0 is not announced.
    pub ssrc: u32,
    /// SSRC of its retransmissions announced in the offer; 0 is not announced.
    pub rtx_ssrc: u32,
    /// SSRC of its repair packets (FlexFEC) announced in the offer; 0 is not announced.
    pub fec_ssrc: u32,
    /// RTP clock, hertz.
    pub clock_rate: u32,
    /// The publisher's worker.
    pub worker: u16,
    /// Place in the track's list of encodings.
    pub layer: u8,
    /// `ion_wire::codec::CodecKind`.
    pub codec: u8,
    /// Payload type of the codec.
    pub payload_type: u8,
    /// Payload type of its RTX (RFC 4588); 0 is none.
    pub rtx_payload_type: u8,
    /// Payload type of RED for audio (RFC 2198); 0 is none.
    pub red_payload_type: u8,
    /// [`EncodingConfig::NACK`] and the like.
    pub feedback: u8,
    /// MID of the track's m-section; empty if the offer had none.
    pub mid: Text<19>,
    /// RID of this layer; empty if it is not simulcast.
    pub rid: Text<19>,
    /// Payload type of its repair packets (FlexFEC-03); 0 is none.
    pub fec_payload_type: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

impl EncodingConfig {
    /// Generic NACK (RFC 4585, 6.2.1).
    pub const NACK: u8 = 1;
    /// Picture loss indication (RFC 4585, 6.3.1).
    pub const PLI: u8 = 1 << 1;
    /// Full intra request (RFC 5104, 4.3.1).
    pub const FIR: u8 = 1 << 2;
    /// Transport-wide congestion control feedback.
    pub const TRANSPORT_CC: u8 = 1 << 3;
    /// Receiver estimated maximum bitrate.
    pub const REMB: u8 = 1 << 4;
    /// Congestion control feedback by RFC 8888.
    pub const CCFB: u8 = 1 << 5;
}

/// What a worker needs to go on receiving an encoding.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EncodingState {
    /// Generation of the config this belongs to.
    pub generation: u32,
    /// SSRC in use, announced or learned; 0 is none yet.
    pub ssrc: u32,
    /// SSRC of the retransmissions; 0 is none yet.
    pub rtx_ssrc: u32,
    /// RTP timestamp of the newest packet.
    pub timestamp: u32,
    /// Highest authenticated 48-bit index, plus one; 0 is none.
    pub srtp_next: u64,
    /// The same of the retransmission SSRC.
    pub rtx_srtp_next: u64,
    /// NTP time of the last sender report, 32.32; 0 is none.
    pub sr_ntp: u64,
    /// RTP timestamp of that report.
    pub sr_rtp: u32,
    /// SSRC of the repair packets; 0 is none yet.
    pub fec_ssrc: u32,
    /// Highest authenticated 48-bit index of that SSRC, plus one; 0 is none.
    pub fec_srtp_next: u64,
    /// Place in the encoding's stream less index: the stream runs on over changes of
    /// SSRC and leaves out padding-only packets.
    pub position_offset: i64,
}

/// Counters of an encoding.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct EncodingCounters {
    /// Generation of the config that these count for.
    pub generation: Counter,
    /// Media packets received (retransmissions that were useful included).
    pub packets_received: Counter,
    /// Bytes of RTP payload of those.
    pub bytes_received: Counter,
    /// Packets expected by sequence number, less packets received; two's complement.
    pub packets_lost: Counter,
    /// Interarrival jitter (RFC 3550, 6.4.1), microseconds.
    pub jitter_us: Counter,
    /// Packets with the marker bit: pictures, for video.
    pub frames_received: Counter,
    /// Keyframes begun.
    pub key_frames_received: Counter,
    /// Sequence numbers asked for again.
    pub nacks_sent: Counter,
    /// NACK messages sent.
    pub nack_messages_sent: Counter,
    /// Picture loss indications sent.
    pub plis_sent: Counter,
    /// Full intra requests sent.
    pub firs_sent: Counter,
    /// Retransmissions that filled a gap.
    pub retransmitted_received: Counter,
    /// Retransmissions of what was already here.
    pub retransmitted_useless: Counter,
    /// Packets given to other workers, counted once for each worker.
    pub packets_crossed: Counter,
    /// When the last packet came, microseconds of the dataplane's clock.
    pub last_received_us: Counter,
    /// Round-trip time to the publisher, microseconds; 0 is unknown.
    pub rtt_us: Counter,
    /// Packets made from redundancy (RED, FlexFEC) that filled a gap.
    pub fec_recovered: Counter,
    /// Level of audio over the last fifth of a second with packets, in dB above silence (0..=127 dBov): 0 is silence.
    pub audio_level: Counter,
    /// Repair packets (FlexFEC) received.
    pub fec_packets_received: Counter,
    /// Bytes of RTP payload of those.
    pub fec_bytes_received: Counter,
    /// Repair packets from which nothing was made.
    pub fec_packets_discarded: Counter,
    /// Bytes of RTP payload of retransmissions that filled a gap.
    pub retransmitted_bytes: Counter,
    /// Packets that came as RED (RFC 2198).
    pub red_received: Counter,
    /// Bits per second of each spatial layer with all that it needs, as a viewer of it is sent; 0 is none. Known while
    /// somebody is subscribed on the publisher's worker.
    pub spatial_bps: [Counter; EncodingCounters::SPATIAL],
    /// Zero.
    pub reserved: [Counter; 5],
}

impl EncodingCounters {
    /// Spatial layers whose rates are told.
    pub const SPATIAL: usize = 4;
}

plain!(EncodingConfig, EncodingState);

// The sizes are part of the contract: who changes one raises `ABI_VERSION`.
#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<EncodingConfig>() == 96);
    assert!(size_of::<EncodingState>() == 64);
    assert!(size_of::<EncodingCounters>() == 256);
};
