//! Repair packets (FlexFEC-03) for viewers that a retransmission would reach too late.

use crate::fanout::Tally;
use crate::limits::{
    FEC_HOLD_US, FEC_LEAST_LOSS, FEC_LEAST_RTT_US, FEC_LOSS_PER_SPAN, FEC_SPAN, PACKET_BYTES,
};
use crate::output::Output;
use crate::packet::ExtensionSpans;
use crate::peer::PeerMessage;
use crate::repair::leave_out_mutable;
use crate::seal::{Header, has_room, low16, seal_made};
use crate::subscription::Subscriber;
use crate::time::Micros;
use crate::transport::Transport;
use ion_tables::{
    DropReason, ExtensionMap, Subscription as SubscriptionRow, SubscriptionConfig, WorkerTables,
};
use ion_wire::flexfec::Parity;
use ion_wire::rtp::{HeaderFields, RtpHeader};

/// Numbers that one repair packet may span: those of a mask in two parts. More packets than that are never protected, but
/// some between them may be missing.
const MASK_SPAN: u64 = 46;

/// The repair packet in the making for one viewer: it protects the packets as they are sent to that viewer.
pub(crate) struct Protection {
    /// Next index of the SSRC of repair packets, never used.
    pub(crate) next: u64,
    /// Packets that one repair packet protects; 0 is none are made.
    span: u64,
    /// When loss last asked for so much.
    asked: Micros,
    parity: Parity<Box<[u8]>>,
    /// Index of the first packet in it, and which others are.
    base: u64,
    mask: u128,
    /// RTP timestamp of the newest.
    timestamp: u32,
    due: bool,
}

impl Protection {
    pub(crate) fn new(next: u64) -> Self {
        Self {
            next,
            span: 0,
            asked: Micros(0),
            parity: Parity::new(vec![0; PACKET_BYTES].into_boxed_slice()),
            base: 0,
            mask: 0,
            timestamp: 0,
            due: false,
        }
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

    /// Nothing is made until loss asks for it again.
    pub(crate) fn stop(&mut self) {
        self.span = 0;
        self.clear();
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

    /// Whether the repair packet is to be sent.
    pub(crate) fn is_due(&self) -> bool {
        self.due
    }

    /// Protects a packet that is being sent; `header` and `payload` are what the viewer will see.
    pub(crate) fn add(&mut self, index: u64, header: &[u8], payload: &[u8], map: &ExtensionMap) {
        if !self.is_on() {
            return;
        }
        let place = index.checked_sub(self.base).filter(|&at| at < MASK_SPAN);
        if self.mask == 0 || (place.is_none() && index > self.base) {
            self.clear();
            self.base = index;
        } else if place.is_none() {
            // Late: the repair packet for its neighbours is gone.
            return;
        }
        let bit = 1_u128 << (index - self.base);
        let Ok(fields) = RtpHeader::parse(header) else {
            return;
        };
        if self.mask & bit != 0 || self.parity.add(header, payload).is_err() {
            return;
        }
        if let Some(extensions) = ExtensionSpans::of(&fields, header, map) {
            leave_out_mutable(&mut self.parity, &extensions, header);
        }
        self.mask |= bit;
        self.timestamp = fields.timestamp;
        let count = u64::from(self.mask.count_ones());
        // A picture is not kept waiting for the next, unless it leaves one packet over.
        self.due = count >= self.span || (fields.marker && count > 1);
    }

    /// Writes the payload of the repair packet for what was sent under an SSRC, and begins the next.
    pub(crate) fn write(&mut self, ssrc: u32, out: &mut [u8]) -> Result<usize, DropReason> {
        let written = self.parity.write(out, ssrc, low16(self.base), self.mask);
        self.clear();
        written.map_err(|_| DropReason::TooLarge)
    }

    fn clear(&mut self) {
        self.parity.clear();
        (self.mask, self.due) = (0, false);
    }
}

/// Sends the repair packet that is due: on its own SSRC, under an index never used. Returns the datagram's length, or 0
/// if nothing was sent.
pub(crate) fn send_repair<O: Output<Message = PeerMessage>>(
    tables: &WorkerTables,
    transport: &mut Transport,
    subscriber: &mut Subscriber,
    tally: &mut Tally,
    now: Micros,
    out: &mut O,
) -> usize {
    let SubscriptionConfig {
        ssrc,
        fec_ssrc,
        fec_payload_type,
        ..
    } = subscriber.config;
    let Some(protection) = subscriber.protection.as_deref_mut() else {
        return 0;
    };
    let (index, timestamp) = (protection.next, protection.timestamp);
    protection.next += 1;
    // The state says that the index is used before anything can be sent with it.
    tables.store::<SubscriptionRow>(subscriber.link.row, subscriber.snapshot());
    if !has_room(out) {
        out.transmit();
    }
    let fields = HeaderFields {
        marker: false,
        payload_type: fec_payload_type,
        sequence: low16(index),
        timestamp,
        ssrc: fec_ssrc,
    };
    let header = Header::beside(subscriber, fields);
    let Some(protection) = subscriber.protection.as_deref_mut() else {
        return 0;
    };
    let mut payload = 0;
    let sent = seal_made(transport, &header, None, index, now, out, |body| {
        payload = protection.write(ssrc, body)?;
        Ok(payload)
    });
    match sent {
        Ok(bytes) => {
            tally.repairs += 1;
            tally.repair_payload += payload as u64;
            tally.bytes += bytes as u64;
            bytes
        }
        Err(reason) => {
            protection.clear();
            tables.counters().drop_packets(reason, 1);
            0
        }
    }
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
}
