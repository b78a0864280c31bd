//! Whatever happens in whatever order: the invariants of `rooms` hold, effects tell the truth, and
//! nothing is left behind.

use super::*;
use ion_api::govern::{AudioSettings, Silence};
use proptest::prelude::*;
use std::collections::BTreeMap;

const ROOMS: [&str; 3] = ["a", "b", "c"];
const NAMES: [&str; 3] = ["ann", "bob", "cay"];
const CODECS: [CodecKind; 4] = [
    CodecKind::Opus,
    CodecKind::Vp8,
    CodecKind::Vp9,
    CodecKind::H264,
];

type Step = (u8, u8, u8, u8);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0..26_u8, 0..8_u8, any::<u8>(), any::<u8>()), 1..120)
}

#[derive(Default)]
struct Model {
    rooms: Rooms,
    /// What effects said of each slot.
    bound: BTreeMap<(Key, usize), PublicationId>,
    versions: BTreeMap<Key, u32>,
    next_publication: u64,
}

impl Model {
    fn handle(&mut self, now: Instant, input: Input) {
        let is_there: BTreeSet<Key> = self.rooms.participants.keys().copied().collect();
        let joining = match &input {
            Input::Join(join) => Some(join.key),
            _ => None,
        };
        let Ok(effects) = self.rooms.handle(input, now) else {
            return;
        };
        for effect in effects {
            match effect {
                Effect::Bind {
                    viewer,
                    slot,
                    from,
                    to,
                } => {
                    assert_eq!(
                        self.bound.get(&(viewer, slot)).copied(),
                        from,
                        "told otherwise"
                    );
                    match to {
                        Some(to) => self.bound.insert((viewer, slot), to),
                        None => self.bound.remove(&(viewer, slot)),
                    };
                }
                Effect::Ended { key, .. } => {
                    assert!(is_there.contains(&key), "ended twice");
                    assert!(
                        self.bound.keys().all(|(viewer, _)| *viewer != key),
                        "left bound"
                    );
                    self.versions.remove(&key);
                }
                Effect::Tell { to, event, .. } => {
                    for key in &to {
                        assert!(
                            is_there.contains(key) || joining == Some(*key),
                            "told a stranger"
                        );
                    }
                    self.see(&event);
                }
                Effect::Resubscribed(key) => {
                    assert!(is_there.contains(&key) || joining == Some(key));
                }
                Effect::Unpublished { publication, .. } => {
                    assert!(!self.rooms.publications.contains_key(&publication));
                }
                Effect::Changed(_) | Effect::RoomChanged(_) => {}
            }
        }
    }

    /// Versions grow.
    fn see(&mut self, event: &Event) {
        let Event::ParticipantUpdated(changed) = event else {
            return;
        };
        let (key, version) = (
            Key::from(changed.participant.id),
            changed.participant.version,
        );
        let before = self.versions.insert(key, version);
        assert!(
            before.is_none_or(|before| before < version),
            "a version went back"
        );
    }

    fn some_publication(&self, pick: u8) -> PublicationId {
        let known = self.rooms.publications.keys();
        let ids: Vec<PublicationId> = known.chain(self.rooms.seats.keys()).copied().collect();
        let absent = PublicationId(u64::MAX);
        ids.get(usize::from(pick) % ids.len().max(1))
            .copied()
            .unwrap_or(absent)
    }

