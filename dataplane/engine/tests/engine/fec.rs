//! Repair packets (FlexFEC-03), ended on each leg.

use crate::harness::*;
use ion_tables::{DropReason, EncodingConfig, ExtensionKind, SubscriptionConfig};
use ion_wire::flexfec::{self, FlexFec};
use ion_wire::rtcp::{Packet, ReportBlock, build};
use ion_wire::rtp::RtpHeader;
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
            for (row, fate) in fates.iter().enumerate().take(*rows) {
                fec_index += 1;
                let of: Vec<_> = group.iter().skip(row).step_by(*rows).cloned().collect();
                if *fate >= 25 && !of.is_empty() {
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
    type Edit<'a> = &'a dyn Fn(&mut [u8]);
    let whole = |index, edit: Edit<'_>| {
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
    let edits: [Edit<'_>; 6] = [
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

#[test]
fn repair_goes_on_after_a_restart() {
    let (mut world, publisher, track, _) = world();
    world.send(publisher, &media(100, 5));
    // Its sequence numbers wrap: who comes after has to know how often.
    for index in 65_530..65_540 {
        world.send(publisher, &repair(index, 0, &[media(100, 5)]));
    }
    world.start_workers(2);
    world.send(publisher, &media(101, 5));
    world.send(publisher, &repair(65_540, 0, &[media(101, 5)]));
    world.send(publisher, &media(103, 5));
    let group = [102, 103].map(|index| media(index, 5));
    world.send(publisher, &repair(65_541, 0, &group));
    assert_eq!(world.drops(0, DropReason::AuthFailed), 0);
    assert_eq!(world.encoding_counters(track).fec_recovered.load(), 1);
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

pub(crate) fn takes_fec(config: &mut SubscriptionConfig) {
    (config.fec_payload_type, config.fec_ssrc) = (V_FEC, config.ssrc + 2);
}

/// A viewer reports loss, in 1/256, and a round trip of 150 ms.
pub(crate) fn report_loss(world: &mut World, viewer: usize, ssrc: u32, fraction_lost: u8) {
    let last = world.feedback(viewer, |packet| match packet {
        Packet::SenderReport(report) if report.ssrc == ssrc => Some(report.info.ntp),
        _ => None,
    });
    let &(at, ntp) = last.last().expect("reports were sent");
    let since = world.now.since(at);
    let block = ReportBlock {
        ssrc,
        fraction_lost,
        cumulative_lost: 1,
        extended_highest_sequence: 0,
        jitter: 0,
        last_sr: ion_wire::ntp::middle(ntp),
        delay_since_last_sr: u32::try_from((since << 16) / 1_000_000).unwrap(),
    };
    world.advance(150_000);
    let mut buffer = vec![0; 100];
    let len = build::receiver_report(&mut buffer, 7, &[block]).unwrap();
    world.send_rtcp(viewer, &buffer[..len]);
}

/// A packet as repair packets protect it for a viewer.
fn without_stamps(plain: &[u8]) -> Vec<u8> {
    let mut zeroed = plain.to_vec();
    for element in RtpHeader::parse(plain).unwrap().extensions(plain) {
        let (id, value) = element.unwrap();
        let stamps = [ExtensionKind::TransportCc, ExtensionKind::AbsSendTime];
        if stamps.map(viewer_id).contains(&id) {
            let at = value.as_ptr().addr() - plain.as_ptr().addr();
            zeroed[at..at + value.len()].fill(0);
        }
    }
    zeroed
}

/// Sends pictures of so many packets, ten milliseconds apart, each in a batch of its own. Returns the next index.
pub(crate) fn send_pictures(
    world: &mut World,
    publisher: usize,
    mut index: u64,
    pictures: &[Vec<usize>],
) -> u64 {
    for (picture, packets) in pictures.iter().enumerate() {
        for (at, len) in packets.iter().enumerate() {
            let mut packet = media(index, *len);
            packet.timestamp = (index as u32) << 8 | picture as u32;
            packet.marker = at + 1 == packets.len();
            world.rtp(publisher, &packet);
            index += 1;
        }
        world.flush();
        world.advance(10_000);
    }
    index
}

proptest! {
    #![proptest_config(crate::seeded(48))]

    /// Whichever one packet is lost of those that a repair packet protects, the viewer can make it, bit by bit.
    #[test]
    fn viewers_can_make_what_they_lose(
        pictures in prop::collection::vec(prop::collection::vec(0_usize..900, 1..9), 10..40),
        lost in prop::sample::select(vec![5_u8, 13, 26, 80]),
        which in any::<prop::sample::Index>(),
    ) {
        let mut world = World::new(1);
        let publisher = world.client(0, false);
        let track = world.video(publisher);
        let [viewer, other] = [(); 2].map(|()| world.client(0, true));
        let sub = world.subscribe_with(viewer, track, takes_fec);
        let without = world.subscribe(other, track);
        let (ssrc, fec_ssrc) = (media_ssrc(sub), media_ssrc(sub) + 2);
        let index = send_pictures(&mut world, publisher, 65_300, &vec![vec![100; 3]; 120]);
        prop_assert!(world.clients[viewer].of(fec_ssrc).is_empty(), "nothing was reported");
        for (viewer, ssrc) in [(viewer, ssrc), (other, media_ssrc(without))] {
            report_loss(&mut world, viewer, ssrc, lost);
        }
        send_pictures(&mut world, publisher, index, &pictures);
        let sent: usize = pictures.iter().map(Vec::len).sum();
        let client = &world.clients[viewer];
        let media: BTreeMap<u16, Vec<u8>> = client
            .of(ssrc)
            .into_iter()
            .map(|got| (got.header.sequence, without_stamps(&got.plain)))
            .collect();
        let repairs = client.of(fec_ssrc);
        let span = (90 / usize::from(lost)).clamp(3, 10);
        prop_assert!(!repairs.is_empty());
        prop_assert!(repairs.len() <= sent / span + pictures.len(), "{} for {sent}", repairs.len());
        let mut protected = BTreeSet::new();
        for repair in &repairs {
            prop_assert_eq!(repair.header.payload_type, V_FEC);
            let fec = FlexFec::parse(&repair.payload).unwrap();
            prop_assert_eq!(fec.ssrc, ssrc);
            let sequences: Vec<u16> = fec.sequences().collect();
            let missing = sequences[which.index(sequences.len())];
            let mut memory = [0xee; 1_500];
            let mut parity = fec.parity(&mut memory[..]).unwrap();
            for sequence in &sequences {
                prop_assert!(protected.insert(*sequence), "protected once");
                if *sequence != missing {
                    parity.add(&media[sequence], &[]).unwrap();
                }
            }
            let len = parity.restore(ssrc, missing).unwrap();
            prop_assert_eq!(&memory[..len], &media[&missing][..]);
        }
        // No more than the end of the last picture is without.
        prop_assert!(protected.len() + span > sent, "{} of {sent}", protected.len());
        // All packets to it are numbered, one by one.
        let mut numbers: Vec<u16> = client
            .rtp
            .iter()
            .map(|got| got.extension(ExtensionKind::TransportCc).unwrap())
            .map(|value| u16::from_be_bytes(value.try_into().unwrap()))
            .collect();
        let first = numbers[0];
        numbers.iter_mut().for_each(|number| *number = number.wrapping_sub(first));
        numbers.sort_unstable();
        prop_assert!(numbers.iter().copied().eq(0..numbers.len() as u16));
        let counters = world.subscription_counters(sub);
        prop_assert_eq!(counters.fec_packets_sent.load(), repairs.len() as u64);
        let bytes: usize = repairs.iter().map(|got| got.payload.len()).sum();
        prop_assert_eq!(counters.fec_bytes_sent.load(), bytes as u64);
        // Who did not agree on it gets none, whatever it loses.
        prop_assert_eq!(world.clients[other].rtp.len(), world.clients[other].of(media_ssrc(without)).len());
    }
}

#[test]
fn repair_for_a_viewer_ends_with_its_loss_and_goes_on_after_a_restart() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let track = world.video(publisher);
    let viewer = world.client(0, true);
    let sub = world.subscribe_with(viewer, track, takes_fec);
    let (ssrc, fec_ssrc) = (media_ssrc(sub), media_ssrc(sub) + 2);
    let second = vec![vec![100; 3]; 100];
    let index = send_pictures(&mut world, publisher, 100, &second);
    report_loss(&mut world, viewer, ssrc, 26);
    let index = send_pictures(&mut world, publisher, index, &second);
    let made = world.clients[viewer].of(fec_ssrc).len();
    assert_eq!(made, 100, "one for each picture of three");
    // The indices of repair packets go on where they were: the harness checks that none is used twice.
    world.start_workers(1);
    let index = send_pictures(&mut world, publisher, index.next_multiple_of(50), &second);
    report_loss(&mut world, viewer, ssrc, 26);
    let index = send_pictures(&mut world, publisher, index, &second);
    let all = world.clients[viewer].of(fec_ssrc);
    assert!(all.len() > made);
    assert!(all.windows(2).all(|pair| pair[0].index < pair[1].index));
    // Ten seconds without loss.
    report_loss(&mut world, viewer, ssrc, 0);
    let index = (0..11).fold(index, |index, _| {
        send_pictures(&mut world, publisher, index, &second)
    });
    let made = world.clients[viewer].of(fec_ssrc).len();
    send_pictures(&mut world, publisher, index, &second);
    assert_eq!(world.clients[viewer].of(fec_ssrc).len(), made);
}
