use crate::limits::MAX_FMTP_PARAMETERS;
use crate::session::MediaKind;
use std::fmt;

/// A payload type of an m-section: `a=rtpmap`, `a=fmtp` and `a=rtcp-fb` together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    /// RTP payload type, 0–127.
    pub pt: u8,
    /// Encoding name as written; names compare without case.
    pub name: String,
    /// RTP clock rate in hertz.
    pub clock_rate: u32,
    /// Channels, where the line names them.
    pub channels: Option<u8>,
    /// Format parameters.
    pub fmtp: Fmtp,
    /// RTCP feedback.
    pub feedback: Vec<Feedback>,
}

impl Codec {
    /// True if the encoding name is this one, in whatever case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The payload type that an `rtx` codec retransmits (RFC 4588).
    pub fn apt(&self) -> Option<u8> {
        if !self.is("rtx") {
            return None;
        }
        self.fmtp.value("apt")?.trim().parse().ok()
    }

    /// The codec of media that Ion forwards, or `None` for anything else: RTX, FEC,
    /// comfort noise, telephone events, codecs that Ion does not know.
    pub fn track_codec(&self) -> Option<TrackCodec> {
        let kind = CodecKind::ALL
            .into_iter()
            .find(|kind| self.is(kind.name()))?;
        let known = self.clock_rate == kind.clock_rate()
            && (kind != CodecKind::Opus || self.channels == Some(2));
        known.then(|| TrackCodec {
            kind,
            fmtp: self.fmtp.clone(),
        })
    }
}

/// The value of `a=fmtp`, in order. A parameter without `=` has no value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fmtp(pub Vec<(String, Option<String>)>);

impl Fmtp {
    /// Reads `a=1;b;c=2`; `None` if there are too many parameters.
    pub fn parse(value: &str) -> Option<Self> {
        let mut parameters = Vec::new();
        for parameter in value
            .split(';')
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            if parameters.len() == MAX_FMTP_PARAMETERS {
                return None;
            }
            parameters.push(match parameter.split_once('=') {
                Some((name, value)) => (name.trim().to_owned(), Some(value.trim().to_owned())),
                None => (parameter.to_owned(), None),
            });
        }
        Some(Self(parameters))
    }

    /// The value of a parameter; names compare without case.
    pub fn value(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .0
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        value.as_deref()
    }

    /// True if there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn number(&self, name: &str, default: u32) -> u32 {
        self.value(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    }
}

impl fmt::Display for Fmtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let separator = if index > 0 { ";" } else { "" };
            match value {
                Some(value) => write!(f, "{separator}{name}={value}")?,
                None => write!(f, "{separator}{name}")?,
            }
        }
        Ok(())
    }
}

/// One `a=rtcp-fb` value (RFC 4585).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feedback {
    /// `nack`: generic NACK.
    Nack,
    /// `nack pli`: picture loss indication.
    NackPli,
    /// `ccm fir`: full intra request (RFC 5104).
    CcmFir,
    /// `goog-remb`: receiver estimated maximum bitrate.
    GoogRemb,
    /// `transport-cc`: transport-wide congestion control.
    TransportCc,
    /// `ack ccfb`: congestion control feedback (RFC 8888).
    AckCcfb,
    /// Another.
    Other(String),
}

impl Feedback {
    pub(crate) fn parse(value: &str) -> Self {
        match value.trim() {
            "nack" => Self::Nack,
            "nack pli" => Self::NackPli,
            "ccm fir" => Self::CcmFir,
            "goog-remb" => Self::GoogRemb,
            "transport-cc" => Self::TransportCc,
            "ack ccfb" => Self::AckCcfb,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Feedback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nack => "nack",
            Self::NackPli => "nack pli",
            Self::CcmFir => "ccm fir",
            Self::GoogRemb => "goog-remb",
            Self::TransportCc => "transport-cc",
            Self::AckCcfb => "ack ccfb",
            Self::Other(other) => other,
        })
    }
}

/// The feedback that was negotiated for a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedbackSet {
    /// Generic NACK.
    pub nack: bool,
    /// Picture loss indication.
    pub pli: bool,
    /// Full intra request.
    pub fir: bool,
    /// Receiver estimated maximum bitrate.
    pub remb: bool,
    /// Transport-wide congestion control; set only with its header extension.
    pub transport_cc: bool,
    /// Congestion control feedback of RFC 8888.
    pub ccfb: bool,
}

impl FeedbackSet {
    pub(crate) fn of(feedback: &[Feedback]) -> Self {
        let has = |one: &Feedback| feedback.contains(one);
        Self {
            nack: has(&Feedback::Nack),
            pli: has(&Feedback::NackPli),
            fir: has(&Feedback::CcmFir),
            remb: has(&Feedback::GoogRemb),
            transport_cc: has(&Feedback::TransportCc),
            ccfb: has(&Feedback::AckCcfb),
        }
    }
}

