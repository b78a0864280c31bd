use crate::bandwidth::Bandwidth;
use crate::engine::Engine;
use crate::limits::PROBE_PADDING;
use crate::output::Output;
use crate::packet::Packet;
use crate::peer::PeerMessage;
use crate::rewrite::{Descriptor, renumber};
use crate::seal::{Header, has_room, low16, payload_for, seal_made, seal_media, send_media};
use crate::subscription::{Numbers, Source, Subscriber};
use crate::time::Micros;
use crate::transport::{StreamKind, Transport};
use ion_tables::{DropReason, RowLink, Subscription as SubscriptionRow};
use ion_wire::rtp::HeaderFields;
use ion_wire::seq;
use std::sync::Arc;

/// What became of a request to send a packet again.
enum Answer {
    Sent {
        payload: u64,
        bytes: u64,
    },
    /// No longer here, or never sent.
    Missed,
    /// No longer here, and without it the viewer's picture stands still until the next keyframe of this encoding.
    Gone(RowLink),
    /// Sent a moment ago, or more than the viewer is entitled to.
    Suppressed,
}

impl Engine {
    /// Answers a viewer's NACK: from the shared history, as RTX (RFC 4588), or as the
    /// plain packet where the viewer has no RTX.
    pub(crate) fn answer_nack<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        transport: u32,
        row: u32,
        mut sequences: impl Iterator<Item = u16>,
        out: &mut O,
    ) {
        let (mut asked, mut missed, mut suppressed, mut limited) = (0, 0, 0, 0_u64);
        let (mut sent, mut payload, mut bytes) = (0, 0, 0);
        let mut gone = None;
        while let Some(sequence) = sequences.next() {
            asked += 1;
            let within = self.transports[transport as usize]
                .as_deref_mut()
                .is_some_and(|transport| transport.budget.take_nack(now));
            if !within {
                // The rest of a storm is counted, and not looked at.
                let rest = sequences.by_ref().count() as u64;
                asked += rest;
                limited += 1 + rest;
                break;
            }
            match self.send_again(now, row, sequence, out) {
                Answer::Sent {
                    payload: p,
                    bytes: b,
                } => {
                    sent += 1;
                    payload += p;
                    bytes += b;
                }
                Answer::Missed => missed += 1,
                Answer::Gone(encoding) => {
                    missed += 1;
                    gone = Some(encoding);
                }
                Answer::Suppressed => suppressed += 1,
            }
        }
        if limited > 0 {
            self.drop_of(transport, DropReason::RateLimited);
        }
        if let Some(encoding) = gone {
            self.mend_by_keyframe(now, (transport, row), encoding);
        }
        if let Some(counters) = self.subscription_counters(row) {
            counters.nack_messages_received.add(1);
            counters.nacks_received.add(asked);
            counters.nacks_missed.add(missed);
            counters.nacks_suppressed.add(suppressed + limited);
            counters.retransmitted_sent.add(sent);
            counters.retransmitted_bytes.add(payload);
        }
        let counters = self.tables.counters();
        counters.nacks_received.add(asked);
        counters.retransmitted_sent.add(sent);
        self.count_sent(transport, sent, bytes);
    }

    /// A viewer that was away for longer than the history reaches back asks for what nobody has any more. Browsers
    /// ask for a keyframe themselves, but only after seconds without a picture.
    fn mend_by_keyframe(
        &mut self,
        now: Micros,
        (transport, subscription): (u32, u32),
        encoding: RowLink,
    ) {
        let transport = self.transports[transport as usize].as_deref_mut();
        let subscriber = self.subscriptions[subscription as usize].as_deref_mut();
        let within = transport.is_some_and(|transport| transport.budget.take_keyframe(now));
        if within && subscriber.is_some_and(|s| s.may_ask_for_keyframe(now)) {
            self.want_keyframe(now, encoding);
        }
    }

    fn send_again<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        sequence: u16,
        out: &mut O,
    ) -> Answer {
        let Some(subscriber) = self.subscriptions[row as usize].as_deref_mut() else {
            return Answer::Missed;
        };
        let next = subscriber.next_index();
        let index = seq::extend(sequence, next.saturating_sub(1));
        let Some((source, position)) = subscriber.origin_of(index) else {
            return Answer::Missed;
        };
        let feed = self
            .encodings
            .get(source.encoding.row as usize)
            .and_then(|slot| slot.as_deref())
            .filter(|encoding| encoding.link == source.encoding)
            .and_then(|encoding| encoding.feed.as_deref());
        let Some(feed) = feed else {
            return Answer::Missed;
        };
        let packet = feed.history.get(position).cloned();
        let Some(packet) = packet.filter(|packet| packet.ssrc == source.ssrc) else {
            let stands = subscriber.source == Some(source) && subscriber.is_missed(index);
            return if stands {
                Answer::Gone(source.encoding)
            } else {
                Answer::Missed
            };
        };
        let Some(numbers) = subscriber.numbers_again(&packet, index) else {
            return Answer::Missed;
        };
        subscriber.lost(now, index, &packet, feed.playout);
        let answer = self.resend(now, row, &packet, numbers, out);
        // The history has the other reference: nothing is freed here.
        drop(packet);
        answer
    }

    fn resend<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        packet: &Arc<Packet>,
        numbers: Numbers,
        out: &mut O,
    ) -> Answer {
        let Some(subscriber) = self.subscriptions[row as usize].as_deref_mut() else {
            return Answer::Missed;
        };
        let transport = self
            .transports
            .get_mut(subscriber.transport as usize)
            .and_then(|slot| slot.as_deref_mut())
            .filter(|transport| transport.link == subscriber.config.transport);
        let Some(transport) = transport.filter(|_| !subscriber.is_paused()) else {
            return Answer::Missed;
        };
        let rtx = subscriber.has_rtx();
        if !rtx && subscriber.was_sent(numbers.index) {
            // Only byte by byte the same may go out under the same index.
            if numbers.index < subscriber.plain_floor || !subscriber.resends_plain() {
                return Answer::Missed;
            }
        }
        let cost = u64::from(packet.payload_len) + 64;
        let bandwidth = transport.bandwidth.as_deref_mut();
        let open = |bandwidth: &mut Bandwidth| subscriber.audio || bandwidth.may_repeat(now);
        if !bandwidth.is_none_or(open) {
            return Answer::Suppressed;
        }
        if subscriber.is_repeat(numbers.index, now) || !transport.budget.take_rtx(cost) {
            return Answer::Suppressed;
        }
        if !has_room(out) {
            out.transmit();
        }
        let sent = if rtx {
            send_rtx(
                &self.tables,
                transport,
                subscriber,
                packet,
                numbers,
                now,
                out,
            )
        } else if subscriber.was_sent(numbers.index) {
            seal_media(transport, subscriber, (packet, 0), numbers, now, out)
        } else {
            send_media(transport, subscriber, (packet, 0), numbers, now, out)
        };
        self.tables
            .store::<SubscriptionRow>(row, subscriber.snapshot());
        match sent {
            Ok(bytes) => {
                if let Some(bandwidth) = transport.bandwidth.as_deref_mut() {
                    bandwidth.repeated(bytes);
                }
                if rtx {
                    transport.note_extra(subscriber.link, StreamKind::Rtx);
                }
                Answer::Sent {
                    payload: u64::from(packet.payload_len),
                    bytes: bytes as u64,
                }
            }
            Err(reason) => {
                self.tables.counters().drop_packets(reason, 1);
                Answer::Missed
            }
        }
    }
}

