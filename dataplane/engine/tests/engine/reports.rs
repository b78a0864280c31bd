//! Sender reports, receiver reports, transport-wide feedback.

use crate::harness::*;
use ion_engine::Micros;
use ion_engine::congestion::Ecn;
use ion_tables::{
    DropReason, EncodingConfig, EventKind, EventReader, ExtensionKind, TransportConfig,
};
use ion_wire::rtcp::{Compound, Packet, ReportBlock, Rtpfb, SenderInfo, build};

fn sr(ssrc: u32, ntp: u64, rtp_timestamp: u32) -> Vec<u8> {
    let info = SenderInfo {
        ntp,
        rtp_timestamp,
        packet_count: 1,
        octet_count: 1,
    };
    let mut buffer = vec![0; 64];
    let len = build::sender_report(&mut buffer, ssrc, &info, &[]).unwrap();
    buffer.truncate(len);
    buffer
}

fn sender_reports(world: &World, client: usize, ssrc: u32) -> Vec<(u64, SenderInfo)> {
    let all = world.feedback(client, |packet| match packet {
        Packet::SenderReport(report) if report.ssrc == ssrc => Some(report.info),
        _ => None,
    });
    all.into_iter().map(|(at, info)| (at.0, info)).collect()
}

const NTP_MS: u64 = (1 << 32) / 1_000;

/// A publisher whose wallclock is years off, whose audio and video timestamps begin
/// anywhere, and whose reports come with jitter: at each viewer, both streams' reports
/// must name the same capture moment for what was captured together.
#[test]
fn audio_and_video_stay_together_at_the_viewer() {
    for far in [0, 1] {
        let mut world = World::new(2);
        let publisher = world.client(0, false);
        let viewer = world.client(far, true);
        let (video, audio) = (world.video(publisher), world.audio(publisher));
        let (v, a) = (
            world.subscribe(viewer, video),
            world.subscribe(viewer, audio),
        );
        let their_ntp = |ms: u64| (1_000 << 32) + ms * NTP_MS;
        let (video_rtp, audio_rtp) = (
            |ms: u64| (4_294_900_000 + ms * 90) as u32,
            |ms: u64| (123 + ms * 48) as u32,
        );
        for ms in (0..6_000_u64).step_by(20) {
            // Video takes 30 ms longer than audio to get here.
            let packet =
                Rtp::new(11, OPUS, ms / 20, audio_rtp(ms), &[1; 30]).with(ExtensionKind::Mid, b"0");
            world.rtp(publisher, &packet);
            if ms >= 30 {
                let packet = Rtp::new(10, VP8, ms / 20, video_rtp(ms - 30), &vp8(ms < 60, ms))
                    .with(ExtensionKind::Mid, b"1");
                world.rtp(publisher, &packet);
            }
            if ms % 1_000 == 500 {
                world.rtcp(publisher, &sr(11, their_ntp(ms), audio_rtp(ms)));
                world.rtcp(publisher, &sr(10, their_ntp(ms - 20), video_rtp(ms - 20)));
            }
            world.flush();
            world.advance(20_000);
        }
        let reports = |sub: u32, rate: u64, begin: u32, first_sent: u32| {
            let all = sender_reports(&world, viewer, media_ssrc(sub));
            assert!(all.len() >= 6, "{}", all.len());
            assert!(
                all[0].0 <= 1_100_000,
                "the first comes with the first packet"
            );
            let first = world.clients[viewer].of(media_ssrc(sub))[0]
                .header
                .timestamp;
            let offset = first.wrapping_sub(first_sent);
            // Capture time in milliseconds at our NTP zero, by each report after the publisher's.
            all.iter()
                .filter(|(at, _)| *at > 2_600_000)
                .map(move |(_, info)| {
                    let rtp =
                        u64::from(info.rtp_timestamp.wrapping_sub(offset).wrapping_sub(begin));
                    let capture = rtp * 1_000 / rate;
                    i64::try_from((info.ntp - NTP_ZERO) / NTP_MS).unwrap()
                        - i64::try_from(capture).unwrap()
                })
                .collect::<Vec<_>>()
        };
        let video = reports(v, 90_000, video_rtp(0), video_rtp(10));
        let audio = reports(a, 48_000, audio_rtp(0), audio_rtp(0));
        for (video, audio) in video.iter().zip(&audio) {
            assert!((video - audio).abs() <= 6, "{video} against {audio}");
        }
    }
}

