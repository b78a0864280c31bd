//! Keyframe requests and layers.

use crate::harness::*;
use ion_engine::limits;
use ion_tables::{
    EncodingConfig, EventKind, EventReader, ExtensionKind, Subscription, SubscriptionConfig, Text,
    Transport, TransportSecrets,
};

#[test]
fn requests_of_many_viewers_are_one() {
    let mut world = World::new(2);
    let publisher = world.client(0, false);
    let track = world.video(publisher);
    let send = |world: &mut World, index: u64, keyframe| {
        let packet =
            Rtp::new(10, VP8, index, 0, &vp8(keyframe, index)).with(ExtensionKind::Mid, b"1");
        world.send(publisher, &packet);
    };
    let viewers: Vec<_> = (0..10)
        .map(|i| {
            let viewer = world.client(i % 2, true);
            (viewer, world.subscribe(viewer, track))
        })
        .collect();
    send(&mut world, 1, true);
    world.advance(2_000_000);
    assert_eq!(world.plis(publisher), [], "nobody waits");
    for round in 0..100 {
        for &(viewer, sub) in &viewers {
            world.send_rtcp(viewer, &pli(media_ssrc(sub)));
        }
        send(&mut world, 2 + round, false);
        world.advance(20_000);
    }
    let plis = world.plis(publisher);
    assert!(
        (3..=5).contains(&plis.len()),
        "two seconds, half a second apart: {plis:?}"
    );
    assert!(
        plis.windows(2)
            .all(|w| w[1].0.since(w[0].0) >= limits::KEYFRAME_THROTTLE_US)
    );
    assert_eq!(
        world.encoding_counters(track).plis_sent.load(),
        plis.len() as u64
    );
}

#[test]
fn who_asks_for_one_keyframe_after_the_other_does_not_get_them_at_the_others_cost() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let track = world.video(publisher);
    let viewers = [0, 0].map(|worker| {
        let viewer = world.client(worker, true);
        (viewer, media_ssrc(world.subscribe(viewer, track)))
    });
    // Thirty seconds in which the publisher does as it is told.
    let mut answered = world.plis(publisher).len();
    let mut keyframe = true;
    for index in 0..1_500_u64 {
        let payload = vp8(keyframe, index);
        let timestamp = index as u32 * 1_800;
        let packet = Rtp::new(10, VP8, index, timestamp, &payload).with(ExtensionKind::Mid, b"1");
        world.send(publisher, &packet);
        world.send_rtcp(viewers[0].0, &pli(viewers[0].1));
        world.advance(20_000);
        let asked = world.plis(publisher).len();
        keyframe = std::mem::replace(&mut answered, asked) < asked;
    }
    let most = limits::VIEWER_KEYFRAME_BURST + 30_000_000 / limits::VIEWER_KEYFRAME_US;
    assert!((10..=most as usize).contains(&answered), "{answered}");
    assert!(world.drops(0, ion_tables::DropReason::RateLimited) > 0);
    // The other one needs one at last, and again until it comes.
    world.send_rtcp(viewers[1].0, &pli(viewers[1].1));
    world.advance(limits::KEYFRAME_THROTTLE_US);
    assert_eq!(world.plis(publisher).len(), answered + 1);
    world.send_rtcp(viewers[1].0, &pli(viewers[1].1));
    world.advance(limits::KEYFRAME_THROTTLE_US);
    assert_eq!(world.plis(publisher).len(), answered + 2);
}

#[test]
fn nobody_is_bothered_for_a_viewer_that_has_no_keys_yet() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let row = world.clients[viewer].row.row;
    let secrets = world.tables.secrets(row).unwrap().read().unwrap();
    world.free::<Transport>(row);
    let again = world.client(0, true);
    let row = world.clients[again].row.row;
    let ready = world.tables.secrets(row).unwrap().read().unwrap();
    let unkeyed = TransportSecrets {
        keyed: 0,
        ..secrets
    };
    world.control.write_secrets(row, &unkeyed);
    world.edit::<Transport>(row, |t| t.head.generation += 1);
    world.clients[again].row.generation += 1;
    let track = world.video(publisher);
    let sub = world.subscribe(again, track);
    let mut index = 0;
    let mut send = |world: &mut World, keyframe| {
        index += 1;
        let packet = Rtp::new(10, VP8, index, 0, &vp8(keyframe, index));
        world.send(publisher, &packet.with(ExtensionKind::Mid, b"1"));
        world.advance(100_000);
    };
    for _ in 0..30 {
        send(&mut world, false);
    }
    assert_eq!(world.plis(publisher), []);
    let generation = world.clients[again].row.generation;
    world.control.write_secrets(
        row,
        &TransportSecrets {
            generation,
            ..ready
        },
    );
    world.edit::<Transport>(row, |_| ());
    world.advance(10_000);
    assert_eq!(
        world.plis(publisher).len(),
        1,
        "as soon as it can be sent to"
    );
    send(&mut world, true);
    assert_eq!(world.clients[again].of(media_ssrc(sub)).len(), 1);
}

