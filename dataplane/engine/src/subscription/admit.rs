//! Whether a packet goes to a viewer, and under which numbers.

use super::{Epoch, Manner, Numbers, Source, Subscriber, Verdict};
use crate::layers::Layer;
use crate::limits::EPOCHS;
use crate::packet::Packet;
use crate::rewrite::Running;
use crate::runs::Place;
use crate::time::Micros;
use crate::window::Seen;
use ion_tables::SubscriptionConfig;
use ion_wire::CodecKind;

impl Subscriber {
    /// Whether, and with which numbers, a packet is to be sent. Starts a source at a packet that allows it.
    pub(crate) fn admit(&mut self, packet: &Packet, now: Micros) -> Verdict {
        let source = Source::of(packet);
        let switched = self.source != Some(source);
        if switched {
            if self.target != Some(source.encoding) || self.is_stale(packet) {
                return Verdict::Withhold;
            }
            if !packet.keyframe {
                if self
                    .source
                    .is_some_and(|before| before.encoding == source.encoding)
                {
                    // The publisher goes on under another SSRC: nothing of the old will come.
                    self.stop();
                    self.waiting = self.waiting.or(Some(now));
                }
                return Verdict::Withhold;
            }
            if self.omits(packet) {
                return Verdict::Silence;
            }
            self.switch(packet, now);
        } else if packet.position < self.first_position {
            return Verdict::Withhold;
        }
        let silence = self.omits(packet);
        let takes = !silence && self.judge(packet, now);
        let place = if takes {
            self.runs.place(packet.position)
        } else {
            self.leave_out(packet)
        };
        let Some(place) = place else {
            return match (takes, silence) {
                (true, _) => Verdict::Withhold,
                (false, true) => Verdict::Silence,
                (false, false) => Verdict::LeaveOut,
            };
        };
        match self.numbers(packet, place) {
            Some(numbers) if self.sent.look(numbers.index) == Seen::New => {
                if switched {
                    Verdict::Switch(numbers)
                } else {
                    Verdict::Send(numbers)
                }
            }
            _ => Verdict::Withhold,
        }
    }

    /// Whether a packet of the source is of the layer that is sent, and what is lacking to get the one that is wanted.
    fn judge(&mut self, packet: &Packet, now: Micros) -> bool {
        let Some(frame) = &packet.frame else {
            return true;
        };
        let takes = self.selection.judge(frame, packet.timestamp);
        if self.target == Some(packet.encoding) {
            self.waiting = self
                .selection
                .lacks
                .and_then(|_| self.waiting.or(Some(now)));
        }
        takes
    }

    /// Whether a packet is silence, and nothing of that is sent.
    fn omits(&self, packet: &Packet) -> bool {
        packet.silent && self.config.flags & SubscriptionConfig::DROP_SILENCE != 0
    }

    /// Leaves out a packet. The place that was kept for it, if it came late.
    fn leave_out(&mut self, packet: &Packet) -> Option<Place> {
        // Ids of VP8 pictures run on over those that are left out. VP9's do not: a picture says by their distance
        // what it is predicted from.
        let number = packet.frame.map_or(0, |frame| frame.number);
        let picture = packet.codec == CodecKind::Vp8 && number > self.left_out;
        let place = self.runs.leave_out(packet.position, picture);
        self.left_out = self.left_out.max(number);
        self.hushed |= packet.silent;
        place
    }

    /// The numbers of a packet of the source at its place.
    fn numbers(&self, packet: &Packet, place: Place) -> Option<Numbers> {
        let manner = match &packet.frame {
            Some(frame) => self.selection.manner(frame, packet.marker),
            None => Manner {
                layer: Layer::TOP,
                // The first after a pause (RFC 3551, 4.1).
                marker: packet.marker || (self.hushed && place.index >= self.sent.next()),
                blank: false,
            },
        };
        self.numbered(packet, place, manner)
    }

    fn numbered(&self, packet: &Packet, place: Place, manner: Manner) -> Option<Numbers> {
        let epoch = self.epoch_of(place.index)?;
        Some(Numbers {
            index: place.index,
            timestamp: packet.timestamp.wrapping_add(epoch.timestamp_offset),
            running: packet.running.plus(&epoch.running, place.pictures),
            manner,
        })
    }

    /// The source and position of the packet that an index was given to.
    pub(crate) fn origin_of(&self, index: u64) -> Option<(Source, u64)> {
        let epoch = self.epoch_of(index).filter(|_| index < self.next_index())?;
        let place = self.runs.position_of(index)?;
        Some((epoch.source, place.0))
    }

    /// The numbers that a packet went out with under an index, or goes out with if it has not.
    pub(crate) fn numbers_again(&self, packet: &Packet, index: u64) -> Option<Numbers> {
        let (_, pictures) = self.runs.position_of(index)?;
        let place = Place { index, pictures };
        if self.was_sent(index) {
            let manner = Manner::unpack(self.manners[self.slot(index)]);
            return self.numbered(packet, place, manner);
        }
        let current = self.epoch().filter(|epoch| epoch.start <= index);
        current.and_then(|_| self.numbers(packet, place))
    }

    #[expect(clippy::cast_possible_truncation, reason = "reduced below the window")]
    pub(super) fn slot(&self, index: u64) -> usize {
        (index % self.manners.len() as u64) as usize
    }

    /// A late packet of a stream that this encoding has left behind.
    fn is_stale(&self, packet: &Packet) -> bool {
        self.epochs[EPOCHS - 1].is_some_and(|epoch| {
            epoch.source.encoding == packet.encoding && self.first_position > packet.position
        })
    }

    fn switch(&mut self, packet: &Packet, now: Micros) {
        let start = self.sent.next();
        let timestamp_offset = if self.has_sent() {
            let elapsed = self.last_sent.map_or(0, |at| now.since(at));
            let rate = u64::from(self.config.clock_rate.max(1));
            let ticks = (u128::from(elapsed) * u128::from(rate) / 1_000_000).max(1);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "timestamps are modulo 2^32"
            )]
            let timestamp = self.last_timestamp.wrapping_add(ticks as u32);
            timestamp.wrapping_sub(packet.timestamp)
        } else {
            0
        };
        self.first_position = packet.position;
        let running = if self.has_sent() {
            self.running.offset_to(&packet.running)
        } else {
            Running::default()
        };
        self.begin(Epoch {
            start,
            source: Source::of(packet),
            timestamp_offset,
            running,
        });
        self.runs.begin(packet.position, start);
        self.selection.begin(None);
        self.left_out = 0;
        self.hushed = self.audio && self.has_sent();
        self.waiting = None;
        self.wait_told = false;
    }
}
