//! Loss, reordering and wrap-around on both sides, at random.

use crate::harness::*;
use ion_tables::ExtensionKind;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const SSRC: u32 = 10;

fn packet(index: u64, padding: bool) -> Rtp {
    let timestamp = u32::try_from(index & 0xff_ffff).unwrap() * 3_000;
    let mut packet = Rtp::new(
        SSRC,
        VP8,
        index,
        timestamp,
        &vp8(index.is_multiple_of(64), index),
    );
    if padding {
        packet.payload.clear();
        packet.padding = 50;
    }
    packet.with(ExtensionKind::Mid, b"1")
}

proptest! {
    #![proptest_config(crate::seeded(48))]

    /// What the publisher sends is lost, doubled, late, padding. The viewer's numbers
    /// must keep order and distance of what was media, and never be used twice (that
    /// the harness checks).
    #[test]
    fn numbers_keep_order_and_gaps_are_real(
        start in prop_oneof![64_u64..65_400, 65_000_u64..65_400],
        fates in prop::collection::vec((0_u8..100, 0_usize..12), 100..500),
        plain in any::<bool>(),
    ) {
        let mut world = World::new(2);
        let publisher = world.client(0, false);
        let track = world.video(publisher);
        let viewers = [world.client(0, true), world.client(1, true)];
        let subs = viewers.map(|viewer| world.subscribe_with(viewer, track, |s| {
            if plain {
                (s.rtx_ssrc, s.rtx_payload_type) = (0, 0);
            }
        }));
        // Arrival order: each packet some places later; of a hundred, ten lost, five doubled, ten padding.
        let mut arrivals: Vec<(usize, u64, bool)> = Vec::new();
        let start = start & !63;
        let media = |fate: u8| !(20..30).contains(&fate);
        for (i, &(fate, late)) in fates.iter().enumerate() {
            let index = start + i as u64;
            // Of what is in order at the start, nothing.
            let late = if fate < 30 || i < 5 { 0 } else { late };
            let lost = fate < 10 && i > 0;
            let padding = !media(fate) && i > 0;
            if !lost {
                arrivals.push((i + late, index, padding));
            }
            if (10..15).contains(&fate) {
                arrivals.push((i + 3, index, padding));
            }
        }
        arrivals.sort_by_key(|&(at, index, _)| (at, index));
        let mut came = BTreeSet::new();
        for (n, &(_, index, padding)) in arrivals.iter().enumerate() {
            world.rtp(publisher, &packet(index, padding));
            if !padding {
                came.insert(index);
            }
            if n % 3 == 0 {
                world.flush();
                world.advance(2_000);
            }
        }
        world.flush();
        for (viewer, sub) in viewers.into_iter().zip(subs) {
            let got = world.clients[viewer].of(media_ssrc(sub));
            let by_index: BTreeMap<u64, u64> = got
                .iter()
                .filter(|g| !g.payload.is_empty())
                .map(|g| (g.index, u64::from_be_bytes(g.payload[7..].try_into().unwrap())))
                .collect();
            let order: Vec<u64> = by_index.values().copied().collect();
            prop_assert!(order.windows(2).all(|w| w[0] < w[1]), "order is the publisher's");
            prop_assert_eq!(order.iter().copied().collect::<BTreeSet<_>>(), came.clone(), "all that came");
            // A number is missing only where something other than leading padding is.
            let numbers: Vec<u64> = got.iter().map(|g| g.index).collect();
            let (low, high) = (numbers.iter().min().unwrap(), numbers.iter().max().unwrap());
            let distinct = numbers.iter().collect::<BTreeSet<_>>().len() as u64;
            let gaps = high - low + 1 - distinct;
            let last = *came.iter().next_back().unwrap();
            let all: BTreeSet<u64> = arrivals.iter().map(|a| a.1).collect();
            let missing = (start..=last).filter(|i| !all.contains(i)).count() as u64;
            prop_assert!(gaps <= missing, "{gaps} gaps, {missing} missing");
            // Whatever it asks for again comes as it was, or not at all.
            let ask: Vec<u16> = numbers.iter().rev().take(60).map(|&n| n as u16).collect();
            world.send_rtcp(viewer, &nack(media_ssrc(sub), &ask));
            for again in world.clients[viewer].of(media_ssrc(sub) + 1) {
                let original = u16::from_be_bytes(again.payload[..2].try_into().unwrap());
                let first = world.clients[viewer].of(media_ssrc(sub)).into_iter()
                    .find(|g| g.index as u16 == original).unwrap().payload.clone();
                prop_assert_eq!(&again.payload[2..], &first[..]);
            }
        }
    }

    /// A viewer behind a lossy path that asks for what it misses gets everything.
    #[test]
    fn what_a_viewer_loses_it_gets_again(seed in any::<u64>(), percent in 1_u64..30) {
        let mut world = World::new(1);
        let publisher = world.client(0, false);
        let track = world.video(publisher);
        let viewer = world.client(0, true);
        let sub = world.subscribe(viewer, track);
        let mut state = seed | 1;
        world.lose = Box::new(move |datagram| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            datagram[1] & 0x7f == V_VP8 && (state >> 33) % 100 < percent
        });
        for index in 64..364 {
            world.send(publisher, &packet(index, false));
            world.advance(5_000);
            if index % 10 == 0 {
                let mut have: BTreeSet<u64> = world.clients[viewer].of(media_ssrc(sub)).iter().map(|g| g.index).collect();
                for again in world.clients[viewer].of(media_ssrc(sub) + 1) {
                    let original = u16::from_be_bytes(again.payload[..2].try_into().unwrap());
                    have.insert(u64::from(original));
                }
                if let (Some(&low), Some(&high)) = (have.first(), have.last()) {
                    let missing: Vec<u16> = (low..high).filter(|i| !have.contains(i)).map(|i| i as u16).rev().take(60).collect();
                    if !missing.is_empty() {
                        world.send_rtcp(viewer, &nack(media_ssrc(sub), &missing));
                    }
                }
            }
        }
        let media = world.clients[viewer].of(media_ssrc(sub));
        let again = world.clients[viewer].of(media_ssrc(sub) + 1);
        let mut have: BTreeSet<u64> = media.iter().map(|g| u64::from_be_bytes(g.payload[7..].try_into().unwrap())).collect();
        have.extend(again.iter().map(|g| u64::from_be_bytes(g.payload[9..].try_into().unwrap())));
        let low = *have.first().unwrap();
        let missing: Vec<u64> = (low..340).filter(|i| !have.contains(i)).collect();
        prop_assert_eq!(missing, Vec::<u64>::new());
        prop_assert_eq!(world.subscription_counters(sub).nacks_missed.load(), 0);
    }
}