    fn step(&mut self, now: Instant, (what, who, x, y): Step) {
        let key = Key(u64::from(who));
        let name = room(ROOMS[usize::from(x) % 3]);
        let input = match what {
            0..=2 => self.join(key, what, &name, x, y),
            3 | 4 => Input::Live(key),
            5 => Input::Down(key),
            6 => Input::Leave {
                key,
                reason: Reason::Left,
            },
            7 | 8 => {
                self.next_publication += 1;
                let kind = CODECS[usize::from(x) % 4];
                Input::Publish(Box::new(publication(key.0, self.next_publication, kind)))
            }
            9 => Input::Unpublish(self.some_publication(x)),
            10 | 11 => Input::Slots {
                key,
                slots: self.slots(x, y),
            },
            12 => Input::Subscribe {
                key,
                auto: Some(x & 1 == 0),
                changes: vec![Wish {
                    publication: self.some_publication(y),
                    subscribed: [None, Some(true), Some(false)][usize::from(x) % 3],
                    bounds: None,
                }],
            },
            13 => Input::Permit {
                key,
                permissions: Permissions {
                    can_publish: x & 1 == 0,
                    can_subscribe: x & 2 == 0,
                    hidden: x & 12 == 12,
                    room_admin: x & 16 != 0,
                    ..Permissions::default()
                },
            },
            14 => Input::Move {
                keys: vec![key, Key(u64::from(y % 8))],
                to: name,
            },
            15 => Input::Merge {
                from: room(ROOMS[usize::from(y) % 3]),
                into: name,
            },
            16 | 17 => Input::Attach {
                publication: self.some_publication(y),
                room: name,
            },
            18 => Input::Detach {
                publication: self.some_publication(y),
                room: name,
            },
            19 => Input::Presence {
                key,
                is_connected: x & 1 == 0,
            },
            20 => Input::Configure {
                room: name,
                settings: Settings {
                    lobby: y & 1 == 0,
                    is_kept: y & 6 == 6,
                    max_participants: u32::from(y >> 5),
                    audio: AudioSettings {
                        slots: 0,
                        silence: if x & 8 == 0 {
                            Silence::Forward
                        } else {
                            Silence::Drop
                        },
                    },
                    ..Settings::default()
                },
            },
            21 => Input::Rule {
                key,
                publication: self.some_publication(y),
                rule: [
                    SubscriptionRule::Free,
                    SubscriptionRule::Forced,
                    SubscriptionRule::Forbidden,
                ][usize::from(x) % 3],
            },
            22 => match y % 4 {
                0 => Input::Close(name),
                1 => Input::Kick(key),
                _ => Input::Admit(key),
            },
            23 => Input::Stage {
                seats: (0..u64::from(y % 4)).map(|n| seat_of(&name, n)).collect(),
                room: name,
            },
            24 => Input::Seated {
                seat: seat_of(&name, u64::from(y % 4)),
                source: Some(self.some_publication(y)).filter(|id| id.0 < u64::MAX),
            },
            _ => match x & 1 {
                0 => Input::Tick,
                _ => Input::Speaking {
                    publication: self.some_publication(y),
                    level: (y & 1 == 0).then_some(y),
                },
            },
        };
        self.handle(now, input);
    }

    fn join(&self, key: Key, what: u8, name: &RoomName, x: u8, y: u8) -> Input {
        let kind = match what {
            0 => ParticipantKind::Sdk,
            1 => ParticipantKind::Whip,
            _ => ParticipantKind::Whep,
        };
        let who = NAMES[usize::from(y) % 3];
        let mut join = join(key.0, name, who, kind);
        if let Play::Follow { wanted, .. } = &mut join.play {
            *wanted = (x & 64 != 0).then(|| identity(NAMES[usize::from(y >> 4) % 3]));
        }
        Input::Join(Box::new(join))
    }

    fn slots(&self, x: u8, y: u8) -> Vec<Slot> {
        let ids = [self.some_publication(x), self.some_publication(y)];
        let accepts: Vec<CodecKind> = (1..4)
            .filter(|n| x & (1 << n) != 0)
            .map(|n| CODECS[n])
            .collect();
        vec![
            slot(&[CodecKind::Opus], Some(ids[0].0)),
            slot(&accepts, Some(ids[1].0)),
            slot(&[CodecKind::Vp8], Some(ids[0].0)),
        ]
    }

