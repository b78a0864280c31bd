use super::feedback::FirEntry;
use super::twcc::{MAX_STATUS_COUNT, TwccHeader, Written};
use super::*;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

fn one(data: &[u8]) -> Packet<'_> {
    let mut packets = Compound::iter(data);
    let packet = packets.next().unwrap().unwrap();
    assert!(packets.next().is_none());
    packet
}

fn built(write: impl FnOnce(&mut [u8]) -> Result<usize, WireError>) -> Vec<u8> {
    let mut buf = vec![0xee; 65_536];
    let len = write(&mut buf).unwrap();
    assert_eq!(len % 4, 0);
    buf.truncate(len);
    buf
}

fn block() -> impl Strategy<Value = ReportBlock> {
    (
        any::<u32>(),
        any::<u8>(),
        -0x80_0000..0x80_0000i32,
        any::<[u32; 4]>(),
    )
        .prop_map(
            |(ssrc, fraction_lost, cumulative_lost, [highest, jitter, last_sr, delay])| {
                ReportBlock {
                    ssrc,
                    fraction_lost,
                    cumulative_lost,
                    extended_highest_sequence: highest,
                    jitter,
                    last_sr,
                    delay_since_last_sr: delay,
                }
            },
        )
}

proptest! {
    #![proptest_config(crate::seeded())]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Compound::check(&bytes);
    }

    /// Random bytes rarely get past the header; these do, and reach every parser.
    #[test]
    fn any_body(
        packet_type in 199u8..=208,
        count in 0u8..32,
        padding: bool,
        mut body in prop::collection::vec(any::<u8>(), 0..120),
        id in prop::sample::select(vec![*b"REMB", [0, 1, 0, 9], [0; 4]]),
    ) {
        body.truncate(body.len() & !3);
        if let Some(target) = body.get_mut(8..12) {
            target.copy_from_slice(&id);
        }
        let words = u16::try_from(body.len() / 4).unwrap().to_be_bytes();
        let mut data = vec![0x80 | (u8::from(padding) << 5) | count, packet_type, words[0], words[1]];
        data.extend(body);
        for packet in Compound::iter(&data).flatten() {
            walk(&packet, data.len());
        }
    }

    #[test]
    fn reports_survive(ssrc: u32, info: [u32; 5], blocks in prop::collection::vec(block(), 0..=31)) {
        let [ntp_s, ntp_fraction, rtp_timestamp, packet_count, octet_count] = info;
        let ntp = (u64::from(ntp_s) << 32) | u64::from(ntp_fraction);
        let info = SenderInfo { ntp, rtp_timestamp, packet_count, octet_count };
        let bytes = built(|out| build::sender_report(out, ssrc, &info, &blocks));
        let Packet::SenderReport(sr) = one(&bytes) else { panic!("no SR") };
        prop_assert_eq!((sr.ssrc, sr.info), (ssrc, info));
        prop_assert_eq!(sr.blocks().collect::<Vec<_>>(), blocks.clone());
        let bytes = built(|out| build::receiver_report(out, ssrc, &blocks));
        let Packet::ReceiverReport(rr) = one(&bytes) else { panic!("no RR") };
        prop_assert_eq!(rr.ssrc, ssrc);
        prop_assert_eq!(rr.blocks().collect::<Vec<_>>(), blocks);
    }

    #[test]
    fn nack_names_exactly_the_lost(start: u16, steps in prop::collection::vec(0u16..40, 1..200)) {
        let lost: Vec<u16> = steps
            .iter()
            .scan(start, |at, step| {
                *at = at.wrapping_add(*step);
                Some(*at)
            })
            .collect();
        let bytes = built(|out| build::nack(out, 1, 2, &lost));
        let Packet::Rtpfb(Rtpfb::Nack(nack)) = one(&bytes) else { panic!("no NACK") };
        let mut want = lost.clone();
        want.dedup();
        prop_assert_eq!(nack.sequences().collect::<Vec<_>>(), want);
    }

    #[test]
    fn remb_keeps_eighteen_bits(bitrate: u64, shift in 0u32..64, ssrcs: Vec<u32>) {
        let bitrate = bitrate >> shift;
        let bytes = built(|out| build::remb(out, 1, bitrate, &ssrcs));
        let Packet::Psfb(Psfb::Remb(remb)) = one(&bytes) else { panic!("no REMB") };
        prop_assert!(remb.bitrate_bps <= bitrate);
        prop_assert!(bitrate - remb.bitrate_bps <= bitrate >> 17);
        prop_assert_eq!(remb.ssrcs().collect::<Vec<_>>(), ssrcs);
    }

    #[test]
    fn twcc_survives_in_as_many_messages_as_it_takes(
        arrivals in arrivals(),
        base: u16,
        start_us in 0u64..1 << 50,
        room in 32usize..300,
    ) {
        let arrivals: Vec<_> = arrivals.iter().map(|a| a.map(|us| us + start_us)).collect();
        let mut at = 0;
        let mut buf = vec![0; room];
        while arrivals[at..].iter().any(Option::is_some) {
            let base_sequence = base.wrapping_add(u16::try_from(at).unwrap());
            let header =
                TwccHeader { sender_ssrc: 1, media_ssrc: 2, base_sequence, feedback_count: 3 };
            let Written { len, statuses } = twcc::write(&mut buf, &header, &arrivals[at..]).unwrap();
            prop_assert!(statuses > 0 && len.is_multiple_of(4));
            let Packet::Rtpfb(Rtpfb::Twcc(twcc)) = one(&buf[..len]) else { panic!("no TWCC") };
            prop_assert_eq!(twcc.base_sequence, base_sequence);
            prop_assert_eq!(usize::from(twcc.status_count), statuses);
            let first = arrivals[at..].iter().flatten().next().unwrap();
            prop_assert_eq!(u64::from(twcc.reference_time), (first / 64_000) & 0xff_ffff);
            let reference_us = first / 64_000 * 64_000;
            let read: Vec<_> = twcc.arrivals_us().collect();
            prop_assert_eq!(read.len(), statuses);
            for (i, (sequence, us)) in read.into_iter().enumerate() {
                prop_assert_eq!(sequence, base.wrapping_add(u16::try_from(at + i).unwrap()));
                let want = arrivals[at + i].map(|us| us / 250 * 250);
                prop_assert_eq!(us.map(|us| reference_us.checked_add_signed(us).unwrap()), want);
            }
            at += statuses;
        }
    }
}

