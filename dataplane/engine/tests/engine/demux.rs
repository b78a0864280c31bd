//! How a publisher's streams are told apart.

use crate::harness::*;
use ion_tables::{
    DropReason, Encoding, EncodingConfig, ExtensionKind, ExtensionMap, RowLink, Text,
};

fn bound(world: &World, encoding: RowLink) -> (u32, u32) {
    let state = world
        .tables
        .state::<Encoding>(encoding.row)
        .unwrap()
        .read()
        .unwrap();
    (state.ssrc, state.rtx_ssrc)
}

#[test]
fn by_mid_and_rid_with_repaired_streams() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let layer = |rid: &'static str| move |e: &mut EncodingConfig| e.rid = Text::new(rid).unwrap();
    let (low, mid, high) = (layer("q"), layer("h"), layer("f"));
    let video = world.track(publisher, true, &[&low, &mid, &high]);
    let audio = world.audio(publisher);
    for (ssrc, rid) in [(11, "q"), (12, "h"), (13, "f")] {
        let packet = Rtp::new(ssrc, VP8, 1, 0, &vp8(true, 1))
            .with(ExtensionKind::Mid, b"1")
            .with(ExtensionKind::Rid, rid.as_bytes());
        world.send(publisher, &packet);
        let rtx = Rtp::new(ssrc + 10, VP8_RTX, 1, 0, &[0, 1, 9])
            .with(ExtensionKind::Mid, b"1")
            .with(ExtensionKind::RepairedRid, rid.as_bytes());
        world.send(publisher, &rtx);
        // Once told, a stream need not name itself.
        world.send(publisher, &Rtp::new(ssrc, VP8, 2, 0, &vp8(false, 2)));
    }
    world.send(
        publisher,
        &Rtp::new(14, OPUS, 1, 0, &[1; 9]).with(ExtensionKind::Mid, b"0"),
    );
    let rows = world.encodings(video);
    assert_eq!(
        rows.iter()
            .map(|&row| bound(&world, row))
            .collect::<Vec<_>>(),
        [(11, 21), (12, 22), (13, 23)]
    );
    assert_eq!(bound(&world, world.encodings(audio)[0]).0, 14);
    for row in rows {
        let counters = world.tables.counters::<Encoding>(row.row).unwrap();
        assert_eq!(counters.packets_received.load(), 2);
    }
    assert_eq!(world.all_drops(), [(DropReason::RtxUseless, 3)]);
}

/// FFmpeg negotiates no extensions, and announces the SSRC of RTX only in a group.
#[test]
fn by_announced_ssrc_and_payload_type_without_any_mid() {
    let mut world = World::new(1);
    let profile = ion_srtp::Profile::Aes128CmSha1_80;
    let publisher = world.client_with(0, ExtensionMap::default(), 0, profile);
    let ffmpeg = |e: &mut EncodingConfig| {
        (e.ssrc, e.rtx_ssrc, e.mid) = (500, 0, Text::default());
    };
    let video = world.track(publisher, true, &[&ffmpeg]);
    let audio = world.track(publisher, false, &[&|e| e.mid = Text::default()]);
    let viewer = world.client(0, true);
    let sub = world.subscribe(viewer, video);
    world.send(publisher, &Rtp::new(500, VP8, 1, 0, &vp8(true, 1)));
    world.send(publisher, &Rtp::new(500, VP8, 3, 0, &vp8(false, 3)));
    world.send(publisher, &Rtp::new(501, OPUS, 1, 0, &[1; 9]));
    let mut payload = vec![0, 2];
    payload.extend(vp8(false, 2));
    world.send(publisher, &Rtp::new(502, VP8_RTX, 9, 0, &payload));
    assert_eq!(bound(&world, world.encodings(video)[0]), (500, 502));
    assert_eq!(bound(&world, world.encodings(audio)[0]).0, 501);
    let got = world.clients[viewer].of(media_ssrc(sub));
    assert_eq!(
        got.iter().map(|g| g.payload[14]).collect::<Vec<_>>(),
        [1, 3, 2]
    );
}