/// Sends a packet again as RTX: on its own SSRC, under an index never used, with the
/// original sequence number before the payload (RFC 4588, section 4).
fn send_rtx<O: Output<Message = PeerMessage>>(
    tables: &ion_tables::WorkerTables,
    transport: &mut Transport,
    subscriber: &mut Subscriber,
    packet: &Packet,
    numbers: Numbers,
    now: Micros,
    out: &mut O,
) -> Result<usize, DropReason> {
    let payload = payload_for(packet, &numbers);
    let (index, ssrc) = (subscriber.rtx_next, subscriber.rtx_ssrc);
    let dependency = Descriptor::of(packet, &numbers);
    let mut header = Header::of(packet, &numbers, subscriber, dependency.as_ref());
    header.fields.payload_type = subscriber.config.rtx_payload_type;
    (header.fields.sequence, header.fields.ssrc) = (low16(index), ssrc);
    header.momentary = true;
    // The state says that the index is used before anything can be sent with it.
    subscriber.rtx_next = index + 1;
    tables.store::<SubscriptionRow>(subscriber.link.row, subscriber.snapshot());
    let original = low16(numbers.index).to_be_bytes();
    seal_made(transport, &header, Some(packet), index, now, out, |body| {
        let (first, rest) = body.split_first_chunk_mut().ok_or(DropReason::TooLarge)?;
        let rest = rest.get_mut(..payload.len()).ok_or(DropReason::TooLarge)?;
        *first = original;
        rest.copy_from_slice(payload);
        if numbers.running.payload != packet.running.payload {
            renumber(packet.codec, rest, &numbers.running.payload);
        }
        Ok(original.len() + payload.len())
    })
}

