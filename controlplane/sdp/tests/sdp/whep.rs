use crate::common::{
    check_answer, codec, local, offer, parse, second_opinion, senders, snapshot, source, text,
};
use ion_sdp::whep::{self, find_payload};
use ion_sdp::{
    CodecKind, Direction, DtlsRole, ExtensionKind, PlayAnswer, Reject, SessionDescription,
    SourceTrack,
};

const H264: &str = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";

fn camera(kind: CodecKind, fmtp: &str) -> [SourceTrack; 2] {
    [
        source(CodecKind::Opus, "minptime=10;useinbandfec=1"),
        source(kind, fmtp),
    ]
}

fn answer_of(offer: &SessionDescription, sources: &[SourceTrack]) -> Result<PlayAnswer, Reject> {
    let answer = whep::answer(offer, &local(), sources, &senders())?;
    check_answer(offer, &answer.sdp);
    second_opinion("play", &answer.sdp.to_string());
    Ok(answer)
}

#[track_caller]
fn answer(name: &str, sources: &[SourceTrack]) -> PlayAnswer {
    answer_of(&offer(name), sources).unwrap()
}

fn first_pts(answer: &PlayAnswer) -> Vec<u8> {
    answer
        .sdp
        .media
        .iter()
        .map(|media| media.codecs[0].pt)
        .collect()
}

#[test]
fn chromium() {
    let answer = answer("chromium_recvonly", &camera(CodecKind::H264, H264));
    snapshot("whep_chromium_recvonly_h264", &answer.sdp);
    let [audio, video] = &answer.tracks[..] else {
        panic!()
    };
    assert_eq!(first_pts(&answer), [111, 108]);
    assert_eq!((audio.ssrc, audio.rtx_ssrc), (1000, None));
    assert_eq!(audio.payloads[0].red_pt, Some(63));
    assert_eq!(
        (video.ssrc, video.rtx_ssrc, video.source),
        (2000, Some(2001), Some(1))
    );
    assert_eq!((audio.fec, video.fec), (None, Some((49, 2002))));
    let first = &video.payloads[0];
    assert_eq!((first.pt, first.rtx_pt), (108, Some(109)));
    assert!(first.feedback.nack && first.feedback.pli && first.feedback.transport_cc);
    assert!(
        answer
            .sdp
            .media
            .iter()
            .all(|media| media.direction == Direction::SendOnly)
    );
    assert_eq!(answer.extensions.id(ExtensionKind::Mid), Some(4));
    assert_eq!(
        answer.extensions.id(ExtensionKind::Rid),
        None,
        "a viewer has no use for it"
    );
}

/// RFC 8888, section 6: said of all payload types of a section, and instead of what cannot tell of marks.
#[test]
fn who_reports_by_rfc_8888_is_answered_so() {
    let with_ccfb = text("chromium_recvonly")
        .replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-fb:* ack ccfb\r\n");
    // `webrtc-sdp` knows no `ack ccfb`: no second opinion.
    let offer = parse(&with_ccfb);
    let answer = whep::answer(&offer, &local(), &camera(CodecKind::Vp8, ""), &senders()).unwrap();
    check_answer(&offer, &answer.sdp);
    let written = answer.sdp.to_string();
    assert_eq!(written.matches("a=rtcp-fb:* ack ccfb\r\n").count(), 2);
    assert_eq!(written.matches(" transport-cc").count(), 0);
    assert_eq!(written.matches("ack ccfb").count(), 2);
    assert_eq!(parse(&written), answer.sdp);
    let payloads = answer.tracks.iter().flat_map(|track| &track.payloads);
    for payload in payloads {
        assert!(payload.feedback.ccfb && !payload.feedback.transport_cc);
    }
}

