use super::*;
use crate::record::Codec;
use ion_api::accounts::Subject;
use ion_api::signal::server::{Event, Reason};
use ion_api::token::TokenRef;
use ion_sdp::{CodecKind, Fmtp};
use std::time::Duration;

mod properties;

pub(super) fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

pub(super) fn identity(name: &str) -> Identity {
    Identity::parse(name).unwrap()
}

pub(super) fn codec(kind: CodecKind) -> TrackCodec {
    TrackCodec {
        kind,
        fmtp: Fmtp::default(),
    }
}

pub(super) fn kind_of(kind: CodecKind) -> Kind {
    match kind {
        CodecKind::Opus => Kind::Audio,
        _ => Kind::Video,
    }
}

pub(super) fn slot(accepts: &[CodecKind], assigned: Option<u64>) -> Slot {
    Slot {
        kind: accepts.first().map_or(Kind::Video, |kind| kind_of(*kind)),
        mid: String::new(),
        accepts: accepts.iter().map(|kind| codec(*kind)).collect(),
        assigned: assigned.map(PublicationId),
    }
}

pub(super) fn join(key: u64, name: &RoomName, who: &str, kind: ParticipantKind) -> Join {
    Join {
        key: Key(key),
        room: name.clone(),
        identity: identity(who),
        description: Description::default(),
        kind,
        permissions: Permissions::default(),
        play: match kind {
            ParticipantKind::Sdk => Play::Subscribe { auto: true },
            ParticipantKind::Whep => Play::Follow {
                wanted: None,
                current: None,
            },
            _ => Play::Nothing,
        },
        joined_at_s: 1,
        token: None,
        is_admitted: kind != ParticipantKind::Sdk,
    }
}

pub(super) fn publication(key: u64, id: u64, kind: CodecKind) -> Publish {
    Publish {
        key: Key(key),
        id: PublicationId(id),
        cid: format!("c{id}"),
        kind: kind_of(kind),
        codec: Codec(codec(kind)),
        source: match kind {
            CodecKind::Opus => Source::Microphone,
            _ => Source::Camera,
        },
        name: String::new(),
        stream: String::new(),
        layers: Vec::new(),
        scalability_mode: String::new(),
        encrypted: false,
        muted: false,
    }
}

struct House {
    rooms: Rooms,
    now: Instant,
}

impl House {
    fn new() -> Self {
        Self {
            rooms: Rooms::default(),
            now: Instant::now(),
        }
    }

    #[track_caller]
    fn does(&mut self, input: Input) -> Vec<Effect> {
        self.rooms.handle(input, self.now).unwrap()
    }

    #[track_caller]
    fn joins(&mut self, key: u64, name: &str, who: &str) -> Vec<Effect> {
        let join = join(key, &room(name), who, ParticipantKind::Sdk);
        let mut effects = self.does(Input::Join(Box::new(join)));
        effects.extend(self.does(Input::Live(Key(key))));
        effects
    }

    #[track_caller]
    fn publishes(&mut self, key: u64, id: u64, kind: CodecKind) -> Vec<Effect> {
        self.does(Input::Publish(Box::new(publication(key, id, kind))))
    }

    /// Gives a participant of the SDK a section for each of these.
    #[track_caller]
    fn receives(&mut self, key: u64, ids: &[(u64, CodecKind)]) -> Vec<Effect> {
        let slots = ids
            .iter()
            .map(|(id, kind)| slot(&[*kind], Some(*id)))
            .collect();
        self.does(Input::Slots {
            key: Key(key),
            slots,
        })
    }

    fn sent(&self, key: u64) -> Vec<Option<u64>> {
        self.rooms
            .bound(Key(key))
            .iter()
            .map(|id| id.map(|id| id.0))
            .collect()
    }

