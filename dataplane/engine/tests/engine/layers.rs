//! Layers inside encodings: what viewers of each choice get, over switches, losses and reordering.

use crate::harness::*;
use crate::model::*;
use ion_engine::{Layer, Target};
use ion_tables::{ExtensionKind, Subscription, SubscriptionCounters};
use ion_wire::CodecKind;
use ion_wire::codec::{vp8, vp9};
use ion_wire::dependency::{Frame, Structure};
use ion_wire::rtcp::{build, twcc};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const SHAPES: [Shape; 6] = [
    shape(CodecKind::Vp8, 1, 3, Mode::Full),
    shape(CodecKind::Vp9, 3, 3, Mode::Full),
    shape(CodecKind::Vp9, 3, 3, Mode::Key),
    shape(CodecKind::Av1, 3, 3, Mode::Full),
    shape(CodecKind::Av1, 3, 3, Mode::Key),
    shape(CodecKind::Av1, 1, 2, Mode::Full),
];

fn target(spatial: u8, temporal: u8) -> Target {
    Target {
        encoding: u8::MAX,
        layer: Layer { spatial, temporal },
    }
}

struct Stage {
    world: World,
    publisher: usize,
    viewer: usize,
    sub: u32,
    encoder: Encoder,
    /// Packets of each frame.
    parts: u64,
    /// Packets that were left to the pacer.
    behind: usize,
    /// Whether the viewer reports on packets, so far so many, in so many messages.
    acknowledges: bool,
    reported: usize,
    count: u8,
}

impl Stage {
    fn new(shape: Shape, first_index: u64) -> Self {
        let mut world = World::new(1);
        let publisher = world.client(0, false);
        let encoder = Encoder::new(shape, 10, first_index, 32_700);
        let track = world.track(publisher, true, &[&|config| encoder.configure(config)]);
        let viewer = world.client(0, true);
        let sub = world.subscribe(viewer, track);
        Self {
            world,
            publisher,
            viewer,
            sub,
            encoder,
            parts: 2,
            behind: 0,
            acknowledges: false,
            reported: 0,
            count: 0,
        }
    }

    fn want(&mut self, target: Target) {
        let now = self.world.now;
        self.world.workers[0]
            .engine
            .set_target(now, self.sub, target);
    }

    /// So many pictures, all of which arrive; keyframes where they are asked for.
    fn run(&mut self, pictures: usize) {
        for _ in 0..pictures {
            let asked = self.world.plis(self.publisher).len();
            let key = std::mem::replace(&mut self.encoder.answered, asked) != asked;
            for packet in self.encoder.picture(key, true, self.parts) {
                self.world.rtp(self.publisher, &packet);
            }
            self.world.flush();
            let at_once = self.world.clients[self.viewer].rtp.len();
            for _ in 0..3 {
                self.world.advance(11_111);
                if self.acknowledges {
                    self.acknowledge();
                }
            }
            self.behind += self.world.clients[self.viewer].rtp.len() - at_once;
        }
    }

    /// The viewer says that all has come, and just now.
    fn acknowledge(&mut self) {
        let got = &self.world.clients[self.viewer].rtp[self.reported..];
        let numbers = got
            .iter()
            .filter_map(|got| got.extension(ExtensionKind::TransportCc));
        let mut numbers = numbers.map(|number| u16::from_be_bytes(number.try_into().unwrap()));
        let Some(base_sequence) = numbers.next() else {
            return;
        };
        let arrivals = vec![Some(self.world.now.0 + 50_000_000); numbers.count() + 1];
        self.reported += got.len();
        let header = twcc::TwccHeader {
            sender_ssrc: 7,
            media_ssrc: media_ssrc(self.sub),
            base_sequence,
            feedback_count: self.count,
        };
        self.count = self.count.wrapping_add(1);
        let mut buffer = vec![0; 1_200];
        let written = twcc::write(&mut buffer, &header, &arrivals).unwrap();
        self.world.send_rtcp(self.viewer, &buffer[..written.len]);
    }

