//! The bodies of the fuzz targets: one function each, named as the target and as its corpus folder. Each
//! takes any bytes and panics where an invariant breaks.
//!
//! `tests/replay.rs` runs them over the corpora without a fuzzer.

use ion_wire::codec::{self, CodecKind, vp8, vp9};
use ion_wire::dependency::{self, Change, Frame, Structure};
use ion_wire::rtcp::{Compound, CompoundBuilder, Packet, Psfb, Rtpfb, build, twcc};
use ion_wire::rtp::{ExtForm, HeaderFields, HeaderWriter, RtpHeader, RtpView};
use ion_wire::stun::StunView;
use ion_wire::{PacketKind, WireError, classify, dtls, ext};

mod engine;
mod feedback;
mod redundancy;
mod sdp;

pub use engine::engine;
pub use feedback::{ccfb, twcc};
pub use redundancy::{flexfec, red};
pub use sdp::sdp;

/// A fuzz target's body.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("ccfb", ccfb),
    ("dependency", dependency),
    ("engine", engine),
    ("flexfec", flexfec),
    ("red", red),
    ("rtcp", rtcp),
    ("rtp", rtp),
    ("sdp", sdp),
    ("stun", stun),
    ("twcc", twcc),
    ("vp8", vp8),
    ("vp9", vp9),
];

/// What reaches the control plane: STUN messages, DTLS records.
pub fn stun(data: &[u8]) {
    let kind = classify(data);
    if let Ok(message) = StunView::parse(data) {
        // Methods from 0x100 on are STUN but do not pass RFC 7983's first byte.
        assert_eq!(kind == PacketKind::Stun, data[0] < 4);
        let attributes = message
            .attributes()
            .map(|(_, value)| 4 + value.len().next_multiple_of(4));
        assert_eq!(
            20 + attributes.sum::<usize>(),
            data.len(),
            "attributes fill the message"
        );
        if let Some(username) = message.username() {
            assert_eq!(message.attribute(0x0006), Some(username.as_bytes()));
        }
        assert!(message.method() < 1 << 12);
    }
    let mut total = 0;
    for record in dtls::records(data).flatten() {
        total += match record {
            dtls::Record::Plain { fragment, .. } => dtls::HEADER_LEN + fragment.len(),
            dtls::Record::Unified { ciphertext, .. } => 2 + ciphertext.len(),
        };
        let _ = record.handshake_type();
    }
    assert!(total <= data.len(), "records do not overlap");
}

/// RTP headers, extensions, payload descriptors; and the header written anew.
pub fn rtp(data: &[u8]) {
    let Ok(header) = RtpHeader::parse(data) else {
        assert!(RtpView::parse(data).is_err());
        return;
    };
    assert!(usize::from(header.header_len) <= data.len());
    let Ok(view) = RtpView::parse(data) else {
        return;
    };
    let payload = view.payload();
    assert_eq!(
        usize::from(header.header_len) + payload.len() + view.padding_len(),
        data.len()
    );
    assert_eq!(view.csrcs().count(), usize::from(header.csrc_count));
    for (_, value) in view.extensions().flatten() {
        let _ = ext::AbsSendTime::parse(value).map(|time| assert_eq!(time.to_bytes(), value));
        let _ = ext::VideoOrientation::parse(value);
        let _ = ext::PlayoutDelay::parse(value).map(|delay| assert_eq!(delay.to_bytes(), value));
        let _ =
            ext::AudioLevel::parse(value).map(|level| assert_eq!(level.to_bytes()[0], value[0]));
        let _ = ext::parse_transport_cc(value);
        let _ = ext::parse_sdes(value).map(|text| assert!(!text.is_empty()));
    }
    payloads(payload);
    rewrite(&view);
}

fn payloads(payload: &[u8]) {
    for kind in 0..=10 {
        let kind = CodecKind::try_from(kind).expect("all numbers up to ten are assigned");
        assert!(!codec::keyframe(kind, payload) || !payload.is_empty());
    }
    vp8(payload);
    vp9(payload);
}

