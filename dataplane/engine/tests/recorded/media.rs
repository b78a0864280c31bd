//! Captures, containers and a decoder: how recorded streams come into a test, and what a viewer got out of it.

use ion_wire::CodecKind;
use ion_wire::codec::{h265, vp8, vp9};
use ion_wire::rtp::RtpView;
use ion_wire::seq;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One packet of a publisher.
#[derive(Debug, Clone)]
pub struct Packet {
    /// Extended over wraps.
    pub index: u64,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: Vec<u8>,
}

/// A capture of str0m's, from its package.
pub fn capture(name: &str) -> Option<Vec<Packet>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    let mut registries = fs::read_dir(home.join("registry/src")).ok()?.flatten();
    let file = registries.find_map(|registry| {
        let file = registry.path().join("str0m-0.25.0/tests/data").join(name);
        fs::read(file).ok()
    })?;
    let mut packets = Vec::new();
    let mut rest = file.get(24..)?;
    while let Some((head, after)) = rest.split_first_chunk::<16>() {
        let len = u32::from_le_bytes(head[8..12].try_into().unwrap()) as usize;
        // Ethernet, IPv4 and UDP headers.
        let view = RtpView::parse(&after[42..len]).unwrap();
        let sequence = view.header().sequence;
        let before: Option<&Packet> = packets.last();
        packets.push(Packet {
            index: seq::extend(
                sequence,
                before.map_or(u64::from(sequence), |last| last.index),
            ),
            timestamp: view.header().timestamp,
            marker: view.header().marker,
            payload: view.payload().to_vec(),
        });
        rest = &after[len..];
    }
    while packets.last().is_some_and(|last: &Packet| !last.marker) {
        packets.pop();
    }
    Some(packets)
}

/// FFmpeg: the one that `tests/setup.sh` installs, or the system's.
pub fn ffmpeg() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/.venv/lib");
    let installed = fs::read_dir(venv)
        .into_iter()
        .flatten()
        .flatten()
        .find_map(|python| {
            let binaries = python.path().join("site-packages/imageio_ffmpeg/binaries");
            let mut files = fs::read_dir(binaries).ok()?.flatten();
            files.find_map(|file| {
                file.file_name()
                    .to_str()?
                    .starts_with("ffmpeg-")
                    .then(|| file.path())
            })
        });
    let found = std::env::var_os("ION_FFMPEG")
        .map(PathBuf::from)
        .or(installed);
    let program = found.unwrap_or_else(|| PathBuf::from("ffmpeg"));
    let runs = Command::new(&program)
        .arg("-version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    runs.is_ok_and(|status| status.success()).then_some(program)
}

/// A stream of three temporal layers, 0 2 1 2, made by libvpx: whole frames.
pub fn encode(ffmpeg: &Path, encoder: &str, folder: &Path) -> Vec<Vec<u8>> {
    let file = folder.join(format!("{encoder}.ivf"));
    let layers = "ts_number_layers=3:ts_target_bitrate=100,200,300:ts_rate_decimator=4,2,1:\
                  ts_periodicity=4:ts_layer_id=0,2,1,2:ts_layering_mode=3";
    let status = Command::new(ffmpeg)
        .args([
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=320x180:r=30:d=2",
        ])
        .args([
            "-c:v",
            encoder,
            "-b:v",
            "300k",
            "-deadline",
            "realtime",
            "-cpu-used",
            "8",
        ])
        .args([
            "-lag-in-frames",
            "0",
            "-error-resilient",
            "1",
            "-auto-alt-ref",
            "0",
            "-g",
            "1000",
        ])
        .args(["-ts-parameters", layers, "-f", "ivf"])
        .arg(&file)
        .status()
        .unwrap();
    assert!(status.success());
    let ivf = fs::read(file).unwrap();
    let mut rest = &ivf[32..];
    let mut frames = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<12>() {
        let len = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
        frames.push(after[..len].to_vec());
        rest = &after[len..];
    }
    frames
}

