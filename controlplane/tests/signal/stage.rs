//! Rooms that send the loudest only.

use crate::common::wait;
use crate::common::world::{World, room_anew};
use ion_api::govern::{AudioSettings, Silence};
use ion_api::names::RoomName;
use ion_api::signal::PublicationId;
use ion_api::signal::model::AudioSlot;
use ion_api::signal::server::{Event, RoomCause};
use ion_controlplane::rooms::{Input, Key, Settings};
use ion_tables::{RowLink, SubscriptionConfig, Track, TrackConfig};

/// Whose each audio slot is, as participants are told.
fn slots(wanted: usize) -> impl FnMut(&Event) -> Option<Vec<AudioSlot>> {
    move |event| match event {
        Event::AudioSlots(now) => {
            let taken = now.slots.iter().filter(|slot| slot.source.is_some());
            (taken.count() == wanted).then(|| now.slots.clone())
        }
        _ => None,
    }
}

#[tokio::test]
async fn a_room_with_audio_slots_sends_these_and_says_whose_they_are() {
    let world = World::new().await;
    let room = RoomName::parse("r").unwrap();
    let settings = Settings {
        is_kept: true,
        audio: AudioSettings {
            slots: 2,
            silence: Silence::Drop,
        },
        ..Settings::default()
    };
    let configure = |settings| Input::Configure {
        room: room.clone(),
        settings,
    };
    world.govern(configure(settings)).await;
    let (ann, ids) = world.ann().await;
    let mut bob = world.join("bob").await;
    let snapshot = &bob.joined.snapshot;
    let seats: Vec<PublicationId> = snapshot.audio_slots.iter().map(|s| s.publication).collect();
    let wanted: Vec<PublicationId> = snapshot
        .subscriptions
        .iter()
        .map(|s| s.publication)
        .collect();
    assert_eq!(
        wanted,
        [seats[0], seats[1], ids[1]],
        "not ann's sound by itself"
    );
    bob.receive("audio", seats[0]);
    bob.receive("audio", seats[1]);
    bob.connect().await;
    let rows = world.wait_sent(2).await;
    let stage = rows[0].1.track;
    let track = world.track(stage);
    assert_eq!((track.stage, track.seat), (stage, 1));
    assert_eq!(world.track(rows[1].1.track).seat, 2);
    for (_, row) in &rows {
        assert_ne!(row.flags & SubscriptionConfig::DROP_SILENCE, 0);
        assert_ne!(world.track(row.track).subscriber_workers, 0);
    }
    let of_ann = |world: &World| {
        let mut tracks = world.tables().live::<Track>();
        let found = tracks.find(|(_, row)| row.kind == TrackConfig::AUDIO && row.seat == 0);
        let (row, config) = found.expect("ann's sound");
        (
            config,
            RowLink {
                row,
                generation: config.head.generation,
            },
        )
    };
    let (config, source) = of_ann(&world);
    assert_eq!(config.stage, stage, "it may come onto the stage");
    // As a worker says it.
    world.tables().events(0).unwrap().push(&ion_tables::Event {
        kind: ion_tables::EventKind::SeatTaken,
        table: ion_tables::RowKind::Track,
        row: stage,
        value: source.pack(),
        at_us: 0,
    });
    let told = bob.event(slots(1)).await;
    assert_eq!(
        (told[0].publication, told[0].source),
        (seats[0], Some(ids[0]))
    );
    // What a moderator has muted does not come onto it.
    world.govern(Input::Mute(ids[0])).await;
    wait("ann to be off the stage", async || {
        !of_ann(&world).0.stage.is_some()
    })
    .await;
    let unmute = Input::Redescribe {
        publication: ids[0],
        key: Key(ann.joined.snapshot.me.id.0),
        muted: Some(false),
        name: None,
        layers: None,
    };
    world.govern(unmute).await;
    wait("ann to be back", async || of_ann(&world).0.stage == stage).await;

    // Another control plane: the same rows, under the same names.
    let world = world.restarted().await;
    assert_eq!(world.sent().len(), 2, "nothing has stopped");
    bob.resume(world.http).await.unwrap();
    let snapshot = bob.event(room_anew(RoomCause::Resync)).await;
    let after: Vec<PublicationId> = snapshot.audio_slots.iter().map(|s| s.publication).collect();
    assert_eq!(after, seats);

    // Without slots again, ann is heard as before, and the rows are free.
    let plain = Settings {
        is_kept: true,
        ..Settings::default()
    };
    world.govern(configure(plain)).await;
    assert_eq!(bob.subscriptions().await, [ids[0], ids[1]]);
    wait("the seats' rows to be free", async || world.counts().1 == 2).await;
    assert!(!of_ann(&world).0.stage.is_some());
    assert!(world.folder.0.exists());
}
