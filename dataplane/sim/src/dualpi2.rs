//! The dual-queue coupled AQM of RFC 9332, with its defaults (appendix A).

use crate::link::Packet;
use crate::random::Random;
use ion_engine::Micros;
use ion_engine::congestion::Ecn;
use std::collections::VecDeque;

/// Queueing delay that the classic queue is held to, seconds.
const TARGET_S: f64 = 0.015;
/// How often the probability is renewed, microseconds.
const UPDATE_US: u64 = 16_000;
/// Gains, hertz.
const ALPHA: f64 = 0.16;
const BETA: f64 = 3.2;
/// Coupling between the two queues.
const COUPLING: f64 = 2.0;
/// The low latency queue marks from here, microseconds, ...
const RAMP_FROM_US: f64 = 800.0;
/// ... always when this much longer, ...
const RAMP_US: f64 = 400.0;
/// ... but never the last that waits.
const EXEMPT_BYTES: u64 = 1_500;
/// The low latency queue goes first unless the classic one has waited longer by this, microseconds.
const SHIFT_US: u64 = 30_000;
/// Both together hold so many bytes.
const LIMIT_BYTES: u64 = 250_000;

#[derive(Debug)]
pub(crate) struct DualPi2 {
    random: Random,
    low: VecDeque<Packet>,
    classic: VecDeque<Packet>,
    bytes: u64,
    probability: f64,
    last_delay_s: f64,
    updated: Micros,
}

impl DualPi2 {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            low: VecDeque::new(),
            classic: VecDeque::new(),
            bytes: 0,
            probability: 0.0,
            last_delay_s: 0.0,
            updated: Micros(0),
        }
    }

    pub(crate) fn backlog(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn offer(&mut self, packet: Packet) -> Result<(), Packet> {
        if self.bytes + u64::from(packet.bytes) > LIMIT_BYTES {
            return Err(packet);
        }
        self.bytes += u64::from(packet.bytes);
        match packet.ecn {
            Ecn::Ect1 | Ecn::Ce => self.low.push_back(packet),
            _ => self.classic.push_back(packet),
        }
        Ok(())
    }

    fn delay_s(queue: &VecDeque<Packet>, now: Micros) -> f64 {
        queue
            .front()
            .map_or(0.0, |packet| now.since(packet.queued) as f64 / 1e6)
    }

    pub(crate) fn update(&mut self, now: Micros) {
        while now.since(self.updated) >= UPDATE_US {
            self.updated = self.updated + UPDATE_US;
            let delay = Self::delay_s(&self.classic, now).max(Self::delay_s(&self.low, now));
            // Gains are per second of delay and per update.
            let step = ALPHA * (delay - TARGET_S) + BETA * (delay - self.last_delay_s);
            self.probability = (self.probability + step).clamp(0.0, 1.0);
            self.last_delay_s = delay;
        }
    }

    pub(crate) fn take(&mut self, now: Micros, dropped: &mut Vec<Packet>) -> Option<Packet> {
        loop {
            let low = self.low.front().map(|packet| packet.queued);
            let classic = self.classic.front().map(|packet| packet.queued + SHIFT_US);
            let low_first = match (low, classic) {
                (Some(low), Some(classic)) => low <= classic,
                (low, _) => low.is_some(),
            };
            let queue = if low_first {
                &mut self.low
            } else {
                &mut self.classic
            };
            let mut packet = queue.pop_front()?;
            self.bytes -= u64::from(packet.bytes);
            if low_first {
                let waited = now.since(packet.queued) as f64;
                let ramp = ((waited - RAMP_FROM_US) / RAMP_US).clamp(0.0, 1.0);
                let behind: u64 = self.low.iter().map(|p| u64::from(p.bytes)).sum();
                let native = if behind >= EXEMPT_BYTES { ramp } else { 0.0 };
                let chance = native.max(COUPLING * self.probability);
                if self.random.chance(chance.min(1.0)) {
                    packet.ecn = Ecn::Ce;
                }
                return Some(packet);
            }
            if self.random.chance(self.probability * self.probability) {
                dropped.push(packet);
                continue;
            }
            return Some(packet);
        }
    }
}
