//! Who comes, waits, is moved, and goes.

use super::*;

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
    let usage = |key| (house.rooms.of_key(key).len(), house.rooms.rooms_of(key));
    assert_eq!(
        (usage("k"), usage("l"), usage("m")),
        ((2, 1), (1, 1), (0, 0))
    );
    assert_eq!(house.rooms.api_key(Key(4)), None);
    assert!(house.rooms.has_key(&room("r"), "k") && !house.rooms.has_key(&room("s"), "k"));
}

#[test]
fn a_room_counts_for_the_key_that_made_it_as_long_as_it_is() {
    let mut house = House::new();
    let configure = |name: &str, maker: Option<&str>, is_kept| Input::Configure {
        room: room(name),
        settings: Settings {
            is_kept,
            maker: maker.map(str::to_owned),
            ..Settings::default()
        },
    };
    house.does(configure("made", Some("k"), true));
    assert_eq!(house.rooms.rooms_of("k"), 1);
    // Who changes it, and who else is there, does not make it his.
    house.does(configure("made", Some("l"), true));
    house.does(configure("made", None, true));
    house.joins(1, "made", "guest");
    assert_eq!(
        (house.rooms.rooms_of("k"), house.rooms.rooms_of("l")),
        (1, 0)
    );
    assert!(house.rooms.has_key(&room("made"), "k"));
    // And after a restart.
    let saved = house.rooms.save_room(&room("made")).unwrap();
    let mut after = Rooms::default();
    after.restore_room(saved);
    assert_eq!(after.rooms_of("k"), 1);
    // Where somebody of the key is too, it counts once.
    let mut join = join(2, &room("made"), "ann", ParticipantKind::Sdk);
    join.token = Some(TokenRef {
        key: "k".to_owned(),
        id: String::new(),
    });
    house.does(Input::Join(Box::new(join)));
    assert_eq!(house.rooms.rooms_of("k"), 1);
    house.does(Input::Close(room("made")));
    assert_eq!(house.rooms.rooms_of("k"), 0);
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
