//! Stages: who is on them, and what that means for others.

use super::*;

#[test]
fn nobody_negotiates_for_one_who_is_muted_on_a_stage() {
    let mut house = House::new();
    for (key, id, who) in [(1, 101, "ann"), (2, 102, "bob"), (3, 103, "cay")] {
        house.joins(key, "r", who);
        house.publishes(key, id, A);
    }
    let seats = vec![PublicationId(901)];
    let (room, id) = (room("r"), PublicationId(102));
    house.does(Input::Stage { room, seats });
    assert_eq!(house.rooms.stage_of(id), Some(PublicationId(901)));
    for (is_heard, input) in [
        (false, Input::Mute(id)),
        (
            true,
            Input::Redescribe {
                publication: id,
                key: Key(2),
                muted: Some(false),
                name: None,
                layers: None,
            },
        ),
        (
            false,
            Input::Pause {
                publication: id,
                is_paused: true,
            },
        ),
    ] {
        let effects = house.does(input);
        let is_one = |effect: &Effect| matches!(effect, Effect::Resubscribed(_));
        assert!(!effects.iter().any(is_one), "{effects:?}");
        assert_eq!(house.rooms.stage_of(id).is_some(), is_heard);
    }
}

#[test]
fn who_moves_to_another_room_is_on_its_old_stage_no_more() {
    let mut house = House::new();
    house.joins(1, "r", "ann");
    house.joins(2, "r", "bob");
    house.publishes(2, 102, A);
    let (seat, bob) = (PublicationId(901), Some(PublicationId(102)));
    house.does(Input::Stage {
        room: room("r"),
        seats: vec![seat],
    });
    let taken = || Input::Seated { seat, source: bob };
    house.does(taken());
    assert_eq!(house.rooms.audio_slots(&room("r"))[0].source, bob);
    let told = house.does(Input::Move {
        keys: vec![Key(2)],
        to: room("s"),
    });
    assert!(House::told(&told, 1).contains(&"audioSlots".to_owned()));
    assert_eq!(house.rooms.audio_slots(&room("r"))[0].source, None);
    // A worker that had not read it yet.
    assert_eq!(house.does(taken()), []);
}