    fn check(&self) {
        let rooms = &self.rooms;
        let mut members = 0;
        for (name, found) in &rooms.rooms {
            let is_used = !found.members.is_empty() || !found.guests.is_empty();
            assert!(is_used || found.settings.is_kept, "an empty room exists");
            members += found.members.len();
            for key in &found.members {
                assert_eq!(rooms.participants[key].room, *name);
            }
            for id in &found.guests {
                let publication = &rooms.publications[id];
                assert!(publication.attached.contains(name));
                assert_ne!(rooms.participants[&publication.owner].room, *name);
            }
            assert!(found.speakers.keys().all(|key| found.members.contains(key)));
            for id in &found.seats {
                assert_eq!(rooms.room_of_seat(*id), Some(name));
                for (viewer, slot) in &rooms.seats[id].players {
                    assert_eq!(rooms.participants[viewer].bound[*slot], Some(*id));
                    assert_eq!(rooms.participants[viewer].room, *name);
                }
            }
            self.check_identities(name);
        }
        assert_eq!(members, rooms.participants.len());
        let seats: usize = rooms.rooms.values().map(|room| room.seats.len()).sum();
        assert_eq!(seats, rooms.seats.len(), "seats of no room");
        let mut seated = BTreeSet::new();
        for (id, seat) in &rooms.seats {
            let Some(source) = seat.source else { continue };
            assert!(seated.insert(source), "one source on two seats");
            let owner = rooms.publications[&source].owner;
            let room = Some(&rooms.participants[&owner].room);
            assert_eq!(rooms.room_of_seat(*id), room, "on another room's stage");
        }
        for (id, publication) in &rooms.publications {
            assert!(
                rooms.participants[&publication.owner]
                    .publications
                    .contains(id)
            );
            for (viewer, slot) in &publication.players {
                assert_eq!(rooms.participants[viewer].bound[*slot], Some(*id));
            }
            for name in &publication.attached {
                assert!(rooms.rooms[name].guests.contains(id));
            }
        }
        for (key, p) in &rooms.participants {
            self.check_participant(*key, p);
        }
        let told: usize = rooms
            .participants
            .values()
            .map(|p| p.bound.iter().flatten().count())
            .sum();
        assert_eq!(told, self.bound.len());
    }

    fn check_identities(&self, name: &RoomName) {
        let mut sdk = BTreeSet::new();
        let mut whip = BTreeSet::new();
        for (_, p) in self.rooms.members(name) {
            match p.kind {
                ParticipantKind::Sdk => assert!(sdk.insert(&p.identity), "two of one identity"),
                ParticipantKind::Whip if p.live.is_some() => {
                    assert!(
                        whip.insert(&p.identity),
                        "two live publishers of one identity"
                    );
                }
                _ => {}
            }
        }
    }

    fn check_participant(&self, key: Key, p: &Participant) {
        let visible = self.rooms.visible(&p.room);
        assert!(
            p.wishes
                .keys()
                .all(|id| self.rooms.publications.contains_key(id)),
            "a stale wish"
        );
        let mut seen = BTreeSet::new();
        let mut owners = BTreeSet::new();
        for (index, bound) in p.bound.iter().enumerate() {
            assert_eq!(
                self.bound.get(&(key, index)),
                bound.as_ref(),
                "effects told otherwise"
            );
            let Some(id) = bound else { continue };
            assert!(seen.insert(id), "one publication twice");
            let delivery = self.rooms.delivery(key, index).unwrap();
            let drops = self.rooms.settings(&p.room).unwrap().audio.silence == Silence::Drop;
            let is_audio = p.slots[index].kind == Kind::Audio;
            assert_eq!(delivery.drops_silence, drops && is_audio);
            if self.rooms.seats.contains_key(id) {
                assert_eq!(p.kind, ParticipantKind::Sdk);
                assert!(p.subscribed.contains(id) && is_audio);
                assert_eq!(p.slots[index].assigned, Some(*id));
                continue;
            }
            let publication = &self.rooms.publications[id];
            owners.insert(publication.owner);
            assert!(
                self.rooms.participants[&publication.owner].live.is_some(),
                "not live"
            );
            let slot = &p.slots[index];
            assert_eq!(publication.kind, slot.kind);
            assert!(
                slot.accepts
                    .iter()
                    .any(|codec| publication.codec.fits(codec))
            );
            if p.kind == ParticipantKind::Sdk {
                assert!(visible.contains(id), "of another room");
                assert!(p.subscribed.contains(id), "not subscribed");
                assert!(p.permissions.can_subscribe, "against permission");
                assert_ne!(p.state, ParticipantState::Lobby);
                assert_eq!(slot.assigned, Some(*id));
            }
        }
        match p.kind {
            ParticipantKind::Sdk => self.check_subscriptions(key, p, &visible),
            ParticipantKind::Whep => {
                assert!(owners.len() <= 1, "plays two publishers");
                self.check_follower(p, owners.first().copied());
            }
            _ => assert!(p.bound.iter().all(Option::is_none)),
        }
    }