/// Uses every iterator of a view, to its end.
fn walk(packet: &Packet<'_>, len: usize) {
    match packet {
        Packet::SenderReport(sr) => assert!(sr.blocks().count() * 24 <= len),
        Packet::ReceiverReport(rr) => assert!(rr.blocks().count() * 24 <= len),
        Packet::Sdes(sdes) => {
            let items = sdes.chunks().map(|chunk| chunk.items().count());
            assert!(items.sum::<usize>() <= len);
        }
        Packet::Bye(bye) => assert!(bye.ssrcs().count() * 4 <= len),
        Packet::Rtpfb(Rtpfb::Nack(nack)) => assert!(nack.sequences().count() <= len / 4 * 17),
        Packet::Rtpfb(Rtpfb::Twcc(twcc)) => {
            assert_eq!(twcc.statuses().count(), usize::from(twcc.status_count));
        }
        Packet::Psfb(Psfb::Fir(fir)) => assert!(fir.entries().count() * 8 <= len),
        Packet::Psfb(Psfb::Remb(remb)) => assert!(remb.ssrcs().count() * 4 <= len),
        _ => {}
    }
}

/// Runs, gaps, small, large, negative and unsayable deltas, as offsets in µs.
fn arrivals() -> impl Strategy<Value = Vec<Option<u64>>> {
    let step = prop_oneof![
        6 => (0i64..60_000).prop_map(Some),
        3 => Just(None),
        1 => (-40_000i64..0).prop_map(Some),
        1 => (0i64..9_000_000).prop_map(Some),
    ];
    let runs = prop::collection::vec((step, 1usize..40), 0..30);
    runs.prop_map(|runs| {
        let mut now = 1_000_000i64;
        let mut arrivals = Vec::new();
        for (step, times) in runs {
            for _ in 0..times {
                now = now.saturating_add(step.unwrap_or(0)).max(0);
                arrivals.push(step.map(|_| now.cast_unsigned()));
            }
        }
        arrivals
    })
}

