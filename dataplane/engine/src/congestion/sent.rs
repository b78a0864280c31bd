use super::{Ecn, PacketReport};
use crate::arrived::{Extra, Extras};
use crate::limits::{CCFB_STREAMS, SENT_PACKETS, SENT_TOO_OLD_US};
use crate::time::Micros;
use crate::transport::StreamKind;
use ion_tables::RowLink;
use ion_wire::rtcp::ccfb::{self, Ccfb};
use ion_wire::rtcp::twcc::{REFERENCE_US, Twcc};
use ion_wire::seq;

const SLOTS: usize = SENT_PACKETS;
const SPAN: u64 = SENT_PACKETS as u64;
/// Of `bytes`: it has been reported on.
const HEARD: u16 = 1 << 15;
/// Of `bytes`: it belongs to the newest probe.
const PROBE: u16 = 1 << 14;
/// Of `bytes`: it is in `extras`.
const EXTRA: u16 = 1 << 13;
const BYTES: u16 = EXTRA - 1;
/// What a worker's turn takes at most, microseconds.
const TURN_US: u32 = 10_000_000;

/// Why a feedback message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It reports on packets that were never sent.
    NeverSent,
    /// All that it reports on is forgotten, or was reported before.
    Stale,
}

/// Packets sent to a viewer that feedback may still come for: when, and how long. Six
/// bytes each, in a ring; for RFC 8888, which has no number of its own for all streams
/// together, eight more.
pub struct SentPackets {
    /// When, microseconds modulo 2^32.
    times: Box<[u32; SLOTS]>,
    bytes: Box<[u16; SLOTS]>,
    /// SSRC and sequence number, where feedback is by these.
    streams: Option<Box<[(u32, u16); SLOTS]>>,
    /// Next transport-wide number; those below it are sent.
    next: u64,
    /// All below this one have been heard of, or are forgotten.
    unheard: u64,
    probe: u8,
    /// Marked ECT(1) as they were sent.
    ecn: Ecn,
    clock: RemoteClock,
    extras: Extras,
}

/// The receiver's clock, in as many bits as its messages have, unwrapped.
#[derive(Debug, Clone, Copy, Default)]
struct RemoteClock {
    last: Option<(u32, i64)>,
}

impl RemoteClock {
    /// Ticks since some point, for a count of `bits` bits.
    fn unwrap(&mut self, ticks: u32, bits: u32) -> i64 {
        let (last, total) = self.last.unwrap_or((ticks, i64::from(ticks)));
        let shift = 32 - bits;
        let moved = (ticks.wrapping_sub(last) << shift).cast_signed() >> shift;
        let now = total.saturating_add(i64::from(moved));
        self.last = Some((ticks, now));
        now
    }
}

fn boxed<T: Copy>(value: T) -> Box<[T; SLOTS]> {
    vec![value; SLOTS]
        .into_boxed_slice()
        .try_into()
        .unwrap_or_else(|_| Box::new([value; SLOTS]))
}

#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 by intention")]
fn low32(value: u64) -> u32 {
    value as u32
}

fn slot(number: u64) -> usize {
    (number % SPAN) as usize
}

impl SentPackets {
    /// Nothing sent yet; the first number will be `next`. `by_stream` for feedback by RFC 8888;
    /// `ecn` is what packets are sent with.
    pub fn new(next: u64, by_stream: bool, ecn: Ecn) -> Self {
        Self {
            times: boxed(0),
            bytes: boxed(HEARD),
            streams: by_stream.then(|| boxed((0, 0))),
            next,
            unheard: next,
            probe: 0,
            ecn,
            clock: RemoteClock::default(),
            extras: Extras::new(),
        }
    }

    /// A packet goes out with the next transport-wide number: how many bytes, whether as part
    /// of the newest probe.
    pub fn sent(&mut self, now: Micros, bytes: usize, probe: bool, stream: (u32, u16)) {
        let at = slot(self.next);
        let bytes = u16::try_from(bytes).unwrap_or(BYTES).min(BYTES);
        self.times[at] = low32(now.0);
        self.bytes[at] = bytes | if probe { PROBE } else { 0 };
        if let Some(streams) = &mut self.streams {
            streams[at] = stream;
        }
        self.next += 1;
        self.unheard = self.unheard.max(self.next.saturating_sub(SPAN));
    }

    /// The packet sent last is one beside the media, whose arrival counts.
    pub(crate) fn was_extra(&mut self, subscription: RowLink, kind: StreamKind) {
        let Some(last) = self.next.checked_sub(1) else {
            return;
        };
        self.bytes[slot(last)] |= EXTRA;
        self.extras.sent(Extra {
            number: low32(last),
            subscription,
            kind,
        });
    }

