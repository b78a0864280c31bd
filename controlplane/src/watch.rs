//! Which layers of published video anybody watches, over all workers: an encoder need not make the others.
//!
//! Pure: workers' events, where viewers are, and time come in; changes come out. A worker says of each encoding that none of
//! its viewers is sent it, says so again every few seconds, and says at once when one is. What it does not say again is not
//! so any more: an event lost, or a restart, costs seconds of a layer too many, and never a layer.

use crate::record::Link;
use ion_tables::{Event, EventKind, RowKind};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// A worker's word that nobody watches holds for so long: two repetitions, and some.
const HOLDS: Duration = Duration::from_secs(12);
/// Without any viewer at all, layers count as watched for so long: viewers come and go.
const NOBODY_FOR: Duration = Duration::from_secs(3);

/// A track as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watchable {
    /// Its row.
    pub track: Link,
    /// Rows of its encodings, the lowest quality first.
    pub encodings: Vec<Link>,
    /// Bit `w` is set when worker `w` owns a viewer of it.
    pub workers: u64,
}

/// The layers of a track that anybody watches have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Row of the track.
    pub track: Link,
    /// By encoding, the lowest quality first. Those below one that is watched count as watched too: they are what a viewer
    /// falls back to.
    pub watched: Vec<bool>,
}

#[derive(Debug)]
struct Known {
    watched: Vec<bool>,
    /// Since when there is no viewer.
    nobody_since: Option<Instant>,
}

/// What workers said, and what was told of it.
#[derive(Debug, Default)]
pub struct Watch {
    /// When a worker last said that nobody there is sent an encoding.
    unwatched: HashMap<Link, BTreeMap<u16, Instant>>,
    known: HashMap<Link, Known>,
}

impl Watch {
    /// Takes in what a worker says. Other events than of watching are nothing to it.
    pub fn event(&mut self, now: Instant, worker: u16, event: &Event) {
        if event.table != RowKind::Encoding {
            return;
        }
        let encoding = Link::from(event.row);
        match event.kind {
            EventKind::LayerUnwatched => {
                self.unwatched
                    .entry(encoding)
                    .or_default()
                    .insert(worker, now);
            }
            EventKind::LayerWatched => {
                if let Some(workers) = self.unwatched.get_mut(&encoding) {
                    workers.remove(&worker);
                }
            }
            _ => {}
        }
    }

    /// Looks at all video tracks, as they are now. Returns what has changed; all layers of a track that is new count as
    /// watched.
    pub fn update(&mut self, now: Instant, tracks: &[Watchable]) -> Vec<Changed> {
        let mut known = HashMap::with_capacity(tracks.len());
        let mut unwatched = HashMap::new();
        let mut changes = Vec::new();
        for watchable in tracks {
            let Watchable {
                track,
                encodings,
                workers,
            } = watchable;
            for encoding in encodings {
                // A worker whose viewers have all gone has nothing more to say.
                let mut said = self.unwatched.remove(encoding).unwrap_or_default();
                said.retain(|&worker, _| bit(worker) & workers != 0);
                said.retain(|_, at| now.saturating_duration_since(*at) < HOLDS);
                unwatched.insert(*encoding, said);
            }
            let before = self.known.remove(track);
            let nobody_since = (*workers == 0).then(|| {
                before
                    .as_ref()
                    .and_then(|known| known.nobody_since)
                    .unwrap_or(now)
            });
            let before = before.map_or_else(|| vec![true; encodings.len()], |known| known.watched);
            let gone =
                nobody_since.is_some_and(|at| now.saturating_duration_since(at) >= NOBODY_FOR);
            let watched: Vec<bool> = if *workers == 0 {
                before.iter().map(|&watched| watched && !gone).collect()
            } else {
                let by_encoding = |encoding| unwatched.get(encoding);
                up_to_the_highest(encodings.iter().map(|encoding| {
                    let said = by_encoding(encoding).into_iter().flatten();
                    said.fold(0, |bits, (&worker, _)| bits | bit(worker)) != *workers
                }))
            };
            if watched != before {
                changes.push(Changed {
                    track: *track,
                    watched: watched.clone(),
                });
            }
            known.insert(
                *track,
                Known {
                    watched,
                    nobody_since,
                },
            );
        }
        // What belongs to no track any more is forgotten.
        (self.known, self.unwatched) = (known, unwatched);
        changes
    }