    /// What is wanted, allowed and negotiated is sent.
    fn check_subscriptions(&self, key: Key, p: &Participant, visible: &[PublicationId]) {
        let seats = &self.rooms.rooms[&p.room].seats;
        let (on_stage, subscribed): (Vec<_>, Vec<_>) =
            p.subscribed.iter().partition(|id| seats.contains(id));
        assert!(
            on_stage.is_empty() || on_stage.len() == seats.len(),
            "all seats, or none"
        );
        for id in subscribed {
            let settled = p.wishes.get(id).copied().unwrap_or_default();
            let asked =
                settled.subscribed == Some(true) || settled.rule == SubscriptionRule::Forced;
            let heard = !on_stage.is_empty() && self.rooms.is_staged_in(&p.room, *id);
            assert!(asked || !heard, "heard twice");
            assert!(visible.contains(id), "subscribed to what cannot be seen");
            let publication = &self.rooms.publications[id];
            assert_ne!(publication.owner, key, "subscribed to oneself");
            let is_live = self.rooms.participants[&publication.owner].live.is_some();
            let takes = |slot: &Slot| {
                slot.assigned == Some(*id)
                    && slot.kind == publication.kind
                    && slot
                        .accepts
                        .iter()
                        .any(|codec| publication.codec.fits(codec))
            };
            let is_sent = p.bound.contains(&Some(*id));
            assert_eq!(
                is_sent,
                is_live && p.slots.iter().any(takes),
                "{id} to {key:?}"
            );
        }
    }

    /// Nobody is forgotten: a slot that is sent nothing has nothing left that fits.
    fn check_follower(&self, p: &Participant, playing: Option<Key>) {
        let playable = self.rooms.playables(&p.room);
        let Play::Follow { wanted, current } = &p.play else {
            return;
        };
        let may = |one: &&deliver::Playable| wanted.as_ref().is_none_or(|w| one.is(w));
        let Some(source) = playable.iter().find(|one| {
            may(one) && (wanted.is_some() || current.is_none_or(|key| one.owner() == key))
        }) else {
            assert_eq!(playing, None);
            assert!(
                wanted.is_some() || playable.is_empty(),
                "the first was not taken"
            );
            return;
        };
        assert!(playing.is_none_or(|key| key == source.owner()));
        for (index, slot) in p.slots.iter().enumerate() {
            let fits = |id: &&PublicationId| {
                let publication = &self.rooms.publications[*id];
                publication.kind == slot.kind
                    && slot
                        .accepts
                        .iter()
                        .any(|codec| publication.codec.fits(codec))
            };
            let is_free = |id: &&PublicationId| !p.bound.contains(&Some(**id));
            if p.bound[index].is_none() {
                let left = source.tracks().iter().filter(is_free).find(fits);
                assert_eq!(left, None, "a slot is empty that could play");
            }
        }
    }
}

fn seat_of(room: &RoomName, n: u64) -> PublicationId {
    let of = ROOMS.iter().position(|name| *name == room.as_str());
    PublicationId(1_000_000 + 10 * of.unwrap_or(0) as u64 + n)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1024,
        rng_seed: proptest::test_runner::RngSeed::Fixed(3),
        ..ProptestConfig::default()
    })]

    #[test]
    fn invariants_hold_after_any_inputs(steps in steps()) {
        let mut model = Model::default();
        let mut now = Instant::now();
        for step in steps {
            now += Duration::from_secs(3);
            model.step(now, step);
            model.check();
        }
        // Nothing leaks: when everybody has left, nothing but kept rooms is there.
        let keys: Vec<Key> = model.rooms.participants.keys().copied().collect();
        for key in keys {
            model.handle(now, Input::Leave { key, reason: Reason::Left });
            model.check();
        }
        prop_assert!(model.rooms.publications.is_empty() && model.bound.is_empty());
        prop_assert!(model.rooms.rooms.values().all(|room| room.settings.is_kept));
    }
}