/// Codecs that Ion forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodecKind {
    /// RFC 7587, 48 kHz, two channels.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// RFC 6184.
    H264,
    /// RFC 7798.
    H265,
    /// AV1 RTP payload format 1.0.
    Av1,
}

impl CodecKind {
    /// Every codec.
    pub const ALL: [Self; 6] = [
        Self::Opus,
        Self::Vp8,
        Self::Vp9,
        Self::H264,
        Self::H265,
        Self::Av1,
    ];

    /// Encoding name in `a=rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::H264 => "H264",
            Self::H265 => "H265",
            Self::Av1 => "AV1",
        }
    }

    /// RTP clock rate in hertz.
    pub fn clock_rate(self) -> u32 {
        if self == Self::Opus { 48_000 } else { 90_000 }
    }

    /// Channels in `a=rtpmap`.
    pub fn channels(self) -> Option<u8> {
        (self == Self::Opus).then_some(2)
    }

    /// Audio or video.
    pub fn media_kind(self) -> MediaKind {
        if self == Self::Opus {
            MediaKind::Audio
        } else {
            MediaKind::Video
        }
    }
}

/// A codec with the parameters that say which streams it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackCodec {
    /// Which codec.
    pub kind: CodecKind,
    /// Format parameters, as the sender of the stream gave them.
    pub fmtp: Fmtp,
}

impl TrackCodec {
    /// Whether someone who announced `receiver` can take this stream.
    pub fn fits(&self, receiver: &Self) -> bool {
        self.match_quality(receiver).is_some()
    }

    /// How well a stream of this codec suits someone who announced `receiver`:
    /// `None` not at all, 0 exactly, more for a receiver that can do more than is needed.
    pub(crate) fn match_quality(&self, receiver: &Self) -> Option<u8> {
        if self.kind != receiver.kind {
            return None;
        }
        let same = |name: &str, default: u32| {
            (self.fmtp.number(name, default) == receiver.fmtp.number(name, default)).then_some(0)
        };
        match self.kind {
            CodecKind::Opus | CodecKind::Vp8 => Some(0),
            CodecKind::Vp9 => same("profile-id", 0),
            CodecKind::Av1 => same("profile", 0),
            CodecKind::H265 => same("profile-id", 1),
            CodecKind::H264 => {
                let profile =
                    H264Profile::of(&self.fmtp).quality_for(H264Profile::of(&receiver.fmtp))?;
                let (ours, theirs) = (self.packetization_mode(), receiver.packetization_mode());
                // A receiver of mode 1 takes everything that mode 0 may send, not the reverse
                // (RFC 6184, section 6.3); mode 2 is interleaved and stands alone.
                match (ours, theirs) {
                    (0, 0) | (1, 1) | (2, 2) => Some(profile),
                    (0, 1) => Some(profile + 1),
                    _ => None,
                }
            }
        }
    }

    pub(crate) fn packetization_mode(&self) -> u32 {
        self.fmtp.number("packetization-mode", 0)
    }

    /// The format parameters that an answer repeats (RFC 3264, section 6.1; RFC 6184, 8.2.2).
    ///
    /// Left out are those that describe the offerer's own stream (parameter sets), and the limits
    /// of the offerer's own decoder, which would bind the other side if sent back.
    pub(crate) fn answer_fmtp(&self) -> Fmtp {
        let dropped: &[&str] = match self.kind {
            CodecKind::Vp8 | CodecKind::Vp9 => &["max-fs", "max-fr"],
            CodecKind::H264 => &["sprop-parameter-sets", "sprop-interleaving-depth"],
            CodecKind::H265 => &["sprop-vps", "sprop-sps", "sprop-pps"],
            CodecKind::Opus => &["sprop-stereo", "sprop-maxcapturerate"],
            CodecKind::Av1 => &[],
        };
        let keep = |name: &str| !dropped.iter().any(|drop| drop.eq_ignore_ascii_case(name));
        let mut fmtp = Fmtp(
            self.fmtp
                .0
                .iter()
                .filter(|(name, _)| keep(name))
                .cloned()
                .collect(),
        );
        if self.kind == CodecKind::Opus
            && self.fmtp.value("sprop-stereo") == Some("1")
            && fmtp.value("stereo").is_none()
        {
            fmtp.0.push(("stereo".to_owned(), Some("1".to_owned())));
        }
        fmtp
    }
}

/// The profile half of `profile-level-id` (RFC 6184, section 8.1, table 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum H264Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    Extended,
    ConstrainedHigh,
    High,
    PredictiveHigh444,
    Unknown([u8; 2]),
}