    /// Which encodings of a track are watched, as last told; `None` of a track never looked at.
    pub fn watched(&self, track: Link) -> Option<&[bool]> {
        self.known.get(&track).map(|known| &known.watched[..])
    }
}

fn bit(worker: u16) -> u64 {
    1_u64.checked_shl(u32::from(worker)).unwrap_or(0)
}

/// What lies below something watched is watched.
fn up_to_the_highest(watched: impl Iterator<Item = bool>) -> Vec<bool> {
    let mut all: Vec<bool> = watched.collect();
    let highest = all.iter().rposition(|&watched| watched);
    if let Some(highest) = highest {
        all[..highest].fill(true);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(row: u32) -> Link {
        Link { row, generation: 1 }
    }

    fn says(kind: EventKind, encoding: u32) -> Event {
        Event {
            kind,
            table: RowKind::Encoding,
            row: link(encoding).into(),
            value: 0,
            at_us: 0,
        }
    }

    fn track(workers: u64) -> [Watchable; 1] {
        let encodings = vec![link(10), link(11), link(12)];
        [Watchable {
            track: link(1),
            encodings,
            workers,
        }]
    }

    fn told(changes: &[Changed]) -> Vec<Vec<bool>> {
        changes
            .iter()
            .map(|change| change.watched.clone())
            .collect()
    }

    const UNWATCHED: EventKind = EventKind::LayerUnwatched;
    const WATCHED: EventKind = EventKind::LayerWatched;

    #[test]
    fn a_layer_is_unwatched_when_all_workers_with_viewers_say_so() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        assert!(
            watch.update(now, &track(0b11)).is_empty(),
            "all are, at first"
        );
        watch.event(now, 0, &says(UNWATCHED, 12));
        assert!(
            watch.update(now, &track(0b11)).is_empty(),
            "one worker's word"
        );
        watch.event(now, 1, &says(UNWATCHED, 12));
        watch.event(now, 1, &says(UNWATCHED, 11));
        let changes = watch.update(now, &track(0b11));
        assert_eq!(told(&changes), [[true, true, false]]);
        assert_eq!(watch.watched(link(1)), Some(&[true, true, false][..]));
        assert!(watch.update(now, &track(0b11)).is_empty(), "told once");
        watch.event(now, 0, &says(WATCHED, 12));
        assert_eq!(told(&watch.update(now, &track(0b11))), [[true; 3]]);
    }

    #[test]
    fn what_a_viewer_would_fall_back_to_stays() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        for encoding in [10, 11] {
            watch.event(now, 0, &says(UNWATCHED, encoding));
        }
        assert!(
            watch.update(now, &track(1)).is_empty(),
            "the highest is watched"
        );
        watch.event(now, 0, &says(UNWATCHED, 12));
        assert_eq!(told(&watch.update(now, &track(1))), [[false; 3]]);
    }

    #[test]
    fn a_word_that_is_not_repeated_does_not_hold() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        watch.event(now, 0, &says(UNWATCHED, 12));
        assert_eq!(watch.update(now, &track(1)).len(), 1);
        assert_eq!(told(&watch.update(now + HOLDS, &track(1))), [[true; 3]]);
    }

    #[test]
    fn viewers_that_leave_take_their_workers_word_along() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        watch.event(now, 0, &says(UNWATCHED, 12));
        assert_eq!(watch.update(now, &track(1)).len(), 1);
        assert!(watch.update(now, &track(0)).is_empty());
        assert_eq!(
            told(&watch.update(now + NOBODY_FOR, &track(0))),
            [[false; 3]]
        );
        let back = watch.update(now + NOBODY_FOR, &track(1));
        assert_eq!(told(&back), [[true; 3]], "another viewer comes");
    }

    #[test]
    fn a_track_that_is_gone_is_forgotten() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        watch.update(now, &track(1));
        watch.update(now, &[]);
        assert_eq!(watch.watched(link(1)), None);
        assert!(watch.unwatched.is_empty() && watch.known.is_empty());
    }
}
