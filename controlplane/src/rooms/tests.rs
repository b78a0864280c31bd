use super::*;
use ion_sdp::{CodecKind, Fmtp};
use proptest::prelude::*;
use std::collections::HashSet;

fn codec(kind: CodecKind) -> TrackCodec {
    TrackCodec {
        kind,
        fmtp: Fmtp::default(),
    }
}

fn track(kind: CodecKind) -> Track {
    let medium = if kind == CodecKind::Opus {
        Kind::Audio
    } else {
        Kind::Video
    };
    Track {
        kind: medium,
        codec: codec(kind),
    }
}

fn slot(accepts: &[CodecKind]) -> Slot {
    let kind = if accepts.contains(&CodecKind::Opus) {
        Kind::Audio
    } else {
        Kind::Video
    };
    Slot {
        kind,
        accepts: accepts.iter().map(|kind| codec(*kind)).collect(),
    }
}

fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

fn identity(name: &str) -> Identity {
    Identity::parse(name).unwrap()
}

fn publish(rooms: &mut Rooms, key: u64, who: &str, codecs: &[CodecKind]) {
    let tracks = codecs.iter().map(|kind| track(*kind)).collect();
    let key = Key(key);
    let effects = rooms.handle(Input::Publish {
        key,
        room: room("r"),
        identity: identity(who),
        tracks,
    });
    assert_eq!(effects, [], "a publisher that is not live changes nothing");
}

fn play(rooms: &mut Rooms, key: u64, wanted: Option<&str>) -> Vec<Effect> {
    let slots = vec![
        slot(&[CodecKind::Opus]),
        slot(&[CodecKind::Vp8, CodecKind::H264]),
    ];
    let wanted = wanted.map(identity);
    let current = rooms.source(&room("r"), wanted.as_ref());
    rooms.handle(Input::Play {
        key: Key(key),
        room: room("r"),
        wanted,
        current,
        slots,
    })
}

fn bind(viewer: u64, slot: usize, track: Option<(u64, usize)>) -> Effect {
    let track = track.map(|(publisher, track)| TrackRef {
        publisher: Key(publisher),
        track,
    });
    Effect::Bind {
        viewer: Key(viewer),
        slot,
        track,
    }
}

#[test]
fn a_publisher_that_returns_takes_its_viewers_and_its_place() {
    let mut rooms = Rooms::default();
    publish(&mut rooms, 1, "ann", &[CodecKind::Opus, CodecKind::Vp8]);
    assert_eq!(rooms.source(&room("r"), None), None, "not live yet");
    rooms.handle(Input::Live(Key(1)));
    publish(&mut rooms, 2, "bob", &[CodecKind::Vp8]);
    rooms.handle(Input::Live(Key(2)));
    assert_eq!(
        play(&mut rooms, 10, None),
        [bind(10, 0, Some((1, 0))), bind(10, 1, Some((1, 1)))]
    );
    // With another codec, in another order, while the old session is still there.
    publish(&mut rooms, 3, "ann", &[CodecKind::H264, CodecKind::Opus]);
    let effects = rooms.handle(Input::Live(Key(3)));
    assert_eq!(
        effects,
        [
            Effect::Replaced(Key(1)),
            bind(10, 0, Some((3, 1))),
            bind(10, 1, Some((3, 0)))
        ]
    );
    assert_eq!(rooms.handle(Input::Ended(Key(1))), [], "already gone");
    assert_eq!(
        rooms.source(&room("r"), None),
        Some(Key(3)),
        "still the first"
    );
}

#[test]
fn viewers_wait_for_the_one_they_named_and_others_follow_the_first() {
    let mut rooms = Rooms::default();
    publish(&mut rooms, 1, "ann", &[CodecKind::Opus, CodecKind::Vp8]);
    publish(&mut rooms, 2, "bob", &[CodecKind::Opus, CodecKind::Vp9]);
    rooms.handle(Input::Live(Key(2)));
    rooms.handle(Input::Live(Key(1)));
    play(&mut rooms, 10, Some("ann"));
    play(&mut rooms, 11, None);
    assert_eq!(rooms.bound(Key(11))[1], None, "VP9 is not for this viewer");
    let effects = rooms.handle(Input::Ended(Key(2)));
    assert_eq!(
        effects,
        [bind(11, 0, Some((1, 0))), bind(11, 1, Some((1, 1)))]
    );
    let effects = rooms.handle(Input::Ended(Key(1)));
    assert_eq!(effects.len(), 4, "both wait now");
    assert!(
        rooms
            .bound(Key(10))
            .iter()
            .chain(rooms.bound(Key(11)))
            .all(Option::is_none)
    );
    publish(&mut rooms, 3, "bob", &[CodecKind::Vp8]);
    assert_eq!(
        rooms.handle(Input::Live(Key(3))),
        [bind(11, 1, Some((3, 0)))]
    );
    for key in [3, 10, 11] {
        rooms.handle(Input::Ended(Key(key)));
    }
    assert!(rooms.is_empty());
}

/// Inputs, as small numbers: the property makes sense of them.
fn inputs() -> impl Strategy<Value = Vec<(u8, u8, u8, u8)>> {
    prop::collection::vec((0..4_u8, 0..12_u8, 0..3_u8, any::<u8>()), 1..80)
}

const CODECS: [CodecKind; 4] = [
    CodecKind::Opus,
    CodecKind::Vp8,
    CodecKind::Vp9,
    CodecKind::H264,
];

