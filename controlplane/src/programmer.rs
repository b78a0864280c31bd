//! Programs the forwarding tables: which rows are free, what is written, and who is told.
//!
//! A row is *reserved* first (nothing is written, a full table is found out before
//! anything has happened), *written* any number of times, and *released*. Writing order
//! is the callers': what is referred to comes first. Announcements are collected and
//! made by [`Programmer::flush`], when everything they refer to stands in the tables.

use ion_tables::{
    ControlTables, Encoding, HasHead, Row, RowHead, RowKind, RowLink, RowRef, SeqCell,
    Subscription, Tables, Track, Transport, TransportSecrets,
};
use rustix::fd::OwnedFd;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use zerocopy::IntoBytes;

/// A table has no free row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the table of {} rows is full", table_name(*.0))]
pub struct TableFull(pub RowKind);

/// A table's name in metrics and the API.
pub fn table_name(kind: RowKind) -> &'static str {
    match kind {
        RowKind::Transport => "transport",
        RowKind::Track => "track",
        RowKind::Encoding => "encoding",
        RowKind::Subscription => "subscription",
    }
}

/// Rows of one table that are free. First in, first out: a row rests as long as it can
/// before it begins another life.
struct Free {
    rows: VecDeque<u32>,
    is_free: Vec<bool>,
}

/// The one writer of config and secrets.
pub struct Programmer {
    control: ControlTables,
    doorbells: Vec<OwnedFd>,
    free: [Free; 4],
    pending: Vec<RowRef>,
}

fn slot(kind: RowKind) -> usize {
    match kind {
        RowKind::Transport => 0,
        RowKind::Track => 1,
        RowKind::Encoding => 2,
        RowKind::Subscription => 3,
    }
}

impl Programmer {
    /// Takes the role over tables in which every row counts as free. Rows that are in
    /// use are to be [adopted](Self::adopt), then [`sweep`](Self::sweep) frees the rest.
    pub fn new(tables: Arc<Tables>, doorbells: Vec<OwnedFd>) -> Self {
        let capacities = tables.capacities();
        let free = RowKind::ALL.map(|kind| {
            let rows = capacities.of(kind);
            Free {
                rows: (0..rows).collect(),
                is_free: vec![true; rows as usize],
            }
        });
        Self {
            control: ControlTables::new(tables),
            doorbells,
            free,
            pending: Vec::new(),
        }
    }

    /// The tables, for reading.
    pub fn tables(&self) -> &Arc<Tables> {
        self.control.tables()
    }

    /// Rows of a table in use, and rows there are.
    pub fn usage(&self, kind: RowKind) -> (u32, u32) {
        let capacity = self.tables().capacities().of(kind);
        let free = u32::try_from(self.free[slot(kind)].rows.len()).unwrap_or(u32::MAX);
        (capacity.saturating_sub(free), capacity)
    }

    /// Takes a free row; its life begins when it is first written.
    ///
    /// # Errors
    /// [`TableFull`].
    pub fn reserve<R: Row>(&mut self) -> Result<RowLink, TableFull> {
        let free = &mut self.free[slot(R::KIND)];
        let row = loop {
            // Before the sweep, adopted rows are on the list still.
            let row = free.rows.pop_front().ok_or(TableFull(R::KIND))?;
            if std::mem::replace(&mut free.is_free[row as usize], false) {
                break row;
            }
        };
        let RowHead { generation, .. } = self.control.next_life::<R>(row);
        Ok(RowLink { row, generation })
    }

    /// Takes rows that a session had before; all or none. False if one of them does not
    /// exist or is taken. The free rows are put in order by [`sweep`](Self::sweep).
    pub fn adopt(&mut self, rows: &[(RowKind, u32)]) -> bool {
        for (index, (kind, row)) in rows.iter().enumerate() {
            match self.free[slot(*kind)].is_free.get_mut(*row as usize) {
                Some(is_free @ true) => *is_free = false,
                _ => {
                    for (kind, row) in &rows[..index] {
                        self.free[slot(*kind)].is_free[*row as usize] = true;
                    }
                    return false;
                }
            }
        }
        true
    }

    /// Writes a row; it is live from now on. What stands there already is not written again.
    pub fn write<R: Row>(&mut self, link: RowLink, config: &mut R::Config) {
        config.set_head(RowHead {
            generation: link.generation,
            live: 1,
        });
        let present = self.tables().config::<R>(link.row).map(SeqCell::read);
        if let Some(Ok(present)) = present
            && present.as_bytes() == config.as_bytes()
        {
            return;
        }
        if self.control.write::<R>(link.row, config) {
            self.pending.push(RowRef {
                kind: R::KIND,
                row: link.row,
            });
        }
    }