impl Engine {
    /// Sends something that a viewer can do without, on a subscription's stream of retransmissions,
    /// to probe its network: the packet that was sent so many before the last, or with none
    /// padding alone. Returns its length, or `None` if nothing was sent.
    pub(crate) fn send_padding<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        again: Option<u64>,
        out: &mut O,
    ) -> Option<u64> {
        let subscriber = self.subscriptions[row as usize].as_deref_mut()?;
        let transport = self
            .transports
            .get_mut(subscriber.transport as usize)
            .and_then(|slot| slot.as_deref_mut())
            .filter(|transport| transport.link == subscriber.config.transport)?;
        subscriber.last_epoch()?;
        let encodings = &self.encodings;
        let history = |source: Source| {
            encodings[source.encoding.row as usize]
                .as_deref()
                .filter(|encoding| encoding.link == source.encoding)
                .and_then(|encoding| encoding.feed.as_deref())
                .map(|feed| &feed.history)
        };
        let index = again.and_then(|back| subscriber.next_index().checked_sub(back + 1));
        let found = index
            .filter(|&index| subscriber.was_sent(index))
            .and_then(|index| {
                let (source, position) = subscriber.origin_of(index)?;
                let packet = history(source)?.get(position)?;
                let numbers = subscriber.numbers_again(packet, index)?;
                (packet.ssrc == source.ssrc).then(|| (packet.clone(), numbers))
            });
        if !has_room(out) {
            out.transmit();
        }
        let tables = &self.tables;
        let sent = if let Some((packet, numbers)) = found {
            send_rtx(tables, transport, subscriber, &packet, numbers, now, out)
        } else {
            let timestamp = subscriber.last_timestamp();
            send_empty(tables, transport, subscriber, timestamp, now, out)
        };
        let (transport, sent) = (subscriber.transport, sent.ok()? as u64);
        self.count_sent(transport, 1, sent);
        Some(sent)
    }
}

/// Sends a packet of padding alone on the stream of retransmissions.
fn send_empty<O: Output<Message = PeerMessage>>(
    tables: &ion_tables::WorkerTables,
    transport: &mut Transport,
    subscriber: &mut Subscriber,
    timestamp: u32,
    now: Micros,
    out: &mut O,
) -> Result<usize, DropReason> {
    let (index, ssrc) = (subscriber.rtx_next, subscriber.rtx_ssrc);
    let fields = HeaderFields {
        marker: false,
        payload_type: subscriber.config.rtx_payload_type,
        sequence: low16(index),
        timestamp,
        ssrc,
    };
    let header = Header {
        padding: true,
        ..Header::beside(subscriber, fields)
    };
    subscriber.rtx_next = index + 1;
    tables.store::<SubscriptionRow>(subscriber.link.row, subscriber.snapshot());
    seal_made(transport, &header, None, index, now, out, |body| {
        let body = body.get_mut(..PROBE_PADDING).ok_or(DropReason::TooLarge)?;
        body.fill(0);
        // The last byte says how much there is (RFC 3550, 5.1).
        if let (Some(last), Ok(count)) = (body.last_mut(), u8::try_from(PROBE_PADDING)) {
            *last = count;
        }
        Ok(PROBE_PADDING)
    })
}
