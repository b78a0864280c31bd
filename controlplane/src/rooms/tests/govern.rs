//! Permissions, mutes, the loudest.

use super::*;

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
    // WHEP plays one publisher: with its own sound.
    house.does(Input::Join(Box::new(join(
        3,
        &room("r"),
        "vera",
        ParticipantKind::Whep,
    ))));
    house.receives(3, &[(0, A)]);
    assert_eq!(house.sent(3), [Some(101)]);
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
    // He is on another seat now; that he left the first was not heard of.
    house.does(Input::Seated {
        seat: seats[1],
        source: Some(PublicationId(102)),
    });
    let slots = house.rooms.audio_slots(&room("r"));
    let sources: Vec<_> = slots.iter().map(|slot| slot.source).collect();
    assert_eq!(sources, [None, Some(PublicationId(102))]);
    let told = house.does(Input::Unpublish(PublicationId(102)));
    assert!(House::told(&told, 2).contains(&"audioSlots".to_owned()));
    assert_eq!(house.rooms.audio_slots(&room("r"))[0].source, None);
}
