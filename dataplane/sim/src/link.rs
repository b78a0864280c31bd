use crate::dualpi2::DualPi2;
use crate::random::Random;
use ion_engine::Micros;
use ion_engine::congestion::Ecn;
use std::collections::VecDeque;

/// What a packet carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Load {
    /// A piece of a picture.
    Media(Piece),
    /// Nothing.
    Padding,
    /// RTCP of a media flow.
    Feedback(Vec<u8>),
    /// A segment of TCP, by number.
    Segment(u64),
    /// Its acknowledgement: the next that is expected.
    Ack(u64),
}

/// A piece of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Picture.
    pub frame: u64,
    /// Place in it.
    pub part: u16,
    /// How many there are.
    pub parts: u16,
    /// The picture needs no other.
    pub key: bool,
    /// When the picture was taken.
    pub captured: Micros,
    /// Sent again.
    pub again: bool,
}

/// A packet under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Packet {
    /// Flow, an index.
    pub flow: usize,
    /// Transport-wide number.
    pub number: u64,
    /// IP packet length.
    pub bytes: u32,
    /// Its ECN bits.
    pub ecn: Ecn,
    /// When it was sent.
    pub sent: Micros,
    /// Propagation of its path, besides the link's own, microseconds.
    pub delay_us: u64,
    /// What it carries.
    pub load: Load,
    /// When it came to the queue.
    pub queued: Micros,
    /// How long it waited there, microseconds.
    pub waited_us: u64,
}

/// How a queue is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Queue {
    /// It holds so many bytes as the first rate of the schedule serves in this time, microseconds.
    TailDrop(u64),
    /// RFC 9332: marks what is ECT(1) at a millisecond, drops the rest at fifteen.
    DualPi2,
}

/// Loss by two states (Gilbert–Elliott).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// Loss while the path is good.
    pub good: f64,
    /// Loss while it is bad.
    pub bad: f64,
    /// Chance for each packet that a good path becomes bad.
    pub worsen: f64,
    /// Chance for each packet that a bad path becomes good.
    pub recover: f64,
}

impl Loss {
    /// Each packet by itself.
    pub fn random(share: f64) -> Self {
        Self {
            good: share,
            bad: share,
            worsen: 0.0,
            recover: 1.0,
        }
    }
}

/// A link, as it is made.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkSpec {
    /// From when on, at which bit/s.
    pub rates: Vec<(Micros, u64)>,
    /// The schedule begins anew after this long, microseconds.
    pub repeat_us: Option<u64>,
    /// Propagation, microseconds.
    pub delay_us: u64,
    /// Added to that at most, microseconds: a truncated half normal; order is kept.
    pub jitter_us: u64,
    /// Loss that is not the queue's.
    pub loss: Option<Loss>,
    /// The queue.
    pub queue: Queue,
}

impl LinkSpec {
    /// A link of one rate with RFC 8867's defaults: 50 ms, no jitter, 300 ms of queue.
    pub fn steady(bps: u64) -> Self {
        Self {
            rates: vec![(Micros(0), bps)],
            repeat_us: None,
            delay_us: 50_000,
            jitter_us: 0,
            loss: None,
            queue: Queue::TailDrop(300_000),
        }
    }

    /// The same with other rates, from these seconds on.
    pub fn rates(mut self, seconds_bps: &[(f64, u64)]) -> Self {
        self.rates = seconds_bps
            .iter()
            .map(|&(at, bps)| (Micros((at * 1e6) as u64), bps))
            .collect();
        self
    }

    /// The rate at a time, bit/s.
    pub fn rate_at(&self, now: Micros) -> u64 {
        let at = match self.repeat_us {
            Some(repeat) => Micros(now.0 % repeat),
            None => now,
        };
        let upto = self.rates.partition_point(|&(from, _)| from <= at);
        self.rates[upto.saturating_sub(1)].1
    }

    /// The mean rate over `span_us` from a time on, bit/s.
    pub fn mean_bps(&self, from: Micros, span_us: u64) -> f64 {
        const PARTS: u64 = 20;
        let sum: u64 = (0..PARTS)
            .map(|part| self.rate_at(from + part * span_us / PARTS))
            .sum();
        sum as f64 / PARTS as f64
    }
}

/// A link.
#[derive(Debug)]
pub struct Link {
    /// How it was made.
    pub spec: LinkSpec,
    random: Random,
    fifo: VecDeque<Packet>,
    fifo_bytes: u64,
    dual: Option<DualPi2>,
    serving: Option<(Packet, Micros)>,
    arriving: Vec<(Micros, Packet)>,
    last_arrival: Vec<Micros>,
    bad: bool,
    /// What was dropped, for whoever counts.
    pub dropped: Vec<Packet>,
}