    /// Whether a row was written and not released since.
    pub fn is_live<R: Row>(&self, link: RowLink) -> bool {
        self.tables().follow::<R>(link).is_some()
    }

    /// Writes a transport's secrets.
    pub fn write_secrets(&mut self, transport: RowLink, secrets: &mut TransportSecrets) {
        secrets.generation = transport.generation;
        self.control.write_secrets(transport.row, secrets);
    }

    /// Ends a row's life, if it has begun, and makes it free.
    pub fn release<R: Row>(&mut self, link: RowLink) {
        let free = &mut self.free[slot(R::KIND)];
        match free.is_free.get_mut(link.row as usize) {
            Some(is_free @ false) if link.is_some() => *is_free = true,
            _ => return,
        }
        free.rows.push_back(link.row);
        // Even a row that was never written: a generation given out is not given out again.
        self.control.free::<R>(link.row);
        self.pending.push(RowRef {
            kind: R::KIND,
            row: link.row,
        });
    }

    /// Frees every live or torn row that nobody has adopted. Returns how many there were.
    pub fn sweep(&mut self) -> usize {
        for free in &mut self.free {
            // Anew: a row that was adopted and released meanwhile stands there twice.
            let is_free = (0..).zip(&free.is_free);
            free.rows = is_free
                .filter_map(|(row, free)| free.then_some(row))
                .collect();
        }
        self.sweep_table::<Subscription>()
            + self.sweep_table::<Encoding>()
            + self.sweep_table::<Track>()
            + self.sweep_table::<Transport>()
    }

    fn sweep_table<R: Row>(&mut self) -> usize {
        let mut freed = 0;
        for (row, is_free) in (0..).zip(&self.free[slot(R::KIND)].is_free) {
            let cell = self.control.tables().config::<R>(row);
            let is_stray = match cell.map(|cell| cell.read()) {
                Some(Ok(config)) => config.head().live != 0,
                Some(Err(_torn)) => true,
                None => false,
            };
            if *is_free && is_stray {
                self.control.free::<R>(row);
                freed += 1;
            }
        }
        freed
    }

    /// Announces what was written and released, each row once, and wakes the workers that
    /// sleep.
    pub fn flush(&mut self) {
        let mut asleep = 0_u64;
        let mut seen = HashSet::new();
        self.pending
            .retain(|row| seen.insert((slot(row.kind), row.row)));
        for row in self.pending.drain(..) {
            self.control
                .announce(row, |worker| asleep |= 1 << (worker % 64));
        }
        self.ring(asleep);
    }

    /// Makes every worker look at every row.
    pub fn ask_rescan(&mut self) {
        self.pending.clear();
        let tables = Arc::clone(self.tables());
        let mut asleep = 0_u64;
        for worker in 0..tables.workers() {
            if tables
                .commands(worker)
                .is_some_and(|commands| commands.ask_rescan())
            {
                asleep |= 1 << (worker % 64);
            }
        }
        self.ring(asleep);
    }

