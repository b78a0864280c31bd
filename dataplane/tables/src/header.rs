use crate::bypass::Bypass;
use crate::counters::Counter;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// `"ION-TBL\x01"`, little endian.
pub const MAGIC: u64 = u64::from_le_bytes(*b"ION-TBL\x01");

/// The first page of the mapping. All but heartbeats and
/// [`Bypass`] is written once, before the memfd is handed to anyone.
#[repr(C, align(128))]
pub struct Header {
    /// [`MAGIC`], stored last.
    pub(crate) magic: AtomicU64,
    pub(crate) abi_version: AtomicU32,
    pub(crate) workers: AtomicU32,
    pub(crate) layout_hash: AtomicU64,
    pub(crate) transports: AtomicU32,
    pub(crate) tracks: AtomicU32,
    pub(crate) encodings: AtomicU32,
    pub(crate) subscriptions: AtomicU32,
    /// Random number of this memfd: another epoch is another set of rows.
    pub(crate) epoch: AtomicU64,
    /// UNIX time, in microseconds, at which the dataplane's clock was zero.
    pub(crate) clock_zero_unix_us: AtomicU64,
    pub(crate) dataplane: Heartbeat,
    pub(crate) control: Heartbeat,
    pub(crate) bypass: Bypass,
}

/// Sign of life of one process, on a block of its own.
#[repr(C, align(128))]
pub struct Heartbeat {
    /// Microseconds since the UNIX epoch.
    pub at_unix_us: Counter,
    /// Process id.
    pub pid: Counter,
    /// How many processes have taken this side.
    pub incarnation: Counter,
}

impl Header {
    /// The random number of this memfd.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// UNIX time, in microseconds, at which the dataplane's clock was zero.
    pub fn clock_zero_unix_us(&self) -> u64 {
        self.clock_zero_unix_us.load(Ordering::Relaxed)
    }

    /// The dataplane's sign of life.
    pub fn dataplane(&self) -> &Heartbeat {
        &self.dataplane
    }

    /// What the XDP program does. Written by the dataplane's main thread.
    pub fn bypass(&self) -> &Bypass {
        &self.bypass
    }

    /// The control plane's sign of life.
    pub fn control(&self) -> &Heartbeat {
        &self.control
    }
}
