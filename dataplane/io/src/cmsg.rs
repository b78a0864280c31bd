use ion_engine::congestion::Ecn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER: usize = size_of::<libc::cmsghdr>();
const ALIGN: usize = size_of::<usize>();
// `cmsghdr` is a length, a level and a type, in this order, without holes.
const _: () = assert!(HEADER == size_of::<usize>() + 8 && HEADER.is_multiple_of(ALIGN));

/// What a message of `len` bytes takes.
const fn space(len: usize) -> usize {
    HEADER + len.next_multiple_of(ALIGN)
}

const PKTINFO_V4: usize = size_of::<libc::in_pktinfo>();
const PKTINFO_V6: usize = size_of::<libc::in6_pktinfo>();
/// `in_pktinfo` is: interface index, the local address (`ipi_spec_dst`), the header's.
const V4_SPEC_DST: usize = 4;

/// What one datagram's received control messages take at most, aligned.
pub(crate) const RECEIVE_SPACE: usize =
    (space(PKTINFO_V6) + space(size_of::<libc::c_int>())).next_multiple_of(16);
const SEND_SPACE: usize =
    space(PKTINFO_V6) + space(size_of::<u16>()) + space(size_of::<libc::c_int>());

/// The control messages of one send.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct SendControl {
    bytes: [u8; SEND_SPACE],
    len: usize,
}

impl SendControl {
    pub(crate) const NONE: Self = Self {
        bytes: [0; SEND_SPACE],
        len: 0,
    };

    /// Messages that choose the source address, unless it is unspecified, the segment size,
    /// unless there is but one datagram, and the ECN bits, if any.
    pub(crate) fn new(source: IpAddr, segment: Option<u16>, v4: bool, ecn: Ecn) -> Self {
        let mut control = Self::NONE;
        if !source.is_unspecified() {
            match source {
                IpAddr::V4(ip) => {
                    let mut info = [0; PKTINFO_V4];
                    info[V4_SPEC_DST..V4_SPEC_DST + 4].copy_from_slice(&ip.octets());
                    control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
                }
                IpAddr::V6(ip) => {
                    let mut info = [0; PKTINFO_V6];
                    info[..16].copy_from_slice(&ip.octets());
                    control.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
                }
            }
        }
        if let Some(segment) = segment {
            control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
        }
        if ecn != Ecn::NotEct {
            let (level, kind) = if v4 {
                (libc::IPPROTO_IP, libc::IP_TOS)
            } else {
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)
            };
            control.push(level, kind, &libc::c_int::from(ecn as u8).to_ne_bytes());
        }
        control
    }

    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let start = self.len;
        let (message, _) = self.bytes[start..].split_at_mut(space(data.len()));
        message[..8].copy_from_slice(&(HEADER + data.len()).to_ne_bytes());
        message[8..12].copy_from_slice(&level.to_ne_bytes());
        message[12..16].copy_from_slice(&kind.to_ne_bytes());
        message[HEADER..HEADER + data.len()].copy_from_slice(data);
        self.len += space(data.len());
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// What the control messages of a received datagram say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The address of ours that it came to.
    pub(crate) local: Option<IpAddr>,
    pub(crate) ecn: Ecn,
}

impl Said {
    /// Reads what is there, up to the first message that is cut.
    pub(crate) fn read(control: &[u8]) -> Self {
        let mut said = Self::default();
        said.take(control);
        said
    }

    fn take(&mut self, mut control: &[u8]) -> Option<()> {
        loop {
            let len = usize::from_ne_bytes(*control.first_chunk()?);
            let level = i32::from_ne_bytes(*control.get(8..)?.first_chunk()?);
            let kind = i32::from_ne_bytes(*control.get(12..)?.first_chunk()?);
            let data = control.get(HEADER..len)?;
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let ip: [u8; 4] = *data.get(V4_SPEC_DST..)?.first_chunk()?;
                    self.local = Some(Ipv4Addr::from(ip).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let ip: [u8; 16] = *data.first_chunk()?;
                    self.local = Some(Ipv6Addr::from(ip).into());
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => self.ecn = Ecn::from_bits(*data.first()?),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    let [class, ..] = i32::from_ne_bytes(*data.first_chunk()?).to_le_bytes();
                    self.ecn = Ecn::from_bits(class);
                }
                _ => {}
            }
            control = control.get(len.next_multiple_of(ALIGN)..)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_found_behind_other_messages() {
        for ip in ["127.0.0.2", "2001:db8::7"] {
            let ip: IpAddr = ip.parse().unwrap();
            let mut control = SendControl::NONE;
            control.push(libc::SOL_UDP, libc::UDP_GRO, &[1, 2, 3, 4]);
            let pktinfo = SendControl::new(ip, None, ip.is_ipv4(), Ecn::Ect1);
            let mut bytes = control.bytes[..control.len].to_vec();
            bytes.extend(&pktinfo.bytes[..pktinfo.len]);
            let said = Said {
                local: Some(ip),
                ecn: Ecn::Ect1,
            };
            assert_eq!(Said::read(&bytes), said);
            let before = bytes.len() - space(size_of::<libc::c_int>());
            let ecn = Ecn::NotEct;
            assert_eq!(Said::read(&bytes[..before]), Said { ecn, ..said });
            assert_eq!(Said::read(&bytes[..before - 16]), Said::default(), "cut");
        }
    }

    #[test]
    fn lengths_that_lie_are_no_panic_and_no_endless_loop() {
        for len in [0, 1, 15, 16, 17, usize::MAX - 6, usize::MAX] {
            let mut bytes = [0_u8; 64];
            bytes[..8].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(Said::read(&bytes), Said::default());
        }
    }
}