#[test]
fn a_later_publisher_may_bring_any_codec_of_the_answer() {
    let answer = answer("chromium_recvonly", &camera(CodecKind::Vp8, ""));
    let payloads = &answer.tracks[1].payloads;
    let pt = |kind, fmtp| find_payload(payloads, &codec(kind, fmtp)).map(|payload| payload.pt);
    assert_eq!(pt(CodecKind::Vp8, ""), Some(96));
    assert_eq!(pt(CodecKind::Vp9, ""), Some(98));
    assert_eq!(pt(CodecKind::Vp9, "profile-id=2"), Some(100));
    assert_eq!(pt(CodecKind::Vp9, "profile-id=1"), None);
    assert_eq!(
        pt(
            CodecKind::H264,
            "profile-level-id=42001e;packetization-mode=1"
        ),
        Some(102)
    );
    assert_eq!(
        pt(
            CodecKind::H264,
            "profile-level-id=42c028;packetization-mode=1"
        ),
        Some(108)
    );
    assert_eq!(pt(CodecKind::H264, "profile-level-id=42e01f"), Some(114));
    assert_eq!(
        pt(
            CodecKind::H264,
            "profile-level-id=4d0028;packetization-mode=1"
        ),
        Some(116)
    );
    assert_eq!(
        pt(
            CodecKind::H264,
            "profile-level-id=640028;packetization-mode=1"
        ),
        None
    );
    assert_eq!(pt(CodecKind::Av1, "level-idx=8"), Some(45));
    assert_eq!(pt(CodecKind::Av1, "profile=1"), Some(47));
    assert_eq!(pt(CodecKind::H265, ""), None);
    assert!(payloads.iter().all(|payload| payload.rtx_pt.is_some()));
}

#[test]
fn firefox_plays_vp9_first_when_that_is_published() {
    let answer = answer("firefox_recvonly", &camera(CodecKind::Vp9, "profile-id=0"));
    snapshot("whep_firefox_recvonly_vp9", &answer.sdp);
    assert_eq!(first_pts(&answer), [109, 121]);
    assert_eq!(answer.extensions.id(ExtensionKind::PlayoutDelay), Some(6));
    let text = answer.sdp.to_string();
    assert!(text.contains("a=extmap:6/sendonly http"));
}

#[test]
fn other_players() {
    let h264 = camera(CodecKind::H264, H264);
    let aiortc = answer("aiortc_recvonly", &h264);
    snapshot("whep_aiortc_recvonly_h264", &aiortc.sdp);
    assert_eq!(
        first_pts(&aiortc),
        [96, 101],
        "the payload of the same profile"
    );
    let libdatachannel = answer("libdatachannel_recvonly", &h264);
    snapshot("whep_libdatachannel_recvonly_h264", &libdatachannel.sdp);
    assert_eq!(libdatachannel.tracks[1].rtx_ssrc, None, "no RTX offered");
    assert!(!libdatachannel.sdp.to_string().contains("ssrc-group"));
    let gstreamer = answer("gstreamer_recvonly", &camera(CodecKind::Vp8, ""));
    snapshot("whep_gstreamer_recvonly_vp8", &gstreamer.sdp);
    assert_eq!(gstreamer.tracks.len(), 2);
}

#[test]
fn ffmpegs_baseline_plays_where_constrained_baseline_does() {
    let ffmpeg = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001e";
    let answer = answer("libdatachannel_recvonly", &camera(CodecKind::H264, ffmpeg));
    assert_eq!(answer.tracks[1].payloads[0].pt, 96);
}

/// An offer of one audio and two video sections.
fn two_videos() -> SessionDescription {
    let full = text("libdatachannel_recvonly");
    let video = &full[full.find("m=video").unwrap()..];
    let second = video.replace("a=mid:video", "a=mid:video2");
    parse(&(full.replace("BUNDLE audio video", "BUNDLE audio video video2") + &second))
}

