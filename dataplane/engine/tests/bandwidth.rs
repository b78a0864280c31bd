//! A viewer behind an emulated link: the whole engine, in virtual time. What it is sent, how it
//! settles, what it says of hostile feedback. Seeds are in the tests' names for the model links.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a model's numbers are small"
)]
#![allow(unreachable_pub, reason = "shared by several test programs")]

#[path = "engine/harness.rs"]
#[allow(dead_code, reason = "shared with the scenarios")]
mod harness;

use harness::*;
use ion_engine::MakeEstimator;
use ion_engine::Micros;
use ion_engine::congestion::Ecn;
use ion_engine::congestion::{Bounds, IonEstimator};
use ion_sim::link::{Link, LinkSpec, Load, Packet};
use ion_tables::event::EventReader;
use ion_tables::*;
use ion_wire::rtcp::{build, twcc};
use ion_wire::seq;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::rc::Rc;

const SEED: u64 = 5;
const STEP_US: u64 = 5_000;
const FEEDBACK_US: u64 = 50_000;
/// Bytes of a picture of each simulcast layer, 30 a second: 150, 500, 1,700 kbit/s.
const PICTURES: [usize; 3] = [560, 2_000, 7_000];

/// A publisher of audio and simulcast video, and one viewer behind a link.
struct Stage {
    world: World,
    publisher: usize,
    viewer: usize,
    track: u32,
    video: u32,
    audio: u32,
    link: Link,
    caught: Rc<RefCell<Vec<Vec<u8>>>>,
    datagrams: Vec<Vec<u8>>,
    /// Feedback under way to the engine.
    coming: Vec<(Micros, Vec<u8>)>,
    arrivals: BTreeMap<u64, u64>,
    reported: u64,
    fed: Micros,
    count: u8,
    frame: u64,
    index: [u64; 4],
    keys: [bool; 3],
    events: EventReader,
    seen: Vec<Event>,
    /// Video bytes that arrived, by second.
    bytes: Vec<u64>,
    audio_got: u64,
    /// Indices of the video's packets, as they came.
    indices: Vec<u64>,
}

impl Stage {
    fn new(spec: LinkSpec) -> Self {
        Self::with_estimator(spec, ion_engine::EngineConfig::default().estimator)
    }

    fn with_estimator(spec: LinkSpec, estimator: MakeEstimator) -> Self {
        let mut world = World::new(1);
        world.config.estimator = estimator;
        world.start_workers(1);
        let publisher = world.client(0, false);
        let viewer = world.client(0, true);
        let layers: Vec<_> = (0..3_u32)
            .map(|layer| move |config: &mut EncodingConfig| config.ssrc = 10 + layer)
            .collect();
        let edits: Vec<&dyn Fn(&mut EncodingConfig)> = layers.iter().map(|f| f as _).collect();
        let track = world.track(publisher, true, &edits);
        let sound = world.track(publisher, false, &[&|c| c.ssrc = 20]);
        let video = world.subscribe(viewer, track);
        let audio = world.subscribe(viewer, sound);
        let caught = Rc::new(RefCell::new(Vec::new()));
        let into = Rc::clone(&caught);
        // Everything for clients goes through the link; the publisher reads nothing here.
        world.lose = Box::new(move |datagram| {
            into.borrow_mut().push(datagram.to_vec());
            true
        });
        let events = EventReader::at_end(world.tables.events(0).unwrap());
        Self {
            publisher,
            viewer,
            track,
            video,
            audio,
            link: Link::new(spec, 1, SEED),
            caught,
            datagrams: Vec::new(),
            coming: Vec::new(),
            arrivals: BTreeMap::new(),
            reported: 0,
            fed: Micros(0),
            count: 0,
            frame: 0,
            index: [1; 4],
            keys: [true; 3],
            events,
            seen: Vec::new(),
            bytes: Vec::new(),
            audio_got: 0,
            indices: Vec::new(),
            world,
        }
    }

    fn run(&mut self, seconds: u64) {
        let end = self.world.now + seconds * 1_000_000;
        while self.world.now < end {
            self.step();
        }
    }

    /// The viewer asks for the newest packets of a subscription, all at once.
    fn ask_for_newest(&mut self, row: u32) {
        let newest = self.indices.last().copied().unwrap_or(0) & 0xffff;
        let lost: Vec<_> = (0..16)
            .map(|back| (newest as u16).wrapping_sub(back))
            .collect();
        self.world
            .send_rtcp(self.viewer, &nack(media_ssrc(row), &lost));
    }

