use crate::cases::{Case, Direction, MediaSpec};
use crate::encoder::Encoder;
use crate::link::{Link, Load, Packet};
use crate::metrics::{FlowReport, Report, Tally, jain, percentile, queue_ms, steps};
use crate::random::Random;
use crate::receiver::Receiver;
use crate::sender::{Sender, SenderSpec};
use crate::tcp::Tcp;
use ion_engine::Micros;
use ion_engine::congestion::{Bounds, Ecn, Estimator};

/// Everything moves by this, microseconds.
const STEP_US: u64 = 1_000;

/// Makes the estimator of a flow.
pub type MakeEstimator<'a> = &'a dyn Fn(Bounds) -> Box<dyn Estimator>;

struct Media {
    spec: MediaSpec,
    sender: Sender,
    receiver: Receiver,
    tally: Tally,
    active: bool,
}

struct TcpFlow {
    start: Micros,
    stop: Micros,
    direction: Direction,
    tcp: Tcp,
}

/// A case under way.
pub struct World {
    case: Case,
    seed: u64,
    now: Micros,
    links: [Link; 2],
    media: Vec<Media>,
    tcp: Vec<TcpFlow>,
    /// TCP flows at work, second by second.
    busy: Vec<usize>,
    out: Vec<Packet>,
}

/// Short flows come and go: this many a second.
fn short_flows(case: &Case, random: &mut Random) -> Vec<(Micros, Option<u64>, Micros, Direction)> {
    let Some(short) = case.short_tcp else {
        return Vec::new();
    };
    let mut flows = Vec::new();
    for _ in 0..short.flows {
        let mut at = 0.0;
        loop {
            at += random.exponential(short.pause_s);
            if at >= case.seconds {
                break;
            }
            let spread = short.bytes.1 - short.bytes.0;
            let bytes = short.bytes.0 + (random.unit() * spread as f64) as u64;
            let start = Micros((at * 1e6) as u64);
            flows.push((start, Some(bytes), Micros(u64::MAX), Direction::Forward));
            // A flow of so many bytes takes about this long.
            at += bytes as f64 * 8.0 / 1e6;
        }
    }
    flows
}

impl World {
    /// A case, ready to run.
    pub fn new(case: &Case, seed: u64, make: MakeEstimator<'_>) -> Self {
        let mut random = Random::new(seed);
        let mut tcp: Vec<_> = case
            .tcp
            .iter()
            .map(|&(start, stop)| {
                let at = |s: f64| Micros((s * 1e6) as u64);
                (at(start), None, at(stop), Direction::Forward)
            })
            .collect();
        tcp.extend(short_flows(case, &mut random));
        let flows = case.media.len() + tcp.len();
        let link =
            |at: usize| Link::new(case.links[at].clone(), flows, seed ^ (at as u64 + 1) << 40);
        let links = [link(0), link(1)];
        let media = case
            .media
            .iter()
            .enumerate()
            .map(|(flow, spec)| make_media(flow, spec, seed, make))
            .collect();
        let tcp = tcp
            .into_iter()
            .enumerate()
            .map(|(at, (start, bytes, stop, direction))| TcpFlow {
                start,
                stop,
                direction,
                tcp: Tcp::new(case.media.len() + at, bytes, start, 0),
            })
            .collect();
        Self {
            case: case.clone(),
            seed,
            now: Micros(0),
            links,
            media,
            tcp,
            busy: Vec::new(),
            out: Vec::new(),
        }
    }

    /// The time.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// What a flow's estimator says now, bit/s.
    pub fn target_bps(&self, flow: usize) -> u64 {
        self.media[flow].sender.estimator.target_bps()
    }

    /// What was counted of a flow.
    pub fn tally(&self, flow: usize) -> &Tally {
        &self.media[flow].tally
    }