    /// What a participant was told, by type.
    fn told(effects: &[Effect], key: u64) -> Vec<String> {
        let events = effects.iter().filter_map(|effect| match effect {
            Effect::Tell { to, event, .. } if to.contains(&Key(key)) => Some(name_of(event)),
            Effect::Resubscribed(k) if *k == Key(key) => Some("subscriptions".to_owned()),
            _ => None,
        });
        events.collect()
    }
}

fn name_of(event: &Event) -> String {
    let value = serde_json::to_value(event).unwrap();
    value["type"].as_str().unwrap().to_owned()
}

const A: CodecKind = CodecKind::Opus;
const V: CodecKind = CodecKind::Vp8;

fn whip(house: &mut House, key: u64, who: &str, tracks: &[(u64, CodecKind)]) {
    let join = join(key, &room("r"), who, ParticipantKind::Whip);
    house.does(Input::Join(Box::new(join)));
    for (id, kind) in tracks {
        house.publishes(key, *id, *kind);
    }
}

fn whep(house: &mut House, key: u64, wanted: Option<&str>) {
    let mut join = join(key, &room("r"), "viewer", ParticipantKind::Whep);
    join.play = Play::Follow {
        wanted: wanted.map(identity),
        current: None,
    };
    house.does(Input::Join(Box::new(join)));
    let slots = vec![slot(&[A], None), slot(&[V, CodecKind::H264], None)];
    house.does(Input::Slots {
        key: Key(key),
        slots,
    });
}

#[test]
fn a_whip_publisher_that_returns_takes_its_viewers_and_its_place() {
    let mut house = House::new();
    whip(&mut house, 1, "ann", &[(101, A), (102, V)]);
    assert_eq!(house.rooms.source(&room("r"), None), None, "not live yet");
    house.does(Input::Live(Key(1)));
    whip(&mut house, 2, "bob", &[(103, V)]);
    house.does(Input::Live(Key(2)));
    whep(&mut house, 10, None);
    assert_eq!(house.sent(10), [Some(101), Some(102)]);
    // With another codec, in another order, while the old session is still there.
    whip(&mut house, 3, "ann", &[(104, CodecKind::H264), (105, A)]);
    assert_eq!(house.rooms.waiting(&room("r"), &identity("ann")), [Key(3)]);
    let effects = house.does(Input::Live(Key(3)));
    let ended = effects.iter().any(|effect| {
        matches!(
            effect,
            Effect::Ended {
                key: Key(1),
                reason: Reason::DuplicateIdentity,
                ..
            }
        )
    });
    assert!(ended, "{effects:?}");
    assert_eq!(house.sent(10), [Some(105), Some(104)]);
    let source = house.rooms.source(&room("r"), None).map(|(key, _)| key);
    assert_eq!(source, Some(Key(3)), "still the first");
}

#[test]
fn whep_viewers_wait_for_the_one_they_named_and_others_follow_the_first() {
    let mut house = House::new();
    whip(&mut house, 1, "ann", &[(101, A), (102, V)]);
    whip(&mut house, 2, "bob", &[(103, A), (104, CodecKind::Vp9)]);
    house.does(Input::Live(Key(2)));
    house.does(Input::Live(Key(1)));
    whep(&mut house, 10, Some("ann"));
    whep(&mut house, 11, None);
    assert_eq!(
        house.sent(11),
        [Some(103), None],
        "VP9 is not for this viewer"
    );
    let reason = Reason::Left;
    house.does(Input::Leave {
        key: Key(2),
        reason,
    });
    assert_eq!(house.sent(11), [Some(101), Some(102)]);
    house.does(Input::Leave {
        key: Key(1),
        reason,
    });
    assert_eq!(
        (house.sent(10), house.sent(11)),
        (vec![None, None], vec![None, None])
    );
    whip(&mut house, 3, "bob", &[(105, V)]);
    house.does(Input::Live(Key(3)));
    assert_eq!(
        (house.sent(10), house.sent(11)),
        (vec![None, None], vec![None, Some(105)])
    );
    for key in [3, 10, 11] {
        house.does(Input::Leave {
            key: Key(key),
            reason,
        });
    }
    assert!(house.rooms.is_empty());
}

