use crate::{Endpoint, Rate};
use core::net::SocketAddr;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Media addresses that can be given, as `ion_tables::attach::MAX_SOCKETS`.
pub const MAX_MEDIA: u32 = 16;

const ENTRIES: usize = MAX_MEDIA as usize;

/// An address at which media is received; its index is that of its reuseport group.
#[repr(C)]
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Media {
    /// The address; a wildcard's is not looked at.
    endpoint: Endpoint,
    /// [`Media::NONE`] and the like.
    kind: u16,
    reserved: u16,
}

impl Media {
    /// An unused entry; those behind it are unused too.
    const NONE: u16 = 0;
    /// One address.
    const ADDRESS: u16 = 1;
    /// Every IPv4 address of this host.
    const ANY_V4: u16 = 4;
    /// Every IPv6 address of this host.
    const ANY_V6: u16 = 6;

    /// True if a datagram to `local` is for this address.
    #[inline(always)]
    #[must_use]
    pub fn takes(&self, local: &Endpoint) -> bool {
        self.endpoint.port() == local.port()
            && match self.kind {
                Self::ADDRESS => self.endpoint.ip == local.ip,
                Self::ANY_V4 => local.ip.is_v4(),
                Self::ANY_V6 => !local.ip.is_v4(),
                _ => false,
            }
    }
}

impl From<SocketAddr> for Media {
    fn from(address: SocketAddr) -> Self {
        let ip = address.ip();
        Self {
            endpoint: address.into(),
            kind: match (ip.is_unspecified(), ip.is_ipv4()) {
                (false, _) => Self::ADDRESS,
                (true, true) => Self::ANY_V4,
                (true, false) => Self::ANY_V6,
            },
            reserved: 0,
        }
    }
}

/// What the programs are told: where media is received, how many workers there are, and rates.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Settings {
    /// STUN and DTLS from one source prefix ([`crate::policy::source_of`]) outside known flows.
    pub source: Rate,
    /// STUN and DTLS of one known flow; it is spared the other two.
    pub flow: Rate,
    /// STUN and DTLS from all sources outside known flows.
    pub total: Rate,
    /// Dropped packets of which a sample is kept, per CPU.
    pub samples: Rate,
    media: [Media; ENTRIES],
    workers: u32,
    reserved: u32,
}

/// More media addresses, or workers, than the programs have room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl Settings {
    /// Media at `media`, forwarded by `workers`, at default rates: what a few hundred joining
    /// clients behind one NAT need, and what one control plane answers.
    ///
    /// # Errors
    /// More than [`MAX_MEDIA`] addresses, no worker, or more than [`crate::MAX_WORKERS`].
    pub fn new(media: &[SocketAddr], workers: usize) -> Result<Self, TooMany> {
        let workers = u32::try_from(workers).map_err(|_| TooMany)?;
        if media.len() > ENTRIES || !(1..=crate::MAX_WORKERS).contains(&workers) {
            return Err(TooMany);
        }
        let mut entries = [Media::default(); ENTRIES];
        for (entry, address) in entries.iter_mut().zip(media) {
            *entry = (*address).into();
        }
        Ok(Self {
            source: Rate::new(1_000, 1_000),
            flow: Rate::new(2_000, 1_000),
            total: Rate::new(20_000, 5_000),
            samples: Rate::new(20, 20),
            media: entries,
            workers,
            reserved: 0,
        })
    }

    /// Number of workers.
    #[inline(always)]
    #[must_use]
    pub const fn workers(&self) -> u32 {
        self.workers
    }

    /// Index of the media address that takes datagrams to `local`.
    #[inline(always)]
    #[must_use]
    pub fn media_of(&self, local: &Endpoint) -> Option<u32> {
        for (index, media) in (0..).zip(&self.media) {
            if media.kind == Media::NONE {
                return None;
            }
            if media.takes(local) {
                return Some(index);
            }
        }
        None
    }
}

const _: () = {
    assert!(size_of::<Media>() == 24);
    assert!(size_of::<Settings>() == 64 + 24 * ENTRIES + 8);
};
