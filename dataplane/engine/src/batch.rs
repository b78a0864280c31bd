//! What came for one encoding since the last flush, and in which order it goes out.
//!
//! Everything for one client goes out in a row, whatever it is of: what is equally long
//! then joins into one GSO send, and a short audio packet rides as the end of a picture.

use crate::clock::ClockMapping;
use crate::encoding::Encoding;
use crate::engine::Engine;
use crate::history::History;
use crate::limits::{PENDING, UPKEEP_US};
use crate::output::Output;
use crate::packet::Packet;
use crate::padding::Paddings;
use crate::peer::PeerMessage;
use crate::time::Micros;
use crate::timers::TimerKind;
use ion_tables::{DropReason, ExtensionKind, RowLink};
use ion_wire::ext::PlayoutDelay;
use std::sync::Arc;

/// The packets of one encoding that go out together.
pub(crate) struct Batch {
    /// The encoding's row.
    row: u32,
    /// Its track.
    pub(crate) track: RowLink,
    /// The seat of a stage that the track has; none is none.
    pub(crate) seat: RowLink,
    pub(crate) packets: Vec<Arc<Packet>>,
    pub(crate) paddings: Paddings,
}

impl Batch {
    /// What came before it of the encoding.
    pub(crate) fn history<'a>(
        &self,
        encodings: &'a [Option<Box<Encoding>>],
    ) -> Option<&'a History> {
        let encoding = encodings.get(self.row as usize)?.as_deref()?;
        encoding.feed.as_deref().map(|feed| &feed.history)
    }
}

/// A batch that goes to one subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Delivery {
    /// Row of the transport: all for one client in a row.
    transport: u32,
    /// Audio last: it is short.
    audio: bool,
    /// Place of the batch.
    batch: u32,
    subscription: u32,
}

/// Memory for a flush, kept for the next one.
pub(crate) struct Workbench {
    batches: Vec<Batch>,
    deliveries: Vec<Delivery>,
}

impl Workbench {
    /// For so many rows.
    pub(crate) fn new(encodings: u32, subscriptions: u32) -> Self {
        Self {
            batches: Vec::with_capacity(encodings as usize),
            deliveries: Vec::with_capacity(subscriptions as usize),
        }
    }
}