impl H264Profile {
    fn of(fmtp: &Fmtp) -> Self {
        // Without the parameter: Baseline, level 1 (RFC 6184, section 8.1).
        let Some(text) = fmtp.value("profile-level-id") else {
            return Self::Baseline;
        };
        let id = u32::from_str_radix(text, 16)
            .unwrap_or(u32::MAX)
            .to_be_bytes();
        let [0, idc, iop, _level] = id else {
            return Self::Unknown([0xff, 0xff]);
        };
        let set = |mask: u8, value: u8| iop & mask == value;
        match idc {
            0x42 if set(0x4f, 0x40) => Self::ConstrainedBaseline,
            0x4d if set(0x8f, 0x80) => Self::ConstrainedBaseline,
            0x58 if set(0xcf, 0xc0) => Self::ConstrainedBaseline,
            0x42 if set(0x4f, 0x00) => Self::Baseline,
            0x58 if set(0xcf, 0x80) => Self::Baseline,
            0x4d if set(0xaf, 0x00) => Self::Main,
            0x58 if set(0xcf, 0x00) => Self::Extended,
            0x64 if iop == 0x00 => Self::High,
            0x64 if iop == 0x0c => Self::ConstrainedHigh,
            0xf4 if iop == 0x00 => Self::PredictiveHigh444,
            _ => Self::Unknown([idc, iop]),
        }
    }

    /// Distance from this profile to one whose decoders take it too (H.264, annex A.2).
    ///
    /// Plain Baseline counts as Constrained Baseline: what sets them apart (FMO, ASO, redundant
    /// slices) no encoder makes, and FFmpeg announces `42001e` for Constrained Baseline.
    fn quality_for(self, receiver: Self) -> Option<u8> {
        use H264Profile::{Baseline, ConstrainedBaseline, ConstrainedHigh, High, Main};
        match (self, receiver) {
            (ours, theirs) if ours == theirs => Some(0),
            (ConstrainedBaseline | Baseline, ConstrainedBaseline | Baseline) => Some(2),
            (ConstrainedBaseline | Baseline, Main) => Some(4),
            (ConstrainedBaseline | Baseline, ConstrainedHigh) => Some(6),
            (ConstrainedBaseline | Baseline | Main | ConstrainedHigh, High) => Some(8),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(kind: CodecKind, fmtp: &str) -> TrackCodec {
        TrackCodec {
            kind,
            fmtp: Fmtp::parse(fmtp).unwrap(),
        }
    }

    #[track_caller]
    fn fits(kind: CodecKind, stream: &str, receiver: &str) -> bool {
        codec(kind, stream).fits(&codec(kind, receiver))
    }

    #[test]
    fn h264_matches_profile_and_packetization_mode_and_not_level() {
        let h264 = CodecKind::H264;
        let cb = "profile-level-id=42e01f;packetization-mode=1";
        assert!(
            fits(h264, "profile-level-id=42C028;packetization-mode=1", cb),
            "x264 baseline"
        );
        assert!(fits(
            h264,
            cb,
            "packetization-mode=1;profile-level-id=42001f"
        ));
        assert!(fits(
            h264,
            cb,
            "packetization-mode=1;profile-level-id=64001f"
        ));
        assert!(
            fits(h264, "profile-level-id=42001e;packetization-mode=1", cb),
            "FFmpeg"
        );
        assert!(!fits(
            h264,
            "profile-level-id=640c1f;packetization-mode=1",
            cb
        ));
        assert!(
            !fits(h264, cb, "profile-level-id=42e01f"),
            "mode 0 takes no FU-A"
        );
        assert!(fits(h264, "profile-level-id=42e01f", cb));
        assert!(!fits(h264, "profile-level-id=zz", cb));
        assert!(!fits(
            h264,
            "profile-level-id=4d001f;packetization-mode=1",
            cb
        ));
        assert!(fits(h264, "", cb), "no parameters: Baseline, mode 0");
    }

    #[test]
    fn profiles_of_the_other_codecs() {
        assert!(fits(CodecKind::Vp9, "", "profile-id=0"));
        assert!(!fits(CodecKind::Vp9, "profile-id=2", "profile-id=0"));
        assert!(fits(CodecKind::Av1, "level-idx=8;profile=0;tier=0", ""));
        assert!(!fits(CodecKind::Av1, "profile=1", ""));
        assert!(fits(
            CodecKind::H265,
            "profile-id=1;level-id=93",
            "level-id=180"
        ));
        assert!(!fits(CodecKind::H265, "profile-id=2", "profile-id=1"));
        assert!(!codec(CodecKind::Vp8, "").fits(&codec(CodecKind::Vp9, "")));
    }

    #[test]
    fn answers_do_not_repeat_what_binds_or_describes_the_offerer() {
        let echo = |kind, fmtp| codec(kind, fmtp).answer_fmtp().to_string();
        assert_eq!(echo(CodecKind::Vp8, "max-fs=12288;max-fr=60"), "");
        assert_eq!(
            echo(
                CodecKind::H264,
                "packetization-mode=1;sprop-parameter-sets=Z0LA,aM4=;profile-level-id=42c01f"
            ),
            "packetization-mode=1;profile-level-id=42c01f"
        );
        assert_eq!(
            echo(CodecKind::Opus, "sprop-stereo=1;useinbandfec=1"),
            "useinbandfec=1;stereo=1"
        );
    }
}
