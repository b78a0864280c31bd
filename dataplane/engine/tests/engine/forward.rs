//! Media of one publisher to its viewers: numbers and extensions are the viewer's
//! own, the payload is the publisher's.

use crate::harness::*;
use ion_tables::{ExtensionKind, SubscriptionConfig};

const SSRC: u32 = 77;

#[test]
fn video_reaches_each_viewer_under_the_viewers_own_numbers() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewers = [world.client(0, true), world.client(0, true)];
    let track = world.video(publisher);
    let subs = viewers.map(|viewer| world.subscribe(viewer, track));
    for frame in 0..30_u64 {
        let timestamp = 9_000 + u32::try_from(frame).unwrap() * 3_000;
        for part in 0..3 {
            let index = 65_530 + frame * 3 + part;
            let mut packet = Rtp::new(
                SSRC,
                VP8,
                index,
                timestamp,
                &vp8(frame == 0 && part == 0, index),
            )
            .with(ExtensionKind::Mid, b"1")
            .with(ExtensionKind::TransportCc, &[0, 9])
            .with(ExtensionKind::VideoOrientation, &[3]);
            packet.marker = part == 2;
            world.rtp(publisher, &packet);
        }
        world.flush();
        world.advance(33_000);
    }
    for (viewer, sub) in viewers.into_iter().zip(subs) {
        let got = world.clients[viewer].of(media_ssrc(sub));
        assert_eq!(got.len(), 90);
        let mut numbers = Vec::new();
        for (i, packet) in got.iter().enumerate() {
            let i = i as u64;
            assert_eq!(packet.header.payload_type, V_VP8);
            assert_eq!(packet.index, got[0].index + i);
            assert_eq!(packet.header.marker, i % 3 == 2);
            assert_eq!(
                u64::from(packet.header.timestamp - got[0].header.timestamp),
                i / 3 * 3_000
            );
            assert_eq!(packet.payload, vp8(i == 0, 65_530 + i));
            assert_eq!(packet.extension(ExtensionKind::Mid), Some(&b"v"[..]));
            assert_eq!(
                packet.extension(ExtensionKind::VideoOrientation),
                Some(&[3][..])
            );
            assert!(packet.extension(ExtensionKind::AbsSendTime).is_some());
            assert!(packet.extension(ExtensionKind::Rid).is_none());
            let number = packet.extension(ExtensionKind::TransportCc).unwrap();
            numbers.push(u16::from_be_bytes(number.try_into().unwrap()));
        }
        assert!(
            numbers.windows(2).all(|w| w[1] == w[0] + 1),
            "one count for each transport"
        );
        let counters = world.subscription_counters(sub);
        assert_eq!(counters.packets_sent.load(), 90);
        assert_eq!(counters.packets_withheld.load(), 0);
    }
    let counters = world.encoding_counters(track);
    assert_eq!(counters.packets_received.load(), 90);
    assert_eq!(counters.frames_received.load(), 30);
    assert_eq!(counters.key_frames_received.load(), 1);
    assert_eq!(world.all_drops(), []);
    assert!(
        world.workers[0].out.sends.contains(&3),
        "a picture is one send"
    );
}

#[test]
fn audio_starts_at_once_and_keeps_its_level() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.audio(publisher);
    let sub = world.subscribe_with(viewer, track, |s| s.flags = 0);
    for i in 0..10_u32 {
        let packet = Rtp::new(SSRC, OPUS, u64::from(i), i * 960, &[i as u8; 20])
            .with(ExtensionKind::Mid, b"0")
            .with(ExtensionKind::AudioLevel, &[0x80 | i as u8]);
        world.send(publisher, &packet);
        world.advance(20_000);
    }
    let got = world.clients[viewer].of(media_ssrc(sub));
    assert_eq!(got.len(), 10);
    for (i, packet) in got.iter().enumerate() {
        let i = u8::try_from(i).unwrap();
        assert_eq!(packet.payload, [i; 20]);
        assert_eq!(packet.header.payload_type, V_OPUS);
        assert_eq!(
            packet.extension(ExtensionKind::AudioLevel),
            Some(&[0x80 | i][..])
        );
    }
}

#[test]
fn red_of_a_publisher_is_opened_for_everybody() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let (with, without) = (world.client(0, true), world.client(0, true));
    let track = world.audio(publisher);
    let a = world.subscribe(with, track);
    let b = world.subscribe_with(without, track, |s| s.red_payload_type = 0);
    let red = [0xEF, 0, 0, 3, 0x6F, 1, 2, 3, 9, 8];
    world.send(
        publisher,
        &Rtp::new(SSRC, RED, 1, 0, &red).with(ExtensionKind::Mid, b"0"),
    );
    for (viewer, sub) in [(with, a), (without, b)] {
        let got = world.clients[viewer].of(media_ssrc(sub));
        assert_eq!(got.len(), 1);
        let (pt, payload) = (got[0].header.payload_type, &got[0].payload[..]);
        assert_eq!((pt, payload), (V_OPUS, &[9, 8][..]));
    }
}

#[test]
fn a_viewer_starts_and_resumes_at_a_keyframe_without_a_gap() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    let mut index = 100;
    let mut send = |world: &mut World, keyframe| {
        index += 1;
        let timestamp = u32::try_from(index).unwrap() * 3_000;
        world.send(
            publisher,
            &Rtp::new(SSRC, VP8, index, timestamp, &vp8(keyframe, index))
                .with(ExtensionKind::Mid, b"1"),
        );
        world.advance(33_333);
    };
    send(&mut world, false);
    send(&mut world, false);
    assert!(world.clients[viewer].rtp.is_empty());
    assert_eq!(world.plis(publisher).len(), 1, "asked for on join");
    send(&mut world, true);
    send(&mut world, false);
    let pause = |paused: bool| {
        move |config: &mut SubscriptionConfig| {
            config.flags =
                SubscriptionConfig::NACK | (u8::from(paused) * SubscriptionConfig::PAUSED);
        }
    };
    world.edit::<ion_tables::Subscription>(sub, pause(true));
    send(&mut world, false);
    send(&mut world, true);
    world.edit::<ion_tables::Subscription>(sub, pause(false));
    send(&mut world, false);
    send(&mut world, true);
    send(&mut world, false);
    let got = world.clients[viewer].of(media_ssrc(sub));
    let tags: Vec<_> = got.iter().map(|g| g.payload.clone()).collect();
    assert_eq!(
        tags,
        [
            vp8(true, 103),
            vp8(false, 104),
            vp8(true, 108),
            vp8(false, 109)
        ]
    );
    assert!(got.windows(2).all(|w| w[1].index == w[0].index + 1));
    // Time goes on by the clock on the wall.
    let step = got[2]
        .header
        .timestamp
        .wrapping_sub(got[1].header.timestamp);
    assert!((11_900..=12_100).contains(&step), "{step}");
}
