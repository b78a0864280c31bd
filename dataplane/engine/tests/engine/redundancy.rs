//! Redundant audio, ended on each leg.

use crate::harness::*;
use ion_tables::{ExtensionKind, SubscriptionConfig};
use ion_wire::red::{self, Red, Redundant};
use ion_wire::rtcp::{ReportBlock, build};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const SSRC: u32 = 11;
const TICKS: u32 = 960;

fn frame(index: u64) -> Vec<u8> {
    let mut frame = index.to_be_bytes().to_vec();
    frame.extend([7; 20]);
    frame
}

fn timestamp(index: u64) -> u32 {
    u32::MAX
        .wrapping_sub(20 * TICKS)
        .wrapping_add((index as u32).wrapping_mul(TICKS))
}

fn plain(index: u64) -> Rtp {
    Rtp::new(SSRC, OPUS, index, timestamp(index), &frame(index)).with(ExtensionKind::Mid, b"0")
}

/// The frame of an index behind those of the two before it.
fn redundant(index: u64) -> Rtp {
    let before = [frame(index - 2), frame(index - 1)];
    let blocks = [2_u16, 1].map(|back| Redundant {
        payload_type: OPUS,
        timestamp_offset: back * TICKS as u16,
        data: &before[2 - usize::from(back)],
    });
    let mut payload = vec![0; 200];
    let len = red::write(&mut payload, &blocks, OPUS, &frame(index)).unwrap();
    payload.truncate(len);
    Rtp::new(SSRC, RED, index, timestamp(index), &payload).with(ExtensionKind::Mid, b"0")
}

proptest! {
    #![proptest_config(crate::seeded(48))]

    /// Where no more than two in a row are lost on the way in, no viewer misses any.
    #[test]
    fn what_a_publisher_sends_twice_fills_gaps(
        start in 65_000_u64..65_500,
        fates in prop::collection::vec((0_u8..100, 0_u64..4), 20..200),
    ) {
        let mut world = World::new(2);
        let publisher = world.client(0, false);
        let track = world.audio(publisher);
        let viewers = [world.client(0, true), world.client(1, true)];
        let subs = viewers.map(|viewer| world.subscribe(viewer, track));
        let (mut arrivals, mut lost_before) = (Vec::new(), 0);
        let mut never = BTreeSet::new();
        for (index, &(fate, late)) in (start..).zip(&fates) {
            let last = index + 1 == start + fates.len() as u64;
            if fate < 40 && lost_before < 2 && index > start + 1 && !last {
                lost_before += 1;
                never.insert(index);
            } else {
                // One that carries what was lost before it comes in time.
                let late = if fate > 90 && !last && lost_before == 0 { late } else { 0 };
                lost_before = 0;
                arrivals.push((index + late, index));
            }
        }
        arrivals.sort_unstable();
        world.send(publisher, &plain(start - 1));
        for &(_, index) in &arrivals {
            world.send(publisher, &redundant(index));
            world.advance(20_000);
        }
        for (viewer, sub) in viewers.into_iter().zip(subs) {
            let got: BTreeMap<u64, _> = world.clients[viewer].of(media_ssrc(sub)).into_iter().map(|g| (g.index, g)).collect();
            let (&first, &last) = (got.keys().next().unwrap(), got.keys().next_back().unwrap());
            prop_assert_eq!(last - first, fates.len() as u64, "all, and no number twice");
            let frames: Vec<u64> = got.values().map(|g| u64::from_be_bytes(g.payload[..8].try_into().unwrap())).collect();
            prop_assert_eq!(frames, (start - 1..start + fates.len() as u64).collect::<Vec<_>>(), "{:?} {:?}", world.all_drops(), &arrivals);
            for (index, got) in (start - 1..).zip(got.values()) {
                prop_assert_eq!(&got.payload, &frame(index));
                prop_assert_eq!(got.header.timestamp, timestamp(index));
                prop_assert_eq!(got.header.payload_type, V_OPUS);
            }
        }
        prop_assert!(world.encoding_counters(track).fec_recovered.load() >= never.len() as u64);
    }
}

/// A viewer's report of loss.
fn report(ssrc: u32, fraction_lost: u8) -> Vec<u8> {
    let block = ReportBlock {
        ssrc,
        fraction_lost,
        cumulative_lost: 1,
        extended_highest_sequence: 0,
        jitter: 0,
        last_sr: 0,
        delay_since_last_sr: 0,
    };
    let mut buffer = vec![0; 100];
    let len = build::receiver_report(&mut buffer, 7, &[block]).unwrap();
    buffer.truncate(len);
    buffer
}

#[test]
fn a_viewer_that_loses_gets_frames_twice_and_others_do_not() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let track = world.audio(publisher);
    let edit = |config: &mut SubscriptionConfig| config.flags = 0;
    let viewers = [(); 3].map(|()| world.client(0, true));
    let lossy = world.subscribe_with(viewers[0], track, edit);
    let clean = world.subscribe_with(viewers[1], track, edit);
    let without = world.subscribe_with(viewers[2], track, |config| {
        (config.flags, config.red_payload_type) = (0, 0);
    });
    let mut index = 1_000;
    let mut run = |world: &mut World, packets: u64| {
        for _ in 0..packets {
            world.send(publisher, &plain(index));
            world.advance(20_000);
            index += 1;
        }
    };
    run(&mut world, 3);
    for (viewer, sub) in [(viewers[0], lossy), (viewers[2], without)] {
        world.send_rtcp(viewer, &report(media_ssrc(sub), 40));
    }
    run(&mut world, 5);
    world.send_rtcp(viewers[0], &report(media_ssrc(lossy), 10));
    run(&mut world, 2);
    for (viewer, sub) in [(viewers[1], clean), (viewers[2], without)] {
        let got = world.clients[viewer].of(media_ssrc(sub));
        assert!(got.iter().all(|g| g.header.payload_type == V_OPUS));
    }
    let got = world.clients[viewers[0]].of(media_ssrc(lossy));
    assert!(got[..3].iter().all(|g| g.header.payload_type == V_OPUS));
    for (index, got) in (1_003..).zip(&got[3..]) {
        assert_eq!(got.header.payload_type, V_RED);
        let red = Red::parse(&got.payload).unwrap();
        assert_eq!((red.payload_type, red.primary), (V_OPUS, &frame(index)[..]));
        let blocks: Vec<_> = red
            .redundant()
            .map(|block| (block.timestamp_offset, block.data.to_vec()))
            .collect();
        assert_eq!(blocks, [(1_920, frame(index - 2)), (960, frame(index - 1))]);
    }
    assert_eq!(world.subscription_counters(lossy).red_sent.load(), 7);
}

#[test]
fn a_red_payload_without_its_frame_is_dropped() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let track = world.audio(publisher);
    let viewer = world.client(0, true);
    let sub = world.subscribe(viewer, track);
    world.send(publisher, &plain(1));
    for (index, payload) in [
        (2, &[0xEF, 0, 0, 200, 0x6F, 1][..]),
        (3, &[0xEF, 0, 0]),
        (4, &[0x6F]),
    ] {
        world.send(
            publisher,
            &Rtp::new(SSRC, RED, index, 0, payload).with(ExtensionKind::Mid, b"0"),
        );
    }
    assert_eq!(world.clients[viewer].of(media_ssrc(sub)).len(), 1);
    assert_eq!(world.drops(0, ion_tables::DropReason::MalformedRtp), 3);
}