    /// Frames that the viewer got all of, with the index of their first packet.
    fn frames(&self) -> BTreeMap<u64, u64> {
        let mut parts: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for got in self.world.clients[self.viewer].of(media_ssrc(self.sub)) {
            if let Some((number, _)) = tag(&got.payload) {
                parts.entry(number).or_default().push(got.index);
            }
        }
        let whole = |number: u64, parts: &[u64]| {
            let packets = &self.encoder.made[number as usize].packets;
            parts.len() as u64 == packets.end - packets.start
        };
        parts.retain(|&number, parts| whole(number, parts));
        parts
            .into_iter()
            .map(|(number, parts)| (number, *parts.iter().min().unwrap()))
            .collect()
    }

    /// What must hold of everything that the viewer was sent, whatever was lost: `lost` are indices of the publisher
    /// that never came.
    fn check(&self, lost: &BTreeSet<u64>) {
        let got = self.world.clients[self.viewer].of(media_ssrc(self.sub));
        let mut order: BTreeMap<u64, (u64, u8)> = BTreeMap::new();
        for got in &got {
            if let Some(tag) = tag(&got.payload) {
                order.insert(got.index, tag);
            }
        }
        let indices: BTreeSet<u64> = got.iter().map(|g| g.index).collect();
        assert_eq!(indices.len(), got.len(), "no number twice");
        let (low, high) = (indices.first().unwrap(), indices.last().unwrap());
        let gaps = high - low + 1 - indices.len() as u64;
        assert!(
            gaps <= lost.len() as u64,
            "{gaps} gaps, {} lost",
            lost.len()
        );
        // The publisher's order, and its times.
        let tags: Vec<_> = order.values().collect();
        assert!(tags.windows(2).all(|w| w[0] < w[1]), "in order");
        let first = tags[0].0;
        let offset = |number: u64, timestamp: u32| {
            timestamp.wrapping_sub(
                self.encoder
                    .timestamp(self.encoder.made[number as usize].picture),
            )
        };
        let expected = got
            .iter()
            .find_map(|g| Some(offset(tag(&g.payload)?.0, g.header.timestamp)));
        for got in &got {
            if let Some((number, _)) = tag(&got.payload) {
                assert_eq!(Some(offset(number, got.header.timestamp)), expected);
            }
        }
        // Of frames that nothing was lost of, all that they depend on was sent.
        let frames = self.frames();
        let mut damaged = BTreeSet::new();
        for (number, made) in self.encoder.made.iter().enumerate() {
            let number = number as u64;
            if made.packets.clone().any(|index| lost.contains(&index))
                || made.references.iter().any(|r| damaged.contains(r))
            {
                damaged.insert(number);
            }
        }
        for &number in frames.keys().filter(|number| !damaged.contains(number)) {
            for reference in &self.encoder.made[number as usize].references {
                assert!(
                    frames.contains_key(reference) || *reference < first,
                    "{number} {:?} needs {reference} {:?}",
                    self.encoder.made[number as usize],
                    self.encoder.made[*reference as usize],
                );
            }
        }
    }

    /// What must hold besides where nothing was lost and all came in order.
    fn check_whole(&self) {
        self.check(&BTreeSet::new());
        let mut got = self.world.clients[self.viewer].of(media_ssrc(self.sub));
        got.sort_by_key(|g| g.index);
        assert!(got.iter().all(|g| !g.payload.is_empty()), "nothing blank");
        for pair in got.windows(2) {
            let same = pair[0].header.timestamp == pair[1].header.timestamp;
            assert_eq!(pair[0].header.marker, !same, "the marker ends a picture");
        }
        let ids: Vec<u16> = got
            .iter()
            .filter_map(|g| self.picture_id(&g.payload))
            .collect();
        if self.encoder.shape.codec == CodecKind::Vp8 {
            for pair in ids.windows(2) {
                let step = pair[1].wrapping_sub(pair[0]) & 0x7fff;
                assert!(step <= 1, "picture ids run on: {pair:?}");
            }
        }
    }

