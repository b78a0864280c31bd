//! What must not get in, each under its reason, while another session goes on.

use crate::harness::*;
use ion_engine::{Layer, Target};
use ion_tables::{DropReason, ExtensionKind};
use ion_wire::CodecKind;
use proptest::prelude::*;

struct Bystander {
    publisher: usize,
    viewer: usize,
    sub: u32,
    index: u64,
}

impl Bystander {
    fn new(world: &mut World) -> Self {
        let (publisher, viewer) = (world.client(0, false), world.client(0, true));
        let track = world.audio(publisher);
        let sub = world.subscribe(viewer, track);
        Self {
            publisher,
            viewer,
            sub,
            index: 0,
        }
    }

    /// A packet goes through.
    fn goes_on(&mut self, world: &mut World) {
        self.index += 1;
        let packet = Rtp::new(900, OPUS, self.index, 0, &[7; 20]);
        world.send(self.publisher, &packet);
        let got = world.clients[self.viewer].of(media_ssrc(self.sub)).len();
        assert_eq!(got as u64, self.index);
    }
}

#[test]
fn each_is_counted_under_its_reason() {
    let mut world = World::new(1);
    let mut bystander = Bystander::new(&mut world);
    let publisher = world.client(0, false);
    let viewer = world.client(0, true);
    let track = world.video(publisher);
    world.subscribe(viewer, track);
    let good = Rtp::new(10, VP8, 5_000, 0, &vp8(true, 1)).with(ExtensionKind::Mid, b"1");
    world.send(publisher, &good);
    let address = world.clients[publisher].address;
    let seal = |world: &mut World, index| {
        world.clients[publisher].seal(&Rtp {
            index,
            ..good.clone()
        })
    };
    let fresh = seal(&mut world, 5_001);
    let mut bad_tag = seal(&mut world, 5_002);
    *bad_tag.last_mut().unwrap() ^= 1;
    let mut bad_header = seal(&mut world, 5_003);
    bad_header[1] ^= 0x80;
    let mut long_extension = seal(&mut world, 5_004);
    long_extension[14..16].copy_from_slice(&[0xff, 0xff]);
    let replay = seal(&mut world, 5_000);
    let ancient = seal(&mut world, 3_000);
    let unknown: std::net::SocketAddr = ([127, 0, 0, 1], 9).into();
    let table: Vec<(&str, std::net::SocketAddr, Vec<u8>, DropReason)> = vec![
        (
            "nobody's address",
            unknown,
            fresh.clone(),
            DropReason::UnknownAddress,
        ),
        ("flipped tag", address, bad_tag, DropReason::AuthFailed),
        (
            "flipped marker",
            address,
            bad_header,
            DropReason::AuthFailed,
        ),
        ("replayed", address, replay, DropReason::Replayed),
        ("behind the window", address, ancient, DropReason::TooOld),
        (
            "extension beyond the end",
            address,
            long_extension,
            DropReason::MalformedRtp,
        ),
        (
            "header cut",
            address,
            fresh[..11].to_vec(),
            DropReason::NotMedia,
        ),
        (
            "extension cut",
            address,
            fresh[..14].to_vec(),
            DropReason::MalformedRtp,
        ),
        (
            "no room for a tag",
            address,
            fresh[..20].to_vec(),
            DropReason::MalformedRtp,
        ),
        (
            "tag cut",
            address,
            fresh[..fresh.len() - 1].to_vec(),
            DropReason::AuthFailed,
        ),
        ("nothing", address, vec![], DropReason::NotMedia),
        ("STUN", address, vec![0; 20], DropReason::NotMedia),
        (
            "RTCP of a header only",
            address,
            vec![0x80, 200, 0, 1, 0, 0, 0, 1],
            DropReason::MalformedRtcp,
        ),
        (
            "RTCP forged",
            address,
            [&[0x80, 200, 0, 6][..], &[9; 60]].concat(),
            DropReason::MalformedRtcp,
        ),
        (
            "larger than a packet may be",
            address,
            [&fresh[..12], &[0; 5_000][..]].concat(),
            DropReason::Truncated,
        ),
    ];
    for (what, from, datagram, reason) in table {
        let before = world.all_drops().iter().map(|(_, n)| n).sum::<u64>();
        let count = world.drops(0, reason);
        world.arrive_at(0, from, &datagram);
        let after = world.all_drops();
        assert_eq!(world.drops(0, reason), count + 1, "{what}: {after:?}");
        assert_eq!(
            after.iter().map(|(_, n)| n).sum::<u64>(),
            before + 1,
            "{what}"
        );
        bystander.goes_on(&mut world);
    }
    world.arrive(publisher, &fresh);
    world.flush();
    assert_eq!(
        world.clients[viewer].rtp.len(),
        2,
        "and the good one still gets through"
    );
    let row = world.clients[publisher].row.row;
    let dropped = world
        .tables
        .counters::<ion_tables::Transport>(row)
        .unwrap()
        .dropped
        .load();
    assert_eq!(dropped, 14, "all but the one of nobody");
}