#[test]
fn sdk_participants_are_told_subscribed_and_sent_what_their_sections_name() {
    let mut house = House::new();
    house.joins(1, "r", "ann");
    let effects = house.joins(2, "r", "bob");
    assert_eq!(House::told(&effects, 1), ["participantJoined"]);
    let effects = house.publishes(1, 100, V);
    assert_eq!(House::told(&effects, 2), ["published", "subscriptions"]);
    assert_eq!(House::told(&effects, 1), [""; 0], "its answer says it");
    house.receives(2, &[(100, V)]);
    assert_eq!(house.sent(2), [Some(100)]);
    assert_eq!(
        house.rooms.players(PublicationId(100)).collect::<Vec<_>>(),
        [(Key(2), 0)]
    );
    // Its transport is gone for a while.
    house.does(Input::Down(Key(1)));
    assert_eq!(house.sent(2), [None]);
    house.does(Input::Live(Key(1)));
    assert_eq!(house.sent(2), [Some(100)]);
    // WHIP publishers and WHEP viewers are of the same room.
    whip(&mut house, 3, "obs", &[(200, V)]);
    let effects = house.does(Input::Live(Key(3)));
    assert_eq!(
        House::told(&effects, 2),
        ["participantJoined", "subscriptions"]
    );
    whep(&mut house, 4, Some("ann"));
    assert_eq!(house.sent(4), [None, Some(100)]);
    let effects = house.does(Input::Unpublish(PublicationId(100)));
    assert_eq!(House::told(&effects, 1), ["unpublished"]);
    assert_eq!(
        (house.sent(2), house.sent(4)),
        (vec![None], vec![None, None])
    );
}

#[test]
fn a_second_sdk_participant_of_one_identity_replaces_the_first() {
    let mut house = House::new();
    house.joins(1, "r", "ann");
    let effects = house.joins(2, "r", "ann");
    let is_end = |e: &&Effect| matches!(e, Effect::Ended { key: Key(1), .. });
    assert_eq!(effects.iter().filter(is_end).count(), 1);
    assert_eq!(house.rooms.sessions(&room("r")), [Key(2)]);
}

#[test]
fn subscriptions_are_chosen_forced_and_forbidden() {
    let mut house = House::new();
    house.joins(1, "r", "ann");
    house.joins(2, "r", "bob");
    house.publishes(1, 100, V);
    house.receives(2, &[(100, V)]);
    let (key, id) = (Key(2), PublicationId(100));
    let wish = |subscribed, bounds| Input::Subscribe {
        key,
        auto: None,
        changes: vec![Wish {
            publication: id,
            subscribed,
            bounds,
        }],
    };
    house.does(wish(Some(false), None));
    assert_eq!(house.sent(2), [None]);
    let rule = |rule| Input::Rule {
        key,
        publication: id,
        rule,
    };
    house.does(rule(SubscriptionRule::Forced));
    assert_eq!(house.sent(2), [Some(100)]);
    house.does(rule(SubscriptionRule::Forbidden));
    house.does(wish(Some(true), None));
    assert_eq!(house.sent(2), [None]);
    house.does(rule(SubscriptionRule::Free));
    assert_eq!(house.sent(2), [Some(100)]);
    let bounds = SubscriptionBounds {
        paused: true,
        ..SubscriptionBounds::default()
    };
    let effects = house.does(wish(None, Some(bounds)));
    assert!(effects.contains(&Effect::Bind {
        viewer: key,
        slot: 0,
        from: Some(id),
        to: Some(id)
    }));
    assert!(house.rooms.delivery(key, 0).unwrap().is_paused);
}