/// VP8 payload descriptors: read, and with other running numbers.
pub fn vp8(payload: &[u8]) {
    let Ok(descriptor) = vp8::Descriptor::parse(payload) else {
        return;
    };
    let len = usize::from(descriptor.len);
    assert!(len < payload.len());
    let mut copy = payload.to_vec();
    let numbers = vp8::Numbers {
        picture_id: descriptor.picture_id.map_or(0, |id| id.value ^ 0x55),
        tl0_picidx: descriptor.tl0_picidx.map_or(0, |index| !index),
        keyidx: descriptor.keyidx.map_or(0, |index| index ^ 0x1f),
    };
    descriptor
        .rewrite(&mut copy[..len], &numbers)
        .expect("the numbers are in the descriptor");
    let mut expected = descriptor;
    if let Some(id) = &mut expected.picture_id {
        id.value = numbers.picture_id;
    }
    expected.tl0_picidx = descriptor.tl0_picidx.map(|_| numbers.tl0_picidx);
    expected.keyidx = descriptor.keyidx.map(|_| numbers.keyidx);
    assert_eq!(vp8::Descriptor::parse(&copy), Ok(expected));
    assert_eq!(copy[len..], payload[len..]);
}

/// VP9 payload descriptors: read with their scalability structure, and with other running numbers.
pub fn vp9(payload: &[u8]) {
    let Ok(descriptor) = vp9::Descriptor::parse(payload) else {
        return;
    };
    let len = usize::from(descriptor.len);
    assert!(len < payload.len());
    let structure = descriptor.scalability_structure(payload);
    assert_eq!(
        structure.map(|structure| structure.spatial_layers),
        descriptor.spatial_layers
    );
    if let Some(structure) = structure {
        let sizes = structure.sizes().count();
        assert!(sizes == 0 || sizes == usize::from(structure.spatial_layers));
        assert!(structure.pictures().count() <= 255);
        assert!(
            structure
                .pictures()
                .all(|picture| picture.references.len() <= 3)
        );
    }
    let mut copy = payload.to_vec();
    let numbers = vp8::Numbers {
        picture_id: descriptor.picture_id.map_or(0, |id| id.value ^ 0x55),
        tl0_picidx: descriptor.tl0_picidx.map_or(0, |index| !index),
        keyidx: 0,
    };
    descriptor
        .rewrite(&mut copy[..len], &numbers)
        .expect("the numbers are in the descriptor");
    let mut expected = descriptor;
    if let Some(id) = &mut expected.picture_id {
        id.value = numbers.picture_id;
    }
    expected.tl0_picidx = descriptor.tl0_picidx.map(|_| numbers.tl0_picidx);
    assert_eq!(vp9::Descriptor::parse(&copy), Ok(expected));
    assert_eq!(copy[len..], payload[len..]);
}

/// Dependency descriptors, one or two: a length, so many bytes with the structure, and a later frame's.
pub fn dependency(data: &[u8]) {
    let Some((&len, rest)) = data.split_first() else {
        return;
    };
    let (first, second) = rest.split_at(usize::from(len).min(rest.len()));
    let Ok(Some(structure)) = Structure::parse(first) else {
        return;
    };
    assert!((1..=4).contains(&structure.spatial_layers()));
    assert!(!structure.templates().is_empty());
    for descriptor in [first, second] {
        let Ok(frame) = Frame::parse(descriptor, &structure) else {
            continue;
        };
        let mut out = [0; 400];
        let change = Change {
            frame_number: !frame.mandatory.frame_number,
            targets: Some(0x5555_5555),
        };
        let in_force = Structure::parse(descriptor).ok().flatten();
        if in_force.is_some_and(|own| own != structure) {
            // Read against a structure that is not in force: anything may come out, but no panic.
            continue;
        }
        let len = dependency::rewrite(descriptor, &structure, &change, &mut out)
            .expect("what was read can be rewritten");
        let again = Frame::parse(&out[..len], &structure).expect("and read again");
        assert_eq!(again.mandatory.frame_number, change.frame_number);
        assert_eq!(
            (again.indications, again.references, again.chains),
            (frame.indications, frame.references, frame.chains)
        );
        let active = again.active_targets.expect("it was told");
        assert_eq!(active & !frame.active_targets.unwrap_or(u32::MAX), 0);
        // Built anew from what it says, it says the same.
        let mut built = [0; 4_096];
        let len = frame.write(&structure, &mut built).expect("room for it");
        let read = Frame::parse(&built[..len], &structure).expect("what was written can be read");
        assert_eq!(read, frame);
    }
}