    fn picture_id(&self, payload: &[u8]) -> Option<u16> {
        let id = match self.encoder.shape.codec {
            CodecKind::Vp8 => vp8::Descriptor::parse(payload).ok()?.picture_id,
            CodecKind::Vp9 => vp9::Descriptor::parse(payload).ok()?.picture_id,
            _ => None,
        };
        id.map(|id| id.value)
    }

    /// Frames of the last pictures that were sent, of those that should have been.
    fn layers_of_last(&self, pictures: u64) -> BTreeSet<(u64, u8, u8)> {
        let frames = self.frames();
        let last = self.encoder.made.last().unwrap().picture;
        frames
            .keys()
            .map(|&number| &self.encoder.made[number as usize])
            .filter(|made| made.picture + pictures > last)
            .map(|made| (made.picture, made.spatial, made.temporal))
            .collect()
    }

    /// The same, of a layer: what its viewers need.
    fn expected(&self, pictures: u64, target: Layer) -> BTreeSet<(u64, u8, u8)> {
        let last = self.encoder.made.last().unwrap().picture;
        let key_mode = self.encoder.shape.mode == Mode::Key;
        let needed = |made: &&Made| {
            let spatial = if key_mode && !made.key {
                made.spatial == target.spatial
            } else {
                made.spatial <= target.spatial
            };
            spatial && made.temporal <= target.temporal && made.picture + pictures > last
        };
        let made = self.encoder.made.iter().filter(needed);
        made.map(|made| (made.picture, made.spatial, made.temporal))
            .collect()
    }
}

#[test]
fn every_layer_is_got_whole_and_alone_after_every_change() {
    for shape in SHAPES {
        let mut stage = Stage::new(shape, 65_300);
        stage.run(8);
        let layers = |n: u8| (0..n).chain((0..n).rev());
        for spatial in layers(shape.spatial) {
            for temporal in layers(shape.temporal) {
                stage.want(target(spatial, temporal));
                stage.run(28);
                let layer = Layer { spatial, temporal };
                assert_eq!(
                    stage.layers_of_last(8),
                    stage.expected(8, layer),
                    "{shape:?} {layer:?}"
                );
                let counters = stage.world.subscription_counters(stage.sub);
                let in_use = SubscriptionCounters::layer(0, spatial, temporal);
                assert_eq!(counters.layer_in_use.load(), in_use, "{shape:?} {layer:?}");
                assert_eq!(counters.layer_wanted.load(), in_use);
            }
        }
        stage.check_whole();
        assert_eq!(stage.world.all_drops(), []);
    }
}

