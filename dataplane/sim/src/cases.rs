use crate::encoder::Source;
use crate::link::{LinkSpec, Loss, Queue};
use crate::random::Random;
use ion_engine::Micros;
use ion_engine::congestion::Bounds;

/// Which of the two links media takes; feedback takes the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Link 0.
    Forward = 0,
    /// Link 1.
    Backward = 1,
}

/// A media flow.
#[derive(Debug, Clone)]
pub struct MediaSpec {
    /// When it begins.
    pub start: Micros,
    /// When it ends.
    pub stop: Micros,
    /// Paused from, to.
    pub pause: Option<(Micros, Micros)>,
    /// Propagation besides the link's, each way, microseconds.
    pub delay_us: u64,
    /// Which way.
    pub direction: Direction,
    /// What is sent.
    pub source: Source,
    /// Pictures a second.
    pub fps: u64,
    /// Sent as ECT(1), feedback by RFC 8888; else without ECN, transport-wide feedback.
    pub scalable: bool,
    /// What is lost is sent again once.
    pub again: bool,
    /// The estimator's.
    pub bounds: Bounds,
}

impl MediaSpec {
    fn new(seconds: f64) -> Self {
        Self {
            start: Micros(0),
            stop: at(seconds),
            pause: None,
            delay_us: 0,
            direction: Direction::Forward,
            source: Source::Adaptive {
                min_bps: 150_000,
                max_bps: 1_500_000,
            },
            fps: 30,
            scalable: false,
            again: false,
            bounds: Bounds {
                // The product's own: see `limits`.
                start_bps: ion_engine::limits::START_BPS,
                min_bps: 100_000,
                max_bps: 50_000_000,
            },
        }
    }

    fn from(mut self, seconds: f64) -> Self {
        self.start = at(seconds);
        self
    }

    fn upto_bps(mut self, max_bps: u64) -> Self {
        self.source = Source::Adaptive {
            min_bps: 150_000,
            max_bps,
        };
        self
    }

    fn layers(mut self, bps: &[u64], at_key: bool) -> Self {
        self.source = Source::Layers {
            bps: bps.to_vec(),
            at_key,
        };
        self.again = true;
        self
    }

    /// Whether it sends at a time.
    pub fn is_active(&self, now: Micros) -> bool {
        let paused = self
            .pause
            .is_some_and(|(from, to)| (from..to).contains(&now));
        (self.start..self.stop).contains(&now) && !paused
    }

    pub(crate) fn paused_us(&self) -> u64 {
        self.pause.map_or(0, |(from, to)| to.since(from))
    }
}

/// Short TCP flows, each followed by a pause and another.
#[derive(Debug, Clone, Copy)]
pub struct ShortTcp {
    /// At a time.
    pub flows: u32,
    /// Bytes of one, evenly between.
    pub bytes: (u64, u64),
    /// Mean pause, seconds.
    pub pause_s: f64,
}

/// An evaluation.
#[derive(Debug, Clone)]
pub struct Case {
    /// As it is called on the command line.
    pub name: &'static str,
    /// What is seen.
    pub about: &'static str,
    /// How long, seconds.
    pub seconds: f64,
    /// Forward and backward.
    pub links: [LinkSpec; 2],
    /// Media flows.
    pub media: Vec<MediaSpec>,
    /// Long TCP flows on the forward link: from, to, seconds.
    pub tcp: Vec<(f64, f64)>,
    /// Short ones.
    pub short_tcp: Option<ShortTcp>,
    /// Each change of capacity is judged.
    pub judge_steps: bool,
}

fn at(seconds: f64) -> Micros {
    Micros((seconds * 1e6) as u64)
}

impl Case {
    fn new(name: &'static str, about: &'static str, seconds: f64, forward: LinkSpec) -> Self {
        let backward = LinkSpec {
            jitter_us: 0,
            ..LinkSpec::steady(100_000_000)
        };
        let backward = LinkSpec {
            delay_us: forward.delay_us,
            ..backward
        };
        Self {
            name,
            about,
            seconds,
            links: [forward, backward],
            media: vec![MediaSpec::new(seconds)],
            tcp: Vec::new(),
            short_tcp: None,
            judge_steps: false,
        }
    }

    fn media(mut self, media: Vec<MediaSpec>) -> Self {
        self.media = media;
        self
    }

    fn steps(mut self) -> Self {
        self.judge_steps = true;
        self
    }
}

/// Jitter of RFC 8867, 4.2: at most 30 ms.
const JITTER_US: u64 = 30_000;

fn wired(bps: u64) -> LinkSpec {
    LinkSpec {
        jitter_us: JITTER_US,
        ..LinkSpec::steady(bps)
    }
}

