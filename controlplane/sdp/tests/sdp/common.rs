use ion_sdp::limits::MAX_TRACKS;
use ion_sdp::{
    Candidate, CodecKind, Fingerprint, Fmtp, IceCredentials, LocalParams, Msid, Sender, Senders,
    SessionDescription, SourceTrack, TrackCodec,
};
use std::path::{Path, PathBuf};

/// Every offer in `tests/data`.
pub(crate) const OFFERS: [&str; 17] = [
    "aiortc_recvonly",
    "aiortc_sendonly",
    "chromium_datachannel",
    "chromium_recvonly",
    "chromium_red_av1_simulcast",
    "chromium_sendonly",
    "chromium_sendrecv",
    "chromium_simulcast",
    "ffmpeg",
    "firefox_recvonly",
    "firefox_sendonly",
    "firefox_simulcast",
    "gstreamer_nobundle",
    "gstreamer_recvonly",
    "gstreamer_sendonly",
    "libdatachannel_recvonly",
    "libdatachannel_sendonly",
];

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

pub(crate) fn text(name: &str) -> String {
    std::fs::read_to_string(data().join(format!("{name}.sdp"))).unwrap()
}

pub(crate) fn offer(name: &str) -> SessionDescription {
    parse(&text(name))
}

#[track_caller]
pub(crate) fn parse(text: &str) -> SessionDescription {
    SessionDescription::parse(text.as_bytes()).unwrap()
}

pub(crate) fn local() -> LocalParams {
    let host = |address: &str, rank| Candidate::host(address.parse().unwrap(), rank);
    LocalParams {
        session_id: 4_611_686_018_427_387_905,
        ice: IceCredentials {
            ufrag: "ionu".to_owned(),
            pwd: "ionpasswordionpassword00".to_owned(),
        },
        fingerprint: Fingerprint::sha256([0xAB; 32]),
        candidates: vec![host("198.51.100.7:7882", 0), host("[2001:db8::7]:7882", 1)],
        cname: "ion".to_owned(),
    }
}

pub(crate) fn codec(kind: CodecKind, fmtp: &str) -> TrackCodec {
    TrackCodec {
        kind,
        fmtp: Fmtp::parse(fmtp).unwrap(),
    }
}

pub(crate) fn source(kind: CodecKind, fmtp: &str) -> SourceTrack {
    SourceTrack {
        codec: codec(kind, fmtp),
        red: kind == CodecKind::Opus,
    }
}

/// SSRC 1000 for the first section, 2000 for the second, and so on.
pub(crate) fn senders() -> Senders {
    let mut ssrc = 0;
    [(); MAX_TRACKS].map(|()| {
        ssrc += 1_000;
        Sender {
            msid: Msid {
                stream: "room".to_owned(),
                track: format!("track{ssrc}"),
            },
            ssrc,
            rtx_ssrc: ssrc + 1,
            fec_ssrc: ssrc + 2,
        }
    })
}

/// Compares with `tests/data/answers`, or with `ION_UPDATE_SNAPSHOTS=1` writes there.
#[track_caller]
pub(crate) fn snapshot(name: &str, answer: &SessionDescription) {
    let path = data().join("answers").join(format!("{name}.sdp"));
    let text = answer.to_string();
    if std::env::var_os("ION_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, (known, new)) in known.lines().zip(text.lines()).enumerate() {
        assert_eq!(known, new, "{name}, line {}", line + 1);
    }
    assert_eq!(
        known.lines().count(),
        text.lines().count(),
        "{name}: {text}"
    );
    second_opinion(name, &text);
}

/// What Mozilla's parser thinks of it.
#[track_caller]
pub(crate) fn second_opinion(name: &str, text: &str) {
    if let Err(error) = webrtc_sdp::parse_sdp(text, true) {
        panic!("{name}: webrtc-sdp says {error}\n{text}");
    }
}

/// What every answer owes to its offer.
#[track_caller]
pub(crate) fn check_answer(offer: &SessionDescription, answer: &SessionDescription) {
    assert_eq!(offer.media.len(), answer.media.len());
    assert!(answer.ice_lite);
    for (offered, answered) in offer.media.iter().zip(&answer.media) {
        assert_eq!(
            (&offered.kind, &offered.mid),
            (&answered.kind, &answered.mid)
        );
        assert_eq!(offered.protocol, answered.protocol);
        assert!(!answered.bundle_only);
        let known = |codec: &ion_sdp::Codec| offered.codec(codec.pt).is_some();
        assert!(
            answered.codecs.iter().all(known),
            "a payload type nobody offered"
        );
        for extension in &answered.extensions {
            let twin = |known: &&ion_sdp::Extension| known.id == extension.id;
            let offered = offered.extensions.iter().find(twin).unwrap();
            assert_eq!(offered.uri, extension.uri);
        }
        if answered.is_rejected() {
            continue;
        }
        assert!(answered.rtcp_mux && answered.ice_ufrag.is_some() && answered.setup.is_some());
        let in_bundle = |mid| answer.bundles.iter().flatten().any(|known| known == mid);
        assert_eq!(
            answered.rtcp_mux_only,
            answered.mid.as_ref().is_some_and(in_bundle)
        );
    }
    let with_candidates = answer
        .media
        .iter()
        .filter(|media| !media.candidates.is_empty())
        .count();
    assert!(with_candidates > 0 || answer.media.iter().all(ion_sdp::Media::is_rejected));
}
