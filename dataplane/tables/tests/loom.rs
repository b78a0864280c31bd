//! Every interleaving of the sequence lock and the rings, by loom:
//! `RUSTFLAGS="--cfg loom" cargo test -p ion-tables --release --test loom`.
#![cfg(loom)]

use ion_tables::command::Command;
use ion_tables::{
    CommandRing, Event, EventKind, EventReader, EventRing, RowKind, RowLink, RowRef, SeqCell,
};
use loom::sync::Arc;
use loom::thread;

#[derive(
    Clone,
    Copy,
    PartialEq,
    Debug,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
#[repr(C)]
struct Pair {
    a: u64,
    b: u64,
}
ion_tables::plain!(Pair);

#[test]
fn a_reader_never_sees_half_a_row() {
    loom::model(|| {
        let cell = Arc::new(SeqCell::<Pair>::new(&Pair { a: 0, b: 0 }));
        let writer = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || {
                cell.write(&Pair { a: 1, b: 1 });
                cell.write(&Pair { a: 2, b: 2 });
            })
        };
        if let Ok(pair) = cell.read() {
            assert_eq!(pair.a, pair.b);
        }
        writer.join().unwrap();
        assert_eq!(cell.read(), Ok(Pair { a: 2, b: 2 }));
    });
}

fn row(n: u32) -> RowRef {
    RowRef {
        kind: RowKind::Subscription,
        row: n,
    }
}

#[test]
fn no_announcement_is_lost_or_made_up() {
    loom::model(|| {
        let ring = Arc::new(CommandRing::new());
        let producer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                for n in 1..=3 {
                    ring.announce(row(n));
                }
            })
        };
        let mut seen = Vec::new();
        let mut rescanned = false;
        let mut drain = |seen: &mut Vec<u32>| {
            while let Some(command) = ring.take() {
                match command {
                    Command::Changed(r) => seen.push(r.row),
                    Command::Rescan => rescanned = true,
                }
            }
        };
        drain(&mut seen);
        producer.join().unwrap();
        drain(&mut seen);
        assert!(rescanned || seen == [1, 2, 3], "{seen:?}");
        assert!(seen.iter().all(|n| (1..=3).contains(n)));
    });
}

#[test]
fn a_worker_that_sleeps_is_rung() {
    loom::model(|| {
        let ring = Arc::new(CommandRing::new());
        let producer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.announce(row(1)))
        };
        let sleeps = ring.sleep();
        let rung = producer.join().unwrap();
        // Asleep with something in the ring and nobody to ring: the lost wake-up.
        assert!(!sleeps || rung || ring.take().is_none());
    });
}

#[test]
fn an_event_is_whole_or_counted_lost() {
    loom::model(|| {
        let ring = Arc::new(EventRing::new());
        let event = |n: u64| Event {
            kind: EventKind::LayerSwitched,
            table: RowKind::Subscription,
            row: RowLink {
                row: n as u32,
                generation: n as u32,
            },
            value: n,
            at_us: n,
        };
        let writer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                for n in 1..=3 {
                    ring.push(&event(n));
                }
            })
        };
        let mut reader = EventReader::default();
        let mut seen = Vec::new();
        while let Some(got) = reader.take(&ring) {
            assert_eq!(got, event(got.value), "half an event");
            seen.push(got.value);
        }
        writer.join().unwrap();
        while let Some(got) = reader.take(&ring) {
            assert_eq!(got, event(got.value), "half an event");
            seen.push(got.value);
        }
        assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
        assert_eq!(seen.len() as u64 + reader.lost(), 3);
    });
}