/// RFC 8867, section 5. Sources send up to what the bottleneck carries alone, so that the
/// estimator is the limit; 150 kbit/s at least.
pub fn rfc8867() -> Vec<Case> {
    vec![
        rfc8867_1("rfc8867-5.1", 2_500_000),
        rfc8867_1("rfc8867-5.1-max1.5", 1_500_000),
        rfc8867_2(),
        rfc8867_3(),
        rfc8867_4(),
        rfc8867_5(),
        rfc8867_6(),
        rfc8867_7(),
        rfc8867_8(),
    ]
}

/// The source can use all there is; or no more than 1.5 Mbit/s, as in evaluations of others.
fn rfc8867_1(name: &'static str, max_bps: u64) -> Case {
    let rates = [
        (0.0, 1_000_000),
        (40.0, 2_500_000),
        (60.0, 600_000),
        (80.0, 1_000_000),
    ];
    let link = wired(1_000_000).rates(&rates);
    let about = "one flow, capacity 1, 2.5, 0.6, 1 Mbit/s";
    Case::new(name, about, 100.0, link)
        .media(vec![MediaSpec::new(100.0).upto_bps(max_bps)])
        .steps()
}

fn rfc8867_2() -> Case {
    let rates = [
        (0.0, 4_000_000),
        (25.0, 2_000_000),
        (50.0, 3_500_000),
        (75.0, 1_000_000),
        (100.0, 2_000_000),
    ];
    let link = wired(4_000_000).rates(&rates);
    let about = "two flows, capacity 4, 2, 3.5, 1, 2 Mbit/s";
    let flow = MediaSpec::new(125.0).upto_bps(4_000_000);
    Case::new("rfc8867-5.2", about, 125.0, link).media(vec![flow.clone(), flow])
}

fn rfc8867_3() -> Case {
    let forward = [
        (0.0, 2_000_000),
        (20.0, 1_000_000),
        (40.0, 500_000),
        (60.0, 2_000_000),
    ];
    let backward = [(0.0, 2_000_000), (35.0, 800_000), (70.0, 2_000_000)];
    let about = "a flow each way, feedback shares the other's bottleneck";
    let flow = MediaSpec::new(100.0).upto_bps(2_000_000);
    let mut back = flow.clone();
    back.direction = Direction::Backward;
    let mut case = Case::new("rfc8867-5.3", about, 100.0, wired(1).rates(&forward));
    case.links[1] = wired(1).rates(&backward);
    case.media(vec![flow, back])
}

fn rfc8867_4() -> Case {
    let flow = |from| MediaSpec::new(120.0).upto_bps(3_500_000).from(from);
    let about = "three flows one after the other, 3.5 Mbit/s";
    Case::new("rfc8867-5.4", about, 120.0, wired(3_500_000)).media(vec![
        flow(0.0),
        flow(20.0),
        flow(40.0),
    ])
}

fn rfc8867_5() -> Case {
    let delays = [10_000, 25_000, 50_000, 100_000, 150_000];
    let mut link = wired(4_000_000);
    link.delay_us = 0;
    let media = (0..5).zip(delays).map(|(at, delay_us)| MediaSpec {
        delay_us,
        ..MediaSpec::new(300.0)
            .upto_bps(4_000_000)
            .from(f64::from(at) * 10.0)
    });
    let about = "five flows of 10 to 150 ms, 4 Mbit/s";
    Case::new("rfc8867-5.5", about, 300.0, link).media(media.collect())
}

fn rfc8867_6() -> Case {
    let about = "a long TCP flow from 60 to 240 s, 2 Mbit/s";
    let mut case = Case::new("rfc8867-5.6", about, 300.0, wired(2_000_000));
    case.tcp = vec![(60.0, 240.0)];
    case.media(vec![MediaSpec::new(300.0).upto_bps(2_000_000)])
}

fn rfc8867_7() -> Case {
    let about = "two flows and short TCP flows, 2 Mbit/s";
    let mut case = Case::new("rfc8867-5.7", about, 300.0, wired(2_000_000));
    case.short_tcp = Some(ShortTcp {
        flows: 10,
        bytes: (100_000, 1_000_000),
        pause_s: 60.0,
    });
    let flow = MediaSpec::new(300.0).upto_bps(2_000_000);
    case.media(vec![flow.clone(), flow])
}

fn rfc8867_8() -> Case {
    let flow = MediaSpec::new(120.0).upto_bps(3_500_000);
    let mut paused = flow.clone();
    paused.pause = Some((at(40.0), at(60.0)));
    let about = "three flows, one pauses from 40 to 60 s, 3.5 Mbit/s";
    Case::new("rfc8867-5.8", about, 120.0, wired(3_500_000)).media(vec![paused, flow.clone(), flow])
}