#[test]
fn layers_follow_size_and_bounds_and_caps() {
    let mut house = House::new();
    house.joins(1, "r", "ann");
    house.joins(2, "r", "bob");
    let mut camera = publication(1, 100, V);
    let layer = |width, height, max_bitrate_bps| LayerInfo {
        rid: String::new(),
        width,
        height,
        max_bitrate_bps,
    };
    camera.layers = vec![
        layer(320, 180, 150_000),
        layer(640, 360, 500_000),
        layer(1280, 720, 1_700_000),
    ];
    house.does(Input::Publish(Box::new(camera)));
    house.receives(2, &[(100, V)]);
    let mut top = |width, height, max_bitrate_bps| {
        let bounds = SubscriptionBounds {
            width,
            height,
            ..SubscriptionBounds::default()
        };
        let changes = vec![Wish {
            publication: PublicationId(100),
            subscribed: None,
            bounds: Some(bounds),
        }];
        house.does(Input::Subscribe {
            key: Key(2),
            auto: None,
            changes,
        });
        house.does(Input::Throttle {
            publication: PublicationId(100),
            cap: Cap {
                max_bitrate_bps,
                ..Cap::default()
            },
        });
        house.rooms.delivery(Key(2), 0).unwrap().max_layer
    };
    assert_eq!(top(None, None, None), 3, "no bound");
    assert_eq!(top(Some(160), Some(90), None), 0);
    assert_eq!(top(Some(321), Some(90), None), 1);
    assert_eq!(top(Some(180), Some(320), None), 0, "turned");
    assert_eq!(top(Some(4_000), Some(2_000), None), 2);
    assert_eq!(top(None, None, Some(600_000)), 1);
    assert_eq!(top(None, None, Some(1)), 0, "the lowest always goes");
}

#[test]
fn permissions_take_effect_at_once() {
    let mut house = House::new();
    house.joins(1, "r", "ann");
    house.joins(2, "r", "bob");
    house.publishes(1, 100, V);
    house.publishes(1, 101, A);
    house.receives(2, &[(100, V), (101, A)]);
    assert_eq!(house.sent(2), [Some(100), Some(101)]);
    let permit = |key, permissions| Input::Permit {
        key: Key(key),
        permissions,
    };
    let only_sound = Permissions {
        can_publish_sources: vec![Source::Microphone],
        ..Permissions::default()
    };
    let effects = house.does(permit(1, only_sound));
    assert_eq!(
        House::told(&effects, 1),
        ["permissionsChanged", "unpublished"]
    );
    assert_eq!(house.sent(2), [None, Some(101)]);
    let refused = house
        .rooms
        .handle(Input::Publish(Box::new(publication(1, 102, V))), house.now);
    assert!(matches!(refused, Err(Refused::Forbidden(_))));
    let deaf = Permissions {
        can_subscribe: false,
        ..Permissions::default()
    };
    house.does(permit(2, deaf));
    assert_eq!(house.sent(2), [None, None]);
    house.does(permit(2, Permissions::default()));
    assert_eq!(house.sent(2), [None, Some(101)]);
}

#[test]
fn a_moderators_mute_is_undone_by_the_publisher_and_a_pause_is_not() {
    let mut house = House::new();
    house.joins(1, "r", "ann");
    house.joins(2, "r", "bob");
    house.publishes(1, 100, V);
    house.receives(2, &[(100, V)]);
    let id = PublicationId(100);
    let unmute = || Input::Redescribe {
        publication: id,
        key: Key(1),
        muted: Some(false),
        name: None,
        layers: None,
    };
    let effects = house.does(Input::Mute(id));
    assert_eq!(House::told(&effects, 1), ["publicationUpdated"]);
    assert!(house.rooms.delivery(Key(2), 0).unwrap().is_paused);
    house.does(unmute());
    assert!(!house.rooms.delivery(Key(2), 0).unwrap().is_paused);
    let pause = |is_paused| Input::Pause {
        publication: id,
        is_paused,
    };
    house.does(pause(true));
    house.does(unmute());
    assert!(house.rooms.delivery(Key(2), 0).unwrap().is_paused);
    house.does(pause(false));
    assert!(!house.rooms.delivery(Key(2), 0).unwrap().is_paused);
}

