//! Packets of video to a limited viewer, spread over time.
//!
//! Nothing is queued: a subscription that is behind remembers from which position on, and
//! the packets lie in the history that all viewers share. Audio is never behind, and who
//! is not limited is served at once, by the same path as ever.

use crate::engine::Engine;
use crate::fanout::Tally;
use crate::limits::{PACE, PACE_BURST_BYTES, PACE_DRAIN_US, PACE_LEAVE_US, TICK_US};
use crate::output::Output;
use crate::peer::PeerMessage;
use crate::protection::send_repairs;
use crate::seal::{has_room, payload_for, send_media};
use crate::subscription::{Source, Verdict};
use crate::time::Micros;
use crate::timers::TimerKind;
use ion_tables::Subscription as SubscriptionRow;

/// What a packet is taken for where only the number of packets is known, bytes.
const PACKET_BYTES: u64 = 1_150;

/// How much may go out to one viewer now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pacer {
    /// Bytes; below zero after a packet that was larger.
    budget: i64,
    filled: Micros,
}

impl Pacer {
    /// Fills up for the time since the last call, at a rate, by a burst at most.
    fn fill(&mut self, now: Micros, bps: u64) {
        let passed = now.since(self.filled).min(1_000_000);
        self.filled = self.filled.max(now);
        let bytes = |us: u64| i64::try_from(bps.saturating_mul(us) / 8_000_000).unwrap_or(i64::MAX);
        let burst = bytes(TICK_US).max(PACE_BURST_BYTES);
        self.budget = self.budget.saturating_add(bytes(passed)).min(burst);
    }

    /// Whether a packet may go out, at the pace of a target.
    pub(crate) fn is_open(&mut self, now: Micros, target_bps: u64) -> bool {
        self.fill(now, target_bps.saturating_mul(PACE.0) / PACE.1);
        self.budget > 0
    }

    /// Whether a packet may be sent again: before what is new, and at the same pace. What is refused is asked for again.
    pub(crate) fn is_open_again(&mut self, now: Micros, target_bps: u64) -> bool {
        self.fill(now, target_bps.saturating_mul(PACE.0) / PACE.1);
        self.budget > -PACE_BURST_BYTES
    }

    /// As much as is left of what it was filled with.
    fn has_budget(&self) -> bool {
        self.budget > 0
    }

    /// A packet of so many bytes went out.
    pub(crate) fn charge(&mut self, bytes: usize) {
        self.budget -= i64::try_from(bytes).unwrap_or(0);
    }
}

