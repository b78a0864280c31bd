//! The rows. Zero is "none" in every field, so that a zeroed row is a dead one.
//!
//! A row that refers to another carries the other's number *and* generation
//! ([`RowLink`]); a link whose generation is not the row's is stale and must not
//! be followed.

use crate::counters::Counter;
use crate::plain;
use crate::seqcell::Plain;
use crate::values::{Address, ExtensionMap, Text};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Number and life of a row.
#[repr(C)]
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct RowLink {
    /// Number of the row in its table.
    pub row: u32,
    /// The row's generation when the link was made; 0 is no link.
    pub generation: u32,
}

impl RowLink {
    /// Whether this links to anything.
    pub fn is_some(self) -> bool {
        self.generation != 0
    }

    /// Both in one number; 0 is no link.
    pub fn pack(self) -> u64 {
        u64::from(self.row) | u64::from(self.generation) << 32
    }

    /// What [`pack`](Self::pack) made.
    #[expect(clippy::cast_possible_truncation, reason = "cut out of a packed word")]
    pub fn unpack(word: u64) -> Self {
        Self {
            row: word as u32,
            generation: (word >> 32) as u32,
        }
    }
}

/// First field of every config part.
#[repr(C)]
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct RowHead {
    /// Grows by one with every life of the row; 0 only before the first.
    pub generation: u32,
    /// 1 while the row is in use.
    pub live: u32,
}

/// A table: the types of its parts.
pub trait Row: 'static {
    /// Written by the control plane.
    type Config: Plain + HasHead;
    /// Written by the owning worker: enough to resume, or to move the row.
    type State: Plain;
    /// Written by the owning worker, read by anyone.
    type Counters: Sync;
    /// The table's number.
    const KIND: crate::RowKind;
}

/// Access to the head that every config begins with.
pub trait HasHead {
    /// The head.
    fn head(&self) -> RowHead;
    /// Replaces the head.
    fn set_head(&mut self, head: RowHead);
}

macro_rules! has_head {
    ($($t:ty),+) => {$(
        impl HasHead for $t {
            fn head(&self) -> RowHead { self.head }
            fn set_head(&mut self, head: RowHead) { self.head = head; }
        }
    )+};
}
has_head!(
    TransportConfig,
    TrackConfig,
    EncodingConfig,
    SubscriptionConfig
);

/// Table of [`TransportConfig`] rows: ICE/DTLS associations.
#[derive(Debug, Clone, Copy)]
pub enum Transport {}
/// Table of [`TrackConfig`] rows: published sources.
#[derive(Debug, Clone, Copy)]
pub enum Track {}
/// Table of [`EncodingConfig`] rows: RTP streams of tracks.
#[derive(Debug, Clone, Copy)]
pub enum Encoding {}
/// Table of [`SubscriptionConfig`] rows: tracks sent over transports.
#[derive(Debug, Clone, Copy)]
pub enum Subscription {}

impl Row for Transport {
    type Config = TransportConfig;
    type State = TransportState;
    type Counters = TransportCounters;
    const KIND: crate::RowKind = crate::RowKind::Transport;
}
impl Row for Track {
    type Config = TrackConfig;
    type State = TrackState;
    type Counters = TrackCounters;
    const KIND: crate::RowKind = crate::RowKind::Track;
}
impl Row for Encoding {
    type Config = EncodingConfig;
    type State = EncodingState;
    type Counters = EncodingCounters;
    const KIND: crate::RowKind = crate::RowKind::Encoding;
}
impl Row for Subscription {
    type Config = SubscriptionConfig;
    type State = SubscriptionState;
    type Counters = SubscriptionCounters;
    const KIND: crate::RowKind = crate::RowKind::Subscription;
}

/// One ICE/DTLS association, as the dataplane needs it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TransportConfig {
    /// Generation and life.
    pub head: RowHead,
    /// The worker that owns this transport, its encodings and its subscriptions.
    pub worker: u16,
    /// IANA number of the SRTP protection profile; 0 before DTLS is done.
    pub srtp_profile: u16,
    /// SSRC of the RTCP that Ion originates on this transport.
    pub feedback_ssrc: u32,
    /// Where the client is: the nominated pair's far end.
    pub remote: Address,
    /// The nominated pair's near end; its port is the media port.
    pub local: Address,
    /// Negotiated header extensions.
    pub extensions: ExtensionMap,
    /// [`TransportConfig::TRANSPORT_CC_OUT`] and the like.
    pub flags: u32,
    /// Upper bound of a sent datagram's UDP payload, bytes; 0 is what an Ethernet frame holds.
    pub max_datagram: u32,
    /// CNAME of the sender reports sent on this transport.
    pub cname: Text<23>,
    /// The control plane's name of the session; not used by the dataplane.
    pub session: Text<47>,
}