/// A rate that wanders between `low` and `high`, each `every_s`, with fades.
fn wander(
    seed: u64,
    seconds: f64,
    every_s: f64,
    low: f64,
    high: f64,
    fade: f64,
) -> Vec<(f64, u64)> {
    let mut random = Random::new(seed);
    let (mut rates, mut now) = (Vec::new(), 0.0);
    let mut level = (low * high).sqrt();
    while now < seconds {
        level = (level * (0.12 * random.normal()).exp()).clamp(low, high);
        let rate = if random.chance(fade) {
            level * 0.25
        } else {
            level
        };
        rates.push((now, rate as u64));
        now += every_s;
    }
    rates
}

/// After RFC 8869: a cellular link whose rate wanders, and Wi-Fi that is shared. Its traces
/// are of simulators that we do not have: these are models with a fixed seed.
pub fn rfc8869() -> Vec<Case> {
    let mut cellular = LinkSpec::steady(1).rates(&wander(8_869, 120.0, 0.2, 0.6e6, 5e6, 0.02));
    cellular.queue = Queue::TailDrop(600_000);
    cellular.delay_us = 40_000;
    let mut wifi = LinkSpec::steady(1).rates(&wander(8_870, 120.0, 0.05, 2e6, 8e6, 0.05));
    wifi.delay_us = 10_000;
    wifi.jitter_us = 20_000;
    wifi.loss = Some(Loss {
        good: 0.001,
        bad: 0.3,
        worsen: 0.002,
        recover: 0.2,
    });
    let flow = MediaSpec::new(120.0).upto_bps(4_000_000);
    vec![
        Case::new(
            "rfc8869-cellular",
            "wandering 0.6 to 5 Mbit/s, deep queue",
            120.0,
            cellular,
        )
        .media(vec![flow.clone()]),
        Case::new(
            "rfc8869-wifi",
            "2 to 8 Mbit/s, stalls, bursty loss",
            120.0,
            wifi,
        )
        .media(vec![flow]),
    ]
}

/// Simulcast as browsers send it, bit/s up to each layer.
const SIMULCAST: [u64; 3] = [150_000, 500_000, 1_700_000];
/// L3T3: nine layers, of which these are worth stopping at.
const SVC: [u64; 5] = [120_000, 250_000, 500_000, 900_000, 1_700_000];

/// What an SFU meets.
pub fn sfu() -> Vec<Case> {
    let mut l4s = LinkSpec::steady(4_000_000);
    (l4s.queue, l4s.delay_us) = (Queue::DualPi2, 20_000);
    let scalable = MediaSpec {
        scalable: true,
        ..MediaSpec::new(60.0).upto_bps(4_000_000)
    };
    let viewer = |seconds| MediaSpec::new(seconds).layers(&SIMULCAST, true);
    let many = (0..8).map(|at| viewer(90.0).from(f64::from(at)));
    let falls = [(0.0, 4_000_000), (30.0, 300_000), (60.0, 4_000_000)];
    let mut lossy = LinkSpec::steady(3_000_000);
    lossy.loss = Some(Loss::random(0.05));
    vec![
        Case::new("l4s", "one flow behind DualPI2 at 4 Mbit/s", 60.0, l4s).media(vec![scalable]),
        Case::new(
            "sfu-many",
            "eight viewers of simulcast behind 6 Mbit/s",
            90.0,
            wired(6_000_000),
        )
        .media(many.collect()),
        Case::new(
            "sfu-collapse",
            "a viewer of simulcast falls from 4 to 0.3 Mbit/s",
            90.0,
            wired(1).rates(&falls),
        )
        .media(vec![viewer(90.0)]),
        Case::new("sfu-svc", "the same with SVC", 90.0, wired(1).rates(&falls))
            .media(vec![MediaSpec::new(90.0).layers(&SVC, false)]),
        Case::new(
            "publisher-collapse",
            "a publisher falls from 4 to 0.3 Mbit/s",
            90.0,
            wired(1).rates(&falls),
        )
        .media(vec![MediaSpec::new(90.0).upto_bps(3_000_000)])
        .steps(),
        Case::new("loss-5", "5 % random loss, 3 Mbit/s", 60.0, lossy)
            .media(vec![MediaSpec::new(60.0).upto_bps(3_000_000)]),
    ]
}

/// All of them.
pub fn all() -> Vec<Case> {
    let mut all = rfc8867();
    all.extend(rfc8869());
    all.extend(sfu());
    all
}

/// The case of a name.
pub fn find(name: &str) -> Option<Case> {
    all().into_iter().find(|case| case.name == name)
}
