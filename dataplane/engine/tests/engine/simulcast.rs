//! Several encodings of a track: what viewers get over switches between them.

use crate::harness::*;
use crate::model::*;
use ion_engine::{Layer, Target};
use ion_tables::{ExtensionKind, SubscriptionCounters};
use ion_wire::CodecKind;
use ion_wire::codec::{vp8, vp9};
use ion_wire::dependency::Mandatory;
use std::collections::BTreeSet;

/// Three encodings of VP8, two temporal layers each, as browsers send them.
struct Simulcast {
    world: World,
    publisher: usize,
    track: u32,
    encoders: Vec<Encoder>,
    /// Encodings that are not sent.
    silent: Vec<usize>,
}

impl Simulcast {
    fn new(shape: Shape) -> Self {
        let mut world = World::new(1);
        let publisher = world.client(0, false);
        let encoders: Vec<_> = (0..3_u32)
            .map(|i| {
                Encoder::new(
                    shape,
                    10 + i,
                    500 * u64::from(i) + 100,
                    7_000 * u64::from(i),
                )
            })
            .collect();
        let edits: Vec<_> = encoders
            .iter()
            .map(|encoder| |config: &mut _| encoder.configure(config))
            .collect();
        let edits: Vec<&dyn Fn(&mut _)> =
            edits.iter().map(|edit| edit as &dyn Fn(&mut _)).collect();
        let track = world.track(publisher, true, &edits);
        Self {
            world,
            publisher,
            track,
            encoders,
            silent: Vec::new(),
        }
    }

    fn run(&mut self, pictures: usize) {
        for _ in 0..pictures {
            for (at, encoder) in self.encoders.iter_mut().enumerate() {
                let asked = self
                    .world
                    .plis(self.publisher)
                    .iter()
                    .filter(|(_, ssrc)| *ssrc == encoder.ssrc)
                    .count();
                let key = std::mem::replace(&mut encoder.answered, asked) != asked;
                for packet in encoder.picture(key, true, 2) {
                    if !self.silent.contains(&at) {
                        self.world.rtp(self.publisher, &packet);
                    }
                }
            }
            self.world.flush();
            self.world.advance(33_333);
        }
    }
}

#[test]
fn running_numbers_go_on_over_switches_between_encodings() {
    for codec in [CodecKind::Vp8, CodecKind::Vp9, CodecKind::Av1] {
        let mut stage = Simulcast::new(shape(codec, 1, 3, Mode::Full));
        let viewer = stage.world.client(0, true);
        let sub = stage.world.subscribe(viewer, stage.track);
        stage.run(5);
        for (encoding, temporal) in [(0, 7), (2, 1), (1, 0), (2, 7), (0, 0), (1, 7)] {
            let target = Target {
                encoding,
                layer: Layer {
                    spatial: 7,
                    temporal,
                },
            };
            let now = stage.world.now;
            stage.world.workers[0].engine.set_target(now, sub, target);
            stage.run(40);
        }
        let got = stage.world.clients[viewer].of(media_ssrc(sub));
        assert!(got.len() > 200);
        assert!(got.windows(2).all(|w| w[1].index == w[0].index + 1));
        assert!(stage.world.subscription_counters(sub).switches.load() >= 5);
        let steps = |number: &dyn Fn(&Got) -> Option<u16>, bits: u32| -> BTreeSet<u16> {
            let all: Vec<u16> = got.iter().filter_map(|got| number(got)).collect();
            assert_eq!(all.len(), got.len());
            let mask = u16::MAX >> (16 - bits);
            all.windows(2)
                .map(|w| w[1].wrapping_sub(w[0]) & mask)
                .collect()
        };
        match codec {
            CodecKind::Vp8 => {
                let of = |got: &Got| vp8::Descriptor::parse(&got.payload).unwrap();
                let id = steps(&|got| of(got).picture_id.map(|id| id.value), 15);
                assert_eq!(id, BTreeSet::from([0, 1]), "picture ids");
                let tl0 = steps(&|got| of(got).tl0_picidx.map(u16::from), 8);
                assert_eq!(tl0, BTreeSet::from([0, 1]), "TL0PICIDX");
                let key = steps(&|got| of(got).keyidx.map(u16::from), 5);
                assert_eq!(key, BTreeSet::from([0, 1]), "KEYIDX");
            }
            CodecKind::Vp9 => {
                let of = |got: &Got| vp9::Descriptor::parse(&got.payload).unwrap();
                let id = steps(&|got| of(got).picture_id.map(|id| id.value), 15);
                assert_eq!(
                    id,
                    BTreeSet::from([0, 1, 2, 4]),
                    "by the distance of what is left"
                );
                let tl0 = steps(&|got| of(got).tl0_picidx.map(u16::from), 8);
                assert_eq!(tl0, BTreeSet::from([0, 1]), "TL0PICIDX");
            }
            _ => {
                let number = |got: &Got| {
                    let value = got.extension(ExtensionKind::DependencyDescriptor)?;
                    Some(Mandatory::parse(value).unwrap().frame_number)
                };
                assert_eq!(
                    steps(&number, 16),
                    BTreeSet::from([0, 1, 2, 4]),
                    "frame numbers"
                );
            }
        }
    }
}