#[test]
fn sdes_bye_pli_fir_survive() {
    for cname in ["", "a", "ab", "abc", "abcd", "0123456789"] {
        let bytes = built(|out| build::sdes_cname(out, 7, cname));
        let Packet::Sdes(sdes) = one(&bytes) else {
            panic!("no SDES")
        };
        assert_eq!(sdes.cname(7), Some(cname.as_bytes()));
        assert_eq!(sdes.cname(8), None);
    }
    let bytes = built(|out| build::bye(out, &[1, 2, 3]));
    let Packet::Bye(bye) = one(&bytes) else {
        panic!("no BYE")
    };
    assert_eq!(
        (bye.ssrcs().collect::<Vec<_>>(), bye.reason),
        (vec![1, 2, 3], None)
    );
    let bytes = built(|out| build::pli(out, 1, 2));
    assert_eq!(
        one(&bytes),
        Packet::Psfb(Psfb::Pli(Pli {
            sender_ssrc: 1,
            media_ssrc: 2
        }))
    );
    let entries = [
        FirEntry {
            ssrc: 5,
            sequence: 255,
        },
        FirEntry {
            ssrc: 6,
            sequence: 0,
        },
    ];
    let bytes = built(|out| build::fir(out, 1, &entries));
    let Packet::Psfb(Psfb::Fir(fir)) = one(&bytes) else {
        panic!("no FIR")
    };
    assert_eq!(fir.entries().collect::<Vec<_>>(), entries);
}

#[test]
fn limits_of_the_builders() {
    let mut buf = [0; 4096];
    let blocks = [ReportBlock::default(); 32];
    assert_eq!(
        build::receiver_report(&mut buf, 1, &blocks),
        Err(WireError::TooMany)
    );
    assert_eq!(build::bye(&mut buf, &[0; 32]), Err(WireError::TooMany));
    assert_eq!(build::nack(&mut buf, 1, 2, &[]), Err(WireError::BadValue));
    assert_eq!(build::fir(&mut buf, 1, &[]), Err(WireError::BadValue));
    assert_eq!(
        build::remb(&mut buf, 1, 0, &[0; 256]),
        Err(WireError::TooMany)
    );
    assert_eq!(
        build::pli(&mut buf[..11], 1, 2),
        Err(WireError::BufferTooSmall)
    );
    let long = core::str::from_utf8(&[b'x'; 256]).unwrap();
    assert_eq!(
        build::sdes_cname(&mut buf, 1, long),
        Err(WireError::BadLength)
    );
    let header = TwccHeader {
        sender_ssrc: 1,
        media_ssrc: 2,
        base_sequence: 0,
        feedback_count: 0,
    };
    assert_eq!(
        twcc::write(&mut buf, &header, &[None; 9]),
        Err(WireError::BadValue)
    );
    assert_eq!(
        twcc::write(&mut buf[..20], &header, &[Some(1)]),
        Err(WireError::BufferTooSmall)
    );
}

#[test]
fn compound_keeps_what_it_has_when_a_push_fails() {
    let mut buf = [0; 20];
    let mut compound = CompoundBuilder::new(&mut buf);
    compound
        .push(|out| build::receiver_report(out, 1, &[]))
        .unwrap();
    let error = compound.push(|out| build::bye(out, &[1, 2, 3]).map(|len| len + 100));
    assert_eq!(error.err(), Some(WireError::BufferTooSmall));
    assert_eq!(compound.push(|_| Ok(13)).err(), Some(WireError::BadLength));
    compound.push(|out| build::pli(out, 1, 2)).unwrap();
    assert_eq!((compound.len(), compound.room()), (20, 0));
    assert_eq!(Compound::check(compound.as_bytes()), Ok(2));
}

#[test]
fn framing_damage() {
    let pli = built(|out| build::pli(out, 1, 2));
    let check = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = [&pli[..], &pli[..]].concat();
        change(&mut bytes);
        Compound::check(&bytes)
    };
    assert_eq!(check(&|_| ()), Ok(2));
    assert_eq!(check(&|b| b.clear()), Err(WireError::TooShort));
    assert_eq!(
        check(&|b| b.push(0x80)),
        Err(WireError::TooShort),
        "a fragment behind"
    );
    assert_eq!(check(&|b| b.truncate(20)), Err(WireError::BadLength));
    assert_eq!(check(&|b| b[12] = 0x41), Err(WireError::BadVersion));
    let eaten = Err(WireError::BadLength);
    assert_eq!(
        check(&|b| b[12] |= 0x20),
        eaten,
        "padding of 2 bytes eats the media SSRC"
    );
    let padded = |count: u8| {
        check(&|b| {
            b[12] |= 0x20;
            b[15] += 1;
            b.extend([0, 0, 0, count]);
        })
    };
    assert_eq!(padded(4), Ok(2));
    assert_eq!(padded(1), Ok(2), "as libwebrtc pads TWCC");
    assert_eq!(padded(8), eaten);
    assert_eq!(padded(0), Err(WireError::BadPadding));
    assert_eq!(padded(16), Err(WireError::BadPadding), "more than there is");
}