#[test]
fn the_lobby_keeps_out_until_admitted_and_admins_see_who_waits() {
    let mut house = House::new();
    let settings = Settings {
        lobby: true,
        is_kept: true,
        ..Settings::default()
    };
    house.does(Input::Configure {
        room: room("r"),
        settings: settings.clone(),
    });
    let mut admin = join(1, &room("r"), "ann", ParticipantKind::Sdk);
    admin.permissions.room_admin = true;
    house.does(Input::Join(Box::new(admin)));
    house.does(Input::Live(Key(1)));
    house.publishes(1, 100, V);
    let effects = house.joins(2, "r", "bob");
    assert_eq!(House::told(&effects, 1), ["participantJoined"]);
    let snapshot = house.rooms.snapshot(Key(2)).unwrap();
    assert_eq!(
        (snapshot.participants.len(), snapshot.subscriptions.len()),
        (0, 0)
    );
    assert_eq!(house.rooms.snapshot(Key(1)).unwrap().participants.len(), 1);
    let effects = house.does(Input::Admit(Key(2)));
    assert_eq!(House::told(&effects, 2), ["room"]);
    let snapshot = house.rooms.snapshot(Key(2)).unwrap();
    assert_eq!(
        (snapshot.participants.len(), snapshot.subscriptions.len()),
        (1, 1)
    );
    // Whoever waits when the lobby is closed down comes in.
    house.joins(3, "r", "cay");
    let settings = Settings {
        lobby: false,
        ..settings
    };
    let effects = house.does(Input::Configure {
        room: room("r"),
        settings,
    });
    assert_eq!(House::told(&effects, 3), ["room"]);
}

#[test]
fn moved_participants_take_their_publications_along() {
    let mut house = House::new();
    for (key, who) in [(1, "ann"), (2, "bob")] {
        house.joins(key, "a", who);
    }
    house.joins(3, "b", "cay");
    house.publishes(1, 100, V);
    house.publishes(3, 300, V);
    house.receives(2, &[(100, V)]);
    house.receives(1, &[]);
    let effects = house.does(Input::Move {
        keys: vec![Key(1)],
        to: room("b"),
    });
    assert_eq!(
        House::told(&effects, 2),
        ["participantLeft", "subscriptions"]
    );
    assert_eq!(
        House::told(&effects, 3),
        ["participantJoined", "subscriptions"]
    );
    assert_eq!(House::told(&effects, 1), ["room"]);
    assert_eq!(house.sent(2), [None]);
    house.receives(3, &[(100, V)]);
    house.receives(1, &[(300, V)]);
    assert_eq!(
        (house.sent(3), house.sent(1)),
        (vec![Some(100)], vec![Some(300)])
    );
    // Everybody back into one room; then a split.
    house.does(Input::Merge {
        from: room("b"),
        into: room("a"),
    });
    assert_eq!(house.rooms.names(), [room("a")]);
    assert_eq!(
        (house.sent(3), house.sent(1)),
        (vec![Some(100)], vec![Some(300)])
    );
    house.joins(4, "c", "ann");
    let double = house.rooms.handle(
        Input::Merge {
            from: room("a"),
            into: room("c"),
        },
        house.now,
    );
    assert!(matches!(double, Err(Refused::Conflict(_))));
    assert_eq!(house.rooms.sessions(&room("a")).len(), 3, "all or none");
}

