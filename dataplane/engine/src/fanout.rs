use crate::bandwidth::Bandwidth;
use crate::batch::Batch;
use crate::engine::Engine;
use crate::history::History;
use crate::ingress::srtp_drop;
use crate::layers::Layer;
use crate::limits::{BANDWIDTH_US, MAX_DATAGRAM, PADDING_MAX, TICK_US};
use crate::output::Output;
use crate::packet::Packet;
use crate::padding::Paddings;
use crate::peer::PeerMessage;
use crate::redundancy::Earlier;
use crate::rewrite::{Descriptor, renumber};
use crate::subscription::{Numbers, Source, Subscriber, Verdict};
use crate::time::Micros;
use crate::timers::TimerKind;
use crate::transport::Transport;
use ion_tables::{
    DropReason, EventKind, ExtensionKind, RowKind, RowLink, Subscription as SubscriptionRow,
    SubscriptionCounters, TransportConfig, WorkerTables,
};
use ion_wire::ext::{AbsSendTime, transport_cc_bytes};
use ion_wire::rtp::{ExtForm, HeaderFields, HeaderWriter};
use std::sync::Arc;

/// The header of a packet to a viewer, besides its numbers.
pub(crate) struct Header<'a> {
    pub(crate) fields: HeaderFields,
    pub(crate) mid: &'a [u8],
    /// Whether extensions that depend on the moment may be added.
    pub(crate) momentary: bool,
    /// Playout delay to write instead of the publisher's; depends on the moment.
    pub(crate) playout: Option<[u8; 3]>,
    /// Dependency descriptor to write instead of the publisher's.
    pub(crate) dependency: Option<&'a Descriptor>,
}

impl<'a> Header<'a> {
    /// The header of a media packet; `dependency` is its descriptor where it is not the publisher's.
    pub(crate) fn of(
        packet: &Packet,
        numbers: &Numbers,
        subscriber: &'a Subscriber,
        dependency: Option<&'a Descriptor>,
    ) -> Self {
        let config = &subscriber.config;
        Self {
            fields: HeaderFields {
                marker: numbers.manner.marker,
                payload_type: config.payload_type,
                sequence: low16(numbers.index),
                timestamp: numbers.timestamp,
                ssrc: config.ssrc,
            },
            mid: config.mid.as_bytes_of(),
            momentary: !subscriber.resends_plain(),
            playout: subscriber.playout.value(packet),
            dependency,
        }
    }
}

/// The P bit in the first byte of an RTP header (RFC 3550, 5.1).
pub(crate) const PADDING_BIT: u8 = 0x20;

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
    /// Empty ones among those that were sent.
    pub(crate) blanks: u64,
    /// RED ones among those that were sent.
    pub(crate) red: u64,
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
        let Some(transport) = transport.filter(|_| subscriber.track == batch.track) else {
            return;
        };
        let blocks = if subscriber.makes_red() {
            let counters = self.tables.tables().counters::<SubscriptionRow>(row);
            let lost = counters.map_or(0, |counters| counters.fraction_lost.load());
            subscriber.redundancy.follow(now, lost)
        } else {
            0
        };
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
        let source = subscriber.source;
        let behind = subscriber.behind.is_some();
        let wants = subscriber
            .target
            .filter(|_| subscriber.waiting.is_some() && !waited);
        if first && subscriber.has_sent() && self.unreported.len() < self.unreported.capacity() {
            self.unreported.push(row);
        }
        if let Some(counters) = self.subscription_counters(row) {
            counters.packets_sent.add(tally.packets);
            counters.bytes_sent.add(tally.payload);
            counters.packets_withheld.add(tally.withheld);
            counters.switches.add(u64::from(switched && !first));
            counters.packets_of_other_layers.add(tally.left_out);
            counters.packets_blanked.add(tally.blanks);
            counters.red_sent.add(tally.red);
        }
        self.count_sent(transport, tally.packets, tally.bytes);
        self.count_layers(row);
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
        if switched && let Some(source) = source {
            let value = u64::from(source.encoding.row);
            let kind = EventKind::LayerSwitched;
            self.event(now, kind, RowKind::Subscription, link, value);
        }
    }

    /// Brings the layers in use and wanted up to date, of a subscription that is sent pictures.
    pub(crate) fn count_layers(&self, row: u32) {
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
        counters.layer_switches.set(subscriber.selection.switches);
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
            Earlier::of(packet, history, count)
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
        self.tally.packets += 1;
        self.tally.payload += payload_len as u64;
        self.tally.blanks += u64::from(numbers.manner.blank);
        self.tally.bytes += sent as u64;
        Ok(sent)
    }
}

