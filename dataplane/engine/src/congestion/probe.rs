use super::PacketReport;
use super::delay::{DelayDetector, Signal, micros_f64};
use crate::time::Micros;

/// A probe is this long, microseconds, ...
const LEAST_US: f64 = 20_000.0;
/// ... at most this long where the delay wavers, ...
const MOST_US: f64 = 60_000.0;
/// ... and has at least so many bytes: five packets.
const LEAST_BYTES: f64 = 6_000.0;
/// Most bytes of one probe.
const MOST_BYTES: f64 = 100_000.0;
/// Least and most time between two probes, microseconds.
const INTERVAL_US: (u64, u64) = (1_500_000, 3_000_000);
/// A probe is given up when nothing more is heard of it for this long, microseconds.
const GIVE_UP_US: u64 = 1_000_000;
/// A rehearsal is this long, microseconds: what a bucket of tokens or a radio's buffer lets through at once is used up
/// by then, ...
const REHEARSAL_US: f64 = 300_000.0;
/// ... has so many bytes at most, ...
const REHEARSAL_BYTES: f64 = 250_000.0;
/// ... a rate so much above what is rehearsed, which wavers, ...
const REHEARSAL_MORE: f64 = 1.05;
/// ... of which this share must arrive in time.
const REHEARSED: f64 = 0.9;
/// Least and most time between two rehearsals, microseconds: twice as long after each that failed.
const REHEARSE_AGAIN_US: (u64, u64) = (2_000_000, 32_000_000);
/// Odd, with bits all over.
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
/// What must arrive of the rate it was sent with, for the path to carry it.
const CARRIED: f64 = 0.85;

/// The last of its packets, ...
const LAST: usize = 3;
/// ... of which the fastest may have waited this share of its length, ...
const QUEUED: f64 = 0.4;
/// ... or this, microseconds.
const QUEUED_LEAST_US: f64 = 8_000.0;

/// A burst to send at a rate above the target: of media that waits, then of
/// retransmissions of what was sent, then of padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Which one; reports on its packets carry it.
    pub id: u8,
    /// Bits per second to send it with.
    pub rate_bps: u64,
    /// UDP payload bytes in all.
    pub bytes: u32,
}

/// What a probe has shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Shown {
    /// The path carries at least this, bits per second.
    AtLeast(f64),
    /// It carries this and no more.
    Limit(f64),
    /// It carries this for long.
    Lasting(f64),
}

/// What is wanted of the path, bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// What it would be of use for it to carry: nobody probes for more.
    pub most_bps: u64,
    /// What has to be carried for long for a higher layer to be sent; 0 is none.
    pub next_bps: u64,
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    probe: Probe,
    rehearsal: bool,
    started: Micros,
    first: Option<i64>,
    last: i64,
    /// Delays of the last packets.
    delays: [i64; LAST],
    /// Bytes that arrived after the first packet.
    bytes: u32,
    heard: u32,
    lost: u32,
    heard_at: Micros,
}

/// Decides when to probe, and judges what comes back.
#[derive(Debug, Clone)]
pub(crate) struct Prober {
    flight: Option<Flight>,
    next_id: u8,
    next_at: Micros,
    interval_us: u64,
    rehearse_at: Micros,
    rehearse_again_us: u64,
    /// How many times the target to probe for.
    factor: f64,
    /// Of the times that packets carry, in which chance has its part.
    chance: u64,
}

impl Prober {
    pub(crate) fn new() -> Self {
        Self {
            flight: None,
            next_id: 0,
            next_at: Micros(0),
            interval_us: INTERVAL_US.0,
            rehearse_at: Micros(0),
            rehearse_again_us: REHEARSE_AGAIN_US.0,
            // At the start nothing is known.
            factor: 3.0,
            chance: 0,
        }
    }

    /// A probe for more than the target, if one is due, or else a rehearsal of what is wanted next and not `lasting`.
    pub(crate) fn next(
        &mut self,
        now: Micros,
        (target, lasting): (f64, f64),
        (most, next): (f64, f64),
        noise_us: f64,
    ) -> Option<Probe> {
        if self.flight.is_some() {
            return None;
        }
        if now >= self.next_at && most > 1.02 * target {
            let rate = (self.factor * target).min(1.1 * most).max(1.1 * target);
            let long_us = (2.0 * noise_us).clamp(LEAST_US, MOST_US);
            let bytes = (rate * long_us / 8e6).clamp(LEAST_BYTES, MOST_BYTES);
            return Some(self.start(now, rate, bytes, false));
        }
        if now >= self.rehearse_at && lasting < next && next <= target {
            let rate = REHEARSAL_MORE * next;
            let bytes = (rate * REHEARSAL_US / 8e6).clamp(LEAST_BYTES, REHEARSAL_BYTES);
            return Some(self.start(now, rate, bytes, true));
        }
        None
    }

