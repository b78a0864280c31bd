//! IVF: a 32-byte header, then frames, each behind its length (32 bits) and its time (64 bits), little-endian.

use super::MediaError;

/// A file's frames and how long each is shown.
pub(crate) struct Ivf<'a> {
    /// Codec, as the file names it.
    pub(crate) fourcc: [u8; 4],
    /// Frames per second, as numerator and denominator.
    pub(crate) rate: (u32, u32),
    /// Encoded frames in the order of the file.
    pub(crate) frames: Vec<&'a [u8]>,
}

/// Reads a whole file.
pub(crate) fn parse(file: &[u8]) -> Result<Ivf<'_>, MediaError> {
    let header = file
        .first_chunk::<32>()
        .ok_or(MediaError::NotThisFormat("IVF file"))?;
    if &header[..4] != b"DKIF" || u16_at(header, 4) != 0 {
        return Err(MediaError::NotThisFormat("IVF file of version 0"));
    }
    let header_len = usize::from(u16_at(header, 6));
    if header_len < 32 {
        return Err(MediaError::NotThisFormat(
            "IVF file with a header of 32 bytes",
        ));
    }
    let rate = (u32_at(header, 16), u32_at(header, 20));
    if rate.0 == 0 || rate.1 == 0 {
        return Err(MediaError::Unsupported("its frame rate is zero"));
    }
    let mut rest = file.get(header_len..).ok_or(MediaError::Truncated)?;
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let frame_header = rest.first_chunk::<12>().ok_or(MediaError::Truncated)?;
        let len = usize::try_from(u32_at(frame_header, 0)).map_err(|_| MediaError::Truncated)?;
        let frame = rest[12..].get(..len).ok_or(MediaError::Truncated)?;
        rest = &rest[12 + len..];
        // A frame that the encoder dropped has no bytes: nothing is sent for it, but its time passes.
        frames.push(frame);
    }
    if frames.iter().all(|frame| frame.is_empty()) {
        return Err(MediaError::Empty);
    }
    Ok(Ivf {
        fourcc: [header[8], header[9], header[10], header[11]],
        rate,
        frames,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(frames: &[&[u8]]) -> Vec<u8> {
        let mut file = b"DKIF\0\0\x20\0VP80".to_vec();
        file.extend([0x00, 0x05, 0xd0, 0x02]);
        file.extend(30_u32.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        file.extend([0; 8]);
        for (at, frame) in (0_u64..).zip(frames) {
            file.extend(u32::try_from(frame.len()).unwrap().to_le_bytes());
            file.extend(at.to_le_bytes());
            file.extend(*frame);
        }
        file
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let bytes = file(&[b"abc", b"", b"defgh"]);
        let ivf = parse(&bytes).unwrap();
        assert_eq!((&ivf.fourcc, ivf.rate), (b"VP80", (30, 1)));
        assert_eq!(ivf.frames, [&b"abc"[..], b"", b"defgh"]);
    }

    #[test]
    fn a_file_cut_anywhere_is_refused_or_ends_at_a_frame() {
        let bytes = file(&[b"abc", b"defgh"]);
        for len in 0..bytes.len() {
            match parse(&bytes[..len]) {
                Ok(ivf) => assert_eq!((len, ivf.frames.len()), (32 + 12 + 3, 1)),
                Err(error) => assert_ne!(error, MediaError::Unsupported("its frame rate is zero")),
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let mut bytes = file(&[b"abc"]);
        bytes[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(parse(&bytes).err(), Some(MediaError::Truncated));
        let mut bytes = file(&[b"abc"]);
        bytes[16] = 0;
        assert!(matches!(parse(&bytes), Err(MediaError::Unsupported(_))));
        assert_eq!(parse(&file(&[])).err(), Some(MediaError::Empty));
    }
}