/// Whether the batch takes one more datagram of any size.
pub(crate) fn has_room<O: Output<Message = PeerMessage>>(out: &mut O) -> bool {
    out.batch().space(MAX_DATAGRAM).is_some()
}

/// The payload that a viewer gets, but for its running numbers: a packet of a layer that it does not get is empty.
pub(crate) fn payload_for<'a>(packet: &'a Packet, numbers: &Numbers) -> &'a [u8] {
    if numbers.manner.blank {
        &[]
    } else {
        packet.payload()
    }
}

/// Writes a media packet for a viewer and seals it straight from the shared
/// plaintext into the batch, which must have room. Returns the datagram's length.
///
/// It is padded by so many bytes, if it can be, so that it is as long as its neighbours.
/// Its index is marked as used even if it then turns out not to fit: it will not be
/// used for anything else.
pub(crate) fn send_media<O: Output<Message = PeerMessage>>(
    transport: &mut Transport,
    subscriber: &mut Subscriber,
    (packet, padding): (&Packet, usize),
    numbers: Numbers,
    now: Micros,
    out: &mut O,
) -> Result<usize, DropReason> {
    let payload = payload_for(packet, &numbers);
    if !subscriber.used(numbers, now, payload.len()) {
        return Err(DropReason::Duplicate);
    }
    seal_media(transport, subscriber, (packet, padding), numbers, now, out)
}

/// Writes and seals a media packet whose index is taken, for the first time or
/// again: see the invariant of [`Subscriber`].
pub(crate) fn seal_media<O: Output<Message = PeerMessage>>(
    transport: &mut Transport,
    subscriber: &Subscriber,
    (packet, padding): (&Packet, usize),
    numbers: Numbers,
    now: Micros,
    out: &mut O,
) -> Result<usize, DropReason> {
    let payload = payload_for(packet, &numbers);
    let ssrc = subscriber.config.ssrc;
    let dependency = Descriptor::of(packet, &numbers);
    let header = Header::of(packet, &numbers, subscriber, dependency.as_ref());
    let limit = transport.max_datagram();
    let path = transport.path.ok_or(DropReason::SendFailed)?;
    let open = out.batch().open_segment(&path);
    let space = out
        .batch()
        .space(MAX_DATAGRAM)
        .ok_or(DropReason::TransmitFull)?;
    let (header_len, numbered) = write_header(transport, &header, packet, now, space)?;
    let keys = transport.keys.as_mut().ok_or(DropReason::SendFailed)?;
    let natural = header_len + payload.len() + keys.sealer.profile().rtp_overhead();
    if natural > limit {
        return Err(DropReason::TooLarge);
    }
    // What is sent again must be the same again, and stands alone anyhow.
    let joins = header.momentary && !numbers.manner.blank;
    let padded = Some(packet).filter(|_| joins);
    let padded = padded.and_then(|packet| {
        let wished = open
            .filter(|&open| (natural..=natural + PADDING_MAX).contains(&open))
            .unwrap_or(natural + padding);
        packet.padded(wished.min(limit) - natural)
    });
    if padded.is_some() {
        space[0] |= PADDING_BIT;
    }
    let payload = padded.unwrap_or(payload);
    let sealer = &mut keys.sealer;
    let len = if numbers.running.payload == packet.running.payload || numbers.manner.blank {
        sealer.seal_rtp(header_len, numbers.index, ssrc, payload, space)
    } else {
        let plain_len = header_len + payload.len();
        let body = space.get_mut(header_len..plain_len);
        let body = body.ok_or(DropReason::TooLarge)?;
        body.copy_from_slice(payload);
        renumber(packet.codec, body, &numbers.running.payload);
        sealer.seal_rtp_in_place(header_len, plain_len, numbers.index, ssrc, space)
    };
    let len = len.map_err(srtp_drop)?;
    out.batch().commit(&path, len);
    transport.note_sent(now, len, ssrc, low16(numbers.index), numbered);
    Ok(len)
}

