//! Redundant audio (RFC 2198), ended on each leg: what a publisher sends twice fills what was lost on the way in, and a
//! viewer gets frames twice when it loses some itself.

use crate::engine::Engine;
use crate::history::History;
use crate::limits::{RED_BLOCKS, RED_HOLD_US, RED_LEAST_LOSS, RED_SECOND_LOSS};
use crate::output::Output;
use crate::packet::Packet;
use crate::peer::PeerMessage;
use crate::time::Micros;
use crate::window::Seen;
use ion_tables::DropReason;
use ion_wire::red::{MAX_BLOCK, MAX_OFFSET, Red, Redundant};
use std::sync::Arc;

/// How many frames a viewer's packets carry besides the newest, by the loss that it reports.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Redundancy {
    blocks: usize,
    /// When loss last asked for so many.
    asked: Micros,
}

impl Redundancy {
    /// Takes in the fraction lost, in 1/256. It goes up at once and down after a while.
    pub(crate) fn follow(&mut self, now: Micros, fraction_lost: u64) -> usize {
        let wanted = match fraction_lost {
            lost if lost >= RED_SECOND_LOSS => 2,
            lost if lost >= RED_LEAST_LOSS => 1,
            _ => 0,
        };
        if wanted >= self.blocks || now.since(self.asked) > RED_HOLD_US {
            self.blocks = wanted;
            self.asked = now;
        }
        self.blocks
    }
}

/// Earlier frames that can go with a packet, oldest first: those right before it, of the same stream.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Earlier<'a>([Option<&'a Packet>; RED_BLOCKS]);

impl<'a> Earlier<'a> {
    /// At most `count` frames from the history before `packet`; `sent` says whether the viewer was sent the one at a
    /// position under the number that lies so many back.
    pub(crate) fn of(
        packet: &Packet,
        history: &'a History,
        count: usize,
        sent: impl Fn(u64, u64) -> Option<()>,
    ) -> Self {
        let mut earlier = Self::default();
        for (back, place) in (1_u64..).zip(earlier.0.iter_mut().rev().take(count)) {
            let before = packet.position.checked_sub(back);
            let before = before.filter(|&position| sent(position, back).is_some());
            let before = before.and_then(|position| history.get(position));
            // One that is missing ends it: players count back from the packet's own number.
            let Some(before) = before.filter(|before| fits(before, packet)) else {
                break;
            };
            *place = Some(before);
        }
        earlier
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Writes the payload of a packet with these before it. Returns its length.
    pub(crate) fn write(
        &self,
        packet: &Packet,
        payload_type: u8,
        out: &mut [u8],
    ) -> Result<usize, DropReason> {
        let empty = Redundant {
            payload_type,
            timestamp_offset: 0,
            data: &[],
        };
        let mut blocks = [empty; RED_BLOCKS];
        let mut count = 0;
        for before in self.0.iter().flatten() {
            blocks[count] = Redundant {
                payload_type,
                timestamp_offset: offset(before, packet).unwrap_or(0),
                data: before.payload(),
            };
            count += 1;
        }
        ion_wire::red::write(out, &blocks[..count], payload_type, packet.payload())
            .map_err(|_| DropReason::TooLarge)
    }
}

fn offset(before: &Packet, packet: &Packet) -> Option<u16> {
    let ticks = packet.timestamp.wrapping_sub(before.timestamp);
    u16::try_from(ticks)
        .ok()
        .filter(|&ticks| ticks > 0 && ticks <= MAX_OFFSET)
}

fn fits(before: &Packet, packet: &Packet) -> bool {
    let len = usize::from(before.payload_len);
    let same = before.ssrc == packet.ssrc && before.encoding == packet.encoding;
    same && (1..=MAX_BLOCK).contains(&len) && offset(before, packet).is_some()
}

impl Engine {
    /// Publishes the frames in a RED packet that have not come by themselves. Blocks do not say which packets they are
    /// of: they are taken for those right before this one, as all senders make them.
    pub(crate) fn recover_redundant<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        index: u64,
        packet: &Arc<Packet>,
        out: &mut O,
    ) {
        let Ok(red) = Red::parse(packet.red_payload()) else {
            return;
        };
        let count = red.redundant().count() as u64;
        for (back, block) in (1..=count).rev().zip(red.redundant()) {
            let Some(original) = index.checked_sub(back).filter(|_| !block.data.is_empty()) else {
                continue;
            };
            let missing = self.encodings[packet.encoding.row as usize]
                .as_deref()
                .and_then(|encoding| encoding.receiver.as_deref())
                .is_some_and(|receiver| receiver.window.look(original) == Seen::New);
            if missing && let Some(recovered) = self.recover_block(now, original, packet, &block) {
                if let Some(counters) = self.encoding_counters(packet.encoding.row) {
                    counters.fec_recovered.add(1);
                }
                self.publish(now, recovered, out);
            }
        }
    }

    /// Makes the packet of a redundant block.
    fn recover_block(
        &mut self,
        now: Micros,
        original: u64,
        packet: &Packet,
        block: &Redundant<'_>,
    ) -> Option<Arc<Packet>> {
        let slot = self.take_packet(now)?;
        let filled = self.pool.fill(slot).is_some_and(|recovered| {
            recovered.recovered_from(packet, u32::from(block.timestamp_offset), block.data)
        });
        let encoding = self.encodings[packet.encoding.row as usize].as_deref_mut();
        let receiver = encoding.and_then(|encoding| encoding.receiver.as_deref_mut());
        let position = receiver.filter(|_| filled).and_then(|receiver| {
            receiver.window.insert(original);
            receiver.nack.mended(now, original);
            receiver.reception.received(now, original, None);
            receiver.positions.of(original)
        });
        let finished = position.and_then(|position| {
            self.finish(slot, packet.encoding, packet.codec, position)
                .ok()
        });
        if finished.is_none() {
            self.pool.put_back(slot);
        }
        finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redundancy_comes_with_loss_at_once_and_goes_after_a_while() {
        let mut redundancy = Redundancy::default();
        assert_eq!(redundancy.follow(Micros(0), 0), 0);
        assert_eq!(redundancy.follow(Micros(1), RED_LEAST_LOSS), 1);
        assert_eq!(redundancy.follow(Micros(2), RED_SECOND_LOSS), 2);
        assert_eq!(redundancy.follow(Micros(3), 0), 2, "held");
        assert_eq!(redundancy.follow(Micros(3 + RED_HOLD_US), 0), 0);
    }
}