#[test]
fn sections_left_over_are_ready_for_what_may_come() {
    let video_only = [source(CodecKind::H264, H264)];
    let answer = answer("chromium_recvonly", &video_only);
    let [audio, video] = &answer.tracks[..] else {
        panic!()
    };
    assert_eq!((audio.source, video.source), (None, Some(0)));
    assert_eq!((audio.ssrc, audio.payloads[0].pt), (1000, 111));
    let section = &answer.sdp.media[0];
    assert_eq!((section.direction, section.port), (Direction::SendOnly, 9));
    assert!(section.msid.is_some());
    assert_eq!(section.sources[0].ssrc, 1000, "announced");
    assert_eq!(answer.sdp.bundles[0].len(), 2);
    // The same player would get both, in the same places.
    let both = answer_of(&offer("chromium_recvonly"), &camera(CodecKind::H264, H264)).unwrap();
    assert_eq!(answer.sdp.to_string(), both.sdp.to_string());

    let answer = answer_of(&two_videos(), &camera(CodecKind::Vp8, "")).unwrap();
    let matched: Vec<_> = answer.tracks.iter().map(|t| (t.ssrc, t.source)).collect();
    assert_eq!(matched, [(1000, Some(0)), (2000, Some(1)), (3000, None)]);
    let spare = &answer.tracks[2].payloads;
    assert_eq!(spare[0].pt, 96, "in the order of the offer");
    assert!(find_payload(spare, &codec(CodecKind::Vp8, "")).is_some());
}

#[test]
fn a_picture_that_is_not_there_does_not_hold_up_the_sound() {
    // Nothing is published, or nothing that this player takes.
    for unplayed in [None, Some(source(CodecKind::H265, ""))] {
        let sources: Vec<_> = std::iter::once(source(CodecKind::Opus, ""))
            .chain(unplayed)
            .collect();
        let answer = answer("chromium_recvonly", &sources);
        assert_eq!(answer.tracks.len(), 1);
        let video = &answer.sdp.media[1];
        assert_eq!((video.direction, video.port), (Direction::Inactive, 9));
        assert!(video.sources.is_empty() && video.msid.is_none());
        assert_eq!(answer.sdp.bundles[0].len(), 2);
    }
}

#[test]
fn without_sources_only_the_offer_itself_counts() {
    let nobody = whep::answer(&offer("chromium_recvonly"), &local(), &[], &senders()).unwrap();
    assert_eq!(nobody.sdp.media.len(), 2);
    let unknown = text("libdatachannel_recvonly")
        .replace("opus/48000/2", "other/48000/2")
        .replace("H264/90000", "other/90000")
        .replace("VP8/90000", "other/90000");
    let reject = whep::answer(&parse(&unknown), &local(), &[], &senders()).unwrap_err();
    assert_eq!(reject.status(), 422, "there is nothing to wait for");
    assert!(reject.to_string().contains("VP8"), "{reject}");
}

#[test]
fn each_section_takes_the_next_source_it_has_a_codec_for() {
    let offer = two_videos();
    let sources = [
        source(CodecKind::Av1, ""),
        source(CodecKind::Vp8, ""),
        source(CodecKind::H264, H264),
    ];
    let answer = answer_of(&offer, &sources).unwrap();
    let matched: Vec<_> = answer
        .tracks
        .iter()
        .map(|t| (t.media_index, t.source, t.ssrc))
        .collect();
    assert_eq!(
        matched,
        [(0, None, 1000), (1, Some(1), 2000), (2, Some(2), 3000)],
        "AV1 is not offered, audio not published"
    );
    assert_eq!(first_pts(&answer), [111, 97, 96]);
}

#[test]
fn a_section_without_any_known_codec_is_rejected_alone() {
    let offer = parse(&text("chromium_recvonly").replace("opus/48000/2", "other/48000/2"));
    let answer = answer_of(&offer, &camera(CodecKind::Vp8, "")).unwrap();
    assert!(answer.sdp.media[0].is_rejected());
    let bundle: Vec<&str> = answer.sdp.bundles[0]
        .iter()
        .map(ion_sdp::Mid::as_str)
        .collect();
    assert_eq!(bundle, ["1"]);
    assert_eq!(answer.sdp.media[1].candidates.len(), 2);
}

