//! Streams of real encoders through every choice of layer, and what came out decoded by a real decoder: every picture of
//! the chosen layer, each one the same as in the whole stream, and no complaint.
//!
//! The captures are str0m's, read from its package; the streams with three layers are made by libvpx. Without FFmpeg
//! (`tests/setup.sh` installs it) these tests say that they are skipped.
#![allow(
    clippy::cast_possible_truncation,
    reason = "sequence numbers are the low half of indices"
)]
#![allow(unreachable_pub, reason = "shared by several test programs")]

#[path = "../engine/harness.rs"]
#[allow(dead_code, reason = "shared with the scenarios")]
mod harness;
mod media;

use harness::*;
use ion_engine::{Layer, Target};
use ion_tables::ExtensionKind;
use ion_wire::CodecKind;
use media::{Packet, capture, decode, encode, ffmpeg, temporal, write};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Says past the test harness, which keeps what passing tests print, that a test was skipped.
#[expect(clippy::explicit_write, reason = "eprintln! would be kept")]
fn skip(why: &str) {
    writeln!(std::io::stderr(), "1 skipped: {why}").unwrap();
}

/// What a viewer of so many temporal layers gets of a stream.
fn forwarded(codec: CodecKind, packets: &[Packet], highest: u8) -> Vec<Packet> {
    let mut world = World::new(1);
    let publisher = world.client(0, false);
    let track = world.track(publisher, true, &[&|config| config.codec = codec.into()]);
    let viewer = world.client(0, true);
    let sub = world.subscribe(viewer, track);
    let layer = Layer {
        spatial: 7,
        temporal: highest,
    };
    let target = Target { encoding: 0, layer };
    let now = world.now;
    world.workers[0].engine.set_target(now, sub, target);
    for (at, packet) in packets.iter().enumerate() {
        let mut spec = Rtp::new(10, VP8, packet.index, packet.timestamp, &packet.payload)
            .with(ExtensionKind::Mid, b"1");
        spec.marker = packet.marker;
        world.rtp(publisher, &spec);
        if at % 4 == 3 {
            world.flush();
            world.advance(5_000);
        }
    }
    world.flush();
    assert_eq!(world.all_drops(), []);
    let mut got = world.clients[viewer].of(media_ssrc(sub));
    got.sort_by_key(|got| got.index);
    let lost = packets
        .windows(2)
        .map(|w| w[1].index - w[0].index - 1)
        .sum::<u64>();
    let gaps = got
        .windows(2)
        .map(|w| w[1].index - w[0].index - 1)
        .sum::<u64>();
    assert!(gaps <= lost, "a gap is a loss");
    got.into_iter()
        .map(|got| Packet {
            index: got.index,
            timestamp: got.header.timestamp,
            marker: got.header.marker,
            payload: got.payload.clone(),
        })
        .collect()
}

/// Decodes what viewers of each choice get of a stream, and compares it with the whole.
fn every_choice(name: &str, codec: CodecKind, packets: &[Packet], layers: u8) {
    let Some(ffmpeg) = ffmpeg() else {
        return skip("no FFmpeg to decode with");
    };
    let folder = scratch(name);
    let extension = match codec {
        CodecKind::H264 => "h264",
        CodecKind::H265 => "h265",
        _ => "ivf",
    };
    let file = |name: &str| folder.join(format!("{name}.{extension}"));
    write(codec, packets, &file("whole"));
    let whole = decode(&ffmpeg, &file("whole"));
    for highest in 0..layers {
        let got = forwarded(codec, packets, highest);
        let expected = packets
            .iter()
            .filter(|packet| temporal(codec, &packet.payload) <= highest);
        // Of H.265, all have one timestamp in the capture.
        let pictures = expected.clone().filter(|packet| packet.marker).count();
        assert_eq!(
            got.len(),
            expected.count(),
            "{name}, layers up to {highest}"
        );
        write(codec, &got, &file(&format!("layer{highest}")));
        let decoded = decode(&ffmpeg, &file(&format!("layer{highest}")));
        assert_eq!(decoded.len(), pictures, "{name}, layers up to {highest}");
        // The first picture is the first of both; the others lie at the same distance.
        for (time, checksum) in &decoded {
            assert_eq!(whole.get(time), Some(checksum), "{name}: picture at {time}");
        }
    }
}

fn captured(name: &str, codec: CodecKind, layers: u8) {
    match capture(&format!("{name}.pcap")) {
        Some(packets) => every_choice(name, codec, &packets, layers),
        None => skip("no str0m in cargo's registry to read captures from"),
    }
}

#[test]
fn vp8_of_two_temporal_layers_captured() {
    captured("vp8", CodecKind::Vp8, 2);
}

#[test]
fn av1_captured() {
    captured("av1", CodecKind::Av1, 1);
}

#[test]
fn h265_captured() {
    captured("h265", CodecKind::H265, 1);
}

/// Str0m's capture of H.264 cannot be decoded as it is, so this is one of x264's, in single units and fragments.
#[test]
fn h264_encoded() {
    let Some(ffmpeg) = ffmpeg() else {
        return skip("no FFmpeg to encode with");
    };
    let mut packets = Vec::new();
    for (picture, units) in (0_u32..).zip(media::encode_h264(&ffmpeg, &scratch("x264"))) {
        let payloads: Vec<Vec<u8>> = units
            .iter()
            .flat_map(|unit| media::fragment(unit))
            .collect();
        let last = payloads.len() - 1;
        for (at, payload) in payloads.into_iter().enumerate() {
            packets.push(Packet {
                index: 65_500 + packets.len() as u64,
                timestamp: picture * 3_000,
                marker: at == last,
                payload,
            });
        }
    }
    every_choice("h264", CodecKind::H264, &packets, 1);
}

/// Packetizes whole frames of three temporal layers, 0 2 1 2.
fn packetize(codec: CodecKind, frames: &[Vec<u8>]) -> Vec<Packet> {
    let mut packets = Vec::new();
    let mut tl0 = 0_u8;
    for (at, frame) in frames.iter().enumerate() {
        let tid = [0, 2, 1, 2][at % 4];
        tl0 = tl0.wrapping_add(u8::from(tid == 0));
        let [high, low] = (0x8000 | (32_750 + at as u16) & 0x7fff).to_be_bytes();
        let parts: Vec<&[u8]> = frame.chunks(1_000).collect();
        for (part, data) in parts.iter().enumerate() {
            let (first, last) = (part == 0, part + 1 == parts.len());
            let mut payload = if codec == CodecKind::Vp8 {
                vec![0x80 | u8::from(first) << 4, 0xe0, high, low, tl0, tid << 6]
            } else {
                let flags = u8::from(at > 0) << 6 | u8::from(first) << 3 | u8::from(last) << 2;
                vec![0xa1 | flags, high, low, tid << 5, tl0]
            };
            payload.extend(*data);
            packets.push(Packet {
                index: 65_500 + packets.len() as u64,
                timestamp: (at as u32 * 3_000).wrapping_sub(30_000),
                marker: last,
                payload,
            });
        }
    }
    packets
}

fn encoded(encoder: &str, codec: CodecKind) {
    let Some(ffmpeg) = ffmpeg() else {
        return skip("no FFmpeg to encode with");
    };
    let frames = encode(&ffmpeg, encoder, &scratch(encoder));
    every_choice(encoder, codec, &packetize(codec, &frames), 3);
}

#[test]
fn vp8_of_three_temporal_layers_encoded() {
    encoded("libvpx", CodecKind::Vp8);
}

#[test]
fn vp9_of_three_temporal_layers_encoded() {
    encoded("libvpx-vp9", CodecKind::Vp9);
}