fn some_codecs(bits: u8) -> Vec<CodecKind> {
    (0..4)
        .filter(|n| bits & (1 << n) != 0)
        .map(|n| CODECS[n])
        .collect()
}

struct Model {
    rooms: Rooms,
    /// Sessions that exist, and the binding of each m-section as effects told it.
    alive: HashSet<Key>,
    bound: HashMap<(Key, usize), TrackRef>,
}

impl Model {
    fn handle(&mut self, input: Input) {
        for effect in self.rooms.handle(input) {
            match effect {
                Effect::Bind {
                    viewer,
                    slot,
                    track: Some(track),
                } => {
                    self.bound.insert((viewer, slot), track);
                }
                Effect::Bind {
                    viewer,
                    slot,
                    track: None,
                } => {
                    assert!(self.bound.remove(&(viewer, slot)).is_some(), "it was bound");
                }
                Effect::Replaced(key) => {
                    assert!(self.alive.remove(&key));
                }
            }
        }
    }

    fn step(&mut self, (what, key, who, bits): (u8, u8, u8, u8)) {
        let key = Key(u64::from(key));
        let name = room(["a", "b"][usize::from(bits >> 7)]);
        let who = identity(["ann", "bob", "cay"][usize::from(who)]);
        match what {
            0 if self.alive.insert(key) => {
                let tracks = some_codecs(bits & 15).into_iter().map(track).collect();
                self.handle(Input::Publish {
                    key,
                    room: name,
                    identity: who,
                    tracks,
                });
            }
            1 if self.alive.insert(key) => {
                let wanted = (bits & 64 != 0).then_some(who);
                let current = self.rooms.source(&name, wanted.as_ref());
                let video: Vec<_> = some_codecs(bits & 14);
                let slots = vec![
                    slot(&[CodecKind::Opus]),
                    slot(&video),
                    slot(&[CodecKind::Vp8]),
                ];
                self.handle(Input::Play {
                    key,
                    room: name,
                    wanted,
                    current,
                    slots,
                });
            }
            2 => self.handle(Input::Live(key)),
            3 => {
                self.alive.remove(&key);
                self.bound.retain(|(viewer, _), _| *viewer != key);
                self.handle(Input::Ended(key));
            }
            _ => {}
        }
    }

    fn check(&self) {
        let mut sessions = 0;
        for (name, room) in &self.rooms.rooms {
            assert!(room.sessions() > 0, "an empty room exists");
            sessions += room.sessions();
            let live: Vec<_> = room
                .publishers
                .values()
                .filter(|p| p.live.is_some())
                .collect();
            let who: HashSet<_> = live.iter().map(|p| &p.identity).collect();
            assert_eq!(who.len(), live.len(), "two live publishers of one identity");
            for (key, viewer) in &room.viewers {
                self.check_viewer(name, room, *key, viewer);
            }
        }
        assert_eq!(sessions, self.alive.len());
        assert_eq!(self.rooms.of.len(), sessions);
    }

    fn check_viewer(&self, name: &RoomName, room: &Room, key: Key, viewer: &Viewer) {
        let mut seen = HashSet::new();
        let mut sources = HashSet::new();
        for (index, bound) in viewer.bound.iter().enumerate() {
            assert_eq!(
                self.bound.get(&(key, index)),
                bound.as_ref(),
                "effects told otherwise"
            );
            let Some(bound) = bound else { continue };
            assert!(seen.insert(bound), "one track twice");
            sources.insert(bound.publisher);
            let publisher = &room.publishers[&bound.publisher];
            assert!(publisher.live.is_some(), "plays one who is not live");
            let (track, slot) = (&publisher.tracks[bound.track], &viewer.slots[index]);
            assert_eq!(track.kind, slot.kind);
            assert!(slot.accepts.iter().any(|codec| track.codec.fits(codec)));
            assert!(
                viewer
                    .wanted
                    .as_ref()
                    .is_none_or(|wanted| *wanted == publisher.identity)
            );
        }
        assert!(sources.len() <= 1, "plays two publishers");
        // Nobody is forgotten: a section without a track has no track left that fits.
        let source = match &viewer.wanted {
            Some(wanted) => self.rooms.source(name, Some(wanted)),
            None => viewer
                .current
                .filter(|key| room.publishers.get(key).is_some_and(|p| p.live.is_some())),
        };
        if viewer.wanted.is_none() && source.is_none() {
            assert_eq!(
                self.rooms.source(name, None),
                None,
                "the first was not taken"
            );
        }
        let tracks = source.map_or(&[][..], |key| &room.publishers[&key].tracks);
        for (index, slot) in viewer.slots.iter().enumerate() {
            let fits = |track: &Track| {
                track.kind == slot.kind && slot.accepts.iter().any(|codec| track.codec.fits(codec))
            };
            let is_free = |n: &usize| {
                !viewer
                    .bound
                    .iter()
                    .flatten()
                    .any(|b| Some(b.publisher) == source && b.track == *n)
            };
            if viewer.bound[index].is_none() {
                let left = (0..tracks.len())
                    .filter(is_free)
                    .find(|n| fits(&tracks[*n]));
                assert_eq!(left, None, "a section is empty that could play");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        rng_seed: proptest::test_runner::RngSeed::Fixed(3),
        ..ProptestConfig::default()
    })]

    #[test]
    fn invariants_hold_after_any_inputs(inputs in inputs()) {
        let mut model = Model { rooms: Rooms::default(), alive: HashSet::new(), bound: HashMap::new() };
        for input in inputs {
            model.step(input);
            model.check();
        }
    }
}