    /// Moves on by a millisecond.
    pub fn step(&mut self) {
        self.now = self.now + STEP_US;
        for at in 0..2 {
            for (arrived, packet) in self.links[at].arrived(self.now) {
                self.deliver(at, arrived, packet);
            }
            for packet in std::mem::take(&mut self.links[at].dropped) {
                if let (Some(media), false) = (
                    self.media.get_mut(packet.flow),
                    matches!(packet.load, Load::Feedback(_)),
                ) {
                    media.tally.lost(packet.sent);
                }
            }
        }
        self.tick_media();
        self.tick_tcp();
    }

    fn deliver(&mut self, link: usize, at: Micros, packet: Packet) {
        if let Some(media) = self.media.get_mut(packet.flow) {
            if let Load::Feedback(message) = &packet.load {
                return media.sender.feedback(self.now, message);
            }
            let bytes = if matches!(packet.load, Load::Media(piece) if !piece.again) {
                packet.bytes
            } else {
                0
            };
            media.tally.delivered(at, bytes, packet.waited_us);
            media.tally.marked += u64::from(packet.ecn == Ecn::Ce);
            media.receiver.arrived(at, &packet);
            return;
        }
        let flow = &mut self.tcp[packet.flow - self.media.len()].tcp;
        match packet.load {
            Load::Segment(number) => {
                let ack = flow.segment(self.now, number);
                self.links[1 - link].offer(self.now, ack);
            }
            Load::Ack(expected) => flow.ack(self.now, expected),
            _ => {}
        }
    }

    fn tick_media(&mut self) {
        let now = self.now;
        for media in &mut self.media {
            let active = media.spec.is_active(now);
            if active != media.active {
                media.active = active;
                media.receiver.player.pause();
                if active {
                    media.sender.encoder.resume(now);
                } else {
                    media.sender.pause();
                }
            }
            if active && media.receiver.player.asks(now) {
                media.sender.encoder.want_key();
            }
            media.sender.tick(now, active, &mut self.out);
            let forward = media.spec.direction as usize;
            for packet in self.out.drain(..) {
                let padding = packet.load == Load::Padding;
                media.tally.sent(now, packet.bytes, padding);
                self.links[forward].offer(now, packet);
            }
            media.receiver.tick(now, &mut self.out);
            for packet in self.out.drain(..) {
                self.links[1 - forward].offer(now, packet);
            }
        }
    }

    fn tick_tcp(&mut self) {
        let now = self.now;
        let second = (now.0 / 1_000_000) as usize;
        self.busy.resize(second + 1, 0);
        let mut busy = 0;
        for flow in &mut self.tcp {
            if now < flow.start || now >= flow.stop || flow.tcp.is_done() {
                continue;
            }
            busy += 1;
            flow.tcp.tick(now, &mut self.out);
            for packet in self.out.drain(..) {
                self.links[flow.direction as usize].offer(now, packet);
            }
        }
        self.busy[second] = self.busy[second].max(busy);
    }

    /// Runs to the end and judges.
    pub fn finish(mut self) -> Report {
        let end = Micros((self.case.seconds * 1e6) as u64);
        while self.now < end {
            self.step();
        }
        let mut waited: Vec<u32> = Vec::new();
        for media in &self.media {
            waited.extend(&media.tally.waited_us);
        }
        let sum =
            |of: &dyn Fn(&Tally) -> u64| -> u64 { self.media.iter().map(|m| of(&m.tally)).sum() };
        let sent = sum(&|tally| tally.sent.iter().map(|&n| u64::from(n)).sum());
        let lost = sum(&|tally| tally.lost.iter().map(|&n| u64::from(n)).sum());
        let alone = self.media.len() == 1 && self.tcp.is_empty();
        let steps = if alone && self.case.judge_steps {
            let max = self.media[0].sender.encoder.max_bps();
            steps(&self.media[0].tally, &self.case.links[0].rates, max, end)
        } else {
            Vec::new()
        };
        Report {
            case: self.case.name,
            seed: self.seed,
            utilisation: self.utilisation(end),
            queue_ms: queue_ms(&mut waited),
            loss: lost as f64 / sent.max(1) as f64,
            fairness: self.fairness(end),
            steps,
            flows: self
                .media
                .iter_mut()
                .map(|media| judge(media, end))
                .collect(),
        }
    }

