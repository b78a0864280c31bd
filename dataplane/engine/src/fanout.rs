use crate::bandwidth::Bandwidth;
use crate::batch::Batch;
use crate::engine::Engine;
use crate::history::History;
use crate::layers::Layer;
use crate::limits::{BANDWIDTH_US, TICK_US};
use crate::output::Output;
use crate::packet::Packet;
use crate::padding::Paddings;
use crate::peer::PeerMessage;
use crate::protection::send_repairs;
use crate::redundancy::Earlier;
use crate::seal::{has_room, payload_for, send_media, send_red};
use crate::subscription::{Numbers, Source, Subscriber, Verdict};
use crate::time::Micros;
use crate::timers::TimerKind;
use crate::transport::Transport;
use ion_tables::{
    DropReason, EventKind, RowKind, RowLink, Subscription as SubscriptionRow, SubscriptionCounters,
    WorkerTables,
};
use std::sync::Arc;

/// What was sent to one subscriber in one go.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) packets: u64,
    /// RTP payload bytes.
    pub(crate) payload: u64,
    /// UDP payload bytes.
    pub(crate) bytes: u64,
    pub(crate) withheld: u64,
    /// Of those, of layers above the viewer's.
    pub(crate) left_out: u64,
    /// Of those, silence.
    pub(crate) silence: u64,
    /// Empty ones among those that were sent.
    pub(crate) blanks: u64,
    /// RED ones among those that were sent.
    pub(crate) red: u64,
    /// Repair packets sent besides.
    pub(crate) repairs: u64,
    /// RTP payload bytes of those.
    pub(crate) repair_payload: u64,
    /// Pictures that ended, and keyframes that began.
    pub(crate) frames: u64,
    pub(crate) key_frames: u64,
}

