//! Which worker gets a client's packets.
//!
//! The classic BPF program of the reuseport group (`ion_io::reuseport`) computes
//! this very function from the packet, so the control plane can name the owner of
//! a transport whose packets then arrive at their owner. A mismatch costs a
//! hand-over between workers, never a packet.

use std::net::{IpAddr, SocketAddr};

/// Multiplier of the hash: odd, with bits well spread.
pub const MULTIPLIER: u32 = 0x9E37_79B1;
/// Right shift that brings the upper bits of a product down to where they count.
pub const SHIFT: u32 = 15;

/// One step of the hash: takes up `word`.
fn mix(hash: u32, word: u32) -> u32 {
    let product = (hash ^ word).wrapping_mul(MULTIPLIER);
    product ^ (product >> SHIFT)
}

/// The worker, below `workers`, at which packets from `remote` arrive. The port
/// goes in first, then the address in big-endian words. An IPv4-mapped address is
/// the IPv4 one.
pub fn worker_of(remote: SocketAddr, workers: usize) -> usize {
    let port = mix(0, u32::from(remote.port()));
    let hash = match remote.ip().to_canonical() {
        IpAddr::V4(ip) => mix(port, ip.to_bits()),
        IpAddr::V6(ip) => {
            let octets = ip.octets();
            let (words, _) = octets.as_chunks::<4>();
            words
                .iter()
                .fold(port, |hash, word| mix(hash, u32::from_be_bytes(*word)))
        }
    };
    // No workers at all: the caller's mistake, but no reason to divide by zero.
    u32::try_from(workers)
        .ok()
        .and_then(|workers| hash.checked_rem(workers))
        .map_or(0, |worker| worker as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One client address behind a NAT has many ports; a lab has many addresses
    /// with one port. Both must spread.
    #[test]
    fn ports_and_addresses_spread_over_the_workers() {
        for workers in [2, 3, 7, 16] {
            let mut by_port = vec![0; workers];
            let mut by_v4 = vec![0; workers];
            let mut by_v6 = vec![0; workers];
            for n in 0..4_096_u16 {
                let [high, low] = n.to_be_bytes();
                by_port[worker_of(([10, 0, 0, 1], 32_768 + n).into(), workers)] += 1;
                by_v4[worker_of(([10, 0, high, low], 5_000).into(), workers)] += 1;
                let v6 = [0x2001, 0xdb8, 0, 0, 0, 0, 0, n];
                by_v6[worker_of((v6, 5_000).into(), workers)] += 1;
            }
            let fair = 4_096 / workers;
            for counts in [by_port, by_v4, by_v6] {
                for count in counts {
                    assert!(
                        count > fair * 3 / 4 && count < fair * 5 / 4,
                        "{count} of {fair}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_one() {
        let v4: SocketAddr = ([192, 0, 2, 7], 9).into();
        let mapped: SocketAddr = (std::net::Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped(), 9).into();
        assert_eq!(worker_of(v4, 1_000), worker_of(mapped, 1_000));
    }

    #[test]
    fn no_workers_is_no_panic() {
        assert_eq!(worker_of(([10, 0, 0, 1], 1).into(), 0), 0);
    }
}
