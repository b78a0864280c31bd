//! Repair packets (FlexFEC-03), ended on each leg.

use crate::harness::*;
use ion_tables::{DropReason, EncodingConfig, ExtensionKind};
use ion_wire::flexfec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const SSRC: u32 = 21;
const FEC_SSRC: u32 = 23;

/// A packet of video, of this index; what the network stamps is in its extensions.
fn media(index: u64, len: usize) -> Rtp {
    let mut payload = vp8(index.is_multiple_of(50), index);
    payload.extend((0..len).map(|i| (i as u64 * index) as u8));
    let mut packet = Rtp::new(SSRC, VP8, index, index as u32 / 3 * 3_000, &payload)
        .with(ExtensionKind::Mid, b"1")
        .with(ExtensionKind::TransportCc, &(index as u16).to_be_bytes())
        .with(ExtensionKind::VideoOrientation, &[index as u8 & 3]);
    packet.marker = index % 3 == 2;
    packet
}

/// The packet as a sender protects it: before the network's extensions are written.
fn protected(packet: &Rtp) -> Vec<u8> {
    let mut packet = packet.clone();
    for (kind, value) in &mut packet.extensions {
        if *kind == ExtensionKind::TransportCc {
            value.fill(0);
        }
    }
    packet.plain().1
}

/// The repair packet of these packets; `number` is that of the network's extension.
fn repair(index: u64, number: u16, packets: &[Rtp]) -> Rtp {
    let packets: Vec<_> = packets.iter().map(protected).collect();
    let packets: Vec<_> = packets.iter().map(Vec::as_slice).collect();
    let (mut payload, mut memory) = (vec![0; 1_400], vec![0; 1_400]);
    let len = flexfec::write(&mut payload, &mut memory, SSRC, &packets).unwrap();
    payload.truncate(len);
    Rtp::new(FEC_SSRC, FEC, index, 0, &payload)
        .with(ExtensionKind::Mid, b"1")
        .with(ExtensionKind::TransportCc, &number.to_be_bytes())
}

fn with_fec(config: &mut EncodingConfig) {
    (config.fec_payload_type, config.fec_ssrc) = (FEC, FEC_SSRC);
}

/// A world with a publisher that may send repair packets, and a viewer on each worker.
fn world() -> (World, usize, u32, [(usize, u32); 2]) {
    let mut world = World::new(2);
    let publisher = world.client(0, false);
    let track = world.track(publisher, true, &[&with_fec]);
    let viewers = [0, 1].map(|worker| {
        let viewer = world.client(worker, true);
        (viewer, world.subscribe(viewer, track))
    });
    (world, publisher, track, viewers)
}

proptest! {
    #![proptest_config(crate::seeded(48))]

    /// Whatever is lost, a viewer gets every packet that came or can be made, bit by bit, and none twice.
    #[test]
    fn what_can_be_made_from_repair_packets_is(
        start in (65_000_u64..65_500).prop_map(|start| start / 50 * 50),
        groups in prop::collection::vec((1_usize..3, prop::collection::vec((0_u8..100, 0_usize..900), 1..12), [0_u8..100, 0..100]), 10..40),
    ) {
        let (mut world, publisher, track, viewers) = world();
        world.send(publisher, &media(start, 9));
        world.send(publisher, &repair(1, 0, &[media(start, 9)]));
        let (mut index, mut fec_index) = (start, 1);
        let mut sent = BTreeMap::from([(start, media(start, 9))]);
        let mut came = BTreeSet::from([start]);
        let mut repairs: Vec<Vec<u64>> = Vec::new();
        for (rows, packets, fates) in &groups {
            let mut group = Vec::new();
            for (fate, len) in packets {
                index += 1;
                let packet = media(index, *len);
                sent.insert(index, packet.clone());
                if *fate >= 25 {
                    came.insert(index);
                    world.send(publisher, &packet);
                }
                group.push(packet);
            }
            // Every second packet in each of two, or all in one.
            for row in 0..*rows {
                fec_index += 1;
                let of: Vec<_> = group.iter().skip(row).step_by(*rows).cloned().collect();
                if fates[row] >= 25 && !of.is_empty() {
                    world.send(publisher, &repair(fec_index, 0, &of));
                    repairs.push(of.iter().map(|packet| packet.index).collect());
                }
            }
            world.advance(33_000);
        }
        // A repair packet before something came is used when it has; those of the last group may wait for ever.
        let received = came.len();
        while let Some(made) = repairs.iter().find_map(|of| {
            let mut missing = of.iter().filter(|index| !came.contains(index));
            let one = missing.next().filter(|_| missing.next().is_none());
            one.copied()
        }) {
            came.insert(made);
        }
        let counters = world.encoding_counters(track);
        prop_assert_eq!(counters.fec_recovered.load(), (came.len() - received) as u64);
        prop_assert_eq!(counters.fec_packets_received.load(), repairs.len() as u64 + 1);
        let useful = counters.fec_packets_received.load() - counters.fec_packets_discarded.load();
        prop_assert!(useful >= counters.fec_recovered.load());
        for (viewer, sub) in viewers {
            let got = world.clients[viewer].of(media_ssrc(sub));
            let offset = got[0].index.wrapping_sub(start);
            prop_assert_eq!(got.len(), came.len(), "none twice, {:?}", world.all_drops());
            for got in got {
                let packet = &sent[&got.index.wrapping_sub(offset)];
                prop_assert_eq!(&got.payload, &packet.payload);
                prop_assert_eq!(got.header.timestamp, packet.timestamp);
                prop_assert_eq!(got.header.marker, packet.marker);
                let orientation = &packet.extensions[2].1;
                prop_assert_eq!(got.extension(ExtensionKind::VideoOrientation), Some(&orientation[..]));
            }
        }
    }
}