/// A stream of H.264 made by x264: the NAL units of each picture.
pub fn encode_h264(ffmpeg: &Path, folder: &Path) -> Vec<Vec<Vec<u8>>> {
    let file = folder.join("x264.h264");
    let status = Command::new(ffmpeg)
        .args(["-v", "error", "-y", "-f", "lavfi", "-i"])
        .args([
            "testsrc2=s=640x360:r=30:d=2",
            "-c:v",
            "libx264",
            "-profile:v",
            "baseline",
        ])
        .args([
            "-pix_fmt",
            "yuv420p",
            "-tune",
            "zerolatency",
            "-bf",
            "0",
            "-g",
            "30",
        ])
        .args(["-x264-params", "sliced-threads=0:sei=0", "-f", "h264"])
        .arg(&file)
        .status()
        .unwrap();
    assert!(status.success());
    let stream = fs::read(file).unwrap();
    let mut starts: Vec<usize> = (3..stream.len())
        .filter(|&at| stream[at - 3..at] == [0, 0, 1])
        .collect();
    starts.push(stream.len() + 3);
    let mut pictures = vec![Vec::new()];
    for pair in starts.windows(2) {
        // Zeros before a start code are no part of the unit.
        let unit = &stream[pair[0]..pair[1] - 3];
        let len = unit.iter().rposition(|&byte| byte != 0).unwrap() + 1;
        pictures.last_mut().unwrap().push(unit[..len].to_vec());
        if matches!(unit[0] & 0x1f, 1 | 5) {
            pictures.push(Vec::new());
        }
    }
    pictures.pop();
    pictures
}

/// A NAL unit of H.264 as RTP payloads (RFC 6184, 5.6 and 5.8).
pub fn fragment(unit: &[u8]) -> Vec<Vec<u8>> {
    if unit.len() <= 1_000 {
        return vec![unit.to_vec()];
    }
    let (header, body) = (unit[0], &unit[1..]);
    let parts: Vec<&[u8]> = body.chunks(1_000).collect();
    let last = parts.len() - 1;
    let parts = parts.iter().enumerate();
    parts
        .map(|(at, part)| {
            let flags = u8::from(at == 0) << 7 | u8::from(at == last) << 6;
            let mut payload = vec![header & 0x60 | 28, header & 0x1f | flags];
            payload.extend(*part);
            payload
        })
        .collect()
}

/// Decodes a file: the checksum of each picture by its time. Panics if the decoder complains.
pub fn decode(ffmpeg: &Path, file: &Path) -> BTreeMap<u64, String> {
    let output = Command::new(ffmpeg)
        .args([
            "-v",
            "warning",
            "-xerror",
            "-err_detect",
            "explode",
            "-copyts",
            "-i",
        ])
        .arg(file)
        .args([
            "-fps_mode",
            "passthrough",
            "-enc_time_base",
            "demux",
            "-f",
            "framemd5",
            "-",
        ])
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{}: {complaints}",
        file.display()
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            (fields[2].parse().unwrap(), fields[5].to_owned())
        })
        .collect()
}

/// Writes what packets carry, in order, as a file that a decoder takes.
pub fn write(codec: CodecKind, packets: &[Packet], file: &Path) {
    let mut out = Vec::new();
    if matches!(codec, CodecKind::H264 | CodecKind::H265) {
        for packet in packets {
            annex_b(codec, &packet.payload, &mut out);
        }
    } else {
        let fourcc: &[u8; 4] = match codec {
            CodecKind::Vp8 => b"VP80",
            CodecKind::Vp9 => b"VP90",
            _ => b"AV01",
        };
        out.extend(b"DKIF\0\0\x20\0");
        out.extend(fourcc);
        out.extend([0x40, 1, 0xb4, 0]);
        out.extend(90_000_u32.to_le_bytes());
        out.extend(1_u32.to_le_bytes());
        out.extend([0; 8]);
        for picture in packets.chunk_by(|a, b| a.timestamp == b.timestamp) {
            assert!(
                picture.last().unwrap().marker,
                "a picture ends with a marker"
            );
            let frame = match codec {
                CodecKind::Av1 => temporal_unit(picture),
                _ => picture
                    .iter()
                    .flat_map(|packet| body(codec, &packet.payload).to_vec())
                    .collect(),
            };
            out.extend((frame.len() as u32).to_le_bytes());
            out.extend(
                u64::from(picture[0].timestamp.wrapping_sub(packets[0].timestamp)).to_le_bytes(),
            );
            out.extend(frame);
        }
    }
    fs::write(file, out).unwrap();
}