impl TransportConfig {
    /// Packets to this client carry transport-wide sequence numbers.
    pub const TRANSPORT_CC_OUT: u32 = 1;
    /// Reduced-size RTCP (RFC 5506) was negotiated.
    pub const RTCP_REDUCED_SIZE: u32 = 1 << 1;
    /// The client reports on packets by RFC 8888 (`ack ccfb`).
    pub const CCFB_OUT: u32 = 1 << 2;
}

/// What must not leak: in pages of its own that are locked and not dumped.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TransportSecrets {
    /// The transport row's generation these belong to; 0 is none.
    pub generation: u32,
    /// 1 when the SRTP keys are set.
    pub keyed: u32,
    /// Master key of what the client sends.
    pub rx_key: [u8; 32],
    /// Master salt of what the client sends (14 or 12 bytes used).
    pub rx_salt: [u8; 16],
    /// Master key of what Ion sends.
    pub tx_key: [u8; 32],
    /// Master salt of what Ion sends (14 or 12 bytes used).
    pub tx_salt: [u8; 16],
    /// ICE username fragment of Ion.
    pub local_ufrag: Text<31>,
    /// ICE password of Ion.
    pub local_pwd: Text<63>,
    /// ICE username fragment of the client.
    pub remote_ufrag: Text<255>,
    /// ICE password of the client.
    pub remote_pwd: Text<255>,
}

impl Default for TransportSecrets {
    fn default() -> Self {
        zerocopy::FromZeros::new_zeroed()
    }
}

impl std::fmt::Debug for TransportSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransportSecrets")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// What a worker needs to go on with a transport.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TransportState {
    /// Generation of the config this belongs to.
    pub generation: u32,
    /// Next SRTCP index to send with (31 bits).
    pub srtcp_tx_next: u32,
    /// Next transport-wide sequence number to send with (extended).
    pub transport_cc_next: u64,
    /// Number of transport-wide feedback packets sent.
    pub transport_cc_feedback_count: u32,
    /// Zero.
    pub reserved: u32,
}

/// Counters of a transport.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct TransportCounters {
    /// Packets received and authenticated.
    pub packets_received: Counter,
    /// UDP payload bytes received and authenticated.
    pub bytes_received: Counter,
    /// Packets sent.
    pub packets_sent: Counter,
    /// UDP payload bytes sent.
    pub bytes_sent: Counter,
    /// RTCP compounds received.
    pub rtcp_received: Counter,
    /// RTCP compounds sent.
    pub rtcp_sent: Counter,
    /// Packets from or for this transport dropped, for whatever reason.
    pub dropped: Counter,
    /// Packets of congestion control feedback sent: transport-wide, or by RFC 8888.
    pub transport_cc_sent: Counter,
    /// Round-trip time by RTCP, microseconds; 0 is unknown.
    pub rtt_us: Counter,
    /// What the client's network is taken to carry, bits per second; 0 is not known.
    pub estimate_bps: Counter,
    /// When something was last received, microseconds of the dataplane's clock.
    pub last_received_us: Counter,
    /// Generation of the config that these count for.
    pub generation: Counter,
    /// Packets that wait for their turn in the pacer.
    pub pacer_packets: Counter,
    /// UDP payload bytes sent to find out what the network carries.
    pub probe_bytes: Counter,
    /// Packets sent that arrived with a congestion mark (RFC 3168), as the client reports.
    pub congestion_marks: Counter,
    /// Packets received with a congestion mark.
    pub congestion_marks_received: Counter,
}

/// One published audio or video source.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TrackConfig {
    /// Generation and life.
    pub head: RowHead,
    /// The publisher's transport.
    pub transport: RowLink,
    /// Its encodings, lowest quality first.
    pub encodings: [RowLink; TrackConfig::MAX_ENCODINGS],
    /// Bit `w` is set when worker `w` owns a subscription of this track.
    pub subscriber_workers: u64,
    /// RTP clock, hertz.
    pub clock_rate: u32,
    /// The publisher's worker.
    pub worker: u16,
    /// 1 audio, 2 video.
    pub kind: u8,
    /// `ion_wire::codec::CodecKind`.
    pub codec: u8,
    /// The stage it is on or may come onto, named by its first seat; none: it is sent to who subscribes to it only.
    pub stage: RowLink,
    /// This row is a seat of the stage: no source, but a place that is given to one after the other, the loudest. Its
    /// encodings are none, and its worker decides for the whole stage. 1 is the first; 0: it is a source.
    pub seat: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

impl TrackConfig {
    /// Simulcast layers of one track.
    pub const MAX_ENCODINGS: usize = 4;
    /// [`TrackConfig::kind`] of audio.
    pub const AUDIO: u8 = 1;
    /// [`TrackConfig::kind`] of video.
    pub const VIDEO: u8 = 2;
}

