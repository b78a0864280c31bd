use super::PacketReport;
use super::delay::{DelayDetector, micros_f64};
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
const INTERVAL_US: (u64, u64) = (1_500_000, 4_000_000);
/// A probe is given up when nothing more is heard of it for this long, microseconds.
const GIVE_UP_US: u64 = 1_000_000;
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
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    probe: Probe,
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
            // At the start nothing is known.
            factor: 3.0,
            chance: 0,
        }
    }

    /// A probe, if one is due and `wanted_bps` is above the target.
    pub(crate) fn next(
        &mut self,
        now: Micros,
        target: f64,
        wanted: f64,
        noise_us: f64,
    ) -> Option<Probe> {
        if self.flight.is_some() || now < self.next_at || wanted <= 1.02 * target {
            return None;
        }
        let rate = (self.factor * target).min(1.1 * wanted).max(1.1 * target);
        let long_us = (2.0 * noise_us).clamp(LEAST_US, MOST_US);
        let bytes = (rate * long_us / 8e6).clamp(LEAST_BYTES, MOST_BYTES);
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
            started: now,
            first: None,
            last: 0,
            delays: [i64::MAX; LAST],
            bytes: 0,
            heard: 0,
            lost: 0,
            heard_at: now,
        });
        Some(probe)
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
        self.flight = None;
        let span = flight.first.map_or(0, |first| flight.last - first);
        let enough = flight.heard >= flight.probe.bytes / 2 && flight.bytes > 0;
        if !enough || flight.lost * 4 > flight.heard {
            self.failed(now);
            return None;
        }
        let sent = micros_f64(flight.probe.rate_bps.cast_signed());
        let span = micros_f64(span.max(1));
        let carried = f64::from(flight.bytes) * 8e6 / span;
        // Jitter shortens the span now and then; what the last packets waited it only lengthens.
        let long = f64::from(flight.probe.bytes) * 8e12 / sent / 1e6;
        let least = flight.delays.iter().min().copied().unwrap_or(i64::MAX);
        let queued = delay.waited_us(least) > (QUEUED * long).max(QUEUED_LEAST_US);
        if carried >= CARRIED * sent && !queued {
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

    fn failed(&mut self, now: Micros) {
        self.next_at = now + self.wavering(self.interval_us);
        self.interval_us = (self.interval_us * 3 / 2).min(INTERVAL_US.1);
        self.factor = 1.5;
    }

    /// From three quarters of a time to half as much again: many who were congested together
    /// must not probe together, and each find what only one can have.
    fn wavering(&self, us: u64) -> u64 {
        us * 3 / 4 + us * (self.chance >> 54) * 3 / 4 / 1_024
    }

    /// The path is congested: no probe for a while.
    pub(crate) fn postpone(&mut self, now: Micros) {
        self.flight = None;
        self.next_at = self.next_at.max(now + self.wavering(INTERVAL_US.0));
        self.factor = 1.5;
    }
}