#[test]
fn multicast_forwards_into_other_rooms_and_ends_with_the_publication() {
    let mut house = House::new();
    house.joins(1, "stage", "ann");
    house.publishes(1, 100, V);
    house.publishes(1, 101, A);
    house.joins(2, "hall", "bob");
    let attach = |id, name| Input::Attach {
        publication: PublicationId(id),
        room: room(name),
    };
    let effects = house.does(attach(100, "hall"));
    assert_eq!(
        House::told(&effects, 2),
        ["participantJoined", "subscriptions"]
    );
    let effects = house.does(attach(101, "hall"));
    assert_eq!(House::told(&effects, 2), ["published", "subscriptions"]);
    let guest = &house.rooms.snapshot(Key(2)).unwrap().participants[0];
    assert_eq!(
        (guest.kind, guest.publications.len()),
        (ParticipantKind::Guest, 2)
    );
    house.receives(2, &[(100, V), (101, A)]);
    assert_eq!(house.sent(2), [Some(100), Some(101)]);
    // A hall of WHEP viewers that nobody publishes in.
    house.does(attach(100, "r"));
    whep(&mut house, 10, None);
    assert_eq!(house.sent(10), [None, Some(100)]);
    let effects = house.does(Input::Leave {
        key: Key(1),
        reason: Reason::Left,
    });
    assert_eq!(
        House::told(&effects, 2)
            .iter()
            .filter(|t| *t == "participantLeft")
            .count(),
        1
    );
    assert_eq!(
        (house.sent(2), house.sent(10)),
        (vec![None, None], vec![None, None])
    );
    assert!(house.rooms.guests(&room("hall")).is_empty());
}

#[test]
fn who_does_not_come_back_is_gone_and_who_does_is_not() {
    let mut house = House::new();
    house.joins(1, "r", "ann");
    house.joins(2, "r", "bob");
    let away = |key, is_connected| Input::Presence {
        key: Key(key),
        is_connected,
    };
    let effects = house.does(away(2, false));
    assert_eq!(House::told(&effects, 1), ["participantUpdated"]);
    house.does(away(1, false));
    house.now += limits::RESUME_WITHIN - Duration::from_millis(1);
    assert_eq!(house.does(Input::Tick), []);
    house.does(away(2, true));
    house.now += Duration::from_secs(1);
    house.does(Input::Tick);
    assert_eq!(house.rooms.sessions(&room("r")), [Key(2)]);
}

#[test]
fn a_kick_ends_one_stay_and_closing_a_room_all() {
    let mut house = House::new();
    house.joins(1, "r", "ann");
    house.joins(2, "r", "bob");
    let effects = house.does(Input::Kick(Key(1)));
    let ended = Effect::Ended {
        key: Key(1),
        reason: Reason::Kicked,
        room: room("r"),
    };
    assert!(effects.contains(&ended), "{effects:?}");
    house.does(Input::Close(room("r")));
    assert!(house.rooms.is_empty());
}

#[test]
fn revocations_and_quotas_find_whom_they_are_about() {
    let mut house = House::new();
    for (key, name, who, api_key) in [
        (1, "r", "ann", "k"),
        (2, "r", "bob", "k"),
        (3, "s", "ann", "l"),
    ] {
        let mut join = join(key, &room(name), who, ParticipantKind::Sdk);
        join.token = Some(TokenRef {
            key: api_key.to_owned(),
            id: format!("jti-{key}"),
        });
        house.does(Input::Join(Box::new(join)));
    }
    house.joins(4, "s", "guest");
    for (subject, keys) in [
        (Subject::Token(identity("jti-2")), vec![2]),
        (Subject::User(identity("ann")), vec![1, 3]),
        (Subject::Room(room("s")), vec![3, 4]),
        (Subject::Participant(room("r"), identity("ann")), vec![1]),
    ] {
        let keys: Vec<Key> = keys.into_iter().map(Key).collect();
        assert_eq!(house.rooms.whose(&subject), keys, "{subject:?}");
    }
    let usage = |key| {
        let usage = house.rooms.usage(key);
        (usage.participants, usage.rooms)
    };
    assert_eq!(
        (usage("k"), usage("l"), usage("m")),
        ((2, 1), (1, 1), (0, 0))
    );
    assert!(house.rooms.has_key(&room("r"), "k") && !house.rooms.has_key(&room("s"), "k"));
}

