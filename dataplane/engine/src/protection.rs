//! Repair packets (FlexFEC-03) for viewers that a retransmission would reach too late.

use crate::fanout::Tally;
use crate::limits::{
    FEC_BURST_LOSSES, FEC_BURST_SHARE, FEC_GROUPS, FEC_HOLD_US, FEC_LEAST_LOSS, FEC_LEAST_RTT_US,
    FEC_LOSS_PER_SPAN, FEC_SPAN, PACKET_BYTES,
};
use crate::output::Output;
use crate::packet::ExtensionSpans;
use crate::peer::PeerMessage;
use crate::repair::leave_out_mutable;
use crate::seal::{Header, has_room, low16, seal_made};
use crate::subscription::Subscriber;
use crate::time::Micros;
use crate::transport::{StreamKind, Transport};
use ion_tables::{
    DropReason, ExtensionMap, Subscription as SubscriptionRow, SubscriptionConfig, WorkerTables,
};
use ion_wire::flexfec::Parity;
use ion_wire::rtp::{HeaderFields, RtpHeader};

/// Numbers that one repair packet may span: those of a mask in two parts. More packets than that are never protected, but
/// some between them may be missing.
const MASK_SPAN: u64 = 46;

/// A repair packet in the making.
struct Group {
    parity: Parity<Box<[u8]>>,
    /// Index of the first packet in it, and which others are.
    base: u64,
    mask: u128,
    due: bool,
}

impl Group {
    fn new() -> Self {
        Self {
            parity: Parity::new(vec![0; PACKET_BYTES].into_boxed_slice()),
            base: 0,
            mask: 0,
            due: false,
        }
    }

    fn clear(&mut self) {
        self.parity.clear();
        (self.mask, self.due) = (0, false);
    }

    fn count(&self) -> u64 {
        u64::from(self.mask.count_ones())
    }

    /// Adds a packet, whose header reads as `fields`.
    fn add(
        &mut self,
        index: u64,
        (header, fields): (&[u8], &RtpHeader),
        payload: &[u8],
        map: &ExtensionMap,
    ) {
        let place = index.checked_sub(self.base).filter(|&at| at < MASK_SPAN);
        if self.mask == 0 || (place.is_none() && index > self.base) {
            self.clear();
            self.base = index;
        } else if place.is_none() {
            // Late: the repair packet for its neighbours is gone.
            return;
        }
        let bit = 1_u128 << (index - self.base);
        if self.mask & bit != 0 || self.parity.add(header, payload).is_err() {
            return;
        }
        if let Some(extensions) = ExtensionSpans::of(fields, header, map) {
            leave_out_mutable(&mut self.parity, &extensions, header);
        }
        self.mask |= bit;
    }
}

/// How a viewer loses packets: one by one, or several in a row.
#[derive(Debug, Clone, Copy, Default)]
struct Bursts {
    last: u64,
    lost: u32,
    /// Of those, right after another one.
    in_row: u32,
}

/// The repair packets in the making for one viewer: they protect the packets as they are sent to that viewer.
pub(crate) struct Protection {
    /// Next index of the SSRC of repair packets, never used.
    next: u64,
    /// Packets that one repair packet protects; 0 is none are made.
    span: u64,
    /// When loss last asked for so much.
    asked: Micros,
    /// Packets are dealt out to the first so many in turn: neighbours that are lost together are then mended both.
    groups: [Group; FEC_GROUPS],
    dealt_to: usize,
    bursts: Bursts,
    /// RTP timestamp of the newest packet.
    timestamp: u32,
}

impl Protection {
    pub(crate) fn new(next: u64) -> Self {
        Self {
            next,
            span: 0,
            asked: Micros(0),
            groups: std::array::from_fn(|_| Group::new()),
            dealt_to: 1,
            bursts: Bursts::default(),
            timestamp: 0,
        }
    }

    /// Next index of the SSRC of repair packets, never used.
    pub(crate) fn next_index(&self) -> u64 {
        self.next
    }

    /// Takes in what the viewer reports: the fraction lost, in 1/256, and the round trip. More is added at once, less
    /// after a while.
    pub(crate) fn follow(&mut self, now: Micros, fraction_lost: u64, rtt_us: u64) {
        let lossy = fraction_lost >= FEC_LEAST_LOSS && rtt_us >= FEC_LEAST_RTT_US;
        let wanted = match FEC_LOSS_PER_SPAN.checked_div(fraction_lost) {
            Some(span) if lossy => span.clamp(FEC_SPAN.0, FEC_SPAN.1),
            _ => 0,
        };
        let as_much = wanted != 0 && (self.span == 0 || wanted <= self.span);
        if as_much || now.since(self.asked) > FEC_HOLD_US {
            (self.span, self.asked) = (wanted, now);
        }
    }