impl Engine {
    /// Sends a viewer what it is behind with, as far as its pace allows, and what is due of a probe.
    pub(crate) fn pace<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        out: &mut O,
    ) {
        let list = std::mem::take(&mut self.children.subscriptions_of_transport[row as usize]);
        let waiting: u64 = list
            .iter()
            .map(|&subscription| self.behind(subscription))
            .sum();
        let mut left = waiting;
        self.leave_what_is_too_much(&list, waiting, row);
        if waiting > 0
            && let Some(transport) = self.transports[row as usize].as_deref_mut()
            && let Some(bandwidth) = transport.bandwidth.as_deref_mut()
        {
            let target = bandwidth.estimator.target_bps();
            let drain = waiting * PACKET_BYTES * 8 * 1_000_000 / PACE_DRAIN_US;
            let rate = (target.saturating_mul(PACE.0) / PACE.1).max(drain);
            bandwidth.pacer.fill(now, rate);
            for &subscription in &list {
                self.catch_up(now, subscription, out);
            }
            left = list
                .iter()
                .map(|&subscription| self.behind(subscription))
                .sum();
        }
        self.children.subscriptions_of_transport[row as usize] = list;
        if let Some(counters) = self.transport_counters(row) {
            counters.pacer_packets.set(left);
        }
        let burst = self.send_burst(now, row, out);
        if left > 0 || burst {
            self.timers.arm(TimerKind::Pacer, row, now + TICK_US);
        }
    }

    /// What waits of an encoding that a viewer is to be sent no more does not go out if that takes too long: the
    /// network carries less than was sent, and whatever more goes into it delays the keyframe of the other.
    fn leave_what_is_too_much(&mut self, list: &[u32], waiting: u64, row: u32) {
        let Some(bandwidth) = self.bandwidth(row) else {
            return;
        };
        let pace = bandwidth.estimator.target_bps().saturating_mul(PACE.0) / PACE.1;
        if waiting * PACKET_BYTES * 8 <= pace.saturating_mul(PACE_LEAVE_US) / 1_000_000 {
            return;
        }
        for &subscription in list {
            if let Some(subscriber) = self.subscriptions[subscription as usize].as_deref_mut()
                && subscriber.behind.is_some()
                && subscriber.is_leaving()
            {
                subscriber.stop();
            }
        }
    }

    /// Positions that a subscription is behind.
    fn behind(&self, subscription: u32) -> u64 {
        let of = || {
            let subscriber = self.subscriptions[subscription as usize].as_deref()?;
            let (from, source) = (subscriber.behind?, subscriber.source?);
            let encoding = self
                .encodings
                .get(source.encoding.row as usize)?
                .as_deref()?;
            let feed = encoding.feed.as_deref()?;
            Some(feed.history.next().saturating_sub(from).max(1))
        };
        of().unwrap_or(0)
    }

    /// Sends what a subscription is behind with, while the viewer's pace allows.
    fn catch_up<O: Output<Message = PeerMessage>>(&mut self, now: Micros, row: u32, out: &mut O) {
        let mut tally = Tally::default();
        let Some(subscriber) = self.subscriptions[row as usize].as_deref() else {
            return;
        };
        let (transport, waited) = (subscriber.transport, subscriber.waiting.is_some());
        while self.send_behind(now, row, &mut tally, out) {}
        let mut wants = None;
        if let Some(subscriber) = self.subscriptions[row as usize].as_deref_mut() {
            let waits = subscriber.waiting.is_some() && !waited;
            wants = subscriber.target.filter(|_| waits);
            if tally.packets > 0 {
                let state = subscriber.snapshot();
                self.tables.store::<SubscriptionRow>(row, state);
            }
        }
        self.count_tally(now, transport, row, &tally);
        if let Some(target) = wants {
            self.want_keyframe(now, target);
        }
    }

    /// Sends the next packet that a subscription is behind with, or passes over one that is not here.
    /// Returns whether to go on.
    fn send_behind<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        tally: &mut Tally,
        out: &mut O,
    ) -> bool {
        let Some(subscriber) = self.subscriptions[row as usize].as_deref_mut() else {
            return false;
        };
        let (Some(from), Some(source)) = (subscriber.behind, subscriber.source) else {
            subscriber.behind = None;
            return false;
        };
        let feed = self.encodings[source.encoding.row as usize]
            .as_deref()
            .filter(|encoding| encoding.link == source.encoding)
            .and_then(|encoding| encoding.feed.as_deref());
        let Some(feed) = feed.filter(|feed| from < feed.history.next()) else {
            subscriber.behind = None;
            return false;
        };
        let transport = self.transports[subscriber.transport as usize]
            .as_deref_mut()
            .filter(|transport| {
                transport.is_ready() && transport.link == subscriber.config.transport
            });
        let Some(transport) = transport else {
            return false;
        };
        let bandwidth = transport.bandwidth.as_deref();
        if bandwidth.is_some_and(|bandwidth| !bandwidth.pacer.has_budget()) {
            return false;
        }
        let from = from.max(feed.history.low());
        subscriber.behind = Some(from + 1);
        // One that is not here goes out at once, should it come yet.
        let packet = feed.history.get(from).filter(|p| Source::of(p) == source);
        let Some(packet) = packet else {
            return true;
        };
        let numbers = match subscriber.admit(packet, now) {
            Verdict::Send(numbers) | Verdict::Switch(numbers) => numbers,
            other => {
                tally.withheld += 1;
                tally.left_out += u64::from(other == Verdict::LeaveOut);
                return true;
            }
        };
        if !has_room(out) {
            // Nothing goes to the kernel before the state says that it was used.
            self.tables
                .store::<SubscriptionRow>(row, subscriber.snapshot());
            out.transmit();
        }
        match send_media(transport, subscriber, (packet, 0), numbers, now, out) {
            Ok(bytes) => {
                let payload = payload_for(packet, &numbers).len();
                tally.add(subscriber, packet, &numbers, (payload, bytes));
                let mut bytes = bytes;
                if subscriber.has_repair_due() {
                    bytes += send_repairs(&self.tables, transport, subscriber, tally, now, out);
                }
                transport.budget.earn(bytes as u64);
                if let Some(bandwidth) = transport.bandwidth.as_deref_mut() {
                    bandwidth.pacer.charge(bytes);
                }
            }
            Err(reason) => {
                tally.withheld += 1;
                self.tables.counters().drop_packets(reason, 1);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_and_a_burst_bounded() {
        let mut pacer = Pacer::default();
        let mut sent = 0;
        for ms in 1_000..2_000 {
            while pacer.is_open(Micros(ms * 1_000), 1_000_000) {
                pacer.charge(1_000);
                sent += 1_000;
            }
        }
        // Half as much again as the target in a second, and a burst.
        let expected = 1_000_000 * PACE.0 / PACE.1 / 8;
        assert!((expected..expected + 5_000).contains(&sent), "{sent}");
    }
}