impl Engine {
    /// Sends packets of one encoding to one subscriber, one after the other.
    pub(crate) fn serve<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        batch: &Batch,
        out: &mut O,
    ) {
        let Some(subscriber) = self.subscriptions[row as usize].as_deref_mut() else {
            return;
        };
        let transport = self
            .transports
            .get_mut(subscriber.transport as usize)
            .and_then(|slot| slot.as_deref_mut())
            .filter(|transport| transport.link == subscriber.config.transport);
        let for_it = subscriber.track == batch.track || subscriber.track == batch.seat;
        let Some(transport) = transport.filter(|_| for_it) else {
            return;
        };
        let counters = self.tables.tables().counters::<SubscriptionRow>(row);
        let lost = || counters.map_or(0, |counters| counters.fraction_lost.load());
        let blocks = if subscriber.makes_red() {
            subscriber.redundancy.follow(now, lost())
        } else {
            0
        };
        if subscriber.protection.is_some() {
            let distance = transport.bandwidth.as_deref();
            let distance = distance.and_then(Bandwidth::distance_us);
            subscriber.follow_loss(now, lost(), distance);
        }
        let history = (blocks > 0).then(|| batch.history(&self.encodings));
        let first = !subscriber.has_sent();
        let waited = subscriber.waiting.is_some();
        let bandwidth = transport.bandwidth.as_deref();
        let paced = !subscriber.audio
            && (bandwidth.is_some_and(Bandwidth::is_limited) || subscriber.behind.is_some());
        let tended = bandwidth.is_some_and(Bandwidth::is_heard);
        let mut sending = Sending {
            tables: &self.tables,
            subscriber,
            transport,
            now,
            earlier: history.flatten().map(|history| (history, blocks)),
            tally: Tally::default(),
            switched: false,
        };
        if paced {
            sending.run::<true, O>(&batch.packets, &batch.paddings, out);
        } else {
            sending.run::<false, O>(&batch.packets, &batch.paddings, out);
        }
        let Sending {
            tally, switched, ..
        } = sending;
        transport.budget.earn(tally.bytes);
        let (transport, link) = (subscriber.transport, subscriber.link);
        let (source, track, audio) = (subscriber.source, subscriber.track, subscriber.audio);
        let behind = subscriber.behind.is_some();
        let wants = subscriber
            .target
            .filter(|_| subscriber.waiting.is_some() && !waited);
        if first && subscriber.has_sent() && self.unreported.len() < self.unreported.capacity() {
            self.unreported.push(row);
        }
        if let Some(counters) = self.subscription_counters(row) {
            counters.switches.add(u64::from(switched && !first));
            if !audio {
                let all = &self.tables.counters().layer_switches;
                all.add(u64::from(switched && !first));
            }
        }
        self.count_tally(now, transport, row, &tally);
        if tended && tally.packets > 0 {
            let at = now + BANDWIDTH_US;
            self.timers.arm(TimerKind::Bandwidth, transport, at);
        }
        if behind {
            self.timers.arm(TimerKind::Pacer, transport, now + TICK_US);
        }
        if let Some(target) = wants {
            self.want_keyframe(now, target);
        }
        // Of a stage, one event tells of all its viewers.
        let told = switched && track == batch.track;
        if told && let Some(source) = source {
            let value = u64::from(source.encoding.row);
            let kind = EventKind::LayerSwitched;
            self.event(now, kind, RowKind::Subscription, link, value);
        }
    }

    /// Counts what was sent to one subscription in one go.
    pub(crate) fn count_tally(&mut self, now: Micros, transport: u32, row: u32, tally: &Tally) {
        let subscriber = self.subscriptions[row as usize].as_deref_mut();
        let frozen = subscriber
            .filter(|subscriber| !subscriber.audio && tally.frames > 0)
            .and_then(|subscriber| subscriber.freezes.sent(now, tally.frames));
        if let Some(counters) = self.subscription_counters(row) {
            counters.packets_sent.add(tally.packets);
            counters.bytes_sent.add(tally.payload);
            counters.packets_withheld.add(tally.withheld);
            counters.packets_of_other_layers.add(tally.left_out);
            counters.packets_of_silence.add(tally.silence);
            counters.packets_blanked.add(tally.blanks);
            counters.red_sent.add(tally.red);
            counters.fec_packets_sent.add(tally.repairs);
            counters.fec_bytes_sent.add(tally.repair_payload);
            counters.frames_sent.add(tally.frames);
            counters.key_frames_sent.add(tally.key_frames);
            if let Some(us) = frozen {
                counters.freezes.add(1);
                counters.freeze_us.add(us);
                self.tables.counters().freezes.add(1);
            }
        }
        if tally.repairs > 0 {
            self.tables.counters().fec_packets_sent.add(tally.repairs);
        }
        self.count_sent(transport, tally.packets + tally.repairs, tally.bytes);
        self.count_layers(row);
    }

    /// Brings the layers in use and wanted up to date, of a subscription that is sent pictures.
    fn count_layers(&self, row: u32) {
        let subscriber = self.subscriptions[row as usize].as_deref();
        let (Some(subscriber), Some(counters)) = (
            subscriber.filter(|subscriber| !subscriber.audio),
            self.subscription_counters(row),
        ) else {
            return;
        };
        let layer_of = |link: RowLink| {
            let encoding = self.encodings.get(link.row as usize)?.as_deref()?;
            (encoding.link == link).then_some(encoding.config.layer)
        };
        let (now, wanted) = subscriber.selection.in_use();
        let number = |encoding: Option<RowLink>, layer: Layer| {
            let place = encoding.and_then(layer_of);
            place.map_or(0, |place| {
                SubscriptionCounters::layer(place, layer.spatial, layer.temporal)
            })
        };
        let source = subscriber.source.map(|source| source.encoding);
        counters.layer_in_use.set(number(source, now));
        counters.layer_wanted.set(number(subscriber.target, wanted));
        let switches = subscriber.selection.switches;
        let more = switches.saturating_sub(counters.layer_switches.load());
        self.tables.counters().layer_switches.add(more);
        counters.layer_switches.set(switches);
    }

    /// Counts datagrams that were put into the batch.
    pub(crate) fn count_sent(&self, transport: u32, packets: u64, bytes: u64) {
        if packets == 0 {
            return;
        }
        if let Some(counters) = self.transport_counters(transport) {
            counters.packets_sent.add(packets);
            counters.bytes_sent.add(bytes);
        }
    }
}

/// A run of packets to one subscriber.
struct Sending<'a> {
    tables: &'a WorkerTables,
    subscriber: &'a mut Subscriber,
    transport: &'a mut Transport,
    now: Micros,
    /// Where earlier frames are taken from that go along, and how many.
    earlier: Option<(&'a History, usize)>,
    tally: Tally,
    switched: bool,
}

