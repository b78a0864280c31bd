use crate::command::CommandRing;
use crate::event::EventRing;
use crate::header::Header;
use crate::rows::{
    Encoding, EncodingConfig, Row, Subscription, SubscriptionConfig, Track, TrackConfig, Transport,
    TransportConfig, TransportSecrets, WorkerCounters,
};
use crate::seqcell::SeqCell;
use crate::{ABI_VERSION, RowKind, RowRef};
use std::mem::offset_of;

/// How many rows each table has. Fixed when the memfd is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacities {
    /// ICE/DTLS associations.
    pub transports: u32,
    /// Published sources.
    pub tracks: u32,
    /// RTP streams of tracks.
    pub encodings: u32,
    /// Tracks sent over transports.
    pub subscriptions: u32,
}

impl Default for Capacities {
    fn default() -> Self {
        Self {
            transports: 8_192,
            tracks: 4_096,
            encodings: 8_192,
            subscriptions: 32_768,
        }
    }
}

impl Capacities {
    /// Rows of one table.
    pub fn of(&self, kind: RowKind) -> u32 {
        match kind {
            RowKind::Transport => self.transports,
            RowKind::Track => self.tracks,
            RowKind::Encoding => self.encodings,
            RowKind::Subscription => self.subscriptions,
        }
    }
}

/// Workers that one memfd has room for: one bit each in `TrackConfig::subscriber_workers`.
pub const MAX_WORKERS: usize = 64;

/// Most rows of one table, so that no offset computation can overflow.
pub const MAX_CAPACITY: u32 = 1 << 22;
const _: () = assert!(MAX_CAPACITY <= RowRef::MAX_ROWS);

const PAGE: usize = 4_096;

/// Where one table's parts begin, in bytes from the start of the mapping.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TableOffsets {
    pub(crate) config: usize,
    pub(crate) state: usize,
    pub(crate) counters: usize,
}

/// Where everything is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) capacities: Capacities,
    pub(crate) workers: usize,
    pub(crate) commands: usize,
    pub(crate) events: usize,
    pub(crate) worker_counters: usize,
    pub(crate) secrets: usize,
    pub(crate) secrets_len: usize,
    tables: [TableOffsets; 4],
    pub(crate) total: usize,
}

/// Hands out page-aligned stretches.
struct Cursor(usize);

impl Cursor {
    fn take<T>(&mut self, count: usize) -> usize {
        let start = self.0;
        self.0 = (start + size_of::<T>() * count).next_multiple_of(PAGE);
        start
    }

    fn table<R: Row>(&mut self, rows: u32) -> TableOffsets {
        let rows = rows as usize;
        TableOffsets {
            config: self.take::<SeqCell<R::Config>>(rows),
            state: self.take::<SeqCell<R::State>>(rows),
            counters: self.take::<R::Counters>(rows),
        }
    }
}

impl Layout {
    /// The layout for these sizes, or `None` if one of them is out of bounds.
    pub(crate) fn new(capacities: Capacities, workers: usize) -> Option<Self> {
        let sane = |n: u32| n > 0 && n <= MAX_CAPACITY;
        if !RowKind::ALL
            .into_iter()
            .all(|kind| sane(capacities.of(kind)))
            || !(1..=MAX_WORKERS).contains(&workers)
        {
            return None;
        }
        let mut at = Cursor(0);
        at.take::<Header>(1);
        let commands = at.take::<CommandRing>(workers);
        let events = at.take::<EventRing>(workers);
        let worker_counters = at.take::<WorkerCounters>(workers);
        let secrets = at.take::<SeqCell<TransportSecrets>>(capacities.transports as usize);
        let secrets_len = at.0 - secrets;
        let tables = [
            at.table::<Transport>(capacities.transports),
            at.table::<Track>(capacities.tracks),
            at.table::<Encoding>(capacities.encodings),
            at.table::<Subscription>(capacities.subscriptions),
        ];
        Some(Self {
            capacities,
            workers,
            commands,
            events,
            worker_counters,
            secrets,
            secrets_len,
            tables,
            total: at.0,
        })
    }

    pub(crate) fn table(&self, kind: RowKind) -> TableOffsets {
        self.tables[kind as usize - 1]
    }
}

const fn mix(hash: u64, value: usize) -> u64 {
    // FNV-1a over the value's low four bytes; layouts are far smaller than 4 GiB.
    let mut hash = hash;
    let mut shift = 0;
    while shift < 32 {
        hash = (hash ^ ((value as u64 >> shift) & 0xff)).wrapping_mul(0x0100_0000_01b3);
        shift += 8;
    }
    hash
}

/// Fingerprint of the layout as this build has it. Two builds with different
/// numbers must not share memory.
pub const LAYOUT_HASH: u64 = {
    let numbers = [
        ABI_VERSION as usize,
        size_of::<Header>(),
        size_of::<CommandRing>(),
        size_of::<EventRing>(),
        size_of::<WorkerCounters>(),
        size_of::<SeqCell<TransportSecrets>>(),
        offset_of!(TransportSecrets, rx_key),
        offset_of!(TransportSecrets, tx_key),
        offset_of!(TransportSecrets, local_ufrag),
        offset_of!(TransportSecrets, remote_pwd),
        size_of::<SeqCell<<Transport as Row>::Config>>(),
        size_of::<SeqCell<<Transport as Row>::State>>(),
        size_of::<<Transport as Row>::Counters>(),
        offset_of!(TransportConfig, remote),
        offset_of!(TransportConfig, extensions),
        offset_of!(TransportConfig, session),
        size_of::<SeqCell<<Track as Row>::Config>>(),
        size_of::<SeqCell<<Track as Row>::State>>(),
        size_of::<<Track as Row>::Counters>(),
        offset_of!(TrackConfig, encodings),
        offset_of!(TrackConfig, subscriber_workers),
        offset_of!(TrackConfig, worker),
        size_of::<SeqCell<<Encoding as Row>::Config>>(),
        size_of::<SeqCell<<Encoding as Row>::State>>(),
        size_of::<<Encoding as Row>::Counters>(),
        offset_of!(EncodingConfig, ssrc),
        offset_of!(EncodingConfig, payload_type),
        offset_of!(EncodingConfig, rid),
        size_of::<SeqCell<<Subscription as Row>::Config>>(),
        size_of::<SeqCell<<Subscription as Row>::State>>(),
        size_of::<<Subscription as Row>::Counters>(),
        offset_of!(SubscriptionConfig, ssrc),
        offset_of!(SubscriptionConfig, payload_type),
        offset_of!(SubscriptionConfig, mid),
    ];
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut i = 0;
    while i < numbers.len() {
        hash = mix(hash, numbers[i]);
        i += 1;
    }
    hash
};

const _: () = {
    assert!(size_of::<Header>() <= PAGE);
    // Different writers, different 128-byte blocks.
    assert!(align_of::<SeqCell<TransportConfig>>() == 128);
    assert!(align_of::<WorkerCounters>() == 128);
    assert!(align_of::<CommandRing>() == 128);
    assert!(align_of::<EventRing>() == 128);
};
