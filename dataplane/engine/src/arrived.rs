//! Which packets beside the media, retransmissions and repair packets, arrive at viewers: by their feedback on packets,
//! or where none was agreed on by receiver reports. Of a packet that is sent again as it was nobody can tell.

use crate::engine::Engine;
use crate::limits::EXTRAS;
use crate::transport::{Sent, StreamKind, Transport};
use ion_tables::RowLink;
use ion_wire::rtcp::ReportBlock;
use ion_wire::seq;

/// A packet beside the media that feedback may still come for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extra {
    /// Its transport-wide number, modulo 2^32.
    pub(crate) number: u32,
    pub(crate) subscription: RowLink,
    pub(crate) kind: StreamKind,
}

/// Those of one viewer. They are few among all that is sent, and kept apart from it.
pub(crate) struct Extras {
    /// First those that have arrived and are not counted yet, then the others as they were sent.
    list: Vec<Extra>,
    arrived: usize,
}

impl Extras {
    pub(crate) fn new() -> Self {
        Self {
            list: Vec::with_capacity(EXTRAS),
            arrived: 0,
        }
    }

    /// One was sent; of too many the oldest is forgotten.
    pub(crate) fn sent(&mut self, extra: Extra) {
        if self.list.len() == EXTRAS {
            self.list.remove(0);
            self.arrived = self.arrived.saturating_sub(1);
        }
        self.list.push(extra);
    }

    /// Feedback says what became of one.
    pub(crate) fn heard(&mut self, number: u32, has_arrived: bool) {
        let mut waiting = self.list.iter().skip(self.arrived);
        let Some(at) = waiting.position(|extra| extra.number == number) else {
            return;
        };
        let extra = self.list.remove(self.arrived + at);
        if has_arrived {
            self.list.insert(0, extra);
            self.arrived += 1;
        }
    }

    /// Takes one that has arrived.
    pub(crate) fn take(&mut self) -> Option<Extra> {
        self.arrived = self.arrived.checked_sub(1)?;
        Some(self.list.remove(self.arrived))
    }
}

/// How far receiver reports on a stream have come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reported {
    /// Index of the newest packet that was reported on.
    newest: u64,
    lost: i32,
}

impl Reported {
    /// Nothing yet of a stream that begins with this index.
    pub(crate) fn before(first: u64) -> Self {
        Self {
            newest: first.saturating_sub(1),
            lost: 0,
        }
    }

    /// How many packets more have arrived of a stream that was sent up to `next`.
    fn take(&mut self, next: u64, block: &ReportBlock) -> u64 {
        let last = next.saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "its low half is the number"
        )]
        let newest = seq::extend(block.extended_highest_sequence as u16, last);
        if newest > last || newest < self.newest {
            return 0;
        }
        let expected = newest - self.newest;
        let lost = i64::from(block.cumulative_lost) - i64::from(self.lost);
        (self.newest, self.lost) = (newest, block.cumulative_lost);
        // Duplicates make losses negative.
        let lost = u64::try_from(lost).unwrap_or(0);
        expected.saturating_sub(lost)
    }
}

impl Transport {
    /// The packet sealed last is one beside the media: its arrival counts, if feedback on packets was agreed on.
    pub(crate) fn note_extra(&mut self, subscription: RowLink, kind: StreamKind) {
        let bandwidth = self.bandwidth.as_deref_mut();
        if let Some(sent) = bandwidth.and_then(|bandwidth| bandwidth.sent.as_mut()) {
            sent.was_extra(subscription, kind);
        }
    }
}

impl Engine {
    /// Counts what a viewer's feedback on packets said to have arrived.
    pub(crate) fn extras_heard(&mut self, row: u32) {
        while let Some(extra) = self.take_extra(row) {
            self.count_arrived(extra.subscription, extra.kind, 1);
        }
    }

    fn take_extra(&mut self, row: u32) -> Option<Extra> {
        self.bandwidth(row)?.sent.as_mut()?.take_extra()
    }

    /// A receiver report on a stream beside the media: the word of those viewers that do not report on packets.
    pub(crate) fn extras_reported(&mut self, row: u32, sent: Sent, block: &ReportBlock) {
        let heard = self.bandwidth(row).is_some_and(|b| b.sent.is_some());
        let subscriber = self.subscriptions[sent.subscription as usize].as_deref_mut();
        let Some(subscriber) = subscriber.filter(|_| !heard) else {
            return;
        };
        let arrived = match sent.kind {
            StreamKind::Media => return,
            StreamKind::Rtx => subscriber.rtx_reported.take(subscriber.rtx_next, block),
            StreamKind::Fec => {
                let next = subscriber.protection.as_deref().map(|p| p.next_index());
                subscriber.fec_reported.take(next.unwrap_or(0), block)
            }
        };
        let link = subscriber.link;
        self.count_arrived(link, sent.kind, arrived);
    }

    fn count_arrived(&self, subscription: RowLink, kind: StreamKind, packets: u64) {
        let worker = self.tables.counters();
        let counters = self.subscription_counters(subscription.row);
        let life = u64::from(subscription.generation);
        let counters = counters.filter(|c| c.generation.load() == life);
        let (of_worker, of_row) = match kind {
            StreamKind::Media => return,
            StreamKind::Rtx => (
                &worker.retransmitted_arrived,
                counters.map(|c| &c.retransmitted_arrived),
            ),
            StreamKind::Fec => (
                &worker.fec_packets_arrived,
                counters.map(|c| &c.fec_packets_arrived),
            ),
        };
        of_worker.add(packets);
        if let Some(counter) = of_row {
            counter.add(packets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extra(number: u32) -> Extra {
        Extra {
            number,
            subscription: RowLink::default(),
            kind: StreamKind::Rtx,
        }
    }

    #[test]
    fn what_arrives_is_taken_once_and_what_is_never_heard_of_is_forgotten() {
        let mut extras = Extras::new();
        let many = u32::try_from(2 * EXTRAS).unwrap();
        for number in 0..many {
            extras.sent(extra(number));
        }
        assert_eq!(extras.list.capacity(), EXTRAS, "nothing is allocated");
        for (number, arrived) in [
            (many - 1, true),
            (many - 2, false),
            (3, true),
            (many - 5, true),
        ] {
            extras.heard(number, arrived);
            extras.heard(number, true);
        }
        let mut taken: Vec<u32> = std::iter::from_fn(|| extras.take())
            .map(|e| e.number)
            .collect();
        taken.sort_unstable();
        assert_eq!(taken, [many - 5, many - 1], "the third was too old");
        assert_eq!(extras.list.len(), EXTRAS - 3);
    }

    #[test]
    fn receiver_reports_count_what_came_since_the_last() {
        let block = |newest: u32, cumulative_lost| ReportBlock {
            extended_highest_sequence: newest,
            cumulative_lost,
            ..ReportBlock::default()
        };
        // The viewer counts its own cycles.
        let mut reported = Reported::before(65_530);
        assert_eq!(reported.take(65_540, &block(65_535, 1)), 5);
        assert_eq!(reported.take(65_540, &block(1 << 16 | 3, 1)), 4);
        assert_eq!(reported.take(65_540, &block(1 << 16 | 3, 1)), 0);
        assert_eq!(
            reported.take(65_540, &block(1 << 16 | 4, 0)),
            0,
            "never sent"
        );
        assert_eq!(reported.take(65_540, &block(65_535, 0)), 0, "of before");
        assert_eq!(reported.take(65_550, &block(1 << 16 | 13, 100)), 0);
        assert_eq!(
            reported.take(65_560, &block(1 << 16 | 15, -8)),
            2,
            "no more than were sent"
        );
    }
}