    fn start(&mut self, now: Micros, rate: f64, bytes: f64, rehearsal: bool) -> Probe {
        self.next_id = self.next_id.wrapping_add(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and bounded above"
        )]
        let probe = Probe {
            id: self.next_id,
            rate_bps: rate as u64,
            bytes: bytes as u32,
        };
        self.flight = Some(Flight {
            probe,
            rehearsal,
            started: now,
            first: None,
            last: 0,
            delays: [i64::MAX; LAST],
            bytes: 0,
            heard: 0,
            lost: 0,
            heard_at: now,
        });
        probe
    }

    /// Whether a probe is under way, and has not been given up.
    pub(crate) fn is_probing(&self) -> bool {
        self.flight.is_some()
    }

    pub(crate) fn add(&mut self, now: Micros, packet: &PacketReport) {
        let Some(flight) = &mut self.flight else {
            return;
        };
        if packet.probe != Some(flight.probe.id) {
            return;
        }
        flight.heard_at = now;
        flight.heard += u32::from(packet.bytes);
        if let Some(arrived) = packet.arrived {
            self.chance = (self.chance ^ arrived.cast_unsigned()).wrapping_mul(MIX);
            flight.delays.rotate_left(1);
            flight.delays[LAST - 1] = arrived.saturating_sub(packet.sent.0.cast_signed());
        }
        match (packet.arrived, flight.first) {
            (None, _) => flight.lost += u32::from(packet.bytes),
            (Some(at), None) => (flight.first, flight.last) = (Some(at), at),
            (Some(at), Some(_)) => {
                flight.bytes += u32::from(packet.bytes);
                flight.last = flight.last.max(at);
            }
        }
    }

    /// What the probe under way has shown, when all of it has been heard of.
    pub(crate) fn judge(&mut self, now: Micros, delay: &DelayDetector) -> Option<Shown> {
        let flight = self.flight?;
        let done = flight.heard >= flight.probe.bytes * 9 / 10;
        if !done && now.since(flight.heard_at.max(flight.started)) < GIVE_UP_US {
            return None;
        }
        let span = flight.first.map_or(0, |first| flight.last - first);
        let enough = flight.heard >= flight.probe.bytes / 2 && flight.bytes > 0;
        if !enough || flight.lost * 4 > flight.heard {
            self.failed(now);
            return None;
        }
        let sent = micros_f64(flight.probe.rate_bps.cast_signed());
        let span = micros_f64(span.max(1));
        let carried = f64::from(flight.bytes) * 8e6 / span;
        if flight.rehearsal {
            if carried < REHEARSED * sent || delay.signal() != Signal::Empty {
                self.failed(now);
                return Some(Shown::Limit(carried.min(sent)));
            }
            self.flight = None;
            self.rehearse_again_us = REHEARSE_AGAIN_US.0;
            return Some(Shown::Lasting(sent));
        }
        // Jitter shortens the span now and then; what the last packets waited it only lengthens.
        let long = f64::from(flight.probe.bytes) * 8e12 / sent / 1e6;
        let least = flight.delays.iter().min().copied().unwrap_or(i64::MAX);
        let queued = delay.waited_us(least) > (QUEUED * long).max(QUEUED_LEAST_US);
        if carried >= CARRIED * sent && !queued {
            self.flight = None;
            self.interval_us = INTERVAL_US.0;
            // What was found may not be all there is.
            self.next_at = now;
            self.factor = 2.0;
            Some(Shown::AtLeast(sent.min(carried)))
        } else {
            self.failed(now);
            Some(Shown::Limit(carried))
        }
    }

    /// The probe under way has not shown what it was sent for.
    fn failed(&mut self, now: Micros) {
        if !self.drop_rehearsal(now) {
            self.next_at = now + self.wavering(self.interval_us);
            self.interval_us = (self.interval_us * 3 / 2).min(INTERVAL_US.1);
            self.factor = 1.5;
        }
    }

    /// Ends the probe under way. If it was a rehearsal, the next is longer off; returns whether.
    fn drop_rehearsal(&mut self, now: Micros) -> bool {
        let rehearsal = self.flight.take().is_some_and(|flight| flight.rehearsal);
        if rehearsal {
            self.rehearse_at = now + self.wavering(self.rehearse_again_us);
            self.rehearse_again_us = (self.rehearse_again_us * 2).min(REHEARSE_AGAIN_US.1);
        }
        rehearsal
    }

    /// From three quarters of a time to half as much again: many who were congested together
    /// must not probe together, and each find what only one can have.
    fn wavering(&self, us: u64) -> u64 {
        us * 3 / 4 + us * (self.chance >> 54) * 3 / 4 / 1_024
    }

    /// The path is congested: no probe for a while.
    pub(crate) fn postpone(&mut self, now: Micros) {
        self.drop_rehearsal(now);
        let least = now + self.wavering(INTERVAL_US.0);
        self.next_at = self.next_at.max(least);
        self.rehearse_at = self.rehearse_at.max(least);
        self.factor = 1.5;
    }
}
