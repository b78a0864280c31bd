//! How a viewer's losses are made good: sent again, sent twice, or by repair packets.

use super::Subscriber;
use crate::limits::{
    RTX_REPEAT_MAX_US, RTX_REPEAT_MIN_US, VIEWER_KEYFRAME_BURST, VIEWER_KEYFRAME_US,
};
use crate::packet::Packet;
use crate::protection::Protection;
use crate::time::Micros;
use ion_tables::SubscriptionConfig;
use ion_wire::ext::PlayoutDelay;

impl Subscriber {
    /// Whether retransmissions go out on an SSRC of their own.
    pub(crate) fn has_rtx(&self) -> bool {
        self.config.rtx_payload_type != 0 && self.rtx_ssrc != 0
    }

    /// Whether packets may be sent again as they were, and hence must carry nothing
    /// that depends on the moment.
    pub(crate) fn resends_plain(&self) -> bool {
        self.config.flags & SubscriptionConfig::NACK != 0 && !self.has_rtx()
    }

    /// Whether audio may go out as RED: not where packets are sent again as they were, since how much goes along
    /// depends on the moment.
    pub(crate) fn makes_red(&self) -> bool {
        self.audio && self.config.red_payload_type != 0 && !self.resends_plain()
    }

    /// Takes in what the viewer reports of its network: the fraction lost, in 1/256; and the round trip without what
    /// its packets wait in a queue, microseconds, where that is known: repair packets make a queue only longer.
    pub(crate) fn follow_loss(&mut self, now: Micros, fraction_lost: u64, distance: Option<u64>) {
        let able = self.config.fec_payload_type != 0 && !self.resends_plain();
        let rtt_us = distance.map_or(self.rtt_us, |us| us.min(self.rtt_us));
        if let Some(protection) = self.protection.as_deref_mut() {
            if able {
                protection.follow(now, fraction_lost, rtt_us);
            } else {
                protection.stop();
            }
            self.playout.set_protected(protection.is_on());
        }
    }

    /// Whether a keyframe that the viewer asks for is asked of the publisher: again and again until one was sent, and for
    /// another after that only now and then.
    pub(crate) fn may_ask_for_keyframe(&mut self, now: Micros) -> bool {
        let served = self.last_keyframe.map_or(0, |(_, index)| index);
        if self.asked_after == Some(served) {
            return true;
        }
        let due = self.keyframes_due.max(now);
        if due.since(now) >= VIEWER_KEYFRAME_BURST * VIEWER_KEYFRAME_US {
            return false;
        }
        (self.asked_after, self.keyframes_due) = (Some(served), due + VIEWER_KEYFRAME_US);
        true
    }

    /// Whether a repair packet is to be sent.
    pub(crate) fn has_repair_due(&self) -> bool {
        let protection = self.protection.as_deref();
        protection.is_some_and(Protection::is_due)
    }

    /// Takes in that a packet that is still here was asked for again.
    pub(crate) fn lost(
        &mut self,
        now: Micros,
        index: u64,
        packet: &Packet,
        theirs: Option<PlayoutDelay>,
    ) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "compared for equality only, both cut alike"
        )]
        let key = index as u32;
        let (known, at) = self.repeats[key as usize % self.repeats.len()];
        let again = at != 0 && known == key;
        if let Some(protection) = self.protection.as_deref_mut().filter(|_| !again) {
            protection.lost(index);
        }
        // Without a stream for retransmissions there is nothing that may depend on the moment.
        if self.has_rtx() && !self.audio && !again {
            let (age, sent) = (now.since(packet.arrival), self.state.sender_packets);
            self.playout.lost(now, age, sent, theirs);
        }
    }

    /// Whether a retransmission of `index` would come too soon after the last one; if
    /// not, this one is remembered.
    pub(crate) fn is_repeat(&mut self, index: u64, now: Micros) -> bool {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "compared for equality only, both cut alike"
        )]
        let (key, now_ms) = (index as u32, (now.0 / 1_000) as u32);
        let place = key as usize % self.repeats.len();
        let slot = &mut self.repeats[place];
        // A viewer that asks again after a whole round trip, by its own and maybe shorter
        // measure, has lost the retransmission too.
        let wait = (self.rtt_us / 2).clamp(RTX_REPEAT_MIN_US, RTX_REPEAT_MAX_US) / 1_000;
        if slot.1 != 0 && slot.0 == key && u64::from(now_ms.wrapping_sub(slot.1)) < wait {
            return true;
        }
        *slot = (key, now_ms.max(1));
        false
    }
}