    fn step(&mut self) {
        self.world.advance(STEP_US);
        let now = self.world.now;
        if self.frame * 33_333 + 1_000_000 <= now.0 {
            self.publish();
        }
        self.carry(now);
        self.feed(now);
        while let Some(event) = self.events.take(self.world.tables.events(0).unwrap()) {
            self.seen.push(event);
        }
    }

    fn publish(&mut self) {
        // A keyframe each second: what is asked for comes no sooner.
        if self.frame.is_multiple_of(30) {
            self.keys = [true; 3];
        }
        let stamp = self.frame as u32 * 3_000;
        for (layer, size) in PICTURES.into_iter().enumerate() {
            let parts = size.div_ceil(1_100).max(1);
            for part in 0..parts {
                let key = self.keys[layer] && part == 0;
                let mut rtp = Rtp::new(
                    10 + layer as u32,
                    VP8,
                    self.index[layer],
                    stamp,
                    &vp8(key, self.frame),
                );
                rtp.payload.resize(size / parts, 1);
                rtp.marker = part + 1 == parts;
                self.index[layer] += 1;
                self.world.rtp(self.publisher, &rtp);
            }
            self.keys[layer] = false;
        }
        let sound = Rtp::new(
            20,
            OPUS,
            self.index[3],
            self.frame as u32 * 1_600,
            &[7; 100],
        );
        self.index[3] += 1;
        self.world.rtp(self.publisher, &sound);
        self.frame += 1;
        self.world.flush();
    }

    /// What the engine sent goes into the link, and what has arrived to the viewer.
    fn carry(&mut self, now: Micros) {
        for datagram in self.caught.borrow_mut().drain(..) {
            let number = self.datagrams.len() as u64;
            let packet = Packet {
                flow: 0,
                number,
                bytes: datagram.len() as u32 + 28,
                ecn: Ecn::NotEct,
                sent: now,
                delay_us: 0,
                load: Load::Padding,
                queued: now,
                waited_us: 0,
            };
            self.datagrams.push(datagram);
            self.link.offer(now, packet);
        }
        for (at, packet) in self.link.arrived(now) {
            let datagram = std::mem::take(&mut self.datagrams[packet.number as usize]);
            let client = &mut self.world.clients[self.viewer];
            let to_publisher = ion_wire::classify(&datagram) == ion_wire::PacketKind::Rtcp;
            if to_publisher {
                continue;
            }
            let before = client.rtp.len();
            client.receive(at, &datagram);
            for got in client.rtp.drain(before..).collect::<Vec<_>>() {
                self.got(at, &got);
            }
        }
    }

    fn got(&mut self, at: Micros, got: &Got) {
        // What may be sent again as it was carries no number.
        if let Some(number) = got.extension(ExtensionKind::TransportCc) {
            let number = u16::from_be_bytes(number.try_into().unwrap());
            let newest = self.arrivals.last_key_value().map_or(0, |(&n, _)| n);
            self.arrivals
                .insert(seq::extend(number, newest), at.0 + 50_000_000);
        }
        if got.header.ssrc == media_ssrc(self.video) {
            let second = (at.0 / 1_000_000) as usize;
            self.bytes.resize(self.bytes.len().max(second + 1), 0);
            self.bytes[second] += got.payload.len() as u64;
            self.indices.push(got.index);
        }
        self.audio_got += u64::from(got.header.ssrc == media_ssrc(self.audio));
    }

    /// The viewer's feedback, 50 ms apart and 20 ms under way.
    fn feed(&mut self, now: Micros) {
        if now.since(self.fed) >= FEEDBACK_US
            && let Some((&newest, _)) = self.arrivals.last_key_value()
            && newest >= self.reported
        {
            self.fed = now;
            let times: Vec<_> = (self.reported..=newest)
                .map(|number| self.arrivals.get(&number).copied())
                .collect();
            let header = twcc::TwccHeader {
                sender_ssrc: 7,
                media_ssrc: media_ssrc(self.video),
                base_sequence: (self.reported & 0xffff) as u16,
                feedback_count: self.count,
            };
            let mut buffer = vec![0; 1_200];
            if let Ok(written) = twcc::write(&mut buffer, &header, &times) {
                buffer.truncate(written.len);
                self.reported += written.statuses as u64;
                self.count = self.count.wrapping_add(1);
                self.coming.push((now + 20_000, buffer));
            }
        }
        while self.coming.first().is_some_and(|(at, _)| *at <= now) {
            let (_, message) = self.coming.remove(0);
            self.world.send_rtcp(self.viewer, &message);
        }
    }

    /// Video that arrived in the last seconds, bit/s.
    fn video_bps(&self, seconds: usize) -> f64 {
        let end = (self.world.now.0 / 1_000_000) as usize;
        let bytes: u64 = self.bytes.iter().take(end).skip(end - seconds).sum();
        bytes as f64 * 8.0 / seconds as f64
    }