    /// Takes in that the viewer lost a packet.
    pub(crate) fn lost(&mut self, index: u64) {
        let bursts = &mut self.bursts;
        bursts.in_row += u32::from(index == bursts.last + 1);
        (bursts.last, bursts.lost) = (index, bursts.lost + 1);
        if bursts.lost < FEC_BURST_LOSSES {
            return;
        }
        let bursty = bursts.in_row * FEC_BURST_SHARE.1 > bursts.lost * FEC_BURST_SHARE.0;
        let dealt_to = if bursty { FEC_GROUPS } else { 1 };
        if dealt_to != self.dealt_to {
            self.dealt_to = dealt_to;
            self.groups.iter_mut().for_each(Group::clear);
        }
        (bursts.lost, bursts.in_row) = (0, 0);
    }

    /// Nothing is made until loss asks for it again.
    pub(crate) fn stop(&mut self) {
        self.span = 0;
    }

    /// Whether repair packets are made.
    pub(crate) fn is_on(&self) -> bool {
        self.span > 0
    }

    /// How much more is sent with repair packets, as a fraction.
    pub(crate) fn growth(&self) -> (u64, u64) {
        if self.is_on() {
            (self.span + 1, self.span)
        } else {
            (1, 1)
        }
    }

    /// Whether a repair packet is to be sent.
    pub(crate) fn is_due(&self) -> bool {
        self.groups.iter().any(|group| group.due)
    }

    /// Protects a packet that is being sent; `header` and `payload` are what the viewer will see.
    pub(crate) fn add(&mut self, index: u64, header: &[u8], payload: &[u8], map: &ExtensionMap) {
        if !self.is_on() {
            return;
        }
        let Ok(fields) = RtpHeader::parse(header) else {
            return;
        };
        self.timestamp = fields.timestamp;
        let turn = usize::from(low16(index)) % self.dealt_to;
        let group = &mut self.groups[turn];
        group.add(index, (header, &fields), payload, map);
        group.due = group.count() >= self.span;
        if fields.marker {
            // A picture is not kept waiting for the next, unless it leaves less than half of a group over.
            for group in &mut self.groups {
                group.due |= group.count() > 1 && 2 * group.count() >= self.span;
            }
        }
    }

    /// Writes the payload of a repair packet that is due, for what was sent under an SSRC, and begins the next.
    fn write(&mut self, ssrc: u32, out: &mut [u8]) -> Result<usize, DropReason> {
        let due = self.groups.iter_mut().find(|group| group.due);
        let group = due.ok_or(DropReason::SendFailed)?;
        let base = low16(group.base);
        let written = group.parity.write(out, ssrc, base, group.mask);
        group.clear();
        written.map_err(|_| DropReason::TooLarge)
    }
}

/// Sends the repair packets that are due: on their own SSRC, each under an index never used. Returns the bytes of their
/// datagrams.
#[cold]
pub(crate) fn send_repairs<O: Output<Message = PeerMessage>>(
    tables: &WorkerTables,
    transport: &mut Transport,
    subscriber: &mut Subscriber,
    tally: &mut Tally,
    now: Micros,
    out: &mut O,
) -> usize {
    let mut bytes = 0;
    for _ in 0..FEC_GROUPS {
        if !subscriber.has_repair_due() {
            break;
        }
        match send_repair(tables, transport, subscriber, now, out) {
            Ok((payload, sent)) => {
                tally.repairs += 1;
                tally.repair_payload += payload as u64;
                bytes += sent;
                transport.note_extra(subscriber.link, StreamKind::Fec);
            }
            Err(reason) => tables.counters().drop_packets(reason, 1),
        }
    }
    tally.bytes += bytes as u64;
    bytes
}

