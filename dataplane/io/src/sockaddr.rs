use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes that any UDP address fits: `sockaddr_in6`.
pub(crate) const LEN: usize = size_of::<libc::sockaddr_in6>();
const V4_LEN: usize = size_of::<libc::sockaddr_in>();

#[expect(clippy::cast_possible_truncation, reason = "2 and 10")]
const V4: u16 = libc::AF_INET as u16;
#[expect(clippy::cast_possible_truncation, reason = "2 and 10")]
const V6: u16 = libc::AF_INET6 as u16;

/// A socket address in memory, as system calls take it.
#[repr(C, align(4))]
#[derive(Clone, Copy)]
pub(crate) struct SockAddr {
    bytes: [u8; LEN],
    len: u32,
}

impl SockAddr {
    pub(crate) const NONE: Self = Self {
        bytes: [0; LEN],
        len: 0,
    };

    pub(crate) fn new(address: SocketAddr) -> Self {
        let mut bytes = [0; LEN];
        let len = match address {
            SocketAddr::V4(v4) => {
                bytes[..2].copy_from_slice(&V4.to_ne_bytes());
                bytes[2..4].copy_from_slice(&v4.port().to_be_bytes());
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                V4_LEN
            }
            SocketAddr::V6(v6) => {
                bytes[..2].copy_from_slice(&V6.to_ne_bytes());
                bytes[2..4].copy_from_slice(&v6.port().to_be_bytes());
                bytes[4..8].copy_from_slice(&v6.flowinfo().to_be_bytes());
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                LEN
            }
        };
        #[expect(clippy::cast_possible_truncation, reason = "16 or 28")]
        Self {
            bytes,
            len: len as u32,
        }
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }
}

/// The address that the kernel wrote. Scope and flow label are left out: rows hold
/// addresses without them, and a source must compare equal to its row.
pub(crate) fn parse(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*bytes.first_chunk()?);
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    match family {
        V4 => {
            let ip: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
            Some((Ipv4Addr::from(ip), port).into())
        }
        V6 => {
            let ip: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
            Some((Ipv6Addr::from(ip), port).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_and_nonsense_is_none() {
        let addresses: [SocketAddr; 2] = [
            "192.0.2.1:7882".parse().unwrap(),
            "[2001:db8::1]:65535".parse().unwrap(),
        ];
        for address in addresses {
            let raw = SockAddr::new(address);
            let len = raw.len() as usize;
            assert_eq!(parse(&raw.bytes[..len]), Some(address));
            // A cut address is none, not a guess.
            let needed = if address.is_ipv4() { 8 } else { 24 };
            assert_eq!(parse(&raw.bytes[..needed - 1]), None);
        }
        assert_eq!(parse(&[1, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