/// Writes the header anew, as for a viewer, and reads it back.
fn rewrite(view: &RtpView<'_>) {
    let header = view.header();
    let elements: Vec<_> = view.extensions().flatten().collect();
    let fields = HeaderFields {
        marker: header.marker,
        payload_type: header.payload_type,
        sequence: header.sequence,
        timestamp: header.timestamp,
        ssrc: header.ssrc,
    };
    // Elements of id 0 with data exist in the two-byte form only as padding, so none come up here.
    let form = elements.iter().fold(ExtForm::OneByte, |form, (id, value)| {
        form.and(ExtForm::fitting(*id, value.len()))
    });
    // The one-byte form may grow into the two-byte form, by one byte an element.
    let mut buf = vec![0xa5; usize::from(header.header_len) + elements.len() + 8];
    let mut writer = HeaderWriter::new(&mut buf, &fields, form).expect("room for the fixed header");
    for (id, value) in &elements {
        writer
            .push_extension(*id, value)
            .expect("the form was chosen for it");
    }
    let len = writer.finish();
    let written = RtpView::parse(&buf[..len]).expect("a written header is well-formed");
    let read: Result<Vec<_>, WireError> = written.extensions().collect();
    assert_eq!(read.as_ref(), Ok(&elements));
    let expected = RtpHeader {
        has_padding: false,
        csrc_count: 0,
        extension: written.header().extension,
        header_len: written.header().header_len,
        ..*header
    };
    assert_eq!(*written.header(), expected);
}

/// Compound RTCP: every packet that is read is built anew and read again, with the same meaning.
pub fn rtcp(data: &[u8]) {
    let mut buf = vec![0; 2 * data.len() + 64];
    let mut compound = CompoundBuilder::new(&mut buf);
    let mut packets = 0;
    for packet in Compound::iter(data).flatten() {
        if rebuild(&mut compound, &packet) {
            packets += 1;
        }
    }
    if packets > 0 {
        assert_eq!(Compound::check(compound.as_bytes()), Ok(packets));
    }
}

/// Appends what the packet says and checks that it is read as the same. Returns whether there is a builder.
fn rebuild(compound: &mut CompoundBuilder<'_>, packet: &Packet<'_>) -> bool {
    let start = compound.len();
    let pushed = match packet {
        Packet::SenderReport(sr) => {
            let blocks: Vec<_> = sr.blocks().collect();
            compound.push(|out| build::sender_report(out, sr.ssrc, &sr.info, &blocks))
        }
        Packet::ReceiverReport(rr) => {
            let blocks: Vec<_> = rr.blocks().collect();
            compound.push(|out| build::receiver_report(out, rr.ssrc, &blocks))
        }
        Packet::Bye(bye) => {
            let ssrcs: Vec<_> = bye.ssrcs().collect();
            compound.push(|out| build::bye(out, &ssrcs))
        }
        Packet::Sdes(sdes) => {
            let items: usize = sdes.chunks().map(|chunk| chunk.items().count()).sum();
            assert!(items < 1 << 16);
            return false;
        }
        Packet::Rtpfb(Rtpfb::Nack(nack)) => {
            let lost: Vec<_> = nack.sequences().collect();
            compound.push(|out| build::nack(out, nack.sender_ssrc, nack.media_ssrc, &lost))
        }
        Packet::Rtpfb(Rtpfb::Twcc(feedback)) => return rebuild_twcc(feedback),
        Packet::Psfb(Psfb::Pli(pli)) => {
            compound.push(|out| build::pli(out, pli.sender_ssrc, pli.media_ssrc))
        }
        Packet::Psfb(Psfb::Fir(fir)) => {
            let entries: Vec<_> = fir.entries().collect();
            compound.push(|out| build::fir(out, fir.sender_ssrc, &entries))
        }
        Packet::Psfb(Psfb::Remb(remb)) => {
            let ssrcs: Vec<_> = remb.ssrcs().collect();
            compound.push(|out| build::remb(out, remb.sender_ssrc, remb.bitrate_bps, &ssrcs))
        }
        _ => return false,
    };
    pushed.expect("what was read fits into twice its room");
    let rebuilt = Compound::iter(&compound.as_bytes()[start..]).next();
    let rebuilt = rebuilt
        .expect("a packet was written")
        .expect("and is well-formed");
    assert!(
        means_the_same(packet, &rebuilt),
        "{packet:?} became {rebuilt:?}"
    );
    true
}