#[test]
fn what_cannot_be_told_is_dropped_and_makes_no_state() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let track = world.track(
        publisher,
        true,
        &[&|e| e.rid = Text::new("a").unwrap(), &|e| {
            e.rid = Text::new("b").unwrap()
        }],
    );
    // Two layers share the payload type; the third MID is nobody's; nor is type 50.
    world.send(publisher, &Rtp::new(1, VP8, 1, 0, &vp8(true, 1)));
    world.send(
        publisher,
        &Rtp::new(2, VP8, 1, 0, &vp8(true, 1)).with(ExtensionKind::Mid, b"7"),
    );
    world.send(
        publisher,
        &Rtp::new(3, 50, 1, 0, &vp8(true, 1)).with(ExtensionKind::Mid, b"1"),
    );
    assert_eq!(world.drops(0, DropReason::UnknownSsrc), 3);
    // A known stream keeps to its payload types.
    let known = Rtp::new(4, VP8, 1, 0, &vp8(true, 1))
        .with(ExtensionKind::Mid, b"1")
        .with(ExtensionKind::Rid, b"a");
    world.send(publisher, &known);
    world.send(publisher, &Rtp::new(4, 50, 2, 0, &vp8(true, 1)));
    assert_eq!(world.drops(0, DropReason::UnknownPayloadType), 1);
    let [a, b] = world.encodings(track)[..] else {
        panic!()
    };
    assert_eq!((bound(&world, a).0, bound(&world, b).0), (4, 0));
}

#[test]
fn a_publisher_that_changes_its_ssrc_goes_on_without_a_gap() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    let send = |world: &mut World, ssrc, index: u64, keyframe| {
        let timestamp = u32::try_from(index).unwrap() * 3_000;
        let packet = Rtp::new(ssrc, VP8, index, timestamp, &vp8(keyframe, index));
        world.send(publisher, &packet.with(ExtensionKind::Mid, b"1"));
        world.advance(30_000);
    };
    for index in 1..40 {
        send(&mut world, 10, 40_000 + index, index == 1);
    }
    send(&mut world, 20, 5, false);
    world.advance(100_000);
    assert_eq!(
        world.plis(publisher).last().map(|(_, ssrc)| *ssrc),
        Some(20)
    );
    send(&mut world, 20, 6, true);
    send(&mut world, 20, 7, false);
    // Both at once is not a change of mind: that would cost a keyframe each time.
    send(&mut world, 10, 40_040, true);
    send(&mut world, 20, 8, false);
    assert_eq!(world.drops(0, DropReason::RateLimited), 1);
    let got = world.clients[viewer].of(media_ssrc(sub));
    assert!(got.windows(2).all(|w| w[1].index == w[0].index + 1));
    let tail: Vec<_> = got[39..].iter().map(|g| g.payload[14]).collect();
    assert_eq!(tail, [6, 7, 8]);
    let step = got[39]
        .header
        .timestamp
        .wrapping_sub(got[38].header.timestamp);
    // 30 ms, the packet that was withheld, 100 ms of waiting.
    assert!((14_000..=15_000).contains(&step), "{step}");
    // Retransmission of what was sent before the change still works.
    let old = got[20].index as u16;
    world.send_rtcp(viewer, &nack(media_ssrc(sub), &[old]));
    let again = world.clients[viewer].of(media_ssrc(sub) + 1);
    assert_eq!(again[0].payload[2..], vp8(false, 40_021));
}

#[test]
fn padding_leaves_no_gap() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    let media = |index: u64| {
        Rtp::new(10, VP8, index, 0, &vp8(index == 1, index)).with(ExtensionKind::Mid, b"1")
    };
    let padding = |index: u64| Rtp::new(10, VP8, index, 0, &[]).padded(200);
    for packet in [
        media(1),
        padding(2),
        padding(3),
        media(4),
        media(6),
        padding(7),
        media(8),
        media(5),
    ] {
        world.send(publisher, &packet);
    }
    let got = world.clients[viewer].of(media_ssrc(sub));
    let first = got[0].index;
    let placed: Vec<_> = got
        .iter()
        .map(|g| (g.index - first, g.payload[14]))
        .collect();
    assert_eq!(placed, [(0, 1), (1, 4), (3, 6), (4, 8), (2, 5)]);
    assert_eq!(world.drops(0, DropReason::PaddingOnly), 3);
    // Padding that comes late has its place taken: an empty packet fills it.
    world.send(publisher, &media(10));
    world.send(publisher, &padding(9));
    let last = world.clients[viewer].rtp.last().unwrap().clone();
    assert_eq!((last.index - first, last.payload.len()), (5, 0));
    world.advance(200_000);
    assert!(
        world.nacks(publisher).iter().all(|(_, s)| *s == 5),
        "{:?}",
        world.nacks(publisher)
    );
}