impl Link {
    /// An empty link for so many flows.
    pub fn new(spec: LinkSpec, flows: usize, seed: u64) -> Self {
        let dual = (spec.queue == Queue::DualPi2).then(|| DualPi2::new(seed ^ 77));
        Self {
            spec,
            random: Random::new(seed),
            fifo: VecDeque::new(),
            fifo_bytes: 0,
            dual,
            serving: None,
            arriving: Vec::new(),
            last_arrival: vec![Micros(0); flows],
            bad: false,
            dropped: Vec::new(),
        }
    }

    /// A packet comes to the queue.
    pub fn offer(&mut self, now: Micros, mut packet: Packet) {
        packet.queued = now;
        self.advance(now);
        if let Some(dual) = &mut self.dual {
            if let Err(packet) = dual.offer(packet) {
                self.dropped.push(packet);
            }
        } else {
            let Queue::TailDrop(limit_us) = self.spec.queue else {
                return;
            };
            let rate = self.spec.rates[0].1;
            let room = (rate * limit_us / 8_000_000).max(4_000);
            if self.fifo_bytes + u64::from(packet.bytes) > room {
                self.dropped.push(packet);
                return;
            }
            self.fifo_bytes += u64::from(packet.bytes);
            self.fifo.push_back(packet);
        }
        self.serve(now);
    }

    fn serve(&mut self, now: Micros) {
        if self.serving.is_some() {
            return;
        }
        let rate = self.spec.rate_at(now);
        if rate == 0 {
            return;
        }
        let next = match &mut self.dual {
            Some(dual) => dual.take(now, &mut self.dropped),
            None => self.fifo.pop_front(),
        };
        if let Some(mut packet) = next {
            packet.waited_us = now.since(packet.queued);
            if self.dual.is_none() {
                self.fifo_bytes -= u64::from(packet.bytes);
            }
            let took = u64::from(packet.bytes) * 8_000_000 / rate;
            self.serving = Some((packet, now + took));
        }
    }

    /// Moves everything on until `now`.
    pub fn advance(&mut self, now: Micros) {
        if let Some(dual) = &mut self.dual {
            dual.update(now);
        }
        while let Some((_, done)) = &self.serving {
            let done = *done;
            if done > now {
                return;
            }
            if let Some((packet, _)) = self.serving.take() {
                self.propagate(done, packet);
            }
            self.serve(done);
        }
        self.serve(now);
    }

    fn propagate(&mut self, done: Micros, packet: Packet) {
        if let Some(loss) = self.spec.loss {
            let turn = if self.bad { loss.recover } else { loss.worsen };
            self.bad ^= self.random.chance(turn);
            let share = if self.bad { loss.bad } else { loss.good };
            if self.random.chance(share) {
                self.dropped.push(packet);
                return;
            }
        }
        let max = self.spec.jitter_us as f64;
        let jitter = (self.random.normal().abs() * max / 2.0).min(max) as u64;
        let due = done + self.spec.delay_us + packet.delay_us + jitter;
        let last = &mut self.last_arrival[packet.flow];
        *last = due.max(*last + 1);
        self.arriving.push((*last, packet));
    }

    /// What has arrived until `now`, in order.
    pub fn arrived(&mut self, now: Micros) -> Vec<(Micros, Packet)> {
        self.advance(now);
        let mut out: Vec<_> = self.arriving.extract_if(.., |(at, _)| *at <= now).collect();
        out.sort_by_key(|(at, _)| *at);
        out
    }

    /// Bytes that wait.
    pub fn backlog(&self) -> u64 {
        self.dual.as_ref().map_or(self.fifo_bytes, DualPi2::backlog)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(number: u64) -> Packet {
        Packet {
            flow: 0,
            number,
            bytes: 1_000,
            ecn: Ecn::NotEct,
            sent: Micros(0),
            delay_us: 0,
            load: Load::Padding,
            queued: Micros(0),
            waited_us: 0,
        }
    }

    #[test]
    fn a_link_serves_at_its_rate_and_drops_what_would_wait_too_long() {
        let mut link = Link::new(LinkSpec::steady(800_000), 1, 1);
        for number in 0..50 {
            link.offer(Micros(0), packet(number));
        }
        // One is being served, 300 ms hold 30.
        assert_eq!(link.dropped.len(), 50 - 31);
        let arrived = link.arrived(Micros(1_000_000));
        assert_eq!(arrived.len(), 31);
        assert_eq!(arrived[0].0, Micros(60_000));
        assert_eq!(arrived[30].0, Micros(360_000));
    }

    #[test]
    fn order_is_kept_whatever_the_jitter() {
        let mut spec = LinkSpec::steady(100_000_000);
        spec.jitter_us = 30_000;
        let mut link = Link::new(spec, 1, 5);
        for number in 0..200 {
            link.offer(Micros(number * 500), packet(number));
        }
        let arrived = link.arrived(Micros(1_000_000));
        assert!(arrived.is_sorted_by_key(|(_, packet)| packet.number));
        let spread = arrived.iter().map(|(at, p)| at.0 - p.queued.0);
        assert!(spread.clone().max() > Some(70_000) && spread.min() < Some(55_000));
    }
}
