//! ICE/DTLS associations.

use super::RowHead;
use crate::counters::Counter;
use crate::plain;
use crate::values::{Address, ExtensionMap, Text};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

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

impl TransportSecrets {
    /// The SRTP keys of a transport's life, a master key and salt for each way, and no ICE credentials.
    pub fn keyed(generation: u32, rx: ([u8; 32], [u8; 16]), tx: ([u8; 32], [u8; 16])) -> Self {
        let ((rx_key, rx_salt), (tx_key, tx_salt)) = (rx, tx);
        Self {
            generation,
            keyed: 1,
            rx_key,
            rx_salt,
            tx_key,
            tx_salt,
            ..Self::default()
        }
    }
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

plain!(TransportConfig, TransportSecrets, TransportState);

// The sizes are part of the contract: who changes one raises `ABI_VERSION`.
#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<TransportConfig>() == 160);
    assert!(size_of::<TransportSecrets>() == 712);
    assert!(size_of::<TransportState>() == 24);
    assert!(size_of::<TransportCounters>() == 128);
};
