//! Congestion marks (RFC 3168) of what viewers are sent, as they report them by RFC 8888.

use crate::harness::*;
use ion_engine::congestion::Ecn;
use ion_tables::{DropReason, ExtensionKind, ExtensionMap, Transport, TransportConfig};
use ion_wire::rtcp::{build, ccfb};

/// A publisher, and a viewer of its video that reports by RFC 8888.
fn reporting() -> (World, [usize; 2], u32) {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let mut map = ExtensionMap::default();
    map.set(ExtensionKind::Mid, 1);
    let flags = TransportConfig::CCFB_OUT;
    let viewer = world.client_with(0, map, flags, ion_srtp::Profile::AeadAes128Gcm);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    (world, [publisher, viewer], sub)
}

/// RFC 8888 needs no numbers of its own, and tells of congestion marks.
#[test]
fn feedback_by_stream_is_taken_and_marks_are_counted() {
    let (mut world, [publisher, viewer], sub) = reporting();
    for at in 0..10_u64 {
        let payload = vp8(at == 0, at);
        world.send(
            publisher,
            &Rtp::new(10, VP8, at, at as u32 * 3_000, &payload),
        );
        world.advance(10_000);
    }
    let got: Vec<u16> = world.clients[viewer]
        .of(media_ssrc(sub))
        .iter()
        .map(|got| got.header.sequence)
        .collect();
    assert_eq!(got.len(), 10);
    // Media goes out as ECT(1), and RTCP as it ever did.
    world.advance(1_200_000);
    let [media, rtcp] = world.workers[0].out.ecn;
    assert_eq!(media, [0, 10, 0, 0]);
    assert!(rtcp[0] > 0 && rtcp[1..] == [0; 3], "{rtcp:?}");
    let arrivals: Vec<_> = (0..10_u16)
        .map(|at| {
            let ecn = if at < 3 { Ecn::Ce } else { Ecn::Ect1 };
            let before = Some(100 - 10 * at);
            (at != 5).then_some(ccfb::Arrival { ecn, before })
        })
        .collect();
    let report = ccfb::StreamReport {
        ssrc: media_ssrc(sub),
        begin_sequence: got[0],
        arrivals: &arrivals,
    };
    let mut buffer = vec![0; 200];
    let len = build::ccfb(&mut buffer, 7, 1 << 20, &[report]).unwrap();
    world.send_rtcp(viewer, &buffer[..len]);
    let row = world.clients[viewer].row.row;
    let counters = world.tables.counters::<Transport>(row).unwrap();
    assert_eq!(counters.congestion_marks.load(), 3);
    let worker = world.tables.worker_counters(0).unwrap();
    assert_eq!(worker.congestion_marks.load(), 3);
    assert!(counters.estimate_bps.load() > 0);
    assert_eq!(world.drops(0, DropReason::FeedbackRefused), 0);
    // The path carries marks: what comes without them later changes nothing.
    world.send(publisher, &Rtp::new(10, VP8, 10, 30_000, &vp8(false, 10)));
    assert_eq!(world.workers[0].out.ecn[0], [0, 11, 0, 0]);
    // Transport-wide feedback was not negotiated, and its numbers mean nothing here.
    let strange = ccfb::StreamReport { ssrc: 5, ..report };
    let len = build::ccfb(&mut buffer, 7, 1 << 20, &[strange]).unwrap();
    world.send_rtcp(viewer, &buffer[..len]);
    assert_eq!(world.drops(0, DropReason::FeedbackRefused), 1);
}

/// Bits that the path clears are of no use, and a path that clears may also drop.
#[test]
fn a_path_that_clears_ecn_bits_is_sent_none_any_more() {
    let (mut world, [publisher, viewer], sub) = reporting();
    let mut reported = 0;
    for at in 0..50_u64 {
        let payload = vp8(at == 0, at);
        world.send(
            publisher,
            &Rtp::new(10, VP8, at, at as u32 * 3_000, &payload),
        );
        world.advance(10_000);
        if at % 10 != 9 {
            continue;
        }
        let got = world.clients[viewer].of(media_ssrc(sub));
        let begin_sequence = got[reported].header.sequence;
        let count = got.len() - reported;
        reported += count;
        let arrival = |before| ccfb::Arrival {
            ecn: Ecn::NotEct,
            before: Some(before),
        };
        let arrivals: Vec<_> = (0..count as u16)
            .rev()
            .map(|n| Some(arrival(n * 10)))
            .collect();
        let report = ccfb::StreamReport {
            ssrc: media_ssrc(sub),
            begin_sequence,
            arrivals: &arrivals,
        };
        let mut buffer = vec![0; 200];
        let time = 1 << 20 | (at as u32) << 10;
        let len = build::ccfb(&mut buffer, 7, time, &[report]).unwrap();
        world.send_rtcp(viewer, &buffer[..len]);
    }
    assert_eq!(world.drops(0, DropReason::FeedbackRefused), 0);
    // Four reports on ten packets are enough to tell.
    assert_eq!(world.workers[0].out.ecn[0], [10, 40, 0, 0]);
}
