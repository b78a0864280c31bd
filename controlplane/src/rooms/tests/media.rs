//! What is published, and who is sent what of it.

use super::*;

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