    /// Media delivered, of what there was to share: by direction, second by second.
    fn utilisation(&self, end: Micros) -> f64 {
        let (mut used, mut could) = (0.0, 0.0);
        let second = 1_000_000;
        for at in (0..end.0).step_by(second as usize).map(Micros) {
            for direction in [Direction::Forward, Direction::Backward] {
                let capacity = self.case.links[direction as usize].mean_bps(at, second);
                let active: Vec<_> = self
                    .media
                    .iter()
                    .filter(|m| m.spec.direction == direction && m.spec.is_active(at))
                    .collect();
                let place = (at.0 / 1_000_000) as usize;
                let others = match direction {
                    Direction::Forward => self.busy.get(place).copied().unwrap_or(0),
                    Direction::Backward => 0,
                };
                let all = active.len() + others;
                if active.is_empty() {
                    continue;
                }
                let fair = capacity * active.len() as f64 / all as f64;
                let wanted: f64 = active
                    .iter()
                    .map(|m| m.sender.encoder.max_bps() as f64)
                    .sum();
                let got: f64 = active.iter().map(|m| m.tally.bps(at, at + second)).sum();
                could += fair.min(wanted);
                used += got.min(fair.min(wanted));
            }
        }
        used / f64::max(could, 1.0)
    }

    fn fairness(&self, end: Micros) -> f64 {
        let forward = || {
            self.media
                .iter()
                .filter(|media| media.spec.direction == Direction::Forward)
        };
        let from = forward().map(|m| m.spec.start + 15_000_000).max();
        let to = forward().map(|m| m.spec.stop).min();
        let (from, to) = (from.unwrap_or_default(), to.unwrap_or(end).min(end));
        let rates: Vec<_> = forward().map(|media| media.tally.bps(from, to)).collect();
        jain(&rates)
    }
}

fn make_media(flow: usize, spec: &MediaSpec, seed: u64, make: MakeEstimator<'_>) -> Media {
    let encoder_seed = seed.wrapping_mul(31) ^ flow as u64;
    let encoder = Encoder::new(spec.source.clone(), spec.fps, spec.start, encoder_seed);
    let ecn = if spec.scalable {
        Ecn::Ect1
    } else {
        Ecn::NotEct
    };
    let sender = SenderSpec {
        flow,
        ecn,
        delay_us: spec.delay_us,
        again: spec.again,
    };
    Media {
        sender: Sender::new(&sender, make(spec.bounds), encoder),
        receiver: Receiver::new(flow, spec.scalable, spec.delay_us, encoder_seed),
        tally: Tally::default(),
        active: false,
        spec: spec.clone(),
    }
}

fn judge(media: &mut Media, end: Micros) -> FlowReport {
    let tally = &mut media.tally;
    let sum = |list: &[u32]| list.iter().map(|&n| u64::from(n)).sum::<u64>() as f64;
    let player = &mut media.receiver.player;
    let stop = media.spec.stop.min(end);
    let active = stop.since(media.spec.start) - media.spec.paused_us();
    let bytes: u64 = tally.delivered.iter().sum();
    FlowReport {
        bps: bytes as f64 * 8e6 / active.max(1) as f64,
        queue_ms: queue_ms(&mut tally.waited_us),
        loss: sum(&tally.lost) / sum(&tally.sent).max(1.0),
        padding: tally.padding as f64 / tally.bytes.max(1) as f64,
        freezes: (player.freezes.0, player.freezes.1 as f64 / 1e6),
        frame_ms: percentile(&mut player.delays_us, 0.95) / 1e3,
        switches: media.sender.encoder.switches,
    }
}

/// Runs a case to its end.
pub fn run(case: &Case, seed: u64, make: MakeEstimator<'_>) -> Report {
    World::new(case, seed, make).finish()
}