#[test]
fn a_waiting_viewer_has_it_asked_for_until_it_comes() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.track(publisher, true, &[&|e| e.feedback = EncodingConfig::FIR]);
    let sub = world.subscribe(viewer, track);
    let mut reader = EventReader::default();
    for index in 0..100_u64 {
        let packet = Rtp::new(10, VP8, index, 0, &vp8(false, index)).with(ExtensionKind::Mid, b"1");
        world.send(publisher, &packet);
        world.advance(40_000);
    }
    let firs = world.feedback(publisher, |packet| match packet {
        ion_wire::rtcp::Packet::Psfb(ion_wire::rtcp::Psfb::Fir(fir)) => fir.entries().next(),
        _ => None,
    });
    assert_eq!(firs.len(), 11, "four seconds, each 400 ms: {firs:?}");
    assert!(
        firs.windows(2)
            .all(|w| w[1].1.sequence == w[0].1.sequence + 1),
        "each is a new command"
    );
    let ring = world.tables.events(0).unwrap();
    let events: Vec<_> = std::iter::from_fn(|| reader.take(ring)).collect();
    let waits = events.iter().filter(|e| e.kind == EventKind::KeyframeWait);
    assert_eq!(
        waits.map(|e| e.row).collect::<Vec<_>>(),
        [world.link::<Subscription>(sub)]
    );
    // The viewer leaves: nobody asks any more.
    world.free::<Subscription>(sub);
    let before = world.clients[publisher].rtcp.len();
    world.advance(5_000_000);
    let after: Vec<_> = world.clients[publisher].rtcp[before..].iter().collect();
    assert!(after.iter().all(|(_, c)| c[1] == 201), "reports only");
}

#[test]
fn the_highest_layer_allowed_is_switched_to_at_its_keyframe() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let layer = |rid: &'static str| move |e: &mut EncodingConfig| e.rid = Text::new(rid).unwrap();
    let (low, high) = (layer("q"), layer("f"));
    let track = world.track(publisher, true, &[&low, &high]);
    let sub = world.subscribe(viewer, track);
    let mut index = 100_u64;
    let mut frame = |world: &mut World, high: bool, key: [bool; 2]| {
        index += 1;
        let timestamp = u32::try_from(index).unwrap() * 3_000;
        for (layer, rid) in [(0, b"q"), (1, b"f")] {
            if layer == 1 && !high {
                continue;
            }
            let tag = index * 10 + layer;
            let payload = vp8(key[usize::try_from(layer).unwrap()], tag);
            // Every layer has numbers and times of its own.
            let shift = u32::try_from(layer).unwrap() * 1_000_000_000;
            let packet = Rtp::new(
                10 + u32::try_from(layer).unwrap(),
                VP8,
                index + layer * 30_000,
                timestamp + shift,
                &payload,
            );
            let packet = packet
                .with(ExtensionKind::Mid, b"1")
                .with(ExtensionKind::Rid, rid);
            world.rtp(publisher, &packet);
        }
        world.flush();
        world.advance(33_333);
    };
    frame(&mut world, false, [true, false]);
    frame(&mut world, true, [false, false]);
    frame(&mut world, true, [false, false]);
    assert_eq!(
        world.plis(publisher).last().map(|p| p.1),
        Some(11),
        "of the layer it should get"
    );
    frame(&mut world, true, [false, true]);
    frame(&mut world, true, [false, false]);
    // The high layer stops: after a second the low one is asked for.
    for _ in 0..40 {
        frame(&mut world, false, [false, false]);
    }
    assert_eq!(world.plis(publisher).last().map(|p| p.1), Some(10));
    frame(&mut world, false, [true, false]);
    // And the viewer may limit it.
    frame(&mut world, true, [false, true]);
    world.edit::<Subscription>(sub, |s: &mut SubscriptionConfig| s.max_layer = 0);
    frame(&mut world, true, [true, false]);
    frame(&mut world, true, [false, true]);
    let got = world.clients[viewer].of(media_ssrc(sub));
    let tags: Vec<_> = got
        .iter()
        .map(|g| u64::from_be_bytes(g.payload[7..].try_into().unwrap()))
        .collect();
    assert_eq!(
        tags,
        [
            1_010, 1_020, 1_030, 1_040, 1_041, 1_051, 1_460, 1_470, 1_471, 1_480, 1_490
        ]
    );
    assert!(got.windows(2).all(|w| w[1].index == w[0].index + 1));
    let steps: Vec<_> = got
        .windows(2)
        .map(|w| w[1].header.timestamp.wrapping_sub(w[0].header.timestamp))
        .collect();
    assert!(
        steps
            .iter()
            .all(|&s| s == 1 || (2_900..=3_100).contains(&s) || (120_000..=125_000).contains(&s)),
        "{steps:?}"
    );
    assert_eq!(world.subscription_counters(sub).switches.load(), 4);
}