#[test]
fn sender_reports_count_what_was_sent_and_say_who() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.audio(publisher);
    let sub = world.subscribe(viewer, track);
    for i in 0..100_u32 {
        world.send(
            publisher,
            &Rtp::new(11, OPUS, u64::from(i), i * 960, &[1; 50]),
        );
        world.advance(20_000);
    }
    let reports = sender_reports(&world, viewer, media_ssrc(sub));
    let (at, last) = reports[reports.len() - 1];
    let sent = u32::try_from((at - 1_000_000) / 20_000 + 1).unwrap();
    assert!(last.packet_count.abs_diff(sent) <= 1);
    assert_eq!(last.octet_count, last.packet_count * 50);
    assert_eq!(
        last.ntp,
        NTP_ZERO + ((at / 1_000_000) << 32) + ((at % 1_000_000) << 32) / 1_000_000
    );
    for (_, compound) in &world.clients[viewer].rtcp {
        let named = Compound::iter(compound).any(|p| match p.unwrap() {
            Packet::Sdes(sdes) => sdes.cname(media_ssrc(sub)) == Some(b"ion"),
            _ => false,
        });
        assert!(named);
    }
}

#[test]
fn the_publisher_learns_of_loss_jitter_and_when_its_report_came() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let track = world.audio(publisher);
    for i in 0..150_u32 {
        if i % 10 != 3 {
            world.send(
                publisher,
                &Rtp::new(11, OPUS, u64::from(i), i * 960, &[1; 50]),
            );
        }
        if i == 20 {
            world.send_rtcp(publisher, &sr(11, 0x1234_5678_9abc_def0, 0));
        }
        world.advance(20_000);
    }
    let blocks = world.feedback(publisher, |packet| match packet {
        Packet::ReceiverReport(report) => report.blocks().next(),
        _ => None,
    });
    let (at, block) = blocks[blocks.len() - 1];
    assert!((2..=4).contains(&blocks.len()));
    assert_eq!(block.ssrc, 11);
    assert!(
        (23..=28).contains(&block.fraction_lost),
        "{}",
        block.fraction_lost
    );
    assert!(block.cumulative_lost > 8);
    assert_eq!(block.last_sr, 0x5678_9abc);
    let delay = at.0 - 1_400_000;
    assert!(u64::from(block.delay_since_last_sr).abs_diff(delay * 65_536 / 1_000_000) < 2);
    world.advance(500_000);
    assert_eq!(world.encoding_counters(track).packets_lost.load(), 15);
}

#[test]
fn a_viewers_report_is_counted_with_its_round_trip() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.audio(publisher);
    let sub = world.subscribe(viewer, track);
    world.send(publisher, &Rtp::new(11, OPUS, 0, 0, &[1; 50]));
    let (at, info) = sender_reports(&world, viewer, media_ssrc(sub))[0];
    world.advance(80_000);
    assert_eq!(at + 80_000, world.now.0);
    let block = |ssrc| ReportBlock {
        ssrc,
        fraction_lost: 25,
        cumulative_lost: -3,
        jitter: 480,
        last_sr: ion_wire::ntp::middle(info.ntp),
        delay_since_last_sr: ion_wire::ntp::us_to_short(50_000),
        ..ReportBlock::default()
    };
    let mut buffer = vec![0; 128];
    // One of them is about a stream that is not ours.
    let blocks = [block(999), block(media_ssrc(sub))];
    let len = build::receiver_report(&mut buffer, 7, &blocks).unwrap();
    world.send_rtcp(viewer, &buffer[..len]);
    let counters = world.subscription_counters(sub);
    assert!(counters.rtt_us.load().abs_diff(30_000) < 100);
    assert_eq!(counters.fraction_lost.load(), 25);
    assert_eq!(counters.jitter_us.load(), 10_000);
    assert_eq!(counters.packets_lost.load().cast_signed(), -3);
    let mut buffer = vec![0; 64];
    let len = build::remb(&mut buffer, 7, 1_500_000, &[media_ssrc(sub)]).unwrap();
    world.send_rtcp(viewer, &buffer[..len]);
    let row = world.clients[viewer].row.row;
    let counters = world.tables.counters::<ion_tables::Transport>(row).unwrap();
    assert!(counters.estimate_bps.load().abs_diff(1_500_000) < 10_000);
}

