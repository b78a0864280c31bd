//! How good the connections of participants are, from what workers count of loss, time and layers, both ways.

use super::{Core, Key};
use crate::record::{Kind, Record};
use crate::rooms::Input;
use ion_api::model::SessionState;
use ion_api::signal::model::Quality;
use ion_tables::{Encoding, Limit, Subscription, Tables, Transport};
use std::collections::HashMap;
use std::time::Instant;

/// A connection is looked at this often, seconds.
const EVERY: u32 = 2;
/// It counts as worse after so many looks in a row ...
const WORSE_AFTER: u8 = 2;
/// ... and as better after so many: one bad second is shown for ten at least, and nobody is told more often.
const BETTER_AFTER: u8 = 5;
/// Packets below which loss says nothing.
const FEW: u64 = 20;

/// What was counted until some moment. Losses may fall: what was late has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    received: u64,
    lost_in: i64,
    sent: u64,
    lost_out: i64,
}

/// How a connection was over the last seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sample {
    /// Fractions lost of what it sends and is sent; the greater.
    loss: f64,
    rtt_ms: u64,
    /// Of sound: a picture's packets share a timestamp and come spread.
    jitter_ms: u64,
    /// Video is sent with fewer layers than there are, for want of room.
    is_limited: bool,
    /// Or not at all.
    is_starved: bool,
}

/// One look by itself.
fn judge(sample: &Sample) -> Quality {
    let Sample {
        loss,
        rtt_ms,
        jitter_ms,
        ..
    } = *sample;
    if sample.is_starved || loss >= 0.08 || rtt_ms >= 600 || jitter_ms >= 120 {
        Quality::Poor
    } else if sample.is_limited || loss >= 0.02 || rtt_ms >= 250 || jitter_ms >= 40 {
        Quality::Good
    } else {
        Quality::Excellent
    }
}

fn rank(quality: Quality) -> u8 {
    match quality {
        Quality::Unknown => 0,
        Quality::Lost => 1,
        Quality::Poor => 2,
        Quality::Good => 3,
        Quality::Excellent => 4,
    }
}

/// What is shown of a connection, and what speaks against it.
#[derive(Debug, Default)]
struct Shown {
    quality: Quality,
    sums: Sums,
    /// How often in a row it was found to be better, or worse, than is shown; at least as much as `pending`.
    looks: u8,
    pending: Quality,
}

impl Shown {
    /// Takes in one look. What is shown changes to the level that all looks in a row agreed on; the first, and a
    /// connection that is gone or back, are shown at once.
    fn look(&mut self, found: Quality) -> Quality {
        let at_once = [self.quality, found]
            .iter()
            .any(|quality| matches!(quality, Quality::Unknown | Quality::Lost));
        if found == self.quality || at_once {
            (self.quality, self.looks) = (found, 0);
            return found;
        }
        let is_better = |quality| rank(quality) > rank(self.quality);
        let goes_on = self.looks > 0 && is_better(self.pending) == is_better(found);
        // Up as far as the worst of them, down as far as the best.
        let closer = |a: Quality, b: Quality| {
            let distance = |quality| rank(quality).abs_diff(rank(self.quality));
            if distance(a) < distance(b) { a } else { b }
        };
        let (looks, pending) = match goes_on {
            true => (self.looks + 1, closer(self.pending, found)),
            false => (1, found),
        };
        let needed = if is_better(found) {
            BETTER_AFTER
        } else {
            WORSE_AFTER
        };
        (self.looks, self.pending) = (looks, pending);
        if looks >= needed {
            (self.quality, self.looks) = (pending, 0);
        }
        self.quality
    }
}

/// Of all participants.
#[derive(Debug, Default)]
pub(super) struct Qualities {
    shown: HashMap<Key, Shown>,
    seconds: u32,
}