fn means_the_same(a: &Packet<'_>, b: &Packet<'_>) -> bool {
    match (a, b) {
        (Packet::SenderReport(a), Packet::SenderReport(b)) => {
            a.ssrc == b.ssrc && a.info == b.info && a.blocks().eq(b.blocks())
        }
        (Packet::ReceiverReport(a), Packet::ReceiverReport(b)) => {
            a.ssrc == b.ssrc && a.blocks().eq(b.blocks())
        }
        (Packet::Bye(a), Packet::Bye(b)) => a.ssrcs().eq(b.ssrcs()),
        (Packet::Rtpfb(Rtpfb::Nack(a)), Packet::Rtpfb(Rtpfb::Nack(b))) => {
            // Order and repetitions may differ, the set may not.
            let set = |sequences: &mut dyn Iterator<Item = u16>| {
                sequences.collect::<std::collections::BTreeSet<_>>()
            };
            a.media_ssrc == b.media_ssrc && set(&mut a.sequences()) == set(&mut b.sequences())
        }
        (Packet::Psfb(Psfb::Pli(a)), Packet::Psfb(Psfb::Pli(b))) => a == b,
        (Packet::Psfb(Psfb::Fir(a)), Packet::Psfb(Psfb::Fir(b))) => a.entries().eq(b.entries()),
        (Packet::Psfb(Psfb::Remb(a)), Packet::Psfb(Psfb::Remb(b))) => {
            // The largest rates saturate when read and are rounded when written.
            let same_rate = a.bitrate_bps == b.bitrate_bps || a.bitrate_bps == u64::MAX;
            same_rate && a.ssrcs().eq(b.ssrcs())
        }
        _ => false,
    }
}

/// Feedback is written from arrival times, in as many messages as its deltas ask for.
fn rebuild_twcc(feedback: &twcc::Twcc<'_>) -> bool {
    assert_eq!(
        feedback.statuses().count(),
        usize::from(feedback.status_count)
    );
    // Far enough from zero for any sum of negative deltas.
    let epoch_us = 1 << 40;
    let arrivals: Vec<Option<u64>> = feedback
        .arrivals_us()
        .map(|(_, us)| us.and_then(|us| u64::checked_add_signed(epoch_us, us)))
        .collect();
    let mut at = 0;
    let mut buf = [0; 1200];
    while arrivals[at..].iter().any(Option::is_some) {
        let header = twcc::TwccHeader {
            sender_ssrc: feedback.sender_ssrc,
            media_ssrc: feedback.media_ssrc,
            base_sequence: 0,
            feedback_count: 0,
        };
        let written = twcc::write(&mut buf, &header, &arrivals[at..]).expect("a packet arrived");
        let Some(Ok(Packet::Rtpfb(Rtpfb::Twcc(again)))) =
            Compound::iter(&buf[..written.len]).next()
        else {
            panic!("written feedback is feedback");
        };
        let first_us = arrivals[at..]
            .iter()
            .flatten()
            .next()
            .expect("a packet arrived");
        let reference_us = first_us / twcc::REFERENCE_US * twcc::REFERENCE_US;
        let read: Vec<_> = again
            .arrivals_us()
            .map(|(_, us)| us.and_then(|us| reference_us.checked_add_signed(us)))
            .collect();
        let want: Vec<_> = arrivals[at..at + written.statuses]
            .iter()
            .map(|us| us.map(|us| us / twcc::TICK_US * twcc::TICK_US))
            .collect();
        assert_eq!(read, want);
        at += written.statuses;
    }
    false
}
