/// The kinds of candidates, each with its recommended type preference (RFC 8445 §5.1.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateType {
    /// An address of an interface, type preference 126.
    Host,
    /// Learned from a connectivity check, type preference 110.
    PeerReflexive,
    /// Learned from a STUN server, type preference 100.
    ServerReflexive,
    /// Allocated on a TURN server, type preference 0.
    Relayed,
}

impl CandidateType {
    const fn preference(self) -> u32 {
        match self {
            Self::Host => 126,
            Self::PeerReflexive => 110,
            Self::ServerReflexive => 100,
            Self::Relayed => 0,
        }
    }
}

/// The priority of a candidate (RFC 8445 §5.1.2.1).
///
/// `local_preference` orders the addresses of one type: 65535 for the best or the only one.
/// `component` is 1 for RTP, 2 for RTCP; 0 and anything above 256 are taken as the nearest legal value.
#[must_use]
pub const fn candidate_priority(kind: CandidateType, local_preference: u16, component: u16) -> u32 {
    let component = match component {
        0 => 1,
        1..=256 => component,
        _ => 256,
    };
    // `as` because `From` is not const; every one widens.
    (kind.preference() << 24) + ((local_preference as u32) << 8) + (256 - component as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // What every browser prints for its best host candidate, and for RTCP beside it.
        assert_eq!(
            candidate_priority(CandidateType::Host, 65535, 1),
            2_130_706_431
        );
        assert_eq!(
            candidate_priority(CandidateType::Host, 65535, 2),
            2_130_706_430
        );
        assert_eq!(
            candidate_priority(CandidateType::ServerReflexive, 65535, 1),
            1_694_498_815
        );
        assert_eq!(candidate_priority(CandidateType::Relayed, 0, 1), 255);
    }

    #[test]
    fn component_is_held_in_range() {
        assert_eq!(candidate_priority(CandidateType::Relayed, 0, 0), 255);
        assert_eq!(candidate_priority(CandidateType::Relayed, 0, u16::MAX), 0);
    }
}