#[test]
fn a_repair_packet_mends_once_and_is_no_answer_to_a_nack() {
    let (mut world, publisher, track, viewers) = world();
    world.send(publisher, &media(100, 5));
    world.send(publisher, &repair(1, 101, &[media(100, 5)]));
    // 101 is lost, and asked for before the repair packet comes.
    world.send(publisher, &media(102, 5));
    world.advance(40_000);
    assert!(!world.nacks(publisher).is_empty());
    let group = [101, 102].map(|index| media(index, 5));
    world.send(publisher, &repair(2, 103, &group));
    let counters = world.encoding_counters(track);
    assert_eq!(counters.fec_recovered.load(), 1);
    assert_eq!(
        counters.rtt_us.load(),
        0,
        "nothing is learned of the network"
    );
    // The same again, and one of what is all here.
    world.send(publisher, &repair(3, 104, &group));
    let counters = world.encoding_counters(track);
    assert_eq!(counters.fec_packets_discarded.load(), 2);
    assert_eq!(world.drops(0, DropReason::FecUseless), 2);
    // The lost one comes late.
    world.send(publisher, &media(101, 5));
    assert_eq!(world.drops(0, DropReason::Duplicate), 1);
    for (viewer, sub) in viewers {
        assert_eq!(world.clients[viewer].of(media_ssrc(sub)).len(), 3);
    }
    // Repair packets are reported as having arrived.
    world.advance(200_000);
    let reported = world.feedback(publisher, |packet| match packet {
        ion_wire::rtcp::Packet::Rtpfb(ion_wire::rtcp::Rtpfb::Twcc(twcc)) => Some(
            twcc.arrivals_us()
                .filter_map(|(number, at)| at.map(|_| number))
                .collect::<Vec<_>>(),
        ),
        _ => None,
    });
    let reported: BTreeSet<u16> = reported.into_iter().flat_map(|(_, all)| all).collect();
    assert!(
        [100, 101, 102, 103, 104]
            .iter()
            .all(|n| reported.contains(n)),
        "{reported:?}"
    );
}

#[test]
fn repair_packets_that_contradict_are_refused() {
    let (mut world, publisher, _, viewers) = world();
    let whole = |index, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = repair(index, 0, &[media(102, 5), media(103, 5)]);
        edit(&mut packet.payload);
        packet
    };
    world.send(publisher, &whole(1, &|_| ()));
    assert_eq!(
        world.drops(0, DropReason::FecUseless),
        1,
        "there is no stream yet"
    );
    world.send(publisher, &media(100, 5));
    // From here on packets are kept.
    world.send(publisher, &repair(30, 0, &[media(100, 5)]));
    world.send(publisher, &media(102, 5));
    let edits: [&dyn Fn(&mut Vec<u8>); 6] = [
        // No mask, a retransmission, another stream.
        &|fec| (fec[18], fec[19]) = (0x80, 0),
        &|fec| fec[0] |= 0x80,
        &|fec| fec[15] = 99,
        // What was never sent; a length beyond all that there is; another payload type.
        &|fec| fec[17] += 60,
        &|fec| fec[2] = 0x70,
        &|fec| fec[1] ^= 1,
    ];
    for (index, edit) in (2..).zip(edits) {
        let before = world.drops(0, DropReason::FecRefused);
        world.send(publisher, &whole(index, edit));
        assert_eq!(
            world.drops(0, DropReason::FecRefused),
            before + 1,
            "{index}"
        );
    }
    world.send(
        publisher,
        &Rtp::new(FEC_SSRC, FEC, 20, 0, &[]).with(ExtensionKind::Mid, b"1"),
    );
    assert_eq!(world.drops(0, DropReason::FecRefused), 7);
    world.send(
        publisher,
        &Rtp::new(FEC_SSRC, 50, 21, 0, &[1; 30]).with(ExtensionKind::Mid, b"1"),
    );
    assert_eq!(world.drops(0, DropReason::UnknownPayloadType), 1);
    for (viewer, sub) in viewers {
        assert_eq!(world.clients[viewer].of(media_ssrc(sub)).len(), 2);
    }
    // Nothing of it stays.
    world.advance(8_000_000);
    for worker in &mut world.workers {
        assert_eq!(worker.engine.packets_in_use(), 0);
    }
}

/// What Chromium offers besides (RED and ULPFEC around video) is never agreed on: who sends it all the same, sends nothing.
#[test]
fn redundancy_that_was_not_agreed_on_is_dropped() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let track = world.video(publisher);
    let viewer = world.client(0, true);
    let sub = world.subscribe(viewer, track);
    world.send(publisher, &media(100, 5));
    let mut red = media(101, 5);
    (red.pt, red.payload) = (116, [&[VP8][..], &red.payload].concat());
    world.send(publisher, &red);
    let mut ulpfec = media(102, 5);
    (ulpfec.pt, ulpfec.payload) = (117, vec![0; 40]);
    world.send(publisher, &ulpfec);
    assert_eq!(world.drops(0, DropReason::UnknownPayloadType), 2);
    world.send(publisher, &repair(1, 0, &[media(100, 5)]));
    assert_eq!(world.drops(0, DropReason::UnknownSsrc), 1);
    assert_eq!(world.clients[viewer].of(media_ssrc(sub)).len(), 1);
}