fn body(codec: CodecKind, payload: &[u8]) -> &[u8] {
    match codec {
        CodecKind::Vp8 => &payload[usize::from(vp8::Descriptor::parse(payload).unwrap().len)..],
        _ => &payload[usize::from(vp9::Descriptor::parse(payload).unwrap().len)..],
    }
}

/// RFC 6184 and RFC 7798: single units, aggregates and fragments.
fn annex_b(codec: CodecKind, payload: &[u8], out: &mut Vec<u8>) {
    const START: [u8; 4] = [0, 0, 0, 1];
    let h264 = codec == CodecKind::H264;
    let header = if h264 { 1 } else { 2 };
    let unit_type = if h264 {
        payload[0] & 0x1f
    } else {
        payload[0] >> 1 & 0x3f
    };
    match (h264, unit_type) {
        (true, 24) | (false, 48) => {
            let mut rest = &payload[header..];
            while let Some((len, after)) = rest.split_first_chunk::<2>() {
                let (unit, after) = after.split_at(usize::from(u16::from_be_bytes(*len)));
                out.extend(START);
                out.extend(unit);
                rest = after;
            }
        }
        (true, 28) | (false, 49) => {
            let fragment = payload[header];
            if fragment & 0x80 != 0 {
                out.extend(START);
                if h264 {
                    out.push(payload[0] & 0xe0 | fragment & 0x1f);
                } else {
                    out.extend([payload[0] & 0x81 | (fragment & 0x3f) << 1, payload[1]]);
                }
            }
            out.extend(&payload[header + 1..]);
        }
        _ => {
            out.extend(START);
            out.extend(payload);
        }
    }
}

fn leb128(data: &[u8]) -> (usize, &[u8]) {
    let len = data.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let value = data[..len]
        .iter()
        .rev()
        .fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
    (value, &data[len..])
}

/// OBUs of a picture (AV1 RTP specification, 4.4), each with its size.
fn temporal_unit(picture: &[Packet]) -> Vec<u8> {
    let mut units: Vec<Vec<u8>> = Vec::new();
    for packet in picture {
        let (head, mut rest) = (packet.payload[0], &packet.payload[1..]);
        let count = usize::from(head >> 4 & 3);
        let mut continues = head & 0x80 != 0;
        let mut at = 0;
        while !rest.is_empty() {
            at += 1;
            let element = if at == count {
                std::mem::take(&mut rest)
            } else {
                let (len, after) = leb128(rest);
                let (element, after) = after.split_at(len);
                rest = after;
                element
            };
            if std::mem::take(&mut continues) {
                units.last_mut().unwrap().extend(element);
            } else {
                units.push(element.to_vec());
            }
        }
    }
    // A temporal delimiter, which does not travel.
    let mut out = vec![0x12, 0];
    for unit in units {
        let extended = usize::from(unit[0] & 4 != 0);
        out.push(unit[0] | 2);
        out.extend(&unit[1..1 + extended]);
        let body = &unit[1 + extended..];
        assert_eq!(unit[0] & 2, 0, "sizes do not travel");
        let mut len = body.len();
        while len > 0x7f {
            out.push(len as u8 | 0x80);
            len >>= 7;
        }
        out.push(len as u8);
        out.extend(body);
    }
    out
}

/// The temporal layer that a packet is marked with.
pub fn temporal(codec: CodecKind, payload: &[u8]) -> u8 {
    match codec {
        CodecKind::Vp8 => vp8::Descriptor::parse(payload).unwrap().tid.unwrap_or(0),
        CodecKind::Vp9 => vp9::Descriptor::parse(payload)
            .unwrap()
            .layers
            .map_or(0, |layers| layers.tid),
        CodecKind::H265 => h265::temporal_layer(payload).map_or(0, |layer| layer.tid),
        _ => 0,
    }
}
