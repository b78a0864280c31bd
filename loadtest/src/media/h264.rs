//! RTP payloads of H264 (RFC 6184, packetization-mode 1): single NAL units, STAP-A for parameter sets, FU-A.

use super::annexb::nal_type;
use super::{MediaError, even_parts};

const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// The reference importance of a NAL unit, which an aggregate or a fragment carries on (RFC 6184 §5.3).
const NRI: u8 = 0x60;

/// The payloads of one access unit, in the order in which they are sent.
pub(crate) fn packetise(nals: &[&[u8]], max: usize) -> Result<Vec<Vec<u8>>, MediaError> {
    let mut payloads = Vec::new();
    let is_set =
        |nal: &&&[u8]| matches!(nal[0] & 0x1f, nal_type::SPS | nal_type::PPS | nal_type::SEI);
    let sets: Vec<&[u8]> = nals.iter().filter(is_set).copied().collect();
    let aggregate_len = 1 + sets.iter().map(|nal| 2 + nal.len()).sum::<usize>();
    if sets.len() > 1 && aggregate_len <= max {
        payloads.push(aggregate(&sets)?);
    } else {
        sets.iter()
            .for_each(|nal| fragments(nal, max, &mut payloads));
    }
    nals.iter()
        .filter(|nal| !is_set(nal))
        .for_each(|nal| fragments(nal, max, &mut payloads));
    Ok(payloads)
}

/// Several NAL units in one payload (RFC 6184 §5.7.1).
fn aggregate(nals: &[&[u8]]) -> Result<Vec<u8>, MediaError> {
    let nri = nals.iter().map(|nal| nal[0] & NRI).max().unwrap_or(0);
    let mut payload = vec![nri | STAP_A];
    for nal in nals {
        let len = u16::try_from(nal.len())
            .map_err(|_| MediaError::Unsupported("a parameter set in it is too large"))?;
        payload.extend(len.to_be_bytes());
        payload.extend(*nal);
    }
    Ok(payload)
}

/// One NAL unit as it is, or in fragments (RFC 6184 §5.6, §5.8).
fn fragments(nal: &[u8], max: usize, payloads: &mut Vec<Vec<u8>>) {
    if nal.len() <= max {
        payloads.push(nal.to_vec());
        return;
    }
    // The header of the unit is not repeated: the fragments' own two bytes carry its fields.
    let (header, body) = (nal[0], &nal[1..]);
    for part in even_parts(body.len(), max - 2) {
        let start = u8::from(part.start == 0) << 7;
        let end = u8::from(part.end == body.len()) << 6;
        let mut payload = vec![(header & 0xe0) | FU_A, start | end | (header & 0x1f)];
        payload.extend(&body[part]);
        payloads.push(payload);
    }
}

#[cfg(test)]
mod tests {
    use rtp::codecs::h264::H264Packet;
    use rtp::packetizer::Depacketizer;

    use super::*;

    /// Another implementation's depacketiser gives back the units, each behind a start code.
    fn depacketised(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut depacketiser = H264Packet::default();
        let mut out = Vec::new();
        for payload in payloads {
            assert!(payload.len() <= 100);
            out.extend(depacketiser.depacketize(&payload.clone().into()).unwrap());
        }
        out
    }

    #[test]
    fn units_of_every_length_survive() {
        let sps = [0x67, 0x42, 0xe0, 0x1f];
        let pps = [0x68, 0xce, 0x3c, 0x80];
        for len in [3, 99, 100, 101, 102, 1000, 4321] {
            let mut slice = vec![0x65];
            slice.extend((1..len).map(|at| u8::try_from(at % 251).unwrap()));
            let nals: [&[u8]; 3] = [&sps, &pps, &slice];
            let payloads = packetise(&nals, 100).unwrap();
            assert_eq!(payloads[0][0] & 0x1f, STAP_A);
            let mut expected = Vec::new();
            for nal in nals {
                expected.extend([0, 0, 0, 1]);
                expected.extend(nal);
            }
            assert_eq!(depacketised(&payloads), expected, "{len} bytes");
        }
    }
}
