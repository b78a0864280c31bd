//! RTX and NACK on both legs.

use crate::harness::*;
use ion_engine::limits;
use ion_tables::{DropReason, EncodingConfig, ExtensionKind, Subscription};

const SSRC: u32 = 77;
const RTX: u32 = 78;

fn packet(index: u64) -> Rtp {
    let timestamp = u32::try_from(index).unwrap() * 3_000;
    Rtp::new(
        SSRC,
        VP8,
        index,
        timestamp,
        &vp8(index.is_multiple_of(100), index),
    )
    .with(ExtensionKind::Mid, b"1")
}

/// The retransmission of a packet, as RFC 4588 has it.
fn rtx(rtx_index: u64, original: &Rtp) -> Rtp {
    let mut payload = (original.index as u16).to_be_bytes().to_vec();
    payload.extend(&original.payload);
    Rtp {
        ssrc: RTX,
        pt: VP8_RTX,
        index: rtx_index,
        payload,
        ..original.clone()
    }
}

fn tags(world: &World, viewer: usize, sub: u32) -> Vec<Vec<u8>> {
    let got = world.clients[viewer].of(media_ssrc(sub));
    got.iter().map(|g| g.payload.clone()).collect()
}

#[test]
fn a_publishers_retransmission_fills_its_gap_in_the_stream() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    for index in [100, 101, 103] {
        world.send(publisher, &packet(index));
    }
    world.advance(30_000);
    assert_eq!(world.nacks(publisher).len(), 1);
    assert_eq!(world.nacks(publisher)[0].1, 102);
    world.send(publisher, &rtx(5, &packet(102)));
    let got = world.clients[viewer].of(media_ssrc(sub));
    let base = got[0].index;
    let placed: Vec<_> = got
        .iter()
        .map(|g| (g.index - base, g.payload.clone()))
        .collect();
    let expected = [100, 101, 103, 102].map(|i| (i - 100, vp8(i == 100, i)));
    assert_eq!(placed, expected);
    assert_eq!(got[3].header.timestamp, got[0].header.timestamp + 6_000);
    // Once more it is of no use, nor is the original that was only late.
    world.send(publisher, &rtx(6, &packet(102)));
    world.send(publisher, &packet(102));
    assert_eq!(tags(&world, viewer, sub).len(), 4);
    assert_eq!(
        world.all_drops(),
        [(DropReason::RtxUseless, 1), (DropReason::Duplicate, 1)]
    );
    let counters = world.encoding_counters(track);
    assert_eq!(counters.retransmitted_received.load(), 1);
    assert_eq!(counters.retransmitted_useless.load(), 1);
    assert_eq!(counters.rtt_us.load() / 1_000, 20);
    world.advance(2_000_000);
    assert_eq!(world.nacks(publisher).len(), 1, "not asked for again");
}

#[test]
fn what_does_not_come_is_asked_for_ever_more_slowly_and_given_up() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    world.subscribe(viewer, track);
    for index in [100, 101, 103, 104] {
        world.send(publisher, &packet(index));
    }
    let plis = world.plis(publisher).len();
    for index in 105..200 {
        world.send(publisher, &packet(index));
        world.advance(20_000);
    }
    let times: Vec<_> = world.nacks(publisher).iter().map(|(at, _)| at.0).collect();
    let waits: Vec<_> = times.windows(2).map(|w| w[1] - w[0]).collect();
    assert!((3..=10).contains(&times.len()), "{times:?}");
    assert!(waits.windows(2).all(|w| w[1] > w[0]), "{waits:?}");
    assert!(times[times.len() - 1] - times[0] <= limits::NACK_GIVE_UP_US);
    assert_eq!(
        world.plis(publisher).len(),
        plis + 1,
        "then only a keyframe helps"
    );
}

#[test]
fn a_leap_is_not_asked_for_packet_by_packet() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    world.subscribe(viewer, track);
    world.send(publisher, &packet(100));
    world.send(publisher, &packet(10_001));
    world.advance(3_000_000);
    assert_eq!(world.nacks(publisher), []);
    assert_eq!(world.plis(publisher).len(), 1);
    // A large gap below the limit is asked for in messages that fit a datagram.
    for index in [10_002, 10_300, 10_301, 10_302, 10_303] {
        world.send(publisher, &packet(index));
        world.advance(50_000);
    }
    let mut asked: Vec<_> = world.nacks(publisher).iter().map(|(_, s)| *s).collect();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked, (10_003..10_300).collect::<Vec<u16>>());
}

#[test]
fn nothing_is_asked_for_where_nack_was_not_negotiated() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let track = world.track(publisher, true, &[&|e| e.feedback = EncodingConfig::PLI]);
    let viewer = world.client(0, true);
    world.subscribe(viewer, track);
    for index in [100, 105, 106] {
        world.send(publisher, &packet(index));
    }
    world.advance(1_000_000);
    assert_eq!(world.nacks(publisher), []);
}

