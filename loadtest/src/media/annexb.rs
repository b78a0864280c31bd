//! H264 byte streams: NAL units behind start codes (ITU-T H.264 Annex B), gathered into access units.

use super::MediaError;

/// Kinds of NAL unit that matter here (ITU-T H.264 table 7-1).
pub(crate) mod nal_type {
    pub(crate) const SLICE: u8 = 1;
    pub(crate) const IDR: u8 = 5;
    pub(crate) const SEI: u8 = 6;
    pub(crate) const SPS: u8 = 7;
    pub(crate) const PPS: u8 = 8;
    pub(crate) const AUD: u8 = 9;
}

/// One picture: its NAL units, without start codes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AccessUnit<'a> {
    pub(crate) nals: Vec<&'a [u8]>,
    /// Whether decoding can begin here.
    pub(crate) keyframe: bool,
}

/// Splits a byte stream. Delimiters and SEI are left out: receivers do not need them.
pub(crate) fn access_units(file: &[u8]) -> Result<Vec<AccessUnit<'_>>, MediaError> {
    let mut units = Vec::new();
    let mut unit = AccessUnit::default();
    let mut has_slice = false;
    for nal in nals(file)? {
        let kind = nal[0] & 0x1f;
        let slice = matches!(kind, nal_type::SLICE | nal_type::IDR);
        // first_mb_in_slice is the first Exp-Golomb code of a slice: 0 is a single set bit.
        let first_slice = slice && nal.get(1).is_some_and(|byte| byte & 0x80 != 0);
        let begins = first_slice || matches!(kind, nal_type::SEI..=nal_type::AUD);
        if has_slice && begins {
            units.push(std::mem::take(&mut unit));
            has_slice = false;
        }
        if matches!(kind, nal_type::SEI | nal_type::AUD) {
            continue;
        }
        if slice {
            has_slice = true;
            unit.keyframe |= kind == nal_type::IDR;
        } else if !matches!(kind, nal_type::SPS | nal_type::PPS) {
            return Err(MediaError::Unsupported(
                "it has H264 units that are neither slices nor parameter sets",
            ));
        }
        unit.nals.push(nal);
    }
    if has_slice {
        units.push(unit);
    }
    if units.is_empty() {
        Err(MediaError::Empty)
    } else {
        Ok(units)
    }
}

/// The NAL units of a byte stream, none of them empty.
fn nals(file: &[u8]) -> Result<Vec<&[u8]>, MediaError> {
    let codes = start_codes(file);
    let first = codes
        .first()
        .ok_or(MediaError::NotThisFormat("H264 byte stream"))?;
    if file[..*first].iter().any(|byte| *byte != 0) {
        return Err(MediaError::NotThisFormat("H264 byte stream"));
    }
    let ends = codes.iter().skip(1).copied().chain([file.len()]);
    let mut found = Vec::new();
    for (code, end) in codes.iter().zip(ends) {
        let mut nal = &file[code + 3..end];
        // Zeros before the next start code belong to it (trailing_zero_8bits, a four-byte start code).
        while let [rest @ .., 0] = nal {
            nal = rest;
        }
        if !nal.is_empty() {
            found.push(nal);
        }
    }
    Ok(found)
}

/// Where `00 00 01` is.
fn start_codes(file: &[u8]) -> Vec<usize> {
    let mut codes = Vec::new();
    let mut at = 0;
    while at + 3 <= file.len() {
        match file[at..at + 3] {
            [0, 0, 1] => {
                codes.push(at);
                at += 3;
            }
            [_, _, third] if third > 1 => at += 3,
            _ => at += 1,
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPS: &[u8] = &[0x67, 0x42, 0xe0, 0x1f];
    const PPS: &[u8] = &[0x68, 0xce, 0x3c];
    const IDR: &[u8] = &[0x65, 0x88, 0x84, 0x11];
    const IDR_SECOND_SLICE: &[u8] = &[0x65, 0x40, 0x84, 0x11];
    const DELTA: &[u8] = &[0x41, 0x9a, 0x24];

    fn stream(nals: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, nal) in nals.iter().enumerate() {
            if at % 2 == 0 {
                out.push(0);
            }
            out.extend([0, 0, 1]);
            out.extend(*nal);
        }
        out
    }

    #[test]
    fn pictures_are_gathered() {
        let file = stream(&[
            &[0x09, 0x10],
            SPS,
            PPS,
            &[0x06, 5, 1],
            IDR,
            IDR_SECOND_SLICE,
            DELTA,
            DELTA,
        ]);
        let units = access_units(&file).unwrap();
        assert_eq!(units.len(), 3);
        assert_eq!(
            units[0],
            AccessUnit {
                nals: vec![SPS, PPS, IDR, IDR_SECOND_SLICE],
                keyframe: true
            }
        );
        assert_eq!(
            units[1],
            AccessUnit {
                nals: vec![DELTA],
                keyframe: false
            }
        );
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        assert!(matches!(
            access_units(b""),
            Err(MediaError::NotThisFormat(_))
        ));
        assert!(matches!(
            access_units(b"\x01\x00\x00\x01\x67"),
            Err(MediaError::NotThisFormat(_))
        ));
        assert_eq!(access_units(&stream(&[SPS, PPS])), Err(MediaError::Empty));
        assert_eq!(access_units(&[0, 0, 1, 0, 0, 1]), Err(MediaError::Empty));
        assert!(matches!(
            access_units(&stream(&[SPS, &[0x0c, 0xff]])),
            Err(MediaError::Unsupported(_))
        ));
    }
}
