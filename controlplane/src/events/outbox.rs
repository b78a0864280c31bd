//! What waits to be delivered to webhooks: which event is next, and when. Pure: time is an argument,
//! in milliseconds of any clock.
//!
//! Invariants:
//! - **In order for each room**: of one webhook's events of one room at most one is under way, and none
//!   before the one that is ahead of it was taken or given up;
//! - **rooms do not wait for each other**, unless the receiver cannot be reached at all;
//! - a webhook has at most [`AT_ONCE`] deliveries under way.

use crate::limits;
use ion_api::names::RoomName;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Deliveries under way to one webhook.
pub const AT_ONCE: usize = 4;

/// The first pause after a failure, milliseconds; each one doubles it.
const FIRST_PAUSE_MS: u64 = 500;

/// The longest pause between two attempts at one event.
const LONGEST_PAUSE_MS: u64 = 5 * 60_000;

/// The longest pause of a webhook that cannot be reached.
const LONGEST_SILENCE_MS: u64 = 30_000;

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Taken,
    /// The receiver was there and did not take it.
    Refused,
    /// The receiver could not be reached, or did not answer.
    Unreachable,
}

/// What to do about an attempt's event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It is done.
    Forget,
    /// It is tried again.
    Again,
    /// It was tried for too long.
    GiveUp {
        /// How often.
        attempts: u32,
    },
}

/// An event, under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// To which webhook.
    pub webhook: String,
    /// Of which room.
    pub room: RoomName,
    /// Which.
    pub event: u64,
}

#[derive(Debug, Default)]
struct RoomQueue {
    events: VecDeque<u64>,
    attempts: u32,
    due_ms: u64,
    under_way: Option<u64>,
}

#[derive(Debug, Default)]
struct Queue {
    rooms: HashMap<RoomName, RoomQueue>,
    /// Rooms whose first event is not under way, by when it is due, then by its age.
    due: BTreeSet<(u64, u64, RoomName)>,
    under_way: usize,
    /// Attempts in a row that did not reach the receiver.
    silences: u32,
    silent_until_ms: u64,
}

/// All that waits.
#[derive(Debug, Default)]
pub struct Outbox {
    queues: HashMap<String, Queue>,
}

fn pause_ms(failures: u32, longest_ms: u64) -> u64 {
    let doubled = FIRST_PAUSE_MS.checked_shl(failures.saturating_sub(1).min(32));
    doubled.unwrap_or(longest_ms).min(longest_ms)
}

impl Queue {
    /// Makes a room's first event due, if it has one and none is under way.
    fn arm(&mut self, room: &RoomName) {
        let Some(queue) = self.rooms.get(room) else {
            return;
        };
        match queue.events.front() {
            Some(first) if queue.under_way.is_none() => {
                self.due.insert((queue.due_ms, *first, room.clone()));
            }
            Some(_) => {}
            None => {
                self.rooms.remove(room);
            }
        }
    }

    fn disarm(&mut self, room: &RoomName) {
        if let Some(queue) = self.rooms.get(room)
            && let Some(first) = queue.events.front()
        {
            self.due.remove(&(queue.due_ms, *first, room.clone()));
        }
    }

    /// When the next attempt may begin.
    fn ready_ms(&self) -> Option<u64> {
        let (due_ms, ..) = self.due.first()?;
        (self.under_way < AT_ONCE).then(|| (*due_ms).max(self.silent_until_ms))
    }
}

impl Outbox {
    /// An event for a webhook: behind those of its room that are older, before those that are newer.
    pub fn push(&mut self, webhook: &str, room: &RoomName, event: u64) {
        let queue = self.queues.entry(webhook.to_owned()).or_default();
        queue.disarm(room);
        let events = &mut queue.rooms.entry(room.clone()).or_default().events;
        // The one that is under way keeps its place.
        let place = events.partition_point(|other| *other < event);
        if events.get(place) != Some(&event) {
            events.insert(place, event);
        }
        queue.arm(room);
    }

