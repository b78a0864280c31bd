//! Opus packets out of an Ogg file (RFC 3533 §6, RFC 7845 §3). Checksums are not verified: the file
//! is our own, made a moment ago, and a damaged packet would be sent as faithfully as a sound one.

use super::MediaError;

/// Samples per second of every Opus stream's clock (RFC 7587 §4.1).
pub(crate) const CLOCK_HZ: u32 = 48_000;

/// The audio packets of the file's one stream, in order, without its two header packets.
pub(crate) fn opus_packets(file: &[u8]) -> Result<Vec<Vec<u8>>, MediaError> {
    let mut packets = Vec::new();
    let mut unfinished: Vec<u8> = Vec::new();
    let mut rest = file;
    let mut serial = None;
    while !rest.is_empty() {
        let header = rest.first_chunk::<27>().ok_or(MediaError::Truncated)?;
        if &header[..5] != b"OggS\0" {
            return Err(MediaError::NotThisFormat("Ogg file"));
        }
        let page_serial = &header[14..18];
        if *serial.get_or_insert(page_serial.to_vec()) != page_serial {
            return Err(MediaError::Unsupported("it has more than one stream"));
        }
        let segments = usize::from(header[26]);
        let lacing = rest.get(27..27 + segments).ok_or(MediaError::Truncated)?;
        let mut at = 27 + segments;
        for &len in lacing {
            let segment = rest
                .get(at..at + usize::from(len))
                .ok_or(MediaError::Truncated)?;
            at += usize::from(len);
            unfinished.extend_from_slice(segment);
            // A segment of less than 255 bytes ends its packet.
            if len < 255 {
                packets.push(std::mem::take(&mut unfinished));
            }
        }
        rest = &rest[at..];
    }
    if !packets
        .first()
        .is_some_and(|head| head.starts_with(b"OpusHead"))
    {
        return Err(MediaError::NotThisFormat("Ogg file with Opus in it"));
    }
    if !unfinished.is_empty() {
        return Err(MediaError::Truncated);
    }
    let audio: Vec<_> = packets
        .into_iter()
        .skip(2)
        .filter(|packet| !packet.is_empty())
        .collect();
    if audio.is_empty() {
        Err(MediaError::Empty)
    } else {
        Ok(audio)
    }
}

/// How long a packet plays, in samples of [`CLOCK_HZ`] (RFC 6716 §3.1); `None` if that is no Opus packet.
pub(crate) fn duration(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let config = toc >> 3;
    let frame = match config {
        0..=11 => [480, 960, 1920, 2880][usize::from(config % 4)],
        12..=15 => [480, 960][usize::from(config % 2)],
        _ => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    // At most 120 ms, RFC 6716 §3.2.5.
    (1..=5760)
        .contains(&(frame * frames))
        .then_some(frame * frames)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn page(packets: &[&[u8]], serial: u8) -> Vec<u8> {
        let mut page = b"OggS\0\0".to_vec();
        page.extend([0; 8]);
        page.extend([serial, 0, 0, 0]);
        page.extend([0; 8]);
        let lacing: Vec<u8> = packets
            .iter()
            .flat_map(|packet| {
                let mut lens = vec![255; packet.len() / 255];
                lens.push(u8::try_from(packet.len() % 255).unwrap());
                lens
            })
            .collect();
        page.push(u8::try_from(lacing.len()).unwrap());
        page.extend(lacing);
        for packet in packets {
            page.extend(*packet);
        }
        page
    }

    /// A file with these audio packets.
    pub(crate) fn file(packets: &[&[u8]]) -> Vec<u8> {
        [
            page(&[b"OpusHead"], 1),
            page(&[b"OpusTags"], 1),
            page(packets, 1),
        ]
        .concat()
    }

    #[test]
    fn packets_of_any_length_come_out() {
        let long = vec![7; 255];
        let longer = vec![9; 600];
        let mut file = page(&[b"OpusHead"], 1);
        file.extend(page(&[b"OpusTags"], 1));
        file.extend(page(&[b"a", &long, &longer], 1));
        let packets = opus_packets(&file).unwrap();
        assert_eq!(packets, [b"a".to_vec(), long, longer]);
        for len in 1..file.len() {
            // Cut between pages it is a shorter file; anywhere else it is an error, and never a panic.
            if let Ok(packets) = opus_packets(&file[..len]) {
                assert!(packets.is_empty(), "cut at {len}");
            }
        }
    }

    #[test]
    fn two_streams_and_other_codecs_are_refused() {
        let mut file = page(&[b"OpusHead"], 1);
        file.extend(page(&[b"OpusHead"], 2));
        assert!(matches!(
            opus_packets(&file),
            Err(MediaError::Unsupported(_))
        ));
        assert!(matches!(
            opus_packets(&page(&[b"\x01vorbis"], 1)),
            Err(MediaError::NotThisFormat(_))
        ));
        assert!(matches!(
            opus_packets(b""),
            Err(MediaError::NotThisFormat(_))
        ));
    }

    #[test]
    fn durations_are_those_of_rfc_6716() {
        // CELT 20 ms, one frame; SILK 60 ms, two frames; hybrid 10 ms, three by count.
        assert_eq!(duration(&[31 << 3]), Some(960));
        assert_eq!(duration(&[(3 << 3) | 1]), Some(5760));
        assert_eq!(duration(&[(12 << 3) | 3, 3]), Some(1440));
        assert_eq!(duration(&[(31 << 3) | 3, 0]), None);
        assert_eq!(duration(&[(3 << 3) | 3, 48]), None);
        assert_eq!(duration(&[]), None);
    }
}