/// Sends one repair packet. Returns the length of its payload and of its datagram.
fn send_repair<O: Output<Message = PeerMessage>>(
    tables: &WorkerTables,
    transport: &mut Transport,
    subscriber: &mut Subscriber,
    now: Micros,
    out: &mut O,
) -> Result<(usize, usize), DropReason> {
    let missing = DropReason::SendFailed;
    let protection = subscriber.protection.as_deref_mut().ok_or(missing)?;
    let (index, timestamp) = (protection.next, protection.timestamp);
    protection.next += 1;
    // The state says that the index is used before anything can be sent with it.
    tables.store::<SubscriptionRow>(subscriber.link.row, subscriber.snapshot());
    if !has_room(out) {
        out.transmit();
    }
    let SubscriptionConfig {
        ssrc,
        fec_ssrc,
        fec_payload_type,
        ..
    } = subscriber.config;
    let fields = HeaderFields {
        marker: false,
        payload_type: fec_payload_type,
        sequence: low16(index),
        timestamp,
        ssrc: fec_ssrc,
    };
    let header = Header::beside(subscriber, fields);
    let protection = subscriber.protection.as_deref_mut().ok_or(missing)?;
    let mut payload = 0;
    let sent = seal_made(transport, &header, None, index, now, out, |body| {
        payload = protection.write(ssrc, body)?;
        Ok(payload)
    })?;
    Ok((payload, sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: u64 = FEC_LEAST_RTT_US;

    #[test]
    fn repair_follows_loss_where_retransmission_is_slow() {
        let mut protection = Protection::new(1);
        let mut after = |seconds: u64, lost, rtt| {
            protection.follow(Micros(seconds * 1_000_000), lost, rtt);
            protection.growth()
        };
        assert_eq!(after(1, 40, FAR - 1), (1, 1), "retransmissions are fast");
        assert_eq!(after(2, FEC_LEAST_LOSS - 1, FAR), (1, 1));
        assert_eq!(after(3, FEC_LEAST_LOSS, FAR), (11, 10));
        assert_eq!(after(4, 26, FAR), (4, 3), "more at once");
        assert_eq!(after(5, 255, FAR), (4, 3), "bounded");
        assert_eq!(after(8, 13, FAR), (4, 3), "less after a while");
        assert_eq!(after(16, 13, FAR), (7, 6));
        assert_eq!(after(20, 0, FAR), (7, 6));
        assert_eq!(after(27, 0, FAR), (1, 1));
    }

    #[test]
    fn a_repair_packet_is_due_when_enough_is_protected_or_a_picture_ends() {
        let header = |sequence: u8, marker: bool| {
            [
                0x80,
                if marker { 0xe0 } else { 0x60 },
                0,
                sequence,
                0,
                0,
                0,
                9,
                0,
                0,
                0,
                1,
            ]
        };
        let map = ExtensionMap::default();
        let mut protection = Protection::new(1);
        protection.add(1, &header(1, true), &[1], &map);
        assert!(!protection.is_due(), "nothing is made");
        protection.follow(Micros(1), 26, FAR);
        let mut due = |index: u8, marker| {
            protection.add(u64::from(index), &header(index, marker), &[1], &map);
            let due = protection.is_due();
            if due {
                let mut out = [0; 100];
                let len = protection.write(1, &mut out).unwrap();
                let fec = ion_wire::flexfec::FlexFec::parse(&out[..len]).unwrap();
                return fec.sequences().collect::<Vec<_>>();
            }
            Vec::new()
        };
        let all: Vec<_> = [
            (1, false),
            (2, false),
            (3, false),
            (4, true),
            (5, true),
            (6, false),
            (5, false),
            (4, false),
            (8, true),
        ]
        .into_iter()
        .map(|(index, marker)| due(index, marker))
        .filter(|sequences| !sequences.is_empty())
        .collect();
        assert_eq!(all, [vec![1, 2, 3], vec![4, 5], vec![6, 8]]);
        assert!(due(9, false).is_empty() && due(100, true).is_empty());
        assert_eq!(
            due(101, true),
            [100, 101],
            "what is too far off begins anew"
        );
    }

    #[test]
    fn small_pictures_share_a_repair_packet() {
        let mut protection = Protection::new(1);
        protection.follow(Micros(1), FEC_LEAST_LOSS, FAR);
        assert_eq!(made(&mut protection, 0..2), [[0; 0]; 0]);
        assert_eq!(made(&mut protection, 2..4), [[0; 0]; 0]);
        assert_eq!(made(&mut protection, 4..6), [[0, 1, 2, 3, 4, 5]]);
        let ten: Vec<u16> = (6..16).collect();
        assert_eq!(made(&mut protection, 6..18), [ten]);
    }

    /// All that is made of packets with these indices, the last of which ends a picture.
    fn made(protection: &mut Protection, indices: std::ops::Range<u8>) -> Vec<Vec<u16>> {
        let (mut made, last) = (Vec::new(), indices.end - 1);
        for index in indices {
            let pt = if index == last { 0xe0 } else { 0x60 };
            let header = [0x80, pt, 0, index, 0, 0, 0, 9, 0, 0, 0, 1];
            protection.add(u64::from(index), &header, &[1], &ExtensionMap::default());
            while protection.is_due() {
                let mut out = [0; 100];
                let len = protection.write(1, &mut out).unwrap();
                let fec = ion_wire::flexfec::FlexFec::parse(&out[..len]).unwrap();
                made.push(fec.sequences().collect());
            }
        }
        made
    }

    #[test]
    fn neighbours_that_are_lost_together_are_protected_apart() {
        let mut protection = Protection::new(1);
        protection.follow(Micros(1), 26, FAR);
        let lose = |protection: &mut Protection, in_row: u64| {
            for index in 0..u64::from(FEC_BURST_LOSSES) {
                protection.lost(index / in_row * 10 + index % in_row);
            }
        };
        lose(&mut protection, 1);
        assert_eq!(made(&mut protection, 0..6), [vec![0, 1, 2], vec![3, 4, 5]]);
        lose(&mut protection, 2);
        assert_eq!(
            made(&mut protection, 10..17),
            [vec![10, 12, 14], vec![11, 13, 15]]
        );
        assert_eq!(made(&mut protection, 17..19), [vec![16, 18]]);
        lose(&mut protection, 1);
        assert_eq!(made(&mut protection, 20..23), [vec![20, 21, 22]]);
    }
}