/// What a network carries is given by REMB, as a part of what everything takes: fewer pictures come after smaller ones.
#[test]
fn a_network_that_carries_less_gets_the_layers_that_it_carries() {
    for shape in SHAPES.into_iter().filter(|shape| shape.spatial == 3) {
        let mut stage = Stage::new(shape, 1_000);
        stage.parts = 40;
        stage.run(90);
        stage.reported = stage.world.clients[stage.viewer].rtp.len();
        stage.acknowledges = true;
        let rate = |stage: &Stage, pictures: usize| {
            let frames = stage.layers_of_last(pictures as u64).len() as u64;
            let got = stage.world.clients[stage.viewer].of(media_ssrc(stage.sub));
            let last = &got[got.len() - (frames * stage.parts) as usize..];
            let bytes: usize = last.iter().map(|got| got.payload.len() + 44).sum();
            bytes as u64 * 8 * 1_000_000 / (pictures as u64 * 33_333)
        };
        let whole = rate(&stage, 60);
        // In hundredths: between what a step takes and what the next one would, with its margin.
        let steps = match shape.mode {
            Mode::Full => [(90, 1, 2), (50, 0, 2), (25, 0, 1), (14, 0, 0), (200, 2, 2)],
            // Of each picture one frame, whatever its size.
            Mode::Key => [(90, 0, 1), (40, 0, 0), (80, 0, 1), (40, 0, 0), (200, 2, 2)],
        };
        for (percent, spatial, temporal) in steps {
            for _ in 0..2 {
                let mut buffer = vec![0; 64];
                let bps = whole * percent / 100;
                let len = build::remb(&mut buffer, 7, bps, &[media_ssrc(stage.sub)]).unwrap();
                stage.world.send_rtcp(stage.viewer, &buffer[..len]);
                stage.run(120);
                if percent < 100 {
                    let sent = rate(&stage, 60);
                    assert!(sent <= bps, "{shape:?} {sent} of {bps}");
                }
            }
            let layer = Layer { spatial, temporal };
            let got = stage.layers_of_last(8);
            assert_eq!(got, stage.expected(8, layer), "{shape:?} {percent}");
        }
        assert!(stage.behind > 0, "nothing was paced");
        stage.check_whole();
        assert_eq!(stage.world.all_drops(), []);
    }
}

#[test]
fn the_row_bounds_the_layers() {
    let mut stage = Stage::new(SHAPES[1], 1_000);
    stage.world.edit::<Subscription>(stage.sub, |config| {
        (config.spatial_layers, config.temporal_layers) = (2, 1);
    });
    stage.run(30);
    let layer = Layer {
        spatial: 1,
        temporal: 0,
    };
    assert_eq!(stage.layers_of_last(30), stage.expected(30, layer));
    stage.check_whole();
}

proptest! {
    #![proptest_config(crate::seeded(96))]

    /// Pictures of one to three packets, of which some are lost and some late; keyframes and changes of layer at any
    /// time; numbers that wrap.
    #[test]
    fn numbers_and_dependencies_hold_whatever_happens(
        shape in prop::sample::select(&SHAPES[..]),
        start in 65_300_u64..65_500,
        pictures in prop::collection::vec(
            (0_u8..40, any::<bool>(), 1_u64..4, prop::collection::vec((0_u8..60, 0_u64..12), 9), 0_u8..3, 0_u8..3),
            20..90,
        ),
        (lossy, late) in any::<(bool, bool)>(),
    ) {
        let mut stage = Stage::new(shape, start);
        let plain = stage.world.client(0, true);
        let plain_sub = stage.world.subscribe_with(plain, 0, |config| {
            (config.rtx_ssrc, config.rtx_payload_type) = (0, 0);
        });
        let mut arrivals: Vec<(u64, Rtp)> = Vec::new();
        let (mut lost, mut changes) = (BTreeSet::new(), Vec::new());
        for (at, (chance, sync, parts, fates, spatial, temporal)) in pictures.iter().enumerate() {
            if *chance < 6 {
                changes.push((stage.encoder.next_index, target(*spatial, *temporal)));
            }
            let packets = stage.encoder.picture(*chance == 39, *sync, *parts);
            for (packet, (fate, delay)) in packets.into_iter().zip(fates) {
                if lossy && *fate == 0 && at > 0 {
                    lost.insert(packet.index);
                    continue;
                }
                let delay = if late && *fate < 12 && at > 1 { *delay } else { 0 };
                arrivals.push((packet.index + delay, packet));
            }
        }
        arrivals.sort_by_key(|(at, packet)| (*at, packet.index));
        let mut changes = changes.into_iter().peekable();
        for (n, (at, packet)) in arrivals.iter().enumerate() {
            while let Some((_, target)) = changes.next_if(|(when, _)| when <= at) {
                stage.want(target);
                let now = stage.world.now;
                stage.world.workers[0].engine.set_target(now, plain_sub, target);
            }
            stage.world.rtp(stage.publisher, packet);
            if n % 4 == 0 {
                stage.world.flush();
                stage.world.advance(5_000);
            }
        }
        stage.world.flush();
        stage.check(&lost);
        if !lossy && !late {
            stage.check_whole();
        }
        // To a viewer without RTX all of it goes again under the same numbers: the harness checks that it is the same.
        let ask: Vec<u16> = stage.world.clients[plain].rtp.iter().map(|got| got.index as u16).rev().take(100).collect();
        stage.world.advance(300_000);
        stage.world.send_rtcp(plain, &nack(media_ssrc(plain_sub), &ask));
        let again = stage.world.clients[plain].rtp.iter().filter(|got| got.again).count();
        prop_assert!(ask.len() < 20 || again > 0);
        // What the viewer asks for again is what it was sent.
        let sent: BTreeMap<u16, Vec<u8>> = stage.world.clients[stage.viewer]
            .of(media_ssrc(stage.sub))
            .iter()
            .map(|got| (got.index as u16, got.payload.clone()))
            .collect();
        let ask: Vec<u16> = sent.keys().copied().rev().take(60).collect();
        stage.world.send_rtcp(stage.viewer, &nack(media_ssrc(stage.sub), &ask));
        let again = stage.world.clients[stage.viewer].of(media_ssrc(stage.sub) + 1);
        for got in &again {
            let (original, payload) = got.payload.split_first_chunk::<2>().unwrap();
            let original = u16::from_be_bytes(*original);
            prop_assert_eq!(sent.get(&original).map(Vec::as_slice), Some(payload));
        }
        prop_assert!(ask.is_empty() || !again.is_empty());
    }
}