#[test]
fn unauthenticated_ssrcs_make_no_state() {
    let mut world = World::new(1);
    let mut bystander = Bystander::new(&mut world);
    let publisher = world.client(0, false);
    world.video(publisher);
    let packet = Rtp::new(10, VP8, 1, 0, &vp8(true, 1)).with(ExtensionKind::Mid, b"1");
    let mut forged = world.clients[publisher].seal(&packet);
    for ssrc in 0..10_000_u32 {
        forged[8..12].copy_from_slice(&ssrc.to_be_bytes());
        world.arrive(publisher, &forged);
    }
    // Even many authentic ones are bounded; the last is still taken.
    for ssrc in 100..1_000 {
        world.send(
            publisher,
            &Rtp {
                ssrc,
                index: 5,
                ..packet.clone()
            },
        );
    }
    assert!(world.drops(0, DropReason::AuthFailed) >= 9_999);
    bystander.goes_on(&mut world);
}

/// Bytes that look like media more often than chance.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let head = prop_oneof![
        Just(vec![0x80, 96]),
        Just(vec![0x90, 96]),
        Just(vec![0xB0, 111]),
        Just(vec![0x80, 200]),
        Just(vec![0x81, 205]),
        prop::collection::vec(any::<u8>(), 0..3),
    ];
    (head, prop::collection::vec(any::<u8>(), 0..1_600)).prop_map(|(mut head, rest)| {
        head.extend(rest);
        head
    })
}

proptest! {
    #![proptest_config(crate::seeded(64))]

    #[test]
    fn any_bytes_are_dropped_and_counted(datagrams in prop::collection::vec(datagram(), 1..30)) {
        let mut world = World::new(1);
        let mut bystander = Bystander::new(&mut world);
        let publisher = world.client(0, false);
        world.video(publisher);
        for datagram in &datagrams {
            world.arrive(publisher, datagram);
        }
        let dropped: u64 = world.all_drops().iter().map(|(_, n)| n).sum();
        prop_assert_eq!(dropped, datagrams.len() as u64);
        bystander.goes_on(&mut world);
        prop_assert!(world.workers[0].engine.packets_in_use() <= 1);
    }

    /// A hostile client has keys: all it seals is authentic.
    #[test]
    fn authentic_nonsense_harms_nobody(
        packets in prop::collection::vec(
            (0_u32..6, prop_oneof![Just(VP8), Just(VP8_RTX), Just(OPUS), Just(RED), any::<u8>().prop_map(|t| t & 0x7f)],
             prop_oneof![0_u64..300, 0_u64..65_536], any::<u32>(), prop::collection::vec(any::<u8>(), 0..60), any::<bool>(),
             prop::collection::vec((0_usize..8, prop::collection::vec(any::<u8>(), 1..12)), 0..4)),
            1..150),
        compounds in prop::collection::vec(
            (200_u8..208, 0_u8..32, prop::collection::vec(any::<u32>().prop_map(|x| x % 3 * 1_000 + x % 2), 1..20)), 0..40),
    ) {
        let mut world = World::new(2);
        let mut bystander = Bystander::new(&mut world);
        let both = world.client(0, false);
        let (video, audio) = (world.video(both), world.audio(both));
        for worker in [0, 1] {
            let viewer = world.client(worker, true);
            world.subscribe(viewer, video);
            world.subscribe(viewer, audio);
        }
        world.subscribe(both, video);
        let mut compounds = compounds.into_iter();
        for (at, (ssrc, pt, index, timestamp, payload, padded, extensions)) in packets.into_iter().enumerate() {
            let mut packet = Rtp::new(ssrc, pt, index, timestamp, &payload);
            packet.padding = u8::from(padded) * (timestamp as u8).max(1);
            for (kind, value) in extensions {
                packet.extensions.push((KINDS[kind], value));
            }
            if at % 3 == 0 {
                packet = packet.with(ExtensionKind::Mid, b"1");
            }
            world.rtp(both, &packet);
            if let Some((kind, count, words)) = compounds.next() {
                let mut compound = vec![0x80 | count, kind, 0, words.len() as u8];
                compound.extend(words.iter().flat_map(|word| word.to_be_bytes()));
                world.rtcp(both, &compound);
            }
            if at % 4 == 0 {
                world.flush();
                world.advance(7_000);
            }
        }
        world.flush();
        bystander.goes_on(&mut world);
        world.advance(3_000_000);
        for worker in &mut world.workers {
            prop_assert_eq!(worker.engine.packets_in_use(), 0);
        }
    }
}