impl Engine {
    /// Takes a packet of an encoding, ours or another worker's, for our subscribers.
    pub(crate) fn enqueue<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        packet: Arc<Packet>,
        out: &mut O,
    ) {
        let row = packet.encoding.row;
        let feed = self
            .encodings
            .get_mut(row as usize)
            .and_then(|slot| slot.as_deref_mut())
            .filter(|encoding| encoding.link == packet.encoding)
            .and_then(|encoding| encoding.feed.as_deref_mut());
        let Some(feed) = feed else {
            // Ours without subscribers here, or another worker's whose rows changed.
            if packet.home != self.worker {
                self.drop_packet(DropReason::UnknownSsrc);
            }
            self.pool.release(packet);
            return;
        };
        if feed.pending.is_empty() {
            self.dirty.push(row);
        }
        feed.pending.push(packet);
        if feed.pending.len() == PENDING {
            self.dirty.retain(|&dirty| dirty != row);
            self.fan_out(now, &[row], out);
        }
    }

    /// Sends what came of these encodings to their subscribers, client by client, and
    /// keeps it for retransmission.
    pub(crate) fn fan_out<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        encodings: &[u32],
        out: &mut O,
    ) {
        let bench = &mut self.workbench;
        let mut batches = std::mem::take(&mut bench.batches);
        let mut deliveries = std::mem::take(&mut bench.deliveries);
        for &row in encodings {
            let Some(batch) = self.open_batch(now, row) else {
                continue;
            };
            let list = &self.children.subscriptions_of_track;
            let count = |link: RowLink| list.get(link.row as usize).map_or(0, Vec::len);
            let seat = Some(batch.seat).filter(|seat| seat.is_some());
            let count = count(batch.track) + seat.map_or(0, count);
            if deliveries.len() + count > deliveries.capacity() {
                // Simulcast layers that overlap for a moment: what is listed goes first.
                self.deliver(now, &batches, &mut deliveries, out);
            }
            self.list_deliveries(&batch, batches.len(), &mut deliveries);
            batches.push(batch);
        }
        self.deliver(now, &batches, &mut deliveries, out);
        for batch in batches.drain(..) {
            self.close_batch(now, batch);
        }
        self.workbench = Workbench {
            batches,
            deliveries,
        };
    }

    fn deliver<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        batches: &[Batch],
        deliveries: &mut Vec<Delivery>,
        out: &mut O,
    ) {
        if batches.len() > 1 {
            deliveries.sort_unstable();
        }
        for delivery in deliveries.drain(..) {
            if let Some(batch) = batches.get(delivery.batch as usize) {
                let now = out.time(now);
                self.serve(now, delivery.subscription, batch, out);
            }
        }
    }

    /// Lists the subscriptions that the batch's encoding is for.
    fn list_deliveries(&self, batch: &Batch, place: usize, deliveries: &mut Vec<Delivery>) {
        self.list_subscribers(batch.track, None, (batch, place), deliveries);
        if batch.seat.is_some() {
            // Nobody hears himself.
            let publisher = self.track(batch.track).map(|track| track.config.transport);
            self.list_subscribers(batch.seat, publisher, (batch, place), deliveries);
        }
    }

    /// Lists the subscriptions of a track, or of the seat that it has, but those of one transport.
    fn list_subscribers(
        &self,
        track: RowLink,
        but: Option<RowLink>,
        (batch, place): (&Batch, usize),
        deliveries: &mut Vec<Delivery>,
    ) {
        let list = &self.children.subscriptions_of_track;
        let rows = list.get(track.row as usize);
        deliveries.extend(rows.into_iter().flatten().filter_map(|&subscription| {
            let subscriber = self.subscriptions.get(subscription as usize)?.as_deref()?;
            if but.is_some_and(|transport| transport == subscriber.config.transport) {
                return None;
            }
            let row_of = |link: RowLink| link.row == batch.row;
            // Otherwise it is another layer of the track.
            let concerned = subscriber.target.is_some_and(row_of)
                || subscriber
                    .source
                    .is_some_and(|source| row_of(source.encoding))
                || subscriber.is_paused();
            concerned.then_some(Delivery {
                transport: subscriber.transport,
                audio: subscriber.audio,
                batch: u32::try_from(place).unwrap_or(u32::MAX),
                subscription,
            })
        }));
    }

    /// Takes what waits of an encoding.
    fn open_batch(&mut self, now: Micros, row: u32) -> Option<Batch> {
        let encoding = self.encodings[row as usize].as_deref_mut()?;
        let track = encoding.config.track;
        let seat = match self.tracks.get(track.row as usize) {
            Some(Some(known)) if known.link == track => known.part.partner,
            _ => RowLink::default(),
        };
        let feed = encoding.feed.as_deref_mut()?;
        let packets = std::mem::take(&mut feed.pending);
        feed.last_packet = Some(now);
        feed.rates.add(now, &packets);
        let started = !std::mem::replace(&mut feed.live, true);
        if started {
            self.retarget(now, track.row);
            if seat.is_some() {
                self.retarget(now, seat.row);
            }
        }
        self.timers.arm(TimerKind::Upkeep, row, now + UPKEEP_US);
        if let Some(encoding) = self.encodings[row as usize].as_deref_mut()
            && packets.iter().any(|packet| packet.keyframe)
        {
            // Whoever waits for it, even since just now, is about to get it.
            encoding.keyframe.came();
        }
        self.note_arrival(row, &packets);
        self.note_playout(row, &packets);
        let paddings = if packets.len() > 1 {
            Paddings::of(&packets)
        } else {
            Paddings::none()
        };
        Some(Batch {
            row,
            track,
            seat,
            packets,
            paddings,
        })
    }

    /// Keeps a batch that has gone out, for retransmission.
    fn close_batch(&mut self, now: Micros, mut batch: Batch) {
        let horizon = now - self.config.history_us;
        let pool = &mut self.pool;
        let encoding = self.encodings[batch.row as usize].as_deref_mut();
        let Some(feed) = encoding.and_then(|encoding| encoding.feed.as_deref_mut()) else {
            return;
        };
        // Twice as many may leave as came, so that the history shrinks to its time.
        feed.history
            .expire(horizon, 2 * batch.packets.len(), |packet| {
                pool.release(packet)
            });
        for packet in batch.packets.drain(..) {
            feed.history.insert(packet, |packet| pool.release(packet));
        }
        feed.pending = batch.packets;
    }

    /// Keeps what the publisher says of the delay until pictures are shown.
    fn note_playout(&mut self, row: u32, pending: &[Arc<Packet>]) {
        let value = |packet: &Arc<Packet>| {
            let value = packet.extension(ExtensionKind::PlayoutDelay)?;
            PlayoutDelay::parse(value)
        };
        if let Some(said) = pending.iter().rev().find_map(value)
            && let Some(encoding) = self.encodings[row as usize].as_deref_mut()
            && let Some(feed) = encoding.feed.as_deref_mut()
        {
            feed.playout = Some(said);
        }
    }

    /// Without a sender report, arrival tells how timestamps relate to our wallclock.
    fn note_arrival(&mut self, row: u32, pending: &[Arc<Packet>]) {
        let Some(packet) = pending.last() else { return };
        let mapping = ClockMapping {
            ssrc: packet.ssrc,
            ntp: self.ntp(packet.arrival),
            rtp: packet.timestamp,
        };
        if let Some(encoding) = self.encodings[row as usize].as_deref_mut()
            && let Some(feed) = encoding.feed.as_deref_mut()
            && feed.arrived.is_none_or(|before| before.ssrc != packet.ssrc)
        {
            feed.arrived = Some(mapping);
        }
    }
}