impl Core {
    /// Looks at all connections, now and then, and tells of those that got better or worse.
    pub(super) fn look_at_quality(&mut self, now: Instant) {
        self.qualities.seconds += 1;
        if !self.qualities.seconds.is_multiple_of(EVERY) || self.dataplane.is_none() {
            return;
        }
        let mut shown = std::mem::take(&mut self.qualities.shown);
        shown.retain(|key, _| self.sessions.contains_key(key));
        let tables = std::sync::Arc::clone(self.programmer.tables());
        let mut changed = Vec::new();
        for (key, session) in &self.sessions {
            let found = match super::inspect::state(now, session) {
                SessionState::Negotiated | SessionState::Connecting => continue,
                SessionState::Disconnected => Quality::Lost,
                SessionState::Connected => {
                    let entry = shown.entry(*key).or_default();
                    let sums = sums(&tables, &session.record);
                    let before = std::mem::replace(&mut entry.sums, sums);
                    judge(&sample(&tables, &session.record, &before, &sums))
                }
            };
            let entry = shown.entry(*key).or_default();
            let before = entry.quality;
            let quality = entry.look(found);
            if quality != before {
                changed.push((*key, quality));
            }
        }
        self.qualities.shown = shown;
        for (key, quality) in changed {
            self.happen(now, Input::Quality { key, quality });
        }
    }
}

fn sums(tables: &Tables, record: &Record) -> Sums {
    let mut sums = Sums::default();
    for encoding in record.published().iter().flat_map(|t| &t.encodings) {
        let counters = tables.counters::<Encoding>(encoding.row.row);
        if let Some(c) = counters
            && c.generation.load() == u64::from(encoding.row.generation)
        {
            sums.received += c.packets_received.load();
            sums.lost_in += c.packets_lost.load().cast_signed();
        }
    }
    for slot in record.played() {
        let counters = tables.counters::<Subscription>(slot.row.row);
        if let Some(c) = counters
            && c.generation.load() == u64::from(slot.row.generation)
        {
            sums.sent += c.packets_sent.load();
            sums.lost_out += c.packets_lost.load().cast_signed();
        }
    }
    sums
}

/// A fraction lost, where enough was sent to tell.
fn fraction(lost: i64, of: u64) -> f64 {
    let (Ok(lost), Ok(of)) = (u32::try_from(lost), u32::try_from(of)) else {
        return 0.0;
    };
    match u64::from(of) >= FEW {
        true => (f64::from(lost) / f64::from(of)).min(1.0),
        false => 0.0,
    }
}

