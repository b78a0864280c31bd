//! How much of what a sender says is sent on: a message to a room of N costs N copies.

use crate::limits;
use crate::rooms::Key;
use ion_api::names::RoomName;
use std::collections::HashMap;
use std::time::Instant;

/// Who sends data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Sender {
    Participant(Key),
    /// The application's server, to a room.
    Server(RoomName),
}

/// What was sent on for a sender up to some time, as far as time had not made up for it.
#[derive(Debug, Clone, Copy)]
struct Spent {
    bytes: u64,
    at: Instant,
}

impl Spent {
    fn left(&self, now: Instant, bytes_per_second: u64) -> u64 {
        let ms = now.saturating_duration_since(self.at).as_millis();
        let ms = u64::try_from(ms).unwrap_or(u64::MAX);
        let gained = ms.saturating_mul(bytes_per_second) / 1_000;
        self.bytes.saturating_sub(gained)
    }
}

/// What senders have spent. Who has sent nothing lately is not in here.
#[derive(Debug)]
pub(super) struct Fanout {
    bytes_per_second: u64,
    spent: HashMap<Sender, Spent>,
}

impl Fanout {
    /// Each may have so much sent on.
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second,
            spent: HashMap::new(),
        }
    }

    fn left(&self, now: Instant, sender: &Sender) -> u64 {
        let spent = self.spent.get(sender);
        spent.map_or(0, |spent| spent.left(now, self.bytes_per_second))
    }

    /// Whether one more message of this sender may be sent on, however many get it: so that the
    /// largest room can be told something, once in a while.
    pub(super) fn may_send(&self, now: Instant, sender: &Sender) -> bool {
        let most = self.bytes_per_second * limits::FANOUT_BURST_S;
        self.left(now, sender) < most
    }

    /// A message is sent on, so many times.
    pub(super) fn sent(&mut self, now: Instant, sender: Sender, copies: usize, bytes: usize) {
        let number = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        let cost = number(copies).saturating_mul(number(bytes).saturating_add(limits::COPY_BYTES));
        let bytes = self.left(now, &sender).saturating_add(cost);
        self.spent.insert(sender, Spent { bytes, at: now });
    }

    /// Forgets who may send as if it never had.
    pub(super) fn sweep(&mut self, now: Instant) {
        let rate = self.bytes_per_second;
        self.spent.retain(|_, spent| spent.left(now, rate) > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const RATE: u64 = limits::FANOUT_BYTES_PER_SECOND;

    /// Messages of `bytes` to so many that are sent on in ten seconds, of a hundred each second.
    fn carried(copies: usize, bytes: usize) -> u64 {
        let (mut fanout, start) = (Fanout::new(RATE), Instant::now());
        let sender = Sender::Participant(Key(1));
        let mut carried = 0;
        for n in 0..1_000 {
            let now = start + Duration::from_millis(10 * n);
            if fanout.may_send(now, &sender) {
                fanout.sent(now, sender.clone(), copies, bytes);
                carried += 1;
            }
        }
        carried
    }

    #[test]
    fn a_message_counts_once_for_each_who_gets_it() {
        assert_eq!(carried(0, 32_768), 1_000, "nobody gets it");
        assert_eq!(carried(30, 1_000), 1_000);
        let most = (limits::FANOUT_BURST_S + 10) * RATE;
        for (copies, bytes) in [(1_000_u32, 1_000_u32), (4_000, 100), (4_000, 32_768)] {
            let sent = carried(copies as usize, bytes as usize);
            let cost = u64::from(copies) * (u64::from(bytes) + limits::COPY_BYTES);
            assert!((1..1_000).contains(&sent));
            assert!(sent * cost < most + cost, "{sent} of {cost}");
        }
    }

    #[test]
    fn senders_do_not_share_and_are_forgotten_when_they_owe_nothing() {
        let (mut fanout, now) = (Fanout::new(RATE), Instant::now());
        let room = RoomName::parse("r").unwrap();
        let senders = [Sender::Participant(Key(1)), Sender::Server(room)];
        fanout.sent(now, senders[0].clone(), 4_096, 48 * 1_024);
        assert!(!fanout.may_send(now, &senders[0]));
        assert!(fanout.may_send(now, &senders[1]));
        fanout.sweep(now);
        assert_eq!(fanout.spent.len(), 1);
        fanout.sweep(now + Duration::from_secs(3_600));
        assert!(fanout.spent.is_empty());
    }
}