#[test]
fn every_arrival_is_fed_back_once_and_in_time() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    world.video(publisher);
    let mut expected = Vec::new();
    for i in 0..500_u64 {
        let number = 65_400_u16.wrapping_add(i as u16);
        if i % 7 != 5 {
            let packet = Rtp::new(10, VP8, i, 0, &vp8(false, i))
                .with(ExtensionKind::Mid, b"1")
                .with(ExtensionKind::TransportCc, &number.to_be_bytes());
            world.send(publisher, &packet);
            expected.push((number, world.now.0));
        }
        world.advance(3_000);
    }
    world.advance(200_000);
    let messages = world.feedback(publisher, |packet| match packet {
        Packet::Rtpfb(Rtpfb::Twcc(twcc)) => {
            let zero = i64::from(twcc.reference_time) * 64_000;
            let at = twcc
                .arrivals_us()
                .map(|(n, at)| (n, at.map(|at| at + zero)));
            Some((twcc.feedback_count, at.collect::<Vec<_>>()))
        }
        _ => None,
    });
    assert!((15..=40).contains(&messages.len()), "{}", messages.len());
    let counts: Vec<_> = messages.iter().map(|(_, (count, _))| *count).collect();
    assert!(counts.windows(2).all(|w| w[1] == w[0].wrapping_add(1)));
    let got: Vec<_> = messages
        .iter()
        .flat_map(|(_, (_, arrivals))| arrivals.iter().filter_map(|(n, at)| Some((*n, (*at)?))))
        .collect();
    assert_eq!(got.len(), expected.len());
    for ((number, at), (expected, when)) in got.iter().zip(&expected) {
        assert_eq!(number, expected);
        assert!(at.unsigned_abs().abs_diff(*when) <= 500, "{at} {when}");
    }
    let late = messages
        .iter()
        .zip(messages.iter().skip(1))
        .map(|(a, b)| b.0.since(a.0))
        .max();
    assert!(late.unwrap() <= 110_000);
}

#[test]
fn without_transport_wide_feedback_remb_leaves_room_to_grow() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    world.track(publisher, true, &[&|e| e.feedback = EncodingConfig::REMB]);
    for i in 0..3_000_u64 {
        let mut packet = Rtp::new(10, VP8, i, 0, &vp8(false, i)).with(ExtensionKind::Mid, b"1");
        packet.payload.resize(1_000, 0);
        world.send(publisher, &packet);
        world.advance(1_000);
    }
    let bps = world.feedback(publisher, |packet| match packet {
        Packet::Psfb(ion_wire::rtcp::Psfb::Remb(remb)) => Some(remb.bitrate_bps),
        _ => None,
    });
    let last = bps.last().unwrap().1;
    assert!(
        (11_500_000..=13_000_000).contains(&last),
        "one and a half times 8.2 Mbit/s: {last}"
    );
}

#[test]
fn reduced_size_leaves_out_the_report_before_feedback() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let row = world.clients[publisher].row.row;
    let track = world.video(publisher);
    let viewer = world.client(0, true);
    world.subscribe(viewer, track);
    world.send(
        publisher,
        &Rtp::new(10, VP8, 1, 0, &vp8(false, 1)).with(ExtensionKind::Mid, b"1"),
    );
    world.advance(10_000);
    let kinds = |compound: &[u8]| compound.iter().skip(1).step_by(1).next().copied();
    assert_eq!(
        kinds(&world.clients[publisher].rtcp[0].1),
        Some(201),
        "a report comes first"
    );
    world.edit::<ion_tables::Transport>(row, |t| t.flags |= TransportConfig::RTCP_REDUCED_SIZE);
    world.clients[publisher].rtcp.clear();
    world.advance(1_100_000);
    let first: Vec<_> = world.clients[publisher]
        .rtcp
        .iter()
        .filter_map(|(_, c)| kinds(c))
        .collect();
    assert!(first.contains(&206), "{first:?}");
}