#[test]
fn a_request_waits_for_the_throttle_and_no_longer() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let watching = world.client(0, true);
    let waiting = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(watching, track);
    let send = |world: &mut World, index: u64| {
        let packet = Rtp::new(10, VP8, index, 0, &vp8(index == 1, index));
        world.send(publisher, &packet.with(ExtensionKind::Mid, b"1"));
    };
    send(&mut world, 1);
    world.advance(2_000_000);
    send(&mut world, 2);
    world.subscribe(waiting, track);
    world.advance(10_000);
    let asked = world.plis(publisher).last().unwrap().0;
    // Not so soon that it must wait, not so late that the one who waits is asked for again.
    world.advance(600_000);
    let now = world.now;
    world.send_rtcp(watching, &pli(media_ssrc(sub)));
    world.advance(20_000);
    let again = world.plis(publisher).last().unwrap().0;
    assert!(
        again > asked && again.since(now) <= 2 * limits::TICK_US,
        "{asked:?} {now:?} {again:?}"
    );
}

#[test]
fn when_all_layers_are_silent_none_is_better() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let layer = |rid: &'static str| move |e: &mut EncodingConfig| e.rid = Text::new(rid).unwrap();
    let (low, high) = (layer("q"), layer("f"));
    let track = world.track(publisher, true, &[&low, &high]);
    let sub = world.subscribe(viewer, track);
    let mut next = [1; 2];
    let mut frame = |world: &mut World, layers: &[u32], key: bool| {
        for &layer in layers {
            let index = next[layer as usize];
            next[layer as usize] += 1;
            let rid: &[u8] = if layer == 0 { b"q" } else { b"f" };
            let packet = Rtp::new(10 + layer, VP8, index, 0, &vp8(key, index))
                .with(ExtensionKind::Mid, b"1")
                .with(ExtensionKind::Rid, rid);
            world.send(publisher, &packet);
        }
        world.advance(33_000);
    };
    frame(&mut world, &[1], true);
    for _ in 0..30 {
        frame(&mut world, &[0, 1], false);
    }
    // The camera is off: the low layer happens to end last.
    frame(&mut world, &[0], false);
    let plis = world.plis(publisher).len();
    world.advance(10_000_000);
    assert_eq!(
        world.plis(publisher).len(),
        plis,
        "no other layer is asked for"
    );
    for _ in 0..30 {
        frame(&mut world, &[0, 1], false);
    }
    assert_eq!(world.clients[viewer].of(media_ssrc(sub)).len(), 61);
    assert_eq!(world.plis(publisher).len(), plis);
    // But after the silence the high one stays away: now it is.
    world.advance(10_000_000);
    for _ in 0..60 {
        frame(&mut world, &[0], false);
    }
    assert_eq!(world.plis(publisher).last().unwrap().1, 10);
    frame(&mut world, &[0], true);
    assert_eq!(world.clients[viewer].of(media_ssrc(sub)).len(), 62);
}