#[test]
fn counts_that_the_body_does_not_hold() {
    let error = |bytes: &[u8]| Compound::check(bytes).unwrap_err();
    let rr = built(|out| build::receiver_report(out, 1, &[ReportBlock::default()]));
    assert_eq!(error(&[&[0x82], &rr[1..]].concat()), WireError::BadLength);
    let bye = built(|out| build::bye(out, &[1]));
    assert_eq!(error(&[&[0x82], &bye[1..]].concat()), WireError::BadLength);
    let mut sdes = built(|out| build::sdes_cname(out, 1, "ab"));
    assert_eq!(error(&[&[0x82], &sdes[1..]].concat()), WireError::BadLength);
    sdes[9] = 200;
    assert_eq!(error(&sdes), WireError::BadLength, "item overruns");
    let remb = built(|out| build::remb(out, 1, 1_000, &[5]));
    let mut more = remb.clone();
    more[16] = 2;
    assert_eq!(error(&more), WireError::BadLength);
}

#[test]
fn remb_exponent_saturates() {
    let mut remb = built(|out| build::remb(out, 1, 1_000, &[]));
    remb[17] = 0xff;
    let Packet::Psfb(Psfb::Remb(parsed)) = one(&remb) else {
        panic!("no REMB")
    };
    assert_eq!(parsed.bitrate_bps, u64::MAX);
    remb[17..20].copy_from_slice(&[0xfc, 0, 0]);
    let Packet::Psfb(Psfb::Remb(parsed)) = one(&remb) else {
        panic!("no REMB")
    };
    assert_eq!(
        parsed.bitrate_bps, 0,
        "a mantissa of zero is zero at any exponent"
    );
}

fn twcc_message(status_count: u16, body: &[u8]) -> Vec<u8> {
    let mut data = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 10];
    data.extend(status_count.to_be_bytes());
    data.extend([0, 0, 3, 4]);
    data.extend(body);
    data.resize(data.len().next_multiple_of(4), 0);
    data[3] = u8::try_from(data.len() / 4 - 1).unwrap();
    data
}

#[test]
fn twcc_of_every_chunk_kind() {
    // Run of 2 small; one-bit vector 1,0,..; two-bit vector large, small, then padding statuses.
    let chunks = [0x20, 0x02, 0xa0, 0x00, 0xe4, 0x00];
    let deltas = [4, 8, 1, 0xff, 0xff, 2];
    let bytes = twcc_message(2 + 14 + 2, &[&chunks[..], &deltas].concat());
    let Packet::Rtpfb(Rtpfb::Twcc(twcc)) = one(&bytes) else {
        panic!("no TWCC")
    };
    assert_eq!(
        (twcc.base_sequence, twcc.reference_time, twcc.feedback_count),
        (10, 3, 4)
    );
    let received: Vec<_> = twcc
        .statuses()
        .filter_map(|(s, delta)| delta.map(|delta| (s, delta)))
        .collect();
    assert_eq!(received, [(10, 4), (11, 8), (12, 1), (26, -1), (27, 2)]);
    assert_eq!(twcc.statuses().count(), 18);
}

#[test]
fn hostile_twcc() {
    let error = |count, body: &[u8]| Compound::check(&twcc_message(count, body)).err();
    assert_eq!(
        error(0, &[0x20, 0x01, 1, 0]),
        Some(WireError::BadValue),
        "no status"
    );
    assert_eq!(error(u16::MAX, &[0; 4]), Some(WireError::TooMany));
    assert_eq!(
        error(MAX_STATUS_COUNT, &[0x1f, 0xff]),
        Some(WireError::BadValue),
        "empty run"
    );
    assert_eq!(
        error(8_000, &[0x3f, 0xff, 0, 0]),
        Some(WireError::BadLength),
        "no deltas"
    );
    assert_eq!(error(1, &[]), Some(WireError::BadLength), "no chunk");
    assert_eq!(
        error(1, &[0x60, 1, 0, 0]),
        Some(WireError::BadValue),
        "reserved symbol, run"
    );
    assert_eq!(
        error(2, &[0xf0, 0, 0, 0]),
        Some(WireError::BadValue),
        "reserved symbol, vector"
    );
    assert_eq!(
        error(MAX_STATUS_COUNT - 1, &[0x1f, 0xff]),
        None,
        "all lost is well-formed"
    );
}