/// As [`send_media`], with earlier frames before the packet's own. For viewers to whom nothing is sent again as it was.
fn send_red<O: Output<Message = PeerMessage>>(
    transport: &mut Transport,
    subscriber: &mut Subscriber,
    (packet, earlier): (&Packet, Earlier<'_>),
    numbers: Numbers,
    now: Micros,
    out: &mut O,
) -> Result<usize, DropReason> {
    if !subscriber.used(numbers, now, usize::from(packet.payload_len)) {
        return Err(DropReason::Duplicate);
    }
    let mut header = Header::of(packet, &numbers, subscriber, None);
    header.fields.payload_type = subscriber.config.red_payload_type;
    let (limit, path) = (transport.max_datagram(), transport.path);
    let path = path.ok_or(DropReason::SendFailed)?;
    let space = out.batch().space(MAX_DATAGRAM);
    let space = space.ok_or(DropReason::TransmitFull)?;
    let (header_len, numbered) = write_header(transport, &header, packet, now, space)?;
    let sealer = &mut transport
        .keys
        .as_mut()
        .ok_or(DropReason::SendFailed)?
        .sealer;
    let end = limit.saturating_sub(sealer.profile().rtp_overhead());
    let body = space.get_mut(header_len..end).ok_or(DropReason::TooLarge)?;
    let plain_len = header_len + earlier.write(packet, subscriber.config.payload_type, body)?;
    let (index, ssrc) = (numbers.index, subscriber.config.ssrc);
    let len = sealer
        .seal_rtp_in_place(header_len, plain_len, index, ssrc, space)
        .map_err(srtp_drop)?;
    out.batch().commit(&path, len);
    transport.note_sent(now, len, ssrc, low16(index), numbered);
    Ok(len)
}

/// Writes an RTP header with the viewer's extensions. Returns its length, and whether it took a
/// transport-wide number.
pub(crate) fn write_header(
    transport: &mut Transport,
    header: &Header<'_>,
    packet: &Packet,
    now: Micros,
    space: &mut [u8],
) -> Result<(usize, bool), DropReason> {
    let map = transport.config.extensions;
    let mid = map
        .id(ExtensionKind::Mid)
        .filter(|_| !header.mid.is_empty())
        .map(|id| (id, header.mid));
    let numbered = transport.config.flags & TransportConfig::TRANSPORT_CC_OUT != 0;
    let number = map
        .id(ExtensionKind::TransportCc)
        .filter(|_| header.momentary && numbered)
        .map(|id| {
            (
                id,
                transport_cc_bytes(low16(transport.state.transport_cc_next)),
            )
        });
    let time = map
        .id(ExtensionKind::AbsSendTime)
        .filter(|_| header.momentary)
        .map(|id| (id, AbsSendTime::from_us(now.0).to_bytes()));
    let playout = header
        .playout
        .filter(|_| header.momentary)
        .and_then(|value| Some((map.id(ExtensionKind::PlayoutDelay)?, value)));
    let replaced = playout.map(|_| ExtensionKind::PlayoutDelay);
    let dependency = header.dependency;
    let carried = transport
        .carried
        .iter()
        .filter(|(kind, _)| Some(*kind) != replaced)
        .filter_map(|(kind, id)| {
            let value = match (kind, dependency) {
                (ExtensionKind::DependencyDescriptor, Some(written)) => written.as_slice(),
                _ => packet.extension(kind)?,
            };
            Some((id, value))
        });
    let all = mid
        .into_iter()
        .chain(number.as_ref().map(|(id, value)| (*id, &value[..])))
        .chain(time.as_ref().map(|(id, value)| (*id, &value[..])))
        .chain(playout.as_ref().map(|(id, value)| (*id, &value[..])))
        .chain(carried);
    let form = all.clone().fold(ExtForm::OneByte, |form, (id, value)| {
        form.and(ExtForm::fitting(id, value.len()))
    });
    let too_large = |_| DropReason::TooLarge;
    let mut writer = HeaderWriter::new(space, &header.fields, form).map_err(too_large)?;
    for (id, value) in all {
        writer.push_extension(id, value).map_err(too_large)?;
    }
    let len = writer.finish();
    if number.is_some() {
        transport.state.transport_cc_next = transport.state.transport_cc_next.wrapping_add(1);
    }
    Ok((len, number.is_some()))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "sequence numbers are the low half of indices"
)]
pub(crate) fn low16(number: u64) -> u16 {
    number as u16
}
