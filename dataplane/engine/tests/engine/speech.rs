//! Speech, told to the control plane.

use crate::harness::*;
use ion_tables::{EventKind, EventReader, ExtensionKind};

#[test]
fn speech_is_told_of_and_so_is_its_end_when_nothing_comes() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let track = world.audio(publisher);
    let encoding = world.encodings(track)[0];
    let mut reader = EventReader::default();
    for index in 0..60 {
        let level = if index < 20 { 0x7f } else { 0x80 | 30 };
        let packet = Rtp::new(11, OPUS, index, index as u32 * 960, &[5; 40])
            .with(ExtensionKind::Mid, b"0")
            .with(ExtensionKind::AudioLevel, &[level]);
        world.send(publisher, &packet);
        world.advance(20_000);
    }
    let level = world.encoding_counters(track).audio_level.load();
    assert_eq!(level, 97, "dB above silence");
    world.advance(2_000_000);
    let events: Vec<_> = std::iter::from_fn(|| reader.take(world.tables.events(0).unwrap()))
        .filter(|event| {
            matches!(
                event.kind,
                EventKind::SpeechStarted | EventKind::SpeechEnded
            )
        })
        .collect();
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::SpeechStarted, EventKind::SpeechEnded]);
    assert!(events.iter().all(|event| event.row == encoding));
    assert!((30..=60).contains(&events[0].value));
    assert_eq!(world.encoding_counters(track).audio_level.load(), 0);
}