#[test]
fn encodings_that_have_layers_themselves() {
    for codec in [CodecKind::Vp9, CodecKind::Av1] {
        for mode in [Mode::Full, Mode::Key] {
            let mut stage = Simulcast::new(shape(codec, 2, 2, mode));
            let viewer = stage.world.client(0, true);
            let sub = stage.world.subscribe(viewer, stage.track);
            for (encoding, spatial, temporal) in [
                (2, 1, 1),
                (0, 1, 0),
                (1, 0, 1),
                (1, 1, 1),
                (2, 0, 0),
                (0, 0, 1),
                (2, 1, 1),
            ] {
                let layer = Layer { spatial, temporal };
                let now = stage.world.now;
                let target = Target { encoding, layer };
                stage.world.workers[0].engine.set_target(now, sub, target);
                stage.run(40);
                let counters = stage.world.subscription_counters(sub);
                let wanted = SubscriptionCounters::layer(encoding, spatial, temporal);
                assert_eq!(counters.layer_in_use.load(), wanted, "{codec:?} {mode:?}");
            }
            let got = stage.world.clients[viewer].of(media_ssrc(sub));
            assert!(got.windows(2).all(|w| w[1].index == w[0].index + 1));
            for pair in got.windows(2) {
                let same = pair[0].header.timestamp == pair[1].header.timestamp;
                assert_eq!(pair[0].header.marker, !same, "{codec:?} {mode:?}");
            }
        }
    }
}

#[test]
fn a_layer_that_falls_silent_is_left_within_a_second_and_taken_up_again() {
    let mut stage = Simulcast::new(shape(CodecKind::Vp8, 1, 1, Mode::Full));
    let viewer = stage.world.client(0, true);
    let sub = stage.world.subscribe(viewer, stage.track);
    stage.run(30);
    let in_use = |stage: &Simulcast| stage.world.subscription_counters(sub).layer_in_use.load();
    assert_eq!(in_use(&stage), SubscriptionCounters::layer(2, 0, 0));
    stage.silent = vec![2];
    stage.run(28);
    assert_eq!(
        in_use(&stage),
        SubscriptionCounters::layer(1, 0, 0),
        "after 0.93 s"
    );
    stage.silent.clear();
    stage.run(10);
    assert_eq!(in_use(&stage), SubscriptionCounters::layer(2, 0, 0));
    let got = stage.world.clients[viewer].of(media_ssrc(sub));
    assert!(got.windows(2).all(|w| w[1].index == w[0].index + 1));
}