    /// Takes one of those that has arrived.
    pub(crate) fn take_extra(&mut self) -> Option<Extra> {
        self.extras.take()
    }

    /// Numbers below `number` that were not sent with are passed over.
    pub fn skip_to(&mut self, number: u64) {
        // More than the ring holds is none at all.
        self.next = self.next.max(number.saturating_sub(SPAN).min(number));
        while self.next < number {
            self.bytes[slot(self.next)] = HEARD;
            self.next += 1;
        }
    }

    /// Whether feedback is by SSRC and sequence number.
    pub fn is_by_stream(&self) -> bool {
        self.streams.is_some()
    }

    /// Next transport-wide number.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The probe that packets marked so belong to from now on.
    pub fn set_probe(&mut self, probe: u8) {
        self.probe = probe;
        // Those of the one before count as its, whatever comes late.
        for bytes in self.bytes.iter_mut() {
            *bytes &= !PROBE;
        }
    }

    /// When the oldest packet was sent that nothing has been heard of.
    pub fn unheard_since(&self, now: Micros) -> Option<Micros> {
        (self.unheard < self.next).then(|| self.time(slot(self.unheard), now))
    }

    /// Our time of a slot, which is not in the future: who was sent something late in a turn
    /// (`Output::time`) may be asked after by the time at which that turn began.
    fn time(&self, at: usize, now: Micros) -> Micros {
        let ago = low32(now.0).wrapping_sub(self.times[at]);
        now - u64::from(if ago > u32::MAX - TURN_US { 0 } else { ago })
    }

    /// Reads a transport-wide feedback message into `out`, in the order of sending. What
    /// does not fit is left out.
    ///
    /// # Errors
    /// See [`Refused`]; then nothing is changed.
    pub fn twcc(
        &mut self,
        now: Micros,
        feedback: &Twcc<'_>,
        out: &mut Vec<PacketReport>,
    ) -> Result<(), Refused> {
        let last = feedback
            .base_sequence
            .wrapping_add(feedback.status_count - 1);
        // Whatever is reported was sent: its end is not beyond what was.
        let newest = self.next.checked_sub(1).ok_or(Refused::NeverSent)?;
        let end = seq::extend(last, newest);
        let first = end
            .checked_sub(u64::from(feedback.status_count - 1))
            .ok_or(Refused::NeverSent)?;
        if end > newest {
            return Err(Refused::NeverSent);
        }
        if end + SPAN < self.next {
            return Err(Refused::Stale);
        }
        let reference = self.clock.unwrap(feedback.reference_time, 24);
        let reference_us = reference.saturating_mul(REFERENCE_US.cast_signed());
        let before = out.len();
        for (number, (_, arrival)) in (first..).zip(feedback.arrivals_us()) {
            let arrived = arrival.map(|us| reference_us.saturating_add(us));
            self.report(now, number, arrived, self.ecn, out);
        }
        self.settle(end);
        (out.len() > before).then_some(()).ok_or(Refused::Stale)
    }

