/// Why a packet was not forwarded; also the index of its counter. No packet
/// disappears without one.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Neither RTP nor RTCP, or too short to tell (RFC 7983).
    NotMedia = 0,
    /// No transport has this source address.
    UnknownAddress,
    /// The RTP header or its extension block does not fit the packet.
    MalformedRtp,
    /// The RTCP compound is malformed.
    MalformedRtcp,
    /// The SRTP or SRTCP tag is wrong.
    AuthFailed,
    /// Already received (RFC 3711, 3.3.2).
    Replayed,
    /// Behind the replay window.
    TooOld,
    /// No encoding of this transport has this SSRC, MID/RID or payload type.
    UnknownSsrc,
    /// The payload type is not one that was negotiated for the encoding.
    UnknownPayloadType,
    /// A retransmission of something already here, or with no original sequence number.
    RtxUseless,
    /// A retransmission whose original stream is not known.
    RtxUnmatched,
    /// Padding only: used for probing, nothing to forward.
    PaddingOnly,
    /// A duplicate after decryption (same sequence number by another way).
    Duplicate,
    /// Packet memory is used up.
    NoBuffer,
    /// Transmit memory is used up or the kernel took nothing.
    TransmitFull,
    /// The kernel refused the send.
    SendFailed,
    /// The ring to another worker is full.
    PeerRingFull,
    /// The packet, rewritten for this subscriber, exceeds the transmit buffer.
    TooLarge,
    /// A limit on work for one transport was reached (NACK storms, keyframe storms).
    RateLimited,
    /// The subscriber's SRTP index is used up (2^48 packets); it must re-key.
    IndexExhausted,
    /// The receive buffer cut the datagram short.
    Truncated,
    /// A payload or dependency descriptor that contradicts itself or what came before it.
    MalformedDescriptor,
    /// Feedback on packets that were never sent, or of a kind that was not negotiated.
    FeedbackRefused,
    /// A repair packet that mended nothing: all that it protects is here, or too much of it is missing.
    FecUseless,
    /// A repair packet that is malformed, or protects what cannot be: another stream, or packets not sent yet.
    FecRefused,
}

impl DropReason {
    /// Number of counters kept for drops (more than there are reasons, so that
    /// reasons can be added without a new layout).
    pub const SLOTS: usize = 32;

    /// Every reason, in counter order.
    pub const ALL: [Self; 25] = [
        Self::NotMedia,
        Self::UnknownAddress,
        Self::MalformedRtp,
        Self::MalformedRtcp,
        Self::AuthFailed,
        Self::Replayed,
        Self::TooOld,
        Self::UnknownSsrc,
        Self::UnknownPayloadType,
        Self::RtxUseless,
        Self::RtxUnmatched,
        Self::PaddingOnly,
        Self::Duplicate,
        Self::NoBuffer,
        Self::TransmitFull,
        Self::SendFailed,
        Self::PeerRingFull,
        Self::TooLarge,
        Self::RateLimited,
        Self::IndexExhausted,
        Self::Truncated,
        Self::MalformedDescriptor,
        Self::FeedbackRefused,
        Self::FecUseless,
        Self::FecRefused,
    ];

    /// Stable name, as metrics carry it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotMedia => "not_media",
            Self::UnknownAddress => "unknown_address",
            Self::MalformedRtp => "malformed_rtp",
            Self::MalformedRtcp => "malformed_rtcp",
            Self::AuthFailed => "auth_failed",
            Self::Replayed => "replayed",
            Self::TooOld => "too_old",
            Self::UnknownSsrc => "unknown_ssrc",
            Self::UnknownPayloadType => "unknown_payload_type",
            Self::RtxUseless => "rtx_useless",
            Self::RtxUnmatched => "rtx_unmatched",
            Self::PaddingOnly => "padding_only",
            Self::Duplicate => "duplicate",
            Self::NoBuffer => "no_buffer",
            Self::TransmitFull => "transmit_full",
            Self::SendFailed => "send_failed",
            Self::PeerRingFull => "peer_ring_full",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::IndexExhausted => "index_exhausted",
            Self::Truncated => "truncated",
            Self::MalformedDescriptor => "malformed_descriptor",
            Self::FeedbackRefused => "feedback_refused",
            Self::FecUseless => "fec_useless",
            Self::FecRefused => "fec_refused",
        }
    }
}

const _: () = {
    assert!(DropReason::ALL.len() <= DropReason::SLOTS);
    let mut i = 0;
    while i < DropReason::ALL.len() {
        assert!(DropReason::ALL[i] as usize == i, "ALL is in counter order");
        i += 1;
    }
};