impl Sending<'_> {
    /// Sends packets; with `PACED`, what exceeds the pace of a limited viewer is left to the pacer.
    fn run<const PACED: bool, O: Output<Message = PeerMessage>>(
        &mut self,
        packets: &[Arc<Packet>],
        paddings: &Paddings,
        out: &mut O,
    ) {
        let ready = self.transport.is_ready() && !self.subscriber.is_paused();
        if !ready {
            self.tally.withheld += packets.len() as u64;
            return;
        }
        for (at, packet) in packets.iter().enumerate() {
            if PACED && self.is_left(packet) {
                continue;
            }
            let numbers = match self.subscriber.admit(packet, self.now) {
                Verdict::Send(numbers) => numbers,
                Verdict::Switch(numbers) => {
                    self.switched = true;
                    numbers
                }
                other => {
                    self.tally.withheld += 1;
                    self.tally.left_out += u64::from(other == Verdict::LeaveOut);
                    self.tally.silence += u64::from(other == Verdict::Silence);
                    continue;
                }
            };
            if !has_room(out) {
                // Nothing goes to the kernel before the state says that it was used.
                self.store();
                out.transmit();
            }
            match self.send(packet, numbers, paddings.at(at), out) {
                Ok(bytes) if PACED => self.charge(bytes),
                Ok(_) => {}
                Err(reason) => {
                    self.tables.counters().drop_packets(reason, 1);
                    self.tally.withheld += 1;
                }
            }
            if self.subscriber.has_repair_due() {
                let bytes = self.send_repairs(out);
                if PACED {
                    self.charge(bytes);
                }
            }
        }
        self.store();
    }

    /// Whether the pacer sends this packet in its turn: the viewer is behind, or falls behind with it.
    fn is_left(&mut self, packet: &Packet) -> bool {
        if self.subscriber.source != Some(Source::of(packet)) {
            return false;
        }
        if let Some(from) = self.subscriber.behind {
            return packet.position >= from;
        }
        let closed = self.transport.bandwidth.as_deref_mut().is_some_and(|b| {
            let target = b.estimator.target_bps();
            !b.pacer.is_open(self.now, target)
        });
        if closed {
            self.subscriber.behind = Some(packet.position);
        }
        closed
    }

    fn charge(&mut self, bytes: usize) {
        if let Some(bandwidth) = self.transport.bandwidth.as_deref_mut() {
            bandwidth.pacer.charge(bytes);
        }
    }

    fn send_repairs<O: Output<Message = PeerMessage>>(&mut self, out: &mut O) -> usize {
        let (transport, subscriber) = (&mut *self.transport, &mut *self.subscriber);
        let now = self.now;
        send_repairs(
            self.tables,
            transport,
            subscriber,
            &mut self.tally,
            now,
            out,
        )
    }

    fn store(&mut self) {
        if self.tally.packets > 0 {
            let (row, state) = (self.subscriber.link.row, self.subscriber.snapshot());
            self.tables.store::<SubscriptionRow>(row, state);
        }
    }

    fn send<O: Output<Message = PeerMessage>>(
        &mut self,
        packet: &Packet,
        numbers: Numbers,
        padding: usize,
        out: &mut O,
    ) -> Result<usize, DropReason> {
        let payload_len = payload_for(packet, &numbers).len();
        let earlier = self.earlier.map_or(Earlier::default(), |(history, count)| {
            // What was not sent right before, for a switch or for silence, cannot go along.
            let source = Source::of(packet);
            let sent = |position, back| {
                let origin = self
                    .subscriber
                    .origin_of(numbers.index.checked_sub(back)?)?;
                (origin == (source, position)).then_some(())
            };
            Earlier::of(packet, history, count, sent)
        });
        let (transport, subscriber) = (&mut *self.transport, &mut *self.subscriber);
        let sent = if earlier.is_empty() {
            let packet = (packet, padding);
            send_media(transport, subscriber, packet, numbers, self.now, out)?
        } else {
            self.tally.red += 1;
            send_red(
                transport,
                subscriber,
                (packet, earlier),
                numbers,
                self.now,
                out,
            )?
        };
        let bytes = (payload_len, sent);
        self.tally.add(self.subscriber, packet, &numbers, bytes);
        Ok(sent)
    }
}

impl Tally {
    /// A media packet went out, of so many bytes of payload, and in all.
    pub(crate) fn add(
        &mut self,
        subscriber: &mut Subscriber,
        packet: &Packet,
        numbers: &Numbers,
        (payload, bytes): (usize, usize),
    ) {
        self.packets += 1;
        self.payload += payload as u64;
        self.bytes += bytes as u64;
        self.blanks += u64::from(numbers.manner.blank);
        self.frames += u64::from(numbers.manner.marker);
        if packet.keyframe && packet.codec.is_video() && !numbers.manner.blank {
            let before = subscriber.last_keyframe.map(|(timestamp, _)| timestamp);
            if before != Some(numbers.timestamp) {
                subscriber.last_keyframe = Some((numbers.timestamp, numbers.index));
                self.key_frames += 1;
            }
        }
    }
}