#[test]
fn nothing_that_fits_is_not_acceptable() {
    let sources = [source(CodecKind::H265, "")];
    let reject = answer_of(&offer("firefox_recvonly"), &sources).unwrap_err();
    assert_eq!(reject.status(), 406);
    assert!(reject.to_string().contains("H265"), "{reject}");
}

#[test]
fn direction_has_to_receive() {
    let sources = camera(CodecKind::Vp8, "");
    let reject = answer_of(&offer("chromium_sendonly"), &sources).unwrap_err();
    assert_eq!(reject.status(), 422);
    assert!(reject.to_string().contains("recvonly"), "{reject}");
    assert!(answer_of(&offer("chromium_sendrecv"), &sources).is_ok());
    let data = text("chromium_datachannel").replace("a=sendonly", "a=recvonly");
    let reject = answer_of(&parse(&data), &sources).unwrap_err();
    assert_eq!(reject.status(), 422);
    assert!(reject.to_string().contains("data channels"), "{reject}");
}

/// The answer of a browser to our counter-offer, as far as it matters.
fn their_answer(ours: &SessionDescription, setup: &str) -> SessionDescription {
    let mut text = ours.to_string().replace("a=sendonly", "a=recvonly");
    text = text.replace("a=setup:actpass", &format!("a=setup:{setup}"));
    text = text.replace("a=ice-lite\r\n", "").replace("ionu", "them");
    let kept = |line: &&str| !line.starts_with("a=ssrc") && !line.starts_with("a=msid");
    let lines: Vec<&str> = text.lines().filter(kept).collect();
    parse(&(lines.join("\r\n") + "\r\n"))
}

#[test]
fn counter_offer_and_its_answer() {
    let sources = camera(CodecKind::H265, "level-id=93;profile-id=1");
    let ours = whep::offer(&local(), &sources, &senders());
    snapshot("whep_counter_offer", &ours);
    assert_eq!(parse(&ours.to_string()), ours);
    let accepted = whep::accept(&ours, &their_answer(&ours, "active")).unwrap();
    assert_eq!(accepted.remote.role, DtlsRole::Server);
    assert_eq!(accepted.remote.ice.ufrag, "them");
    let [audio, video] = &accepted.tracks[..] else {
        panic!()
    };
    assert_eq!((audio.ssrc, audio.payloads[0].red_pt), (1000, Some(97)));
    assert_eq!((video.ssrc, video.rtx_ssrc), (2000, Some(2001)));
    assert_eq!(
        (video.payloads[0].pt, video.payloads[0].rtx_pt),
        (98, Some(99))
    );
    assert!(video.payloads[0].feedback.transport_cc);
    assert_eq!(accepted.extensions.id(ExtensionKind::Mid), Some(1));
    let passive = whep::accept(&ours, &their_answer(&ours, "passive")).unwrap();
    assert_eq!(passive.remote.role, DtlsRole::Client);
}

#[test]
fn answers_to_the_counter_offer_that_do_not_fit() {
    let ours = whep::offer(&local(), &camera(CodecKind::Vp8, ""), &senders());
    let theirs = their_answer(&ours, "active");
    let refuse = |answer: &SessionDescription| whep::accept(&ours, answer).unwrap_err();

    let mut shorter = theirs.clone();
    shorter.media.pop();
    assert_eq!(refuse(&shorter).status(), 400);
    assert_eq!(refuse(&their_answer(&ours, "actpass")).status(), 400);
    let mut swapped = theirs.clone();
    swapped.media.swap(0, 1);
    assert_eq!(refuse(&swapped).status(), 400);

    let mut inactive = theirs.clone();
    inactive
        .media
        .iter_mut()
        .for_each(|media| media.direction = Direction::Inactive);
    assert_eq!(refuse(&inactive).status(), 422);
    let mut audio_only = theirs;
    audio_only.media[1].port = 0;
    let accepted = whep::accept(&ours, &audio_only).unwrap();
    assert_eq!(accepted.tracks.len(), 1);
    assert_eq!(
        accepted.extensions.id(ExtensionKind::DependencyDescriptor),
        None
    );
}