    /// Reads a message of RFC 8888 into `out`, in the order of sending. Work is bounded by the
    /// message and the ring: each stream costs one walk over what is unheard of.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn ccfb(
        &mut self,
        now: Micros,
        feedback: &Ccfb<'_>,
        arrivals: &mut [Option<ccfb::Arrival>; SENT_PACKETS],
        out: &mut Vec<PacketReport>,
    ) -> Result<(), Refused> {
        let Some(streams) = &self.streams else {
            return Err(Refused::NeverSent);
        };
        let low = self.next.saturating_sub(SPAN);
        // As far as something is reported, what has not arrived is lost or late.
        let (mut known, mut end) = (false, 0);
        arrivals.fill(None);
        let mut covered = [0_u64; SLOTS / 64];
        for stream in feedback.streams().take(CCFB_STREAMS) {
            for number in low..self.next {
                let at = slot(number);
                let (ssrc, sequence) = streams[at];
                if ssrc != stream.ssrc {
                    continue;
                }
                let Some(arrival) = stream.report(sequence) else {
                    continue;
                };
                known = true;
                end = end.max(number);
                arrivals[at] = arrival;
                covered[at / 64] |= 1 << (at % 64);
            }
        }
        if !known {
            return Err(Refused::NeverSent);
        }
        let ticks = self.clock.unwrap(feedback.report_time, 32);
        // 16.16 seconds to microseconds.
        let report_us = ticks.saturating_mul(15_625) / 1_024;
        let before = out.len();
        for number in low..=end {
            let at = slot(number);
            if covered[at / 64] & 1 << (at % 64) == 0 {
                continue;
            }
            let (arrived, ecn) = match arrivals[at] {
                // An arrival without a time says only that it is not lost.
                Some(ccfb::Arrival { before: None, .. }) => continue,
                Some(ccfb::Arrival { before, ecn }) => {
                    let ticks = i64::from(before.unwrap_or_default());
                    (Some(report_us.saturating_sub(ticks * 15_625 / 16)), ecn)
                }
                None => (None, self.ecn),
            };
            self.report(now, number, arrived, ecn, out);
        }
        self.settle(end);
        (out.len() > before).then_some(()).ok_or(Refused::Stale)
    }

    fn report(
        &mut self,
        now: Micros,
        number: u64,
        arrived: Option<i64>,
        ecn: Ecn,
        out: &mut Vec<PacketReport>,
    ) {
        if number >= self.next || number + SPAN < self.next || out.len() == out.capacity() {
            return;
        }
        let at = slot(number);
        let bytes = self.bytes[at];
        let sent = self.time(at, now);
        if bytes & HEARD != 0 || now.since(sent) > SENT_TOO_OLD_US {
            return;
        }
        self.bytes[at] |= HEARD;
        if bytes & EXTRA != 0 {
            self.extras.heard(low32(number), arrived.is_some());
        }
        out.push(PacketReport {
            sent,
            arrived,
            bytes: bytes & BYTES,
            ecn,
            probe: (bytes & PROBE != 0).then_some(self.probe),
        });
    }

    /// All up to `end` has been heard of.
    fn settle(&mut self, end: u64) {
        self.unheard = self.unheard.max(end + 1).min(self.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ion_wire::rtcp::twcc::{self, TwccHeader};
    use ion_wire::rtcp::{Compound, Packet, Rtpfb, build};

    fn at(us: u64) -> Micros {
        Micros(us)
    }

    fn sent(from: u64, count: u64, by_stream: bool) -> SentPackets {
        let mut sent = SentPackets::new(from, by_stream, Ecn::NotEct);
        for number in from..from + count {
            let sequence = (number & 0xffff) as u16;
            sent.sent(at(number * 1_000), 1_000, number % 2 == 1, (7, sequence));
        }
        sent
    }

    fn twcc(base: u16, arrivals: &[Option<u64>]) -> Vec<u8> {
        let header = TwccHeader {
            sender_ssrc: 1,
            media_ssrc: 2,
            base_sequence: base,
            feedback_count: 0,
        };
        let mut buffer = vec![0; 1_200];
        let written = twcc::write(&mut buffer, &header, arrivals).unwrap();
        assert_eq!(written.statuses, arrivals.len());
        buffer.truncate(written.len);
        buffer
    }

    fn read(
        sent: &mut SentPackets,
        now: u64,
        message: &[u8],
    ) -> Result<Vec<PacketReport>, Refused> {
        let mut out = Vec::with_capacity(SENT_PACKETS);
        let mut arrivals = [None; SENT_PACKETS];
        match Compound::iter(message).next() {
            Some(Ok(Packet::Rtpfb(Rtpfb::Twcc(twcc)))) => sent.twcc(at(now), &twcc, &mut out),
            Some(Ok(Packet::Rtpfb(Rtpfb::Ccfb(ccfb)))) => {
                sent.ccfb(at(now), &ccfb, &mut arrivals, &mut out)
            }
            other => panic!("{other:?}"),
        }
        .map(|()| out)
    }

    #[test]
    fn reports_are_of_what_was_sent_over_the_wrap_and_once_only() {
        let mut sent = sent(65_530, 12, false);
        let message = twcc(65_534, &[Some(9_000_000), None, Some(9_010_000)]);
        let reports = read(&mut sent, 65_600_000, &message).unwrap();
        let seen: Vec<_> = reports.iter().map(|r| (r.sent.0, r.arrived)).collect();
        let first = reports[0].arrived.unwrap();
        assert_eq!(
            seen,
            [
                (65_534_000, Some(first)),
                (65_535_000, None),
                (65_536_000, Some(first + 10_000)),
            ]
        );
        assert_eq!(reports[1].probe, Some(0));
        assert_eq!(sent.unheard_since(at(65_600_000)), Some(at(65_537_000)));
        assert_eq!(read(&mut sent, 65_600_000, &message), Err(Refused::Stale));
    }

    #[test]
    fn what_was_never_sent_or_is_forgotten_is_refused() {
        let mut sent = sent(0, 700, false);
        for base in [700, 699, 30_000, 65_000] {
            let message = twcc(base, &[Some(5), Some(6)]);
            let refused = read(&mut sent, 800_000, &message);
            assert_eq!(refused, Err(Refused::NeverSent), "{base}");
        }
        let forgotten = twcc(0, &[Some(5); 100]);
        assert_eq!(read(&mut sent, 800_000, &forgotten), Err(Refused::Stale));
        let mut none = SentPackets::new(0, false, Ecn::NotEct);
        let message = twcc(0, &[Some(5)]);
        assert_eq!(read(&mut none, 1, &message), Err(Refused::NeverSent));
    }

    #[test]
    fn the_receivers_clock_may_wrap() {
        let mut sent = sent(0, 100, false);
        // 24 bits of 64 ms.
        let wrap = (1 << 24) * twcc::REFERENCE_US;
        let before = read(&mut sent, 200_000, &twcc(0, &[Some(wrap - 1_000)])).unwrap();
        let after = read(&mut sent, 200_000, &twcc(1, &[Some(wrap + 3_000)])).unwrap();
        let step = after[0].arrived.unwrap() - before[0].arrived.unwrap();
        assert_eq!(step, 4_000);
    }

    #[test]
    fn what_was_sent_later_than_the_turn_began_was_sent_just_now() {
        let mut sent = SentPackets::new(0, false, Ecn::NotEct);
        sent.sent(at(1_003_000), 1_000, false, (7, 0));
        assert_eq!(sent.unheard_since(at(1_000_000)), Some(at(1_000_000)));
        assert_eq!(sent.unheard_since(at(1_004_000)), Some(at(1_003_000)));
    }

    #[test]
    fn a_clock_that_leaps_again_and_again_comes_to_no_end() {
        let report = |sent: &mut SentPackets, time| {
            let arrivals = [Some(ccfb::Arrival {
                ecn: Ecn::NotEct,
                before: Some(8_000),
            })];
            let stream = ccfb::StreamReport {
                ssrc: 7,
                begin_sequence: 0,
                arrivals: &arrivals,
            };
            let mut buffer = vec![0; 200];
            let len = build::ccfb(&mut buffer, 1, time, &[stream]).unwrap();
            read(sent, 50_000, &buffer[..len])
        };
        for (ticks, total) in [(0, i64::MAX - 5), (1 << 31, i64::MIN + 5)] {
            let mut by_stream = sent(0, 1, true);
            by_stream.clock.last = Some((ticks, total));
            assert!(report(&mut by_stream, ticks.wrapping_add(1 << 30)).is_ok());
            let mut by_number = sent(0, 1, false);
            by_number.clock.last = Some((ticks >> 8, total));
            assert!(read(&mut by_number, 50_000, &twcc(0, &[Some(1 << 40)])).is_ok());
        }
    }

    #[test]
    fn streams_of_rfc_8888_are_put_in_the_order_of_sending() {
        let mut sent = SentPackets::new(0, true, Ecn::Ect1);
        for number in 0..6_u16 {
            let stream = (u32::from(number % 2) + 7, 100 + number / 2);
            sent.sent(at(u64::from(number) * 1_000), 500, false, stream);
        }
        let arrival = |ecn, before| {
            Some(ccfb::Arrival {
                ecn,
                before: Some(before),
            })
        };
        let streams = [
            ccfb::StreamReport {
                ssrc: 8,
                begin_sequence: 100,
                arrivals: &[arrival(Ecn::Ce, 512), arrival(Ecn::Ect1, 256)],
            },
            ccfb::StreamReport {
                ssrc: 7,
                begin_sequence: 100,
                arrivals: &[arrival(Ecn::Ect1, 1_024), None],
            },
        ];
        let mut buffer = vec![0; 200];
        let len = build::ccfb(&mut buffer, 1, 10 << 16, &streams).unwrap();
        let reports = read(&mut sent, 50_000, &buffer[..len]).unwrap();
        let seen: Vec<_> = reports
            .iter()
            .map(|r| (r.sent.0, r.arrived, r.ecn))
            .collect();
        assert_eq!(
            seen,
            [
                (0, Some(9_000_000), Ecn::Ect1),
                (1_000, Some(9_500_000), Ecn::Ce),
                (2_000, None, Ecn::Ect1),
                (3_000, Some(9_750_000), Ecn::Ect1),
            ]
        );
        let strange = [ccfb::StreamReport {
            ssrc: 99,
            ..streams[0]
        }];
        let len = build::ccfb(&mut buffer, 1, 0, &strange).unwrap();
        let refused = read(&mut sent, 50_000, &buffer[..len]);
        assert_eq!(refused, Err(Refused::NeverSent));
    }
}