    /// The next event to be tried, if one is due.
    pub fn take(&mut self, now_ms: u64) -> Option<Attempt> {
        let (webhook, queue) = self
            .queues
            .iter_mut()
            .filter(|(_, queue)| queue.ready_ms().is_some_and(|ready| ready <= now_ms))
            .min_by_key(|(_, queue)| queue.ready_ms())?;
        let (_, event, room) = queue.due.pop_first()?;
        queue.rooms.get_mut(&room)?.under_way = Some(event);
        queue.under_way += 1;
        Some(Attempt {
            webhook: webhook.clone(),
            room,
            event,
        })
    }

    /// When [`Outbox::take`] will give one, if nothing else happens.
    pub fn wake_ms(&self) -> Option<u64> {
        self.queues.values().filter_map(Queue::ready_ms).min()
    }

    /// An attempt has come to its end. `age_ms` is that of the event.
    pub fn done(&mut self, now_ms: u64, attempt: &Attempt, outcome: Outcome, age_ms: u64) -> Next {
        let Some(queue) = self.queues.get_mut(&attempt.webhook) else {
            return Next::Forget;
        };
        queue.under_way = queue.under_way.saturating_sub(1);
        queue.silences = match outcome {
            Outcome::Unreachable => queue.silences.saturating_add(1),
            Outcome::Taken | Outcome::Refused => 0,
        };
        queue.silent_until_ms = match queue.silences {
            0 => 0,
            silences => now_ms.saturating_add(pause_ms(silences, LONGEST_SILENCE_MS)),
        };
        let Some(room) = queue.rooms.get_mut(&attempt.room) else {
            return Next::Forget;
        };
        room.under_way = None;
        room.attempts = room.attempts.saturating_add(1);
        let attempts = room.attempts;
        let next = match outcome {
            Outcome::Taken => Next::Forget,
            _ if age_ms >= limits::DELIVERY_MS => Next::GiveUp { attempts },
            _ => Next::Again,
        };
        if next == Next::Again {
            room.due_ms = now_ms.saturating_add(match outcome {
                // The webhook as a whole waits.
                Outcome::Unreachable => 0,
                _ => pause_ms(attempts, LONGEST_PAUSE_MS),
            });
        } else {
            room.events.retain(|event| *event != attempt.event);
            (room.attempts, room.due_ms) = (0, 0);
        }
        queue.arm(&attempt.room);
        next
    }

    /// Forgets what waits for a webhook, up to an event; what is under way comes to its end.
    pub fn cut(&mut self, webhook: &str, until: u64) {
        let Some(queue) = self.queues.get_mut(webhook) else {
            return;
        };
        let rooms: Vec<RoomName> = queue.rooms.keys().cloned().collect();
        for name in rooms {
            queue.disarm(&name);
            if let Some(room) = queue.rooms.get_mut(&name) {
                let (first, under_way) = (room.events.front().copied(), room.under_way);
                room.events
                    .retain(|event| *event > until || Some(*event) == under_way);
                if room.events.front().copied() != first {
                    (room.attempts, room.due_ms) = (0, 0);
                }
            }
            queue.arm(&name);
        }
    }

    /// Forgets a webhook.
    pub fn forget(&mut self, webhook: &str) {
        self.queues.remove(webhook);
    }