    fn ring(&self, workers: u64) {
        for (worker, doorbell) in self.doorbells.iter().enumerate() {
            if workers & (1 << (worker % 64)) != 0 {
                // Full counter means that it rings already; a closed one, that the dataplane is gone.
                let _ = rustix::io::write(doorbell, &1_u64.to_ne_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ion_tables::command::Command;
    use ion_tables::{Capacities, TrackConfig};

    fn programmer() -> Programmer {
        let capacities = Capacities {
            transports: 2,
            tracks: 3,
            encodings: 1,
            subscriptions: 1,
        };
        let tables = Tables::create(capacities, 2, 1, 0).unwrap();
        Programmer::new(Arc::new(tables), Vec::new())
    }

    fn announced(programmer: &Programmer, worker: usize) -> Vec<u32> {
        let ring = programmer.tables().commands(worker).unwrap();
        let row = |command| match command {
            Command::Changed(row) => row.row,
            Command::Rescan => u32::MAX,
        };
        std::iter::from_fn(|| ring.take()).map(row).collect()
    }

    #[test]
    fn rows_run_out_come_back_and_never_live_twice_alike() {
        let mut programmer = programmer();
        let mut seen = Vec::new();
        for _ in 0..4 {
            let links = [(); 3].map(|()| programmer.reserve::<Track>().unwrap());
            assert_eq!(
                programmer.reserve::<Track>(),
                Err(TableFull(RowKind::Track))
            );
            assert_eq!(programmer.usage(RowKind::Track), (3, 3));
            // One of them is never written, and yet its generation does not come again.
            for link in &links[1..] {
                programmer.write::<Track>(*link, &mut TrackConfig::default());
            }
            assert!(programmer.tables().follow::<Track>(links[1]).is_some());
            for link in links {
                programmer.release::<Track>(link);
                programmer.release::<Track>(link);
                assert!(programmer.tables().follow::<Track>(link).is_none(), "stale");
            }
            seen.extend(links);
        }
        assert_eq!(
            programmer.usage(RowKind::Track),
            (0, 3),
            "released twice, counted once"
        );
        seen.sort_by_key(|link| (link.row, link.generation));
        assert!(seen.windows(2).all(|two| two[0] != two[1]));
    }

    #[test]
    fn what_stands_there_is_not_announced_again() {
        let mut programmer = programmer();
        let link = programmer.reserve::<Track>().unwrap();
        let mut config = TrackConfig {
            clock_rate: 90_000,
            ..TrackConfig::default()
        };
        programmer.write::<Track>(link, &mut config);
        programmer.write::<Track>(link, &mut config);
        assert!(announced(&programmer, 0).is_empty(), "not before the flush");
        programmer.flush();
        programmer.write::<Track>(link, &mut config);
        programmer.flush();
        assert_eq!(announced(&programmer, 0), [link.row]);
        assert_eq!(announced(&programmer, 1), [link.row]);
        config.clock_rate = 48_000;
        programmer.write::<Track>(link, &mut config);
        programmer.flush();
        assert_eq!(announced(&programmer, 1), [link.row]);
    }

    #[test]
    fn a_row_written_twice_is_announced_once() {
        let mut programmer = programmer();
        let link = programmer.reserve::<Track>().unwrap();
        for clock_rate in [90_000, 48_000, 90_000] {
            let mut config = TrackConfig {
                clock_rate,
                ..TrackConfig::default()
            };
            programmer.write::<Track>(link, &mut config);
        }
        programmer.flush();
        assert_eq!(announced(&programmer, 0), [link.row]);
    }

    #[test]
    fn a_row_adopted_and_released_is_free_once() {
        let mut before = programmer();
        let link = before.reserve::<Track>().unwrap();
        before.write::<Track>(link, &mut TrackConfig::default());
        let mut programmer = Programmer::new(Arc::clone(before.tables()), Vec::new());
        assert!(programmer.adopt(&[(RowKind::Track, link.row)]));
        programmer.release::<Track>(link);
        programmer.sweep();
        assert_eq!(programmer.usage(RowKind::Track), (0, 3));
        let mut rows = Vec::new();
        while let Ok(link) = programmer.reserve::<Track>() {
            rows.push(link.row);
        }
        rows.sort_unstable();
        assert_eq!(rows, [0, 1, 2]);
    }

    #[test]
    fn an_adopted_row_is_nobody_elses_before_the_sweep_either() {
        let mut programmer = programmer();
        assert!(programmer.adopt(&[(RowKind::Track, 0), (RowKind::Track, 1)]));
        assert_eq!(programmer.reserve::<Track>().map(|link| link.row), Ok(2));
        let full = Err(TableFull(RowKind::Track));
        assert_eq!(programmer.reserve::<Track>(), full);
        programmer.sweep();
        assert_eq!(programmer.usage(RowKind::Track), (3, 3));
        assert_eq!(programmer.reserve::<Track>(), full);
    }

    #[test]
    fn adopted_rows_are_kept_and_the_others_swept() {
        let mut before = programmer();
        let links = [(); 2].map(|()| before.reserve::<Track>().unwrap());
        for link in links {
            before.write::<Track>(link, &mut TrackConfig::default());
        }
        let mut programmer = Programmer::new(Arc::clone(before.tables()), Vec::new());
        let track = |row| (RowKind::Track, row);
        assert!(
            !programmer.adopt(&[track(links[0].row), track(99)]),
            "no such row"
        );
        assert!(
            !programmer.adopt(&[track(links[0].row), track(links[0].row)]),
            "one row twice"
        );
        assert!(
            programmer.adopt(&[track(links[0].row)]),
            "the failures took nothing"
        );
        assert_eq!(programmer.sweep(), 1);
        assert!(programmer.tables().follow::<Track>(links[0]).is_some());
        assert!(programmer.tables().follow::<Track>(links[1]).is_none());
        assert_eq!(programmer.usage(RowKind::Track), (1, 3));
        let rows: Vec<u32> = (0..2)
            .map(|_| programmer.reserve::<Track>().unwrap().row)
            .collect();
        assert!(!rows.contains(&links[0].row));
        assert!(programmer.reserve::<Track>().is_err());
    }
}