    fn count(&self, kind: EventKind) -> usize {
        self.seen.iter().filter(|event| event.kind == kind).count()
    }

    fn transport(&self) -> &TransportCounters {
        let row = self.world.clients[self.viewer].row.row;
        self.world.tables.counters::<Transport>(row).unwrap()
    }
}

#[test]
fn each_viewer_settles_on_the_layer_that_its_link_carries_and_stays() {
    for (capacity, low, high) in [
        (300_000, 100e3, 200e3),
        (1_000_000, 400e3, 560e3),
        (20_000_000, 1_500e3, 1_900e3),
    ] {
        let mut stage = Stage::new(LinkSpec::steady(capacity));
        stage.run(10);
        let settled = stage.count(EventKind::LayerSwitched);
        let dropped = stage.link.dropped.len();
        stage.run(30);
        let bps = stage.video_bps(5);
        assert!((low..high).contains(&bps), "{capacity}: {bps}");
        let more = stage.count(EventKind::LayerSwitched) - settled;
        assert!(more <= 1, "{capacity}: {more} switches in 30 s");
        assert_eq!(stage.count(EventKind::VideoStarved), 0);
        assert_eq!(stage.link.dropped.len(), dropped, "{capacity}");
        let estimate = stage.transport().estimate_bps.load();
        assert!(estimate > 0 && estimate < 3 * capacity, "{estimate}");
    }
}

#[test]
fn a_viewer_that_is_not_limited_is_sent_everything_at_once() {
    let mut stage = Stage::new(LinkSpec::steady(50_000_000));
    stage.run(10);
    let before = stage.transport().packets_sent.load();
    let probes = stage.transport().probe_bytes.load();
    // A picture goes out in the flush that it came in, and the pacer has nothing.
    stage.publish();
    let sent = stage.caught.borrow().len();
    assert!(sent >= PICTURES[2] / 1_100, "{sent}");
    assert_eq!(stage.transport().pacer_packets.load(), 0);
    stage.run(10);
    assert!(stage.transport().packets_sent.load() > before);
    // Once the estimate is twice what is sent, nothing is sent to find out more.
    assert_eq!(stage.transport().probe_bytes.load(), probes);
}