    /// How many events wait for a webhook, those under way among them.
    pub fn waiting(&self, webhook: &str) -> usize {
        self.queues.get(webhook).map_or(0, |queue| {
            queue.rooms.values().map(|room| room.events.len()).sum()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn room(name: &str) -> RoomName {
        RoomName::parse(name).unwrap()
    }

    #[test]
    fn an_unreachable_receiver_is_asked_ever_more_rarely_and_by_one_room_at_a_time() {
        let mut outbox = Outbox::default();
        for event in 0..40 {
            outbox.push("a", &room(&format!("r{}", event % 8)), event);
        }
        let (mut now, mut attempts) = (0, 0);
        while now < 60_000 {
            let Some(wake) = outbox.wake_ms() else { break };
            now = now.max(wake);
            while let Some(attempt) = outbox.take(now) {
                attempts += 1;
                outbox.done(now, &attempt, Outcome::Unreachable, now);
            }
        }
        assert!((6..=12).contains(&attempts), "{attempts}");
        assert_eq!(outbox.waiting("a"), 40);
    }

    #[test]
    fn what_one_room_cannot_get_rid_of_does_not_hold_up_another() {
        let mut outbox = Outbox::default();
        outbox.push("a", &room("bad"), 1);
        outbox.push("a", &room("bad"), 2);
        outbox.push("a", &room("good"), 3);
        let first = outbox.take(0).unwrap();
        assert_eq!(outbox.done(0, &first, Outcome::Refused, 0), Next::Again);
        let second = outbox.take(0).unwrap();
        assert_eq!((first.event, second.event), (1, 3));
        assert_eq!(outbox.done(0, &second, Outcome::Taken, 0), Next::Forget);
        assert_eq!(outbox.take(0), None);
        let again = outbox.take(FIRST_PAUSE_MS).unwrap();
        assert_eq!(again.event, 1);
        let given_up = outbox.done(1_000, &again, Outcome::Refused, limits::DELIVERY_MS);
        assert_eq!(given_up, Next::GiveUp { attempts: 2 });
        assert_eq!(outbox.take(1_000).unwrap().event, 2);
    }

    #[test]
    fn one_that_is_delivered_after_all_goes_first() {
        let mut outbox = Outbox::default();
        outbox.push("a", &room("r"), 5);
        outbox.push("a", &room("r"), 3);
        outbox.push("a", &room("r"), 3);
        assert_eq!((outbox.waiting("a"), outbox.take(0).unwrap().event), (2, 3));
    }

    #[test]
    fn what_is_cut_is_not_tried_and_what_is_under_way_ends_first() {
        let mut outbox = Outbox::default();
        for (event, name) in [(1, "a"), (2, "b"), (3, "a"), (4, "c"), (5, "a")] {
            outbox.push("w", &room(name), event);
        }
        let first = outbox.take(0).unwrap();
        let second = outbox.take(0).unwrap();
        assert_eq!((first.event, second.event), (1, 2));
        assert_eq!(outbox.done(0, &second, Outcome::Refused, 0), Next::Again);
        // One that is delivered after all, before the one that is under way.
        outbox.push("w", &room("a"), 0);
        outbox.cut("w", 4);
        assert_eq!(outbox.waiting("w"), 2, "1, which is under way, and 5");
        assert_eq!(outbox.take(u64::MAX), None);
        assert_eq!(outbox.done(0, &first, Outcome::Refused, 0), Next::Again);
        outbox.cut("w", 4);
        assert_eq!(outbox.take(0).map(|attempt| attempt.event), Some(5));
        outbox.cut("another", 9);
    }

    proptest! {
        /// Whatever fails, every event is taken once in the end, in order for each room, and never
        /// are two of one room, or more than so many of one webhook, under way.
        #[test]
        fn everything_is_delivered_in_order(
            events in prop::collection::vec((0..2usize, 0..3usize), 1..60),
            fates in prop::collection::vec(0..4u8, 1..40),
        ) {
            let (mut outbox, mut fates) = (Outbox::default(), fates.into_iter());
            let webhooks = ["a", "b"];
            let mut taken: HashMap<(String, RoomName), Vec<u64>> = HashMap::new();
            let mut expected = taken.clone();
            for (event, (webhook, name)) in (0..).zip(events) {
                let (webhook, room) = (webhooks[webhook], room(&format!("r{name}")));
                outbox.push(webhook, &room, event);
                expected.entry((webhook.to_owned(), room)).or_default().push(event);
            }
            let (mut now, mut under_way): (u64, Vec<Attempt>) = (0, Vec::new());
            loop {
                while let Some(attempt) = outbox.take(now) {
                    let same = |other: &&Attempt| other.webhook == attempt.webhook;
                    prop_assert!(under_way.iter().filter(same).count() < AT_ONCE);
                    prop_assert!(!under_way.iter().filter(same).any(|o| o.room == attempt.room));
                    under_way.push(attempt);
                }
                if let Some(attempt) = under_way.pop() {
                    let outcome = match fates.next() {
                        Some(0) => Outcome::Refused,
                        Some(1) => Outcome::Unreachable,
                        _ => Outcome::Taken,
                    };
                    let next = outbox.done(now, &attempt, outcome, 0);
                    if next == Next::Forget {
                        let key = (attempt.webhook, attempt.room);
                        taken.entry(key).or_default().push(attempt.event);
                    }
                } else if let Some(wake) = outbox.wake_ms() {
                    now = now.max(wake);
                } else {
                    break;
                }
            }
            prop_assert_eq!(taken, expected);
        }
    }
}
