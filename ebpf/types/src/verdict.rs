/// What became of a frame; also the index of its counter. Every frame is counted once.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Passed: not UDP over IP.
    PassOther = 0,
    /// Passed: UDP to a port or address that is not media's.
    PassOtherPort,
    /// Passed: fragments, options, extension headers, more than two VLAN tags, cut headers. The
    /// kernel's stack knows what to do with them.
    PassUnread,
    /// Passed: STUN within its rate.
    PassStun,
    /// Passed: DTLS within its rate.
    PassDtls,
    /// Passed: RTP or RTCP of a known flow that has no AF_XDP socket to go to.
    PassMedia,
    /// To the AF_XDP socket of the queue: RTP or RTCP of a known flow.
    Redirected,
    /// Sent on by the driver: RTP or RTCP of a relayed flow.
    Relayed,
    /// Dropped: RTP or RTCP of a flow that is not in the map.
    DropUnknownFlow,
    /// Dropped: neither STUN nor DTLS, RTP or RTCP by its first bytes (RFC 7983), or too short for it.
    DropJunk,
    /// Dropped: the lengths of frame, IP and UDP contradict each other.
    DropMalformed,
    /// Dropped: more STUN and DTLS from one source than its bucket holds.
    DropSourceRate,
    /// Dropped: more STUN and DTLS from unknown flows than the bucket of all of them holds.
    DropTotalRate,
    /// Dropped: a relayed packet whose hop limit is used up.
    DropHopLimit,
    /// Dropped: a relayed packet of the other IP version, or whose interface is not in the map.
    DropRelay,
}

impl Verdict {
    /// Every verdict, in counter order.
    pub const ALL: [Self; 15] = [
        Self::PassOther,
        Self::PassOtherPort,
        Self::PassUnread,
        Self::PassStun,
        Self::PassDtls,
        Self::PassMedia,
        Self::Redirected,
        Self::Relayed,
        Self::DropUnknownFlow,
        Self::DropJunk,
        Self::DropMalformed,
        Self::DropSourceRate,
        Self::DropTotalRate,
        Self::DropHopLimit,
        Self::DropRelay,
    ];

    /// Number of counters.
    pub const COUNT: usize = Self::ALL.len();

    /// Stable name, as metrics carry it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PassOther => "pass_other",
            Self::PassOtherPort => "pass_other_port",
            Self::PassUnread => "pass_unread",
            Self::PassStun => "pass_stun",
            Self::PassDtls => "pass_dtls",
            Self::PassMedia => "pass_media",
            Self::Redirected => "redirected",
            Self::Relayed => "relayed",
            Self::DropUnknownFlow => "drop_unknown_flow",
            Self::DropJunk => "drop_junk",
            Self::DropMalformed => "drop_malformed",
            Self::DropSourceRate => "drop_source_rate",
            Self::DropTotalRate => "drop_total_rate",
            Self::DropHopLimit => "drop_hop_limit",
            Self::DropRelay => "drop_relay",
        }
    }

    /// True if the frame went no further.
    #[must_use]
    pub const fn is_drop(self) -> bool {
        matches!(
            self,
            Self::DropUnknownFlow
                | Self::DropJunk
                | Self::DropMalformed
                | Self::DropSourceRate
                | Self::DropTotalRate
                | Self::DropHopLimit
                | Self::DropRelay
        )
    }
}

const _: () = {
    let mut i = 0;
    while i < Verdict::COUNT {
        assert!(Verdict::ALL[i] as usize == i, "ALL is in counter order");
        i += 1;
    }
};
