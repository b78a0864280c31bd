//! The two roles that write to the tables.

use crate::RowRef;
use crate::command::CommandRing;
use crate::event::EventRing;
use crate::mapping::Tables;
use crate::rows::{HasHead, Row, RowHead, TransportSecrets, WorkerCounters};
use crate::seqcell::SeqCell;
use std::sync::Arc;

/// The control plane's role: the one writer of config and secrets. Made once by
/// each control process; it is not `Clone`.
pub struct ControlTables {
    tables: Arc<Tables>,
}

impl ControlTables {
    /// Takes the role. There must be no other holder of it alive; the attach
    /// protocol sees to that.
    pub fn new(tables: Arc<Tables>) -> Self {
        Self { tables }
    }

    /// The tables, for reading.
    pub fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    /// Writes a row's config. The head must have been set by [`next_life`](Self::next_life),
    /// or be the row's present one. Returns false if there is no such row.
    pub fn write<R: Row>(&self, row: u32, config: &R::Config) -> bool {
        self.tables
            .config::<R>(row)
            .map(|cell| cell.write(config))
            .is_some()
    }

    /// Writes a row's config, as [`write`](Self::write) does, and announces it, as [`announce`](Self::announce) does.
    pub fn publish<R: Row>(&self, row: u32, config: &R::Config, ring: impl FnMut(usize)) -> bool {
        let written = self.write::<R>(row, config);
        if written {
            self.announce(RowRef { kind: R::KIND, row }, ring);
        }
        written
    }

    /// Writes a transport's secrets.
    pub fn write_secrets(&self, transport: u32, secrets: &TransportSecrets) -> bool {
        self.tables
            .secrets(transport)
            .map(|cell| cell.write(secrets))
            .is_some()
    }

    /// The head for a new life of a row: live, with a generation never used before.
    /// A torn row (its writer died) yields generation from its remains: zero is skipped.
    pub fn next_life<R: Row>(&self, row: u32) -> RowHead {
        let before = match self.tables.config::<R>(row).map(SeqCell::read) {
            Some(Ok(config)) => config.head().generation,
            // The old generation cannot be read; a large step keeps stale links stale.
            Some(Err(_)) => self
                .tables
                .config::<R>(row)
                .map_or(0, |cell| cell.version().wrapping_mul(0x9E37_79B9) | 1),
            None => 0,
        };
        RowHead {
            generation: before.wrapping_add(1).max(1),
            live: 1,
        }
    }

    /// Ends a row's life, and zeroes a transport's secrets.
    pub fn free<R: Row>(&self, row: u32) {
        let head = RowHead {
            live: 0,
            ..self.next_life::<R>(row)
        };
        let mut config = <R::Config as zerocopy::FromZeros>::new_zeroed();
        config.set_head(head);
        self.write::<R>(row, &config);
        if R::KIND == crate::RowKind::Transport {
            self.write_secrets(row, &TransportSecrets::default());
        }
    }

    /// Announces a row to every worker; `ring(worker)` is called for those whose
    /// doorbell must be rung.
    pub fn announce(&self, row: RowRef, mut ring: impl FnMut(usize)) {
        for worker in 0..self.tables.workers() {
            if self
                .tables
                .commands(worker)
                .is_some_and(|commands| commands.announce(row))
            {
                ring(worker);
            }
        }
    }
}

/// A worker's role: the one writer of state, counters and events of its rows.
pub struct WorkerTables {
    tables: Arc<Tables>,
    worker: usize,
}

impl WorkerTables {
    /// Takes the role of worker `worker`. There must be no other holder of it.
    ///
    /// # Panics
    /// If the tables have no such worker: a mistake of the caller.
    pub fn new(tables: Arc<Tables>, worker: usize) -> Self {
        assert!(worker < tables.workers(), "no worker {worker}");
        Self { tables, worker }
    }

    /// The tables, for reading.
    pub fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    /// This worker's number.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// This worker's announcements.
    pub fn commands(&self) -> &CommandRing {
        self.tables
            .commands(self.worker)
            .unwrap_or_else(|| unreachable!("checked in new"))
    }

    /// This worker's events.
    pub fn events(&self) -> &EventRing {
        self.tables
            .events(self.worker)
            .unwrap_or_else(|| unreachable!("checked in new"))
    }

    /// This worker's counters.
    pub fn counters(&self) -> &WorkerCounters {
        self.tables
            .worker_counters(self.worker)
            .unwrap_or_else(|| unreachable!("checked in new"))
    }

    /// Stores a row's state. Returns false if there is no such row.
    pub fn store<R: Row>(&self, row: u32, state: &R::State) -> bool {
        self.tables
            .state::<R>(row)
            .map(|cell| cell.write(state))
            .is_some()
    }
}
