//! Which addresses an answer announces.

use crate::limits;
use ion_sdp::Candidate;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What to announce when no address is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loopback {
    /// Leave loopback out, unless there is nothing else.
    Last,
    /// Loopback before the others: the HTTP server listens there only, so the clients are here.
    First,
}

/// The host candidates of the media sockets: the configured addresses, else those of
/// the interfaces, each with the port of the socket of its family. A socket bound to
/// one address stands for itself.
pub fn candidates(
    configured: &[IpAddr],
    sockets: &[SocketAddr],
    loopback: Loopback,
) -> Vec<Candidate> {
    let ips = if configured.is_empty() {
        sorted(interfaces(), loopback)
    } else {
        configured.to_vec()
    };
    from_addresses(&ips, !configured.is_empty(), sockets)
}

fn from_addresses(ips: &[IpAddr], is_configured: bool, sockets: &[SocketAddr]) -> Vec<Candidate> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    let mut enter = |address: SocketAddr| {
        if addresses.len() < limits::CANDIDATES && !addresses.contains(&address) {
            addresses.push(address);
        }
    };
    for ip in ips {
        for socket in sockets.iter().filter(|s| s.is_ipv4() == ip.is_ipv4()) {
            // Behind a NAT the configured address is not that of the socket.
            if is_configured || socket.ip().is_unspecified() || socket.ip() == *ip {
                enter(SocketAddr::new(*ip, socket.port()));
            }
        }
    }
    if !is_configured {
        for socket in sockets.iter().filter(|s| !s.ip().is_unspecified()) {
            enter(*socket);
        }
    }
    (0..)
        .zip(addresses)
        .map(|(rank, address)| Candidate::host(address, rank))
        .collect()
}

fn interfaces() -> Vec<IpAddr> {
    let found = if_addrs::get_if_addrs().unwrap_or_default();
    found.into_iter().map(|interface| interface.ip()).collect()
}

/// IPv4 before IPv6, no link-local addresses (a client would need the interface's
/// name), loopback where it belongs.
fn sorted(mut ips: Vec<IpAddr>, loopback: Loopback) -> Vec<IpAddr> {
    ips.retain(|ip| !is_link_local(ip) && !ip.is_unspecified() && !ip.is_multicast());
    ips.sort_by_key(|ip| {
        let loopback_rank = match loopback {
            Loopback::First => !ip.is_loopback(),
            Loopback::Last => ip.is_loopback(),
        };
        (loopback_rank, ip.is_ipv6())
    });
    ips.dedup();
    if loopback == Loopback::Last && ips.iter().any(|ip| !ip.is_loopback()) {
        ips.retain(|ip| !ip.is_loopback());
    }
    ips
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => Ipv6Addr::is_unicast_link_local(ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn addresses(candidates: &[Candidate]) -> Vec<String> {
        candidates
            .iter()
            .map(|c| c.socket_addr().unwrap().to_string())
            .collect()
    }

    const ANY: [&str; 2] = ["0.0.0.0:7882", "[::]:7882"];

    fn sockets(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|s| s.parse().unwrap()).collect()
    }

    #[test]
    fn interfaces_of_both_families_without_link_local_and_loopback() {
        let found = vec![
            ip("::1"),
            ip("127.0.0.1"),
            ip("fe80::1"),
            ip("2001:db8::2"),
            ip("192.0.2.7"),
        ];
        let last = sorted(found.clone(), Loopback::Last);
        assert_eq!(last, [ip("192.0.2.7"), ip("2001:db8::2")]);
        let first = from_addresses(&sorted(found, Loopback::First), false, &sockets(&ANY));
        assert_eq!(
            addresses(&first),
            [
                "127.0.0.1:7882",
                "[::1]:7882",
                "192.0.2.7:7882",
                "[2001:db8::2]:7882"
            ]
        );
        assert!(
            first
                .windows(2)
                .all(|two| two[0].priority > two[1].priority)
        );
        let alone = sorted(vec![ip("127.0.0.1")], Loopback::Last);
        assert_eq!(alone, [ip("127.0.0.1")], "better than none");
    }

    #[test]
    fn a_bound_socket_announces_itself_and_a_configured_address_replaces_it() {
        let bound = sockets(&["192.0.2.7:9000"]);
        let found = [ip("192.0.2.7"), ip("192.0.2.8")];
        assert_eq!(
            addresses(&from_addresses(&found, false, &bound)),
            ["192.0.2.7:9000"]
        );
        assert_eq!(
            addresses(&from_addresses(&[ip("203.0.113.9")], true, &bound)),
            ["203.0.113.9:9000"],
            "a NAT maps one to the other"
        );
    }

    #[test]
    fn a_machine_with_very_many_addresses_announces_some() {
        let many: Vec<IpAddr> = (0..=255).map(|n| IpAddr::from([192, 0, 2, n])).collect();
        assert_eq!(
            from_addresses(&many, false, &sockets(&ANY)).len(),
            limits::CANDIDATES
        );
    }
}
