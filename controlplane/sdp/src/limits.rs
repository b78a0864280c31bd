use crate::error::SdpError;

/// Bytes of a description or fragment. A section of Chromium's has up to 5 KiB.
pub const MAX_SDP_BYTES: usize = 512 * 1024;
/// Lines of a description. A section of Chromium's has about 120.
pub const MAX_LINES: usize = 16_000;
/// Bytes of one line; parameter sets in `a=fmtp` are the longest in practice.
pub const MAX_LINE_BYTES: usize = 4_096;
/// m-sections of a description.
pub const MAX_MEDIA: usize = 128;
/// m-sections that one WHIP or WHEP session may use for audio and video.
pub const MAX_TRACKS: usize = 8;
/// Candidates in the whole description or fragment.
pub const MAX_CANDIDATES: usize = 64;
/// Payload types of one m-section.
pub const MAX_CODECS: usize = 64;
/// `a=rtcp-fb` lines of one m-section.
pub const MAX_FEEDBACK: usize = 512;
/// Parameters of one `a=fmtp` line.
pub const MAX_FMTP_PARAMETERS: usize = 32;
/// Header extensions of one m-section.
pub const MAX_EXTENSIONS: usize = 32;
/// Synchronisation sources of one m-section.
pub const MAX_SSRCS: usize = 32;
/// `a=ssrc` lines of one m-section: a few attributes for each source.
pub const MAX_SSRC_LINES: usize = 4 * MAX_SSRCS;
/// `a=ssrc-group` lines of one m-section.
pub const MAX_SSRC_GROUPS: usize = 16;
/// Restriction identifiers, hence simulcast streams, of one m-section.
pub const MAX_RIDS: usize = 4;
/// Fingerprints of one m-section.
pub const MAX_FINGERPRINTS: usize = 4;
/// `a=group` lines.
pub const MAX_GROUPS: usize = 4;
/// Bytes of a MID: what the one-byte header extension carries (RFC 8285, section 4.2).
pub const MAX_MID_BYTES: usize = 16;
/// Bytes of a RID, likewise.
pub const MAX_RID_BYTES: usize = 16;
/// Bytes of an ICE username fragment or password. RFC 8839, section 5.4, has one more; rows of
/// the shared memory keep the length in a byte.
pub const MAX_ICE_CREDENTIAL_BYTES: usize = 255;
/// Shortest ICE username fragment.
pub const MIN_UFRAG_BYTES: usize = 4;
/// Shortest ICE password.
pub const MIN_PWD_BYTES: usize = 22;

const _: () = assert!(MAX_TRACKS <= MAX_MEDIA);
const _: () = assert!(MAX_LINES * 4 <= MAX_SDP_BYTES);
const _: () = assert!(MAX_LINE_BYTES < MAX_SDP_BYTES);

/// What is counted within each m-section (the part before the first one counts as one).
const PER_SECTION: [(&str, &str, usize); 10] = [
    ("a=rtpmap:", "a=rtpmap lines in one m-section", MAX_CODECS),
    ("a=fmtp:", "a=fmtp lines in one m-section", 2 * MAX_CODECS),
    (
        "a=rtcp-fb:",
        "a=rtcp-fb lines in one m-section",
        MAX_FEEDBACK,
    ),
    (
        "a=extmap:",
        "a=extmap lines in one m-section",
        MAX_EXTENSIONS,
    ),
    ("a=ssrc:", "a=ssrc lines in one m-section", MAX_SSRC_LINES),
    (
        "a=ssrc-group:",
        "a=ssrc-group lines in one m-section",
        MAX_SSRC_GROUPS,
    ),
    ("a=rid:", "a=rid lines in one m-section", MAX_RIDS),
    (
        "a=fingerprint:",
        "a=fingerprint lines in one m-section",
        MAX_FINGERPRINTS,
    ),
    ("a=group:", "a=group lines", MAX_GROUPS),
    ("a=msid:", "a=msid lines in one m-section", 8),
];

/// Counts lines by their first bytes, without allocating, and stops at the first bound broken.
pub(crate) fn check(text: &[u8]) -> Result<&str, SdpError> {
    if text.len() > MAX_SDP_BYTES {
        return Err(SdpError::TooLarge {
            bytes: text.len(),
            max: MAX_SDP_BYTES,
        });
    }
    let text = std::str::from_utf8(text).map_err(|error| SdpError::NotUtf8 {
        at: error.valid_up_to(),
    })?;
    let mut media = 0;
    let mut candidates = 0;
    let mut counts = [0_usize; PER_SECTION.len()];
    for (index, line) in text.lines().enumerate() {
        bounded(index + 1, MAX_LINES, "lines")?;
        if line.len() > MAX_LINE_BYTES {
            return Err(SdpError::LineTooLong {
                line: index + 1,
                max: MAX_LINE_BYTES,
            });
        }
        if let Some(rest) = line.strip_prefix("m=") {
            media += 1;
            bounded(media, MAX_MEDIA, "m-sections")?;
            let formats = rest.split_ascii_whitespace().skip(3).count();
            bounded(formats, MAX_CODECS, "payload types in one m-section")?;
            counts = [0; PER_SECTION.len()];
        } else if line.starts_with("a=candidate:") {
            candidates += 1;
            bounded(candidates, MAX_CANDIDATES, "candidates")?;
        } else if line.starts_with("a=") {
            for (count, (prefix, what, max)) in counts.iter_mut().zip(PER_SECTION) {
                if line.starts_with(prefix) {
                    *count += 1;
                    bounded(*count, max, what)?;
                }
            }
        }
    }
    Ok(text)
}

pub(crate) fn bounded(count: usize, max: usize, what: &'static str) -> Result<(), SdpError> {
    if count > max {
        Err(SdpError::TooMany { what, max })
    } else {
        Ok(())
    }
}