#[test]
fn who_is_paced_gets_every_packet_once_in_order_and_in_time() {
    // Room for the highest layer, and not for its bursts; and little known of it at first.
    let mut stage = Stage::with_estimator(LinkSpec::steady(2_400_000), |bounds| {
        let start_bps = 600_000;
        Box::new(IonEstimator::new(Bounds {
            start_bps,
            ..bounds
        }))
    });
    let mut waited = 0;
    for _ in 0..6_000 {
        stage.step();
        waited = waited.max(stage.transport().pacer_packets.load());
    }
    assert!(waited > 0, "nothing had to wait");
    assert!(stage.video_bps(5) > 1_500e3, "{}", stage.video_bps(5));
    assert_eq!(stage.link.dropped.len(), 0);
    assert!(stage.indices.len() > 4_000);
    assert!(stage.indices.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn who_asks_for_everything_again_over_a_full_link_gets_it_at_its_pace() {
    let mut stage = Stage::new(LinkSpec::steady(400_000));
    stage.run(10);
    let row = stage.video;
    let again = |stage: &Stage| {
        let counters = stage.world.subscription_counters(row);
        (
            counters.retransmitted_bytes.load(),
            counters.nacks_suppressed.load(),
        )
    };
    let before = again(&stage);
    for _ in 0..1_000 {
        stage.ask_for_newest(row);
        stage.step();
    }
    let after = again(&stage);
    let bps = (after.0 - before.0) * 8 / 5;
    assert!(bps > 20_000 && bps < 900_000, "{bps}");
    assert!(after.1 > before.1, "what is refused is counted");
}

/// Repairs while there was room for everything are no debt that pictures have to wait for later.
#[test]
fn who_was_sent_much_again_is_sent_pictures_at_once_when_the_link_narrows() {
    let rates = [(0.0, 20_000_000), (41.0, 1_000_000)];
    let mut stage = Stage::new(LinkSpec::steady(1).rates(&rates));
    stage.run(10);
    let row = stage.video;
    for _ in 0..6_000 {
        stage.ask_for_newest(row);
        stage.step();
    }
    let counters = stage.world.subscription_counters(row);
    assert!(counters.retransmitted_bytes.load() > 2_000_000);
    stage.run(6);
    assert!(stage.video_bps(3) > 300e3, "{}", stage.video_bps(3));
}

#[test]
fn a_link_that_collapses_costs_layers_then_video_and_never_audio() {
    let rates = [(0.0, 5_000_000), (15.0, 90_000), (40.0, 5_000_000)];
    let mut spec = LinkSpec::steady(1).rates(&rates);
    spec.queue = ion_sim::link::Queue::TailDrop(50_000);
    let mut stage = Stage::new(spec);
    stage.run(14);
    assert!(stage.video_bps(3) > 1_500e3);
    stage.run(10);
    assert_eq!(
        stage.count(EventKind::VideoStarved),
        1,
        "{:?}",
        stage.transport()
    );
    let audio = stage.audio_got;
    stage.run(10);
    assert!(stage.video_bps(5) < 10e3, "{}", stage.video_bps(5));
    // 30 packets of audio a second, all of them.
    assert!(
        stage.audio_got - audio >= 295,
        "{}",
        stage.audio_got - audio
    );
    stage.run(20);
    assert_eq!(stage.count(EventKind::VideoFed), 1);
    assert!(stage.video_bps(3) > 1_500e3, "{}", stage.video_bps(3));
}

#[test]
fn layers_that_nobody_watches_are_told_of_and_again_when_somebody_does() {
    let mut stage = Stage::new(LinkSpec::steady(20_000_000));
    stage.run(10);
    // What is not watched is told of again and again.
    let layers = |stage: &Stage, kind| -> BTreeSet<u64> {
        let of = stage.seen.iter().filter(|event| event.kind == kind);
        of.map(|event| event.value).collect()
    };
    let unwatched = layers(&stage, EventKind::LayerUnwatched);
    assert_eq!(unwatched, [0, 1].into(), "only the highest is sent");
    stage
        .world
        .edit::<Subscription>(stage.video, |s| s.max_layer = 0);
    stage.run(6);
    assert_eq!(layers(&stage, EventKind::LayerWatched), [0].into());
    assert_eq!(layers(&stage, EventKind::LayerUnwatched).len(), 3);
    // Nothing comes any more, and that somebody watches is told all the same.
    stage.seen.clear();
    stage
        .world
        .edit::<Subscription>(stage.video, |s| s.max_layer = 2);
    stage.run(1);
    assert!(layers(&stage, EventKind::LayerWatched).contains(&2));
    let _ = stage.track;
}

fn message(base: u16, arrivals: &[Option<u64>]) -> Vec<u8> {
    let mut buffer = vec![0; 1_200];
    let header = twcc::TwccHeader {
        sender_ssrc: 7,
        media_ssrc: 1,
        base_sequence: base,
        feedback_count: 0,
    };
    let written = twcc::write(&mut buffer, &header, arrivals).unwrap();
    buffer.truncate(written.len);
    buffer
}

#[test]
fn hostile_feedback_is_refused_and_bounded() {
    let mut stage = Stage::new(LinkSpec::steady(20_000_000));
    stage.run(5);
    let estimate = stage.transport().estimate_bps.load();
    let viewer = stage.viewer;
    // Of packets that were never sent.
    let next = (stage.reported & 0xffff) as u16;
    stage
        .world
        .send_rtcp(viewer, &message(next.wrapping_add(20_000), &[Some(1); 300]));
    assert_eq!(stage.world.drops(0, DropReason::FeedbackRefused), 1);
    assert_eq!(stage.transport().estimate_bps.load(), estimate);
    // A flood of it.
    for _ in 0..500 {
        stage
            .world
            .send_rtcp(viewer, &message(next.wrapping_add(20_000), &[Some(1); 300]));
    }
    let limit = u64::from(ion_engine::limits::VIEWER_FEEDBACKS);
    assert!(stage.world.drops(0, DropReason::FeedbackRefused) <= 2 * limit);
    assert!(stage.world.drops(0, DropReason::RateLimited) >= 500 - 2 * limit);
    // Absurd REMBs neither stop the audio nor lift the estimate beyond its bounds.
    for bps in [0, 1, u64::MAX] {
        stage.world.advance(200_000);
        let mut buffer = [0; 64];
        let len = build::remb(&mut buffer, 7, bps, &[media_ssrc(stage.video)]).unwrap();
        stage.world.send_rtcp(viewer, &buffer[..len]);
        let estimate = stage.transport().estimate_bps.load();
        assert!(
            (1_000..=100_000_000).contains(&estimate),
            "{bps}: {estimate}"
        );
    }
    let audio = stage.audio_got;
    stage.run(5);
    assert!(stage.audio_got - audio > 140);
    assert_eq!(stage.world.drops(0, DropReason::MalformedRtcp), 0);
}