#[test]
fn bye_ends_an_encoding_and_garbage_is_counted() {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let track = world.audio(publisher);
    world.send(publisher, &Rtp::new(11, OPUS, 1, 0, &[1; 9]));
    let mut reader = EventReader::at_end(world.tables.events(0).unwrap());
    let mut buffer = [0; 32];
    let len = build::bye(&mut buffer, &[999, 11]).unwrap();
    world.send_rtcp(publisher, &buffer[..len]);
    let event = reader.take(world.tables.events(0).unwrap()).unwrap();
    assert_eq!((event.kind, event.value), (EventKind::EncodingEnded, 11));
    assert_eq!(event.row, world.encodings(track)[0]);
    // Authentic, and yet nonsense.
    world.send_rtcp(publisher, &[0x81, 201, 0, 200, 0, 0, 0, 1]);
    assert_eq!(world.all_drops(), [(DropReason::MalformedRtcp, 1)]);
    let mut datagram = world.clients[publisher].seal_rtcp(&buffer[..len]);
    datagram[9] ^= 1;
    world.arrive(publisher, &datagram);
    assert_eq!(world.drops(0, DropReason::AuthFailed), 1);
    datagram[9] ^= 1;
    world.arrive(publisher, &datagram);
    world.arrive(publisher, &datagram);
    assert_eq!(world.drops(0, DropReason::Replayed), 1);
}

#[test]
fn a_publisher_that_asks_for_rfc_8888_is_told_of_each_packet_and_its_mark() {
    let mut world = World::new(2);
    let publisher = world.client(0, false);
    let by_packet = |e: &mut EncodingConfig| e.feedback = EncodingConfig::CCFB;
    world.track(publisher, true, &[&by_packet]);
    let address = world.clients[publisher].address;
    let mut expected = Vec::new();
    for i in 65_400..65_900_u64 {
        let packet = Rtp::new(10, VP8, i, 0, &vp8(false, i)).with(ExtensionKind::Mid, b"1");
        let datagram = world.clients[publisher].seal(&packet);
        let ecn = if i % 10 == 3 { Ecn::Ce } else { Ecn::Ect1 };
        if i % 7 != 5 {
            // Some come to another worker, and are handed over with their marks.
            world.arrive_marked(usize::from(i % 4 == 0), address, ecn, &datagram);
            world.flush();
            expected.push((i as u16, ecn, world.now));
        }
        world.advance(3_000);
    }
    world.advance(200_000);
    let ntp = |at: Micros| NTP_ZERO + ((u128::from(at.0) << 32) / 1_000_000) as u64;
    let messages = world.feedback(publisher, |packet| match packet {
        Packet::Rtpfb(Rtpfb::Ccfb(ccfb)) => {
            let of = |s: ion_wire::rtcp::ccfb::Stream<'_>| s.reports().collect::<Vec<_>>();
            let streams: Vec<_> = ccfb.streams().map(|s| (s.ssrc, of(s))).collect();
            Some((ccfb.report_time, streams))
        }
        Packet::Rtpfb(Rtpfb::Twcc(_)) => panic!("not asked for"),
        _ => None,
    });
    assert!((15..=40).contains(&messages.len()), "{}", messages.len());
    let mut told = std::collections::BTreeMap::new();
    for (sent, (time, streams)) in &messages {
        assert_eq!(*time, ion_wire::ntp::middle(ntp(*sent)));
        let [(10, reports)] = &streams[..] else {
            panic!("{streams:?}");
        };
        for (sequence, arrival) in reports {
            let arrival = arrival.map(|a| (a.ecn, u64::from(a.before.unwrap())));
            let at = arrival.map(|(ecn, before)| (ecn, sent.0 - before * 1_000_000 / 1_024));
            if at.is_some() || !told.contains_key(sequence) {
                told.insert(*sequence, at);
            }
        }
    }
    for (sequence, ecn, when) in &expected {
        let (said, at) = told[sequence].expect("it came");
        assert_eq!(said, *ecn);
        assert!(at.abs_diff(when.0) <= 1_000, "{at} {when:?}");
    }
    assert_eq!(told.values().flatten().count(), expected.len());
    assert!(told.len() > expected.len(), "what is missing is said to be");
    let marks = expected.iter().filter(|e| e.1 == Ecn::Ce).count();
    let row = world.clients[publisher].row.row;
    let counters = world.tables.counters::<ion_tables::Transport>(row).unwrap();
    assert_eq!(counters.congestion_marks_received.load(), marks as u64);
    let worker = world.tables.worker_counters(0).unwrap();
    assert_eq!(worker.congestion_marks_received.load(), marks as u64);
}