#[test]
fn a_viewer_with_rtx_gets_what_it_lost_on_that_stream() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    let ssrc = media_ssrc(sub);
    for index in 100..150 {
        world.send(publisher, &packet(index));
        world.advance(10_000);
    }
    let first = world.clients[viewer].of(ssrc)[0].index;
    let lost = [(first + 40) as u16, (first + 42) as u16];
    world.send_rtcp(viewer, &nack(ssrc, &lost));
    let again = world.clients[viewer].of(ssrc + 1);
    assert_eq!(again.len(), 2);
    for (packet, (lost, index)) in again.iter().zip(lost.into_iter().zip([140, 142])) {
        assert_eq!(packet.header.payload_type, V_RTX);
        assert_eq!(packet.payload[..2], lost.to_be_bytes());
        assert_eq!(packet.payload[2..], vp8(false, index));
        assert!(packet.extension(ExtensionKind::TransportCc).is_some());
        let original = world.clients[viewer].of(ssrc)[(index - 100) as usize];
        assert_eq!(packet.header.timestamp, original.header.timestamp);
    }
    assert_eq!(again[1].index, again[0].index + 1);
    // At once again: that is on its way already. Never sent, or long gone: missed.
    world.send_rtcp(viewer, &nack(ssrc, &lost));
    world.send_rtcp(
        viewer,
        &nack(ssrc, &[(first + 50) as u16, (first.wrapping_sub(1)) as u16]),
    );
    assert_eq!(world.clients[viewer].of(ssrc + 1).len(), 2);
    world.advance(300_000);
    world.send_rtcp(viewer, &nack(ssrc, &lost[..1]));
    assert_eq!(world.clients[viewer].of(ssrc + 1).len(), 3);
    world.advance(2_000_000);
    world.send_rtcp(viewer, &nack(ssrc, &lost[..1]));
    let counters = world.subscription_counters(sub);
    assert_eq!(counters.nacks_received.load(), 8);
    assert_eq!(counters.nacks_suppressed.load(), 2);
    assert_eq!(counters.nacks_missed.load(), 3);
    assert_eq!(counters.retransmitted_sent.load(), 3);
    assert_eq!(
        world.workers[0].engine.packets_in_use(),
        0,
        "a second later nothing is kept"
    );
}

#[test]
fn what_nobody_has_any_more_is_mended_by_a_keyframe() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    let ssrc = media_ssrc(sub);
    for index in 100..190 {
        world.send(publisher, &packet(index));
        world.advance(33_000);
    }
    let first = world.clients[viewer].of(ssrc)[0].index;
    let asked = world.plis(publisher).len();
    // Still here, or never sent: no keyframe is needed for that.
    world.send_rtcp(
        viewer,
        &nack(ssrc, &[(first + 89) as u16, (first + 95) as u16]),
    );
    assert_eq!(world.plis(publisher).len(), asked);
    // Of two seconds ago, and pictures since then need it.
    world.send_rtcp(
        viewer,
        &nack(ssrc, &[(first + 30) as u16, (first + 31) as u16]),
    );
    world.advance(20_000);
    assert_eq!(world.plis(publisher).len(), asked + 1);
    // A keyframe has come since: whoever asks late for what was before it does without.
    for index in 190..202 {
        world.send(publisher, &packet(index));
        world.advance(33_000);
    }
    world.send_rtcp(viewer, &nack(ssrc, &[(first + 30) as u16]));
    world.advance(2_000_000);
    assert_eq!(world.plis(publisher).len(), asked + 1);
}

#[test]
fn a_viewer_without_rtx_gets_the_same_packet_byte_by_byte() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe_with(viewer, track, |s| {
        s.rtx_payload_type = 0;
        s.rtx_ssrc = 0;
    });
    let ssrc = media_ssrc(sub);
    for index in 100..120 {
        world.send(publisher, &packet(index));
        world.advance(10_000);
    }
    let first = world.clients[viewer].of(ssrc)[0].index;
    world.send_rtcp(viewer, &nack(ssrc, &[(first + 10) as u16]));
    let got = world.clients[viewer].of(ssrc);
    assert_eq!(got.len(), 21);
    assert!(got[20].again && got[20].index == first + 10);
    // After the viewer's numbers for headers changed, it would not be the same packet.
    world.edit::<Subscription>(sub, |s| s.payload_type = 99);
    world.advance(100_000);
    world.send_rtcp(viewer, &nack(ssrc, &[(first + 11) as u16]));
    assert_eq!(world.clients[viewer].of(ssrc).len(), 21);
    world.send(publisher, &packet(120));
    world.send_rtcp(viewer, &nack(ssrc, &[(first + 20) as u16]));
    assert_eq!(world.clients[viewer].of(ssrc).len(), 23);
}

#[test]
fn a_storm_of_nacks_costs_what_was_allowed() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    let sub = world.subscribe(viewer, track);
    let ssrc = media_ssrc(sub);
    for index in 100..1_100 {
        let mut big = packet(index);
        big.payload.resize(1_000, 7);
        world.rtp(publisher, &big);
        if index % 10 == 0 {
            world.flush();
            world.advance(900);
        }
    }
    world.flush();
    let first = world.clients[viewer].of(ssrc)[0].index;
    for _ in 0..20 {
        for chunk in 0..10 {
            let all: Vec<u16> = (0..100).map(|i| (first + chunk * 100 + i) as u16).collect();
            world.send_rtcp(viewer, &nack(ssrc, &all));
        }
        world.advance(5_000);
    }
    let bytes = world.subscription_counters(sub).retransmitted_bytes.load();
    assert!(
        bytes <= limits::RTX_CREDIT_MAX + 4 * limits::RTX_CREDIT_PERIOD,
        "{bytes}"
    );
    let counters = world.subscription_counters(sub);
    assert!(counters.nacks_suppressed.load() > 15_000);
    assert!(world.drops(0, DropReason::RateLimited) > 0);
}
