use crate::{Endpoint, Flow, Ip, Verdict};
use ion_wire::PacketKind;

/// What to do with a datagram to the media port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To the AF_XDP socket of its queue, or to the worker's socket if there is none.
    Forward,
    /// To the worker's socket.
    Pass(Verdict),
    /// Send on by the flow's [`crate::Relay`].
    Relay,
    /// Pass it under this verdict if the rate of its source allows.
    Police(Verdict),
    /// Drop it.
    Drop(Verdict),
}

/// Judges a datagram by what it is and by what is known of its flow.
#[inline(always)]
#[must_use]
pub const fn judge(kind: PacketKind, flow: Option<&Flow>) -> Action {
    match (kind, flow) {
        (PacketKind::Unknown, _) => Action::Drop(Verdict::DropJunk),
        (PacketKind::Stun, _) => Action::Police(Verdict::PassStun),
        (PacketKind::Dtls, _) => Action::Police(Verdict::PassDtls),
        (PacketKind::Rtp | PacketKind::Rtcp, None) => Action::Drop(Verdict::DropUnknownFlow),
        (PacketKind::Rtp | PacketKind::Rtcp, Some(flow)) => {
            if flow.flags & Flow::RELAY != 0 {
                Action::Relay
            } else if flow.flags & Flow::SOCKET != 0 {
                Action::Pass(Verdict::PassMedia)
            } else {
                Action::Forward
            }
        }
    }
}

/// Whose bucket pays for a datagram.
///
/// A known flow has its own, so that nobody who does not know its ports can starve it of consent
/// checks. All others share that of their network, with port 0: an IPv4 /24 or an IPv6 /48, which is
/// about what one attacker owns; single addresses would be as many buckets as it has addresses.
#[inline(always)]
#[must_use]
pub const fn source_of(remote: &Endpoint, known: bool) -> Endpoint {
    if known {
        return *remote;
    }
    let [a, b, _, d] = remote.ip.words();
    let ip = if remote.ip.is_v4() {
        Ip::v4([d[0], d[1], d[2], 0])
    } else {
        Ip::v6([a, [b[0], b[1], 0, 0], [0; 4], [0; 4]])
    };
    Endpoint::new(ip, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::SocketAddr;

    fn source(remote: &str, known: bool) -> SocketAddr {
        let remote: SocketAddr = remote.parse().unwrap();
        source_of(&remote.into(), known).socket_addr()
    }

    #[test]
    fn neighbours_share_a_bucket_and_known_flows_have_their_own() {
        let of = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(source("192.0.2.77:4000", false), of("192.0.2.0:0"));
        assert_eq!(source("192.0.2.77:4000", true), of("192.0.2.77:4000"));
        assert_eq!(
            source("[2001:db8:7:9::1]:4000", false),
            of("[2001:db8:7::]:0")
        );
        assert_eq!(
            source("[2001:db8:7::1]:4000", true),
            of("[2001:db8:7::1]:4000")
        );
    }

    #[test]
    fn only_media_of_known_flows_is_forwarded() {
        let flow = Flow::of_worker(3);
        let relayed = Flow::relayed(3, crate::Relay::default());
        let on_socket = flow.by_socket();
        for kind in [PacketKind::Rtp, PacketKind::Rtcp] {
            assert_eq!(judge(kind, None), Action::Drop(Verdict::DropUnknownFlow));
            assert_eq!(judge(kind, Some(&flow)), Action::Forward);
            assert_eq!(judge(kind, Some(&relayed)), Action::Relay);
            let passed = Action::Pass(Verdict::PassMedia);
            assert_eq!(judge(kind, Some(&on_socket)), passed);
        }
        for flow in [None, Some(&flow), Some(&relayed), Some(&on_socket)] {
            let police = |kind| judge(kind, flow);
            assert_eq!(police(PacketKind::Stun), Action::Police(Verdict::PassStun));
            assert_eq!(police(PacketKind::Dtls), Action::Police(Verdict::PassDtls));
            assert_eq!(police(PacketKind::Unknown), Action::Drop(Verdict::DropJunk));
        }
    }
}
