use ion_sdp::{
    Candidate, CodecKind, Fingerprint, Fmtp, IceCredentials, LocalParams, Msid, SdpFragment,
    Sender, Senders, SessionDescription, SourceTrack, TrackCodec, whep, whip,
};

/// Descriptions and trickle-ICE fragments: what is read is written and read as the same, and what
/// is answered mirrors the offer.
pub fn sdp(data: &[u8]) {
    if let Ok(fragment) = SdpFragment::parse(data) {
        let written = fragment.to_string();
        match SdpFragment::parse(written.as_bytes()) {
            Ok(again) => assert_eq!(again, fragment, "{written}"),
            Err(error) => assert!(error.is_limit(), "{error}: {written}"),
        }
    }
    let Ok(offer) = SessionDescription::parse(data) else {
        return;
    };
    written(&offer);
    let local = local();
    if let Ok(answer) = whip::answer(&offer, &local) {
        mirrors(&offer, &answer.sdp);
        for track in &answer.tracks {
            let section = &answer.sdp.media[track.media_index];
            assert!(section.codec(track.pt).is_some());
            assert!((1..=4).contains(&track.encodings.len()));
        }
    }
    let sources = [
        source(CodecKind::Opus),
        source(CodecKind::Vp8),
        source(CodecKind::H264),
    ];
    if let Ok(answer) = whep::answer(&offer, &local, &sources, &senders()) {
        mirrors(&offer, &answer.sdp);
        for track in &answer.tracks {
            let Some(source) = track.source else { continue };
            let found = whep::find_payload(&track.payloads, &sources[source].codec);
            assert_eq!(found, track.payloads.first());
        }
    }
    let _ = whep::accept(&whep::offer(&local, &sources, &senders()), &offer);
}

/// Defaults of the session level are written into each section, which may be too much to read.
fn written(sdp: &SessionDescription) {
    let written = sdp.to_string();
    match SessionDescription::parse(written.as_bytes()) {
        Ok(again) => assert_eq!(&again, sdp, "{written}"),
        Err(error) => assert!(error.is_limit(), "{error}: {written}"),
    }
}

fn mirrors(offer: &SessionDescription, answer: &SessionDescription) {
    assert_eq!(offer.media.len(), answer.media.len());
    for (offered, answered) in offer.media.iter().zip(&answer.media) {
        assert_eq!(
            (&offered.kind, &offered.mid),
            (&answered.kind, &answered.mid)
        );
        for codec in &answered.codecs {
            assert!(offered.codec(codec.pt).is_some());
        }
    }
    written(answer);
}

fn local() -> LocalParams {
    LocalParams {
        session_id: 1,
        ice: IceCredentials {
            ufrag: "ionu".to_owned(),
            pwd: "ionpasswordionpassword00".to_owned(),
        },
        fingerprint: Fingerprint::sha256([0xab; 32]),
        candidates: vec![Candidate::host(([192, 0, 2, 1], 7882).into(), 0)],
        cname: "ion".to_owned(),
    }
}

fn source(kind: CodecKind) -> SourceTrack {
    SourceTrack {
        codec: TrackCodec {
            kind,
            fmtp: Fmtp::default(),
        },
        red: true,
    }
}

fn senders() -> Senders {
    let mut ssrc = 0;
    [(); ion_sdp::limits::MAX_TRACKS].map(|()| {
        ssrc += 3;
        Sender {
            msid: Msid {
                stream: "room".to_owned(),
                track: "track".to_owned(),
            },
            ssrc,
            rtx_ssrc: ssrc + 1,
            fec_ssrc: ssrc + 2,
        }
    })
}