#[test]
fn speakers_are_told_loudest_first_and_leave_with_their_publication() {
    let mut house = House::new();
    house.joins(1, "r", "ann");
    house.joins(2, "r", "bob");
    house.publishes(1, 100, A);
    house.publishes(2, 200, A);
    let speaks = |id, level| Input::Speaking {
        publication: PublicationId(id),
        level,
    };
    house.does(speaks(100, Some(40)));
    let effects = house.does(speaks(200, Some(20)));
    assert_eq!(House::told(&effects, 1), ["speakers"]);
    let order: Vec<u64> = house
        .rooms
        .speakers(&room("r"))
        .iter()
        .map(|s| s.participant.0)
        .collect();
    assert_eq!(order, [2, 1]);
    house.does(speaks(200, None));
    house.does(Input::Leave {
        key: Key(1),
        reason: Reason::Left,
    });
    assert_eq!(house.rooms.speakers(&room("r")), []);
}

#[test]
fn what_is_saved_is_taken_up_as_it_was() {
    let mut house = House::new();
    house.joins(1, "r", "ann");
    house.joins(2, "r", "bob");
    house.publishes(1, 100, V);
    house.receives(2, &[(100, V)]);
    house.does(Input::Pause {
        publication: PublicationId(100),
        is_paused: true,
    });
    house.does(Input::Attach {
        publication: PublicationId(100),
        room: room("hall"),
    });
    let saved: Vec<_> = [1, 2]
        .map(|key| house.rooms.save(Key(key)).unwrap())
        .to_vec();
    let mut after = House::new();
    for one in &saved {
        after.rooms.restore(one, after.now).unwrap();
    }
    for one in &saved {
        after.rooms.settle(one, after.now);
    }
    after.does(Input::Live(Key(1)));
    after.receives(2, &[(100, V)]);
    assert!(after.rooms.delivery(Key(2), 0).unwrap().is_paused);
    assert_eq!(after.rooms.guests(&room("hall")), [PublicationId(100)]);
    for key in [1, 2] {
        assert_eq!(after.rooms.save(Key(key)), house.rooms.save(Key(key)));
    }
}

#[test]
fn who_chooses_for_himself_or_is_forbidden_something_gets_publications_and_no_seats() {
    let mut house = House::new();
    house.joins(1, "r", "ann");
    house.publishes(1, 101, A);
    house.joins(2, "r", "bob");
    house.publishes(2, 102, A);
    let seats: Vec<PublicationId> = [901, 902].map(PublicationId).to_vec();
    let effects = house.does(Input::Stage {
        room: room("r"),
        seats: seats.clone(),
    });
    assert_eq!(House::told(&effects, 1), ["audioSlots", "subscriptions"]);
    house.receives(1, &[(901, A), (902, A), (102, A)]);
    assert_eq!(house.sent(1), [Some(901), Some(902), None]);
    // One that is asked for comes besides.
    let wish = |subscribed| Wish {
        publication: PublicationId(102),
        subscribed: Some(subscribed),
        bounds: None,
    };
    let asks = |auto, subscribed| Input::Subscribe {
        key: Key(1),
        auto,
        changes: vec![wish(subscribed)],
    };
    house.does(asks(None, true));
    assert_eq!(house.sent(1), [Some(901), Some(902), Some(102)]);
    house.does(asks(Some(false), true));
    assert_eq!(house.sent(1), [None, None, Some(102)]);
    house.does(asks(Some(true), false));
    assert_eq!(house.sent(1), [Some(901), Some(902), None]);
    // A seat would be heard all the same: there is none for who may not hear bob.
    house.does(Input::Rule {
        key: Key(1),
        publication: PublicationId(102),
        rule: SubscriptionRule::Forbidden,
    });
    assert_eq!(house.sent(1), [None, None, None]);
    let told = house.does(Input::Seated {
        seat: seats[0],
        source: Some(PublicationId(102)),
    });
    assert_eq!(House::told(&told, 2), ["audioSlots"]);
    let told = house.does(Input::Unpublish(PublicationId(102)));
    assert!(House::told(&told, 2).contains(&"audioSlots".to_owned()));
    assert_eq!(house.rooms.audio_slots(&room("r"))[0].source, None);
}