/// Who has a seat; a source needs no state of its own so far.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TrackState {
    /// Generation of the config this belongs to.
    pub generation: u32,
    /// Zero.
    pub reserved: u32,
    /// The source that has the seat; none so far.
    pub source: RowLink,
}

/// A track counts nothing of its own so far: its encodings do.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct TrackCounters {
    /// Zero.
    pub reserved: Counter,
}

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
    /// Zero.
    pub reserved: Counter,
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

/// Counters of one worker.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct WorkerCounters {
    /// Datagrams received.
    pub packets_received: Counter,
    /// UDP payload bytes of those.
    pub bytes_received: Counter,
    /// Datagrams sent.
    pub packets_sent: Counter,
    /// UDP payload bytes of those.
    pub bytes_sent: Counter,
    /// Sends handed to the kernel (a GSO send of ten datagrams counts once).
    pub sends: Counter,
    /// System calls made by the worker's loop.
    pub syscalls: Counter,
    /// Receive batches.
    pub batches: Counter,
    /// Packets given to other workers.
    pub packets_crossed_out: Counter,
    /// Packets taken from other workers.
    pub packets_crossed_in: Counter,
    /// Datagrams that arrived here and belong to another worker.
    pub handed_over: Counter,
    /// Whole scans of the tables.
    pub rescans: Counter,
    /// Rows seen torn and left alone.
    pub rows_torn: Counter,
    /// Buffers of packet memory in use.
    pub buffers_used: Counter,
    /// Buffers of packet memory in all.
    pub buffers_total: Counter,
    /// The worker's time of the last loop, microseconds of the dataplane's clock.
    pub heartbeat_us: Counter,
    /// Datagrams received through AF_XDP rings; part of `packets_received`.
    pub ring_received: Counter,
    /// Datagrams sent through AF_XDP rings; part of `packets_sent`.
    pub ring_sent: Counter,
    /// System calls that told the kernel of frames in a TX ring.
    pub ring_kicks: Counter,
    /// Datagrams dropped because the TX ring was full; part of the drops.
    pub ring_full: Counter,
    /// AF_XDP: 0 is not in use, 1 in use, 2 the link is down, 3 lost and not back yet.
    pub ring_state: Counter,
    /// Frames of the UMEM that are on their way: arrived and not given back, or being sent.
    pub ring_frames: Counter,
    /// Packets that the kernel dropped for lack of room in RX or fill rings; looked at each second.
    pub ring_dropped: Counter,
    /// Sequence numbers that viewers asked for again.
    pub nacks_received: Counter,
    /// Retransmissions sent to viewers.
    pub retransmitted_sent: Counter,
    /// Sequence numbers that publishers were asked for again.
    pub nacks_sent: Counter,
    /// Retransmissions of publishers that filled a gap.
    pub retransmitted_received: Counter,
    /// Keyframes that publishers were asked for.
    pub keyframes_asked: Counter,
    /// Changes of what viewers are sent: of encoding, and of layer inside one.
    pub layer_switches: Counter,
    /// Gaps between pictures sent that a viewer must have seen as freezes.
    pub freezes: Counter,
    /// UDP payload bytes sent to find out what networks carry.
    pub probe_bytes: Counter,
    /// Zero.
    pub reserved: [Counter; 2],
    /// By [`crate::DropReason`].
    pub drops: [Counter; crate::DropReason::SLOTS],
}

impl WorkerCounters {
    /// Counts `n` packets dropped.
    pub fn drop_packets(&self, reason: crate::DropReason, n: u64) {
        self.drops[reason as usize].add(n);
    }
}

plain!(
    TransportConfig,
    TransportSecrets,
    TransportState,
    TrackConfig,
    TrackState,
    EncodingConfig,
    EncodingState,
    SubscriptionConfig,
    SubscriptionState,
);

// The sizes are part of the contract: who changes one raises `ABI_VERSION`.
#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<TransportConfig>() == 160);
    assert!(size_of::<TransportSecrets>() == 712);
    assert!(size_of::<TransportState>() == 24);
    assert!(size_of::<TrackConfig>() == 80);
    assert!(size_of::<TrackState>() == 16);
    assert!(size_of::<EncodingConfig>() == 96);
    assert!(size_of::<EncodingState>() == 64);
    assert!(size_of::<SubscriptionConfig>() == 72);
    assert!(size_of::<SubscriptionState>() == 72);
    assert!(size_of::<TransportCounters>() == 128);
    assert!(size_of::<EncodingCounters>() == 256);
    assert!(size_of::<SubscriptionCounters>() == 256);
    assert!(size_of::<WorkerCounters>() == 512);
};