/// Descriptors that end early, contradict themselves or have no end.
#[test]
fn lying_descriptors_are_dropped_under_their_reason() {
    let mut world = World::new(1);
    let mut bystander = Bystander::new(&mut world);
    let publisher = world.client(0, false);
    let codecs = [CodecKind::Vp8, CodecKind::Vp9, CodecKind::Av1];
    for (at, codec) in (0_u32..).zip(codecs) {
        let track = world.track(
            publisher,
            true,
            &[&|config| {
                (config.codec, config.ssrc) = (codec.into(), 20 + at);
            }],
        );
        let viewer = world.client(0, true);
        world.subscribe(viewer, track);
    }
    let endless = [&[0x80, 0, 0, 0x80, 0][..], &[0xaa; 60]].concat();
    let many = [&[0x80, 0, 0, 0x80, 0][..], &[0; 60]].concat();
    let cases: [(u32, &[u8], &[u8]); 8] = [
        (20, &[0x80, 0x80, 0x80], &[]),
        (21, &[0xa8, 0x81], &[]),
        // Four references; a layer above those that there are.
        (21, &[0xf8, 5, 0x25, 3, 5, 7, 2, 0], &[]),
        (21, &[0xaa, 0x81, 2, 0x06, 7, 0x20, 0x82], &[]),
        (22, &[0x18, 0x30], &[0x80]),
        (22, &[0x18, 0x30], &endless),
        (22, &[0x18, 0x30], &many),
        (22, &[0x18, 0x30], &[0x80, 0, 0, 0xf8, 1]),
    ];
    for (at, (ssrc, payload, descriptor)) in (0..).zip(cases) {
        let mut packet = Rtp::new(ssrc, VP8, 100 + at, 0, payload).with(ExtensionKind::Mid, b"1");
        if !descriptor.is_empty() {
            packet = packet.with(ExtensionKind::DependencyDescriptor, descriptor);
        }
        world.send(publisher, &packet);
        assert_eq!(
            world.drops(0, DropReason::MalformedDescriptor),
            at + 1,
            "case {at}"
        );
        bystander.goes_on(&mut world);
    }
}

proptest! {
    #![proptest_config(crate::seeded(64))]

    /// A publisher whose descriptors mean nothing: numbers leap, layers come and go, structures change. Its viewers
    /// ask for everything again; the harness checks that no index is sealed for two contents.
    #[test]
    fn senseless_descriptors_harm_nobody(
        codec in prop::sample::select(&[CodecKind::Vp8, CodecKind::Vp9, CodecKind::Av1, CodecKind::H265][..]),
        packets in prop::collection::vec(
            (0_u64..6, prop::collection::vec(any::<u8>(), 2..24), prop::collection::vec(any::<u8>(), 0..40), any::<[u8; 4]>()),
            1..80,
        ),
        plain in any::<bool>(),
    ) {
        let mut world = World::new(1);
        let mut bystander = Bystander::new(&mut world);
        let publisher = world.client(0, false);
        let track = world.track(publisher, true, &[&|config| (config.codec, config.ssrc) = (codec.into(), 20)]);
        let viewer = world.client(0, true);
        let sub = world.subscribe_with(viewer, track, |config| {
            if plain {
                (config.rtx_ssrc, config.rtx_payload_type) = (0, 0);
            }
        });
        let structure = crate::model::Encoder::new(crate::model::Shape {
            codec: CodecKind::Av1,
            spatial: 2,
            temporal: 2,
            mode: crate::model::Mode::Full,
        }, 20, 0, 0).picture(true, true, 1);
        for (at, (late, bytes, descriptor, [chance, number, flags, layer])) in (100..).zip(packets) {
            // Mostly a true beginning, so that what follows is looked at.
            let mut payload = match codec {
                CodecKind::Vp8 => vec![0x90, 0xf0, 0x80, number, layer, flags, chance & 1],
                CodecKind::Vp9 => vec![0xa8 | flags & 0x45, 0x80, number, layer & 0x3f, number],
                CodecKind::Av1 => vec![if chance & 7 == 0 { 0x18 } else { 0x10 }, 0x30],
                _ => vec![flags & 0x7e, layer & 7, 0x80],
            };
            payload.extend(bytes);
            let timestamp = u32::from(number) * 3_000;
            let mut packet = Rtp::new(20, VP8, at - late, timestamp, &payload).with(ExtensionKind::Mid, b"1");
            let own = structure[usize::from(chance & 1)].extensions.iter();
            let own = own.filter(|(kind, _)| *kind == ExtensionKind::DependencyDescriptor);
            let mut value = own.map(|(_, value)| value.clone()).next().unwrap();
            if chance & 6 != 0 {
                value.truncate(3);
                value[0] = value[0] & 0xc0 | flags & 0x3f;
                value.extend(descriptor);
            }
            value[2] = number;
            packet = packet.with(ExtensionKind::DependencyDescriptor, &value);
            world.send(publisher, &packet);
            let now = world.now;
            let target = Target { encoding: 0, layer: Layer { spatial: layer & 3, temporal: flags & 3 } };
            world.workers[0].engine.set_target(now, sub, target);
            world.advance(30_000);
            if chance & 8 != 0 && !world.clients[viewer].rtp.is_empty() {
                let ask: Vec<u16> = world.clients[viewer].rtp.iter().map(|got| got.index as u16).collect();
                world.send_rtcp(viewer, &nack(media_ssrc(sub), &ask));
            }
        }
        bystander.goes_on(&mut world);
    }
}