#[test]
fn a_spatial_layer_that_falls_silent_is_left_within_a_second() {
    for shape in &SHAPES[1..5] {
        let mut stage = Stage::new(*shape, 1_000);
        stage.run(30);
        // The encoder stops its highest layer: says nothing, and goes on with two.
        stage.encoder.shape.spatial = 2;
        stage.encoder.announced = 3;
        stage.run(30);
        let layer = Layer {
            spatial: 1,
            temporal: 2,
        };
        assert_eq!(
            stage.layers_of_last(4),
            stage.expected(4, layer),
            "{shape:?}"
        );
    }
}

#[test]
fn a_viewer_without_descriptors_gets_the_one_spatial_layer_of_av1_that_it_can_play() {
    for shape in SHAPES {
        let mut stage = Stage::new(shape, 1_000);
        let mut map = stage.world.clients[stage.viewer].map;
        map.set(ExtensionKind::DependencyDescriptor, 0);
        let flags = ion_tables::TransportConfig::TRANSPORT_CC_OUT;
        let profile = ion_srtp::Profile::AeadAes128Gcm;
        stage.viewer = stage.world.client_with(0, map, flags, profile);
        let config = stage.world.tables.config::<Subscription>(stage.sub);
        let track = config.unwrap().read().unwrap().track.row;
        stage.sub = stage.world.subscribe(stage.viewer, track);
        stage.run(30);
        let spatial = if shape.codec == CodecKind::Av1 {
            0
        } else {
            shape.spatial - 1
        };
        let temporal = shape.temporal - 1;
        let layer = Layer { spatial, temporal };
        assert_eq!(stage.layers_of_last(8), stage.expected(8, layer));
        stage.check_whole();
    }
}

#[test]
fn a_viewer_of_some_decode_targets_is_told_of_those() {
    let mut stage = Stage::new(SHAPES[4], 1_000);
    stage.want(target(1, 0));
    stage.run(10);
    let got = stage.world.clients[stage.viewer].of(media_ssrc(stage.sub));
    let value = got[0]
        .extension(ExtensionKind::DependencyDescriptor)
        .unwrap();
    let structure = Structure::parse(value).unwrap().unwrap();
    let frame = Frame::parse(value, &structure).unwrap();
    // Targets are three temporal layers of each spatial layer.
    assert_eq!(frame.active_targets, Some(0b00_1001));
}