fn sample(tables: &Tables, record: &Record, before: &Sums, after: &Sums) -> Sample {
    // A row that began anew counts from zero: that says nothing.
    let lost_in = (after.lost_in - before.lost_in).max(0);
    let received = after.received.saturating_sub(before.received);
    let expected = received.saturating_add(lost_in.unsigned_abs());
    let loss_in = match received {
        0 => 0.0,
        _ => fraction(lost_in, expected),
    };
    let sent = after.sent.saturating_sub(before.sent);
    let loss_out = fraction(after.lost_out - before.lost_out, sent);
    let mut sample = Sample {
        loss: loss_in.max(loss_out),
        ..Sample::default()
    };
    let row = record.row;
    if let Some(c) = tables.counters::<Transport>(row.row)
        && c.generation.load() == u64::from(row.generation)
    {
        sample.rtt_ms = c.rtt_us.load() / 1_000;
    }
    let published = record.published().iter();
    for track in published.filter(|track| track.kind == Kind::Audio && received > 0) {
        for encoding in &track.encodings {
            let counters = tables.counters::<Encoding>(encoding.row.row);
            let generation = u64::from(encoding.row.generation);
            if let Some(c) = counters.filter(|c| c.generation.load() == generation) {
                sample.jitter_ms = sample.jitter_ms.max(c.jitter_us.load() / 1_000);
            }
        }
    }
    for slot in record.played() {
        let counters = tables.counters::<Subscription>(slot.row.row);
        let generation = u64::from(slot.row.generation);
        // A section that was never sent anything has a row in which nothing is counted for it yet.
        let Some(c) = counters.filter(|c| c.generation.load() == generation) else {
            continue;
        };
        if slot.kind == Kind::Audio {
            if sent > 0 {
                sample.jitter_ms = sample.jitter_ms.max(c.jitter_us.load() / 1_000);
            }
        } else if Limit::of(c.limit.load()) == Some(Limit::Bandwidth) {
            sample.is_limited = true;
            sample.is_starved |= c.layer_in_use.load() == 0;
        }
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Bounds, Link, Media, Played};
    use ion_tables::Capacities;

    const CLEAN: Sample = Sample {
        loss: 0.0,
        rtt_ms: 40,
        jitter_ms: 5,
        is_limited: false,
        is_starved: false,
    };

    #[test]
    fn loss_time_and_layers_each_count() {
        use Quality::{Excellent, Good, Poor};
        let of = |edit: fn(&mut Sample)| {
            let mut sample = CLEAN;
            edit(&mut sample);
            judge(&sample)
        };
        assert_eq!(judge(&CLEAN), Excellent);
        assert_eq!([of(|s| s.loss = 0.03), of(|s| s.loss = 0.1)], [Good, Poor]);
        assert_eq!(
            [of(|s| s.rtt_ms = 300), of(|s| s.rtt_ms = 900)],
            [Good, Poor]
        );
        assert_eq!(
            [of(|s| s.jitter_ms = 50), of(|s| s.jitter_ms = 200)],
            [Good, Poor]
        );
        assert_eq!(
            [of(|s| s.is_limited = true), of(|s| s.is_starved = true)],
            [Good, Poor]
        );
    }

    #[test]
    fn it_falls_after_two_looks_and_rises_after_five() {
        use Quality::{Excellent, Good, Lost, Poor};
        let mut shown = Shown::default();
        let mut look = |found: &[Quality]| found.iter().map(|q| shown.look(*q)).collect::<Vec<_>>();
        assert_eq!(
            look(&[Excellent, Poor, Excellent]),
            [Excellent; 3],
            "one bad look"
        );
        assert_eq!(look(&[Good, Poor]), [Excellent, Good], "as bad as both");
        assert_eq!(look(&[Poor, Poor]), [Good, Poor]);
        let up = look(&[Excellent, Good, Excellent, Excellent, Excellent]);
        assert_eq!(up, [Poor, Poor, Poor, Poor, Good], "as good as all five");
        assert_eq!(look(&[Lost]), [Lost], "at once");
        assert_eq!(look(&[Excellent]), [Excellent], "and back");
    }

    #[test]
    fn what_was_counted_in_an_earlier_life_of_a_row_says_nothing() {
        let capacities = Capacities {
            transports: 1,
            tracks: 1,
            encodings: 1,
            subscriptions: 1,
        };
        let tables = Tables::create(capacities, 1, 1, 0).unwrap();
        let counters = tables.counters::<Subscription>(0).unwrap();
        counters.generation.set(3);
        counters.limit.set(Limit::Bandwidth as u64);
        let slot = |generation| Played {
            kind: Kind::Video,
            mid: String::new(),
            ssrc: 1,
            rtx_ssrc: None,
            fec: None,
            payloads: Vec::new(),
            section: 0,
            bounds: Bounds::default(),
            row: Link { row: 0, generation },
        };
        for (generation, is_starved) in [(3, true), (4, false)] {
            let media = Media::Play(vec![slot(generation)]);
            let (room, identity) = ("r".parse().unwrap(), "ann".parse().unwrap());
            let record = Record::new("id".to_owned(), 1, room, identity, media);
            let sums = sums(&tables, &record);
            let sample = sample(&tables, &record, &sums, &sums);
            assert_eq!(sample.is_starved, is_starved);
        }
    }

    #[test]
    fn what_came_late_and_rows_that_began_anew_are_no_loss() {
        let before = Sums {
            received: 1_000,
            lost_in: 50,
            sent: 500,
            lost_out: 10,
        };
        assert!(fraction(-3, 100).abs() < f64::EPSILON);
        assert!(fraction(5, FEW - 1).abs() < f64::EPSILON);
        assert!((fraction(5, 100) - 0.05).abs() < f64::EPSILON);
        let later = Sums {
            lost_in: 40,
            received: 1_100,
            ..before
        };
        assert!((later.lost_in - before.lost_in).max(0) == 0);
    }
}
