use crate::common::{check_answer, local, offer, parse, snapshot, text};
use ion_sdp::{
    CodecKind, Direction, DtlsRole, Encoding, ExtensionKind, FeedbackSet, PublishAnswer,
    PublishTrack, Reject, Setup, whip,
};

#[track_caller]
fn answer(name: &str) -> PublishAnswer {
    let offer = offer(name);
    let answer = whip::answer(&offer, &local()).unwrap();
    check_answer(&offer, &answer.sdp);
    assert!(
        answer
            .sdp
            .media
            .iter()
            .all(|media| media.direction == Direction::RecvOnly)
    );
    snapshot(&format!("whip_{name}"), &answer.sdp);
    answer
}

/// The refusal of `name` with `from` replaced by `to`.
#[track_caller]
fn refusal(name: &str, from: &str, to: &str) -> Reject {
    let good = text(name);
    let bad = good.replace(from, to);
    assert_ne!(good, bad);
    whip::answer(&parse(&bad), &local()).unwrap_err()
}

#[track_caller]
fn unprocessable(reject: &Reject, message: &str) {
    assert_eq!(reject.status(), 422, "{reject}");
    assert!(reject.to_string().contains(message), "{reject}");
}

fn one(ssrc: u32, rtx_ssrc: Option<u32>) -> Vec<Encoding> {
    vec![Encoding {
        rid: None,
        ssrc: Some(ssrc),
        rtx_ssrc,
        fec_ssrc: None,
    }]
}

fn types(track: &PublishTrack) -> (CodecKind, u8, Option<u8>, Option<u8>) {
    (track.codec.kind, track.pt, track.rtx_pt, track.red_pt)
}

fn rids(track: &PublishTrack) -> Vec<&str> {
    track
        .encodings
        .iter()
        .map(|encoding| encoding.rid.as_deref().unwrap())
        .collect()
}

#[test]
fn chromium() {
    let answer = answer("chromium_sendonly");
    let [audio, video] = &answer.tracks[..] else {
        panic!()
    };
    assert_eq!(types(audio), (CodecKind::Opus, 111, None, Some(63)));
    assert_eq!(audio.encodings, one(553_077_902, None));
    assert_eq!(
        audio.feedback,
        FeedbackSet {
            transport_cc: true,
            ..FeedbackSet::default()
        }
    );
    assert_eq!(types(video), (CodecKind::Vp8, 96, Some(97), None));
    assert_eq!(video.encodings, one(4_182_618_417, Some(3_739_023_740)));
    let all = FeedbackSet {
        nack: true,
        pli: true,
        fir: true,
        remb: true,
        transport_cc: true,
        ccfb: false,
    };
    assert_eq!(video.feedback, all);
    assert_eq!(video.mid.as_ref().unwrap().as_str(), "1");
    assert_eq!(
        video.msid.as_ref().unwrap().stream,
        "8a35c95f-207f-45a2-b8ea-508fb4a1394e"
    );
    assert_eq!(answer.extensions.id(ExtensionKind::Mid), Some(4));
    assert_eq!(answer.extensions.id(ExtensionKind::AudioLevel), Some(1));
    assert_eq!(
        answer.extensions.kind(14),
        Some(ExtensionKind::TransmissionOffset)
    );
    assert_eq!(audio.extensions.id(ExtensionKind::TransmissionOffset), None);
    assert_eq!(answer.remote.role, DtlsRole::Server);
    assert_eq!(answer.remote.ice.ufrag, "KxFG");
    assert_eq!(
        answer.remote.candidates.len(),
        4,
        "those of the bundle's first section"
    );
}

#[test]
fn chromium_simulcast() {
    let answer = answer("chromium_simulcast");
    let video = &answer.tracks[1];
    assert_eq!(rids(video), ["q", "h", "f"]);
    assert_eq!(
        answer.sdp.media[1].simulcast.as_ref().unwrap().to_string(),
        "recv q;h;f"
    );
    for kind in [ExtensionKind::Rid, ExtensionKind::RepairedRid] {
        assert!(answer.extensions.id(kind).is_some());
    }
}

#[test]
fn chromium_with_preferences() {
    let answer = answer("chromium_red_av1_simulcast");
    let [audio, video] = &answer.tracks[..] else {
        panic!()
    };
    assert_eq!(types(audio), (CodecKind::Opus, 111, None, Some(63)));
    let order: Vec<u8> = answer.sdp.media[0]
        .codecs
        .iter()
        .map(|codec| codec.pt)
        .collect();
    assert_eq!(
        order,
        [63, 111],
        "RED stays in front, where the publisher put it"
    );
    assert_eq!(types(video), (CodecKind::Av1, 45, Some(46), None));
    assert_eq!(rids(video), ["a", "b", "c"]);
    for kind in [
        ExtensionKind::DependencyDescriptor,
        ExtensionKind::VideoLayersAllocation,
    ] {
        assert!(answer.extensions.id(kind).is_some());
    }
}

/// A browser that was told to offer FlexFEC: its repair packets are taken; ULPFEC and RED around video never are.
#[test]
fn chromium_with_repair_packets() {
    let plain = text("chromium_sendonly");
    assert!(plain.contains("ulpfec/90000") && plain.contains("red/90000"));
    let video = plain.find("m=video").unwrap();
    let (audio, video) = plain.split_at(video);
    let (ssrc, fec_ssrc) = (4_182_618_417, 77);
    let line = video.lines().next().unwrap();
    let fec = format!(
        "a=rtpmap:49 flexfec-03/90000\r\na=rtcp-fb:49 transport-cc\r\na=fmtp:49 repair-window=10000000\r\na=ssrc-group:FEC-FR {ssrc} {fec_ssrc}\r\na=ssrc:{fec_ssrc} cname:x\r\n"
    );
    let video = video.replacen(line, &format!("{line} 49"), 1);
    let offer = parse(&format!("{audio}{video}{fec}"));
    let answer = whip::answer(&offer, &local()).unwrap();
    check_answer(&offer, &answer.sdp);
    let video = &answer.tracks[1];
    assert_eq!(video.fec_pt, Some(49));
    assert_eq!(video.encodings[0].ssrc, Some(ssrc));
    assert_eq!(video.encodings[0].fec_ssrc, Some(fec_ssrc));
    let sdp = answer.sdp.to_string();
    assert!(sdp.contains("a=rtpmap:49 flexfec-03/90000\r\na=fmtp:49 repair-window=10000000\r\n"));
    assert!(!sdp.contains("ulpfec") && !sdp.contains("red/90000"));
    // Layers named by RID say nothing of which one a repair packet is for.
    let layers = text("chromium_simulcast");
    let layers = layers.replace("a=rtpmap:120 ulpfec/90000", "a=rtpmap:120 flexfec-03/90000");
    let answer = whip::answer(&parse(&layers), &local()).unwrap();
    assert_eq!(answer.tracks[1].fec_pt, None);
}

#[test]
fn chromium_sendrecv_is_received_only() {
    answer("chromium_sendrecv");
}

#[test]
fn firefox() {
    let answer = answer("firefox_sendonly");
    let [audio, video] = &answer.tracks[..] else {
        panic!()
    };
    assert_eq!(
        types(audio),
        (CodecKind::Opus, 109, None, None),
        "no RED in this build"
    );
    assert_eq!(types(video), (CodecKind::Vp8, 120, Some(124), None));
    assert!(answer.sdp.extmap_allow_mixed);
    let text = answer.sdp.to_string();
    assert!(
        !text.contains("max-fs"),
        "limits of its decoder are not for its encoder"
    );
    assert!(!text.contains("csrc-audio-level"));
}

#[test]
fn firefox_simulcast() {
    let answer = answer("firefox_simulcast");
    let video = &answer.tracks[1];
    assert_eq!(rids(video), ["q", "h", "f"]);
    let text = answer.sdp.to_string();
    assert!(text.contains("a=extmap:9/recvonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"));
    assert!(
        !text.contains("playout-delay"),
        "offered as recvonly: it does not send it"
    );
}

#[test]
fn ffmpeg() {
    let answer = answer("ffmpeg");
    let [audio, video] = &answer.tracks[..] else {
        panic!()
    };
    assert_eq!(answer.remote.role, DtlsRole::Client);
    assert!(
        answer
            .sdp
            .media
            .iter()
            .all(|media| media.setup == Some(Setup::Active))
    );
    assert_eq!(types(audio), (CodecKind::Opus, 111, None, None));
    assert_eq!(types(video), (CodecKind::H264, 106, Some(105), None));
    assert_eq!(
        video.encodings,
        one(1_219_669_942, Some(1_219_669_943)),
        "RTX from FID alone"
    );
    assert!(video.feedback.nack && !video.feedback.pli && !video.feedback.transport_cc);
    assert_eq!(answer.extensions, Default::default());
    assert!(answer.remote.candidates.is_empty());
}

#[test]
fn offers_without_mid_and_bundle_are_answered_alike() {
    let mut plain = text("ffmpeg");
    for line in ["a=group:BUNDLE 0 1\r\n", "a=mid:0\r\n", "a=mid:1\r\n"] {
        plain = plain.replace(line, "");
    }
    let offer = parse(&plain);
    let answer = whip::answer(&offer, &local()).unwrap();
    check_answer(&offer, &answer.sdp);
    snapshot("whip_ffmpeg_without_mid", &answer.sdp);
    let text = answer.sdp.to_string();
    assert!(!text.contains("BUNDLE") && !text.contains("a=mid") && !text.contains("mux-only"));
    assert!(answer.tracks.iter().all(|track| track.mid.is_none()));
}

#[test]
fn gstreamer() {
    let answer = answer("gstreamer_sendonly");
    let [video, audio] = &answer.tracks[..] else {
        panic!()
    };
    assert_eq!(types(video), (CodecKind::H264, 96, None, None));
    assert_eq!(types(audio), (CodecKind::Opus, 97, None, None));
    assert_eq!(video.codec.fmtp.value("profile-level-id"), Some("42c015"));
    assert!(
        video.codec.fmtp.value("sprop-parameter-sets").is_some(),
        "kept for our own use"
    );
    assert!(!answer.sdp.to_string().contains("sprop"));
    assert!(!video.feedback.transport_cc, "its extension is not offered");
    assert_eq!(answer.sdp.media[1].port, 9, "bundle-only is not rejected");
}

#[test]
fn gstreamer_without_bundle_is_told_what_to_do() {
    let reject = whip::answer(&offer("gstreamer_nobundle"), &local()).unwrap_err();
    unprocessable(&reject, "max-bundle");
}

#[test]
fn libdatachannel() {
    let answer = answer("libdatachannel_sendonly");
    let [audio, video] = &answer.tracks[..] else {
        panic!()
    };
    assert_eq!(types(audio), (CodecKind::Opus, 111, None, None));
    assert_eq!(types(video), (CodecKind::H264, 96, None, None));
    assert_eq!(video.mid.as_ref().unwrap().as_str(), "video");
    assert_eq!(answer.sdp.ice_options, ["ice2", "trickle"]);
    let fmtp = &answer.sdp.media[0].codecs[0].fmtp;
    assert_eq!(
        (fmtp.value("stereo"), fmtp.value("sprop-stereo")),
        (Some("1"), None)
    );
}

#[test]
fn aiortc() {
    let answer = answer("aiortc_sendonly");
    assert_eq!(answer.remote.fingerprints.len(), 3);
    assert_eq!(
        types(&answer.tracks[1]),
        (CodecKind::Vp8, 97, Some(98), None)
    );
    assert!(!answer.sdp.extmap_allow_mixed);
}

#[test]
fn direction_has_to_send() {
    let reject = whip::answer(&offer("chromium_recvonly"), &local()).unwrap_err();
    unprocessable(&reject, "sendonly or a=sendrecv, not a=recvonly");
    let reject = refusal("ffmpeg", "a=sendonly\r\na=msid:FFmpeg video", "a=inactive");
    unprocessable(&reject, "not a=inactive");
}

#[test]
fn what_cannot_be_served_is_refused_whole() {
    let reject = whip::answer(&offer("chromium_datachannel"), &local()).unwrap_err();
    unprocessable(&reject, "data channels");
    unprocessable(
        &refusal("ffmpeg", "H264/90000", "JPEG/90000"),
        "video section",
    );
    unprocessable(
        &refusal("ffmpeg", "opus/48000/2", "G722/8000"),
        "offer opus/48000/2",
    );
    unprocessable(
        &refusal("ffmpeg", "m=video", "m=text"),
        "neither audio nor video",
    );
    unprocessable(
        &refusal("ffmpeg", "UDP/TLS/RTP/SAVPF", "RTP/AVP"),
        "DTLS-SRTP",
    );
    unprocessable(&refusal("ffmpeg", "a=rtcp-mux\r\n", ""), "rtcp-mux");
    unprocessable(
        &refusal("ffmpeg", "a=fingerprint:sha-256", "a=fingerprint:md5"),
        "fingerprint",
    );
    unprocessable(
        &refusal("ffmpeg", "a=ice-ufrag:53707675\r\n", ""),
        "a=ice-ufrag",
    );
    unprocessable(
        &refusal("ffmpeg", "setup:passive", "setup:holdconn"),
        "holdconn",
    );
    unprocessable(
        &refusal("ffmpeg", "t=0 0", "t=0 0\r\na=ice-lite"),
        "ice-lite",
    );
}

#[test]
fn no_sections_or_too_many() {
    let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
    unprocessable(
        &whip::answer(&parse(head), &local()).unwrap_err(),
        "no m-section",
    );
    let declined = text("ffmpeg")
        .replace("m=audio 9", "m=audio 0")
        .replace("m=video 9", "m=video 0");
    unprocessable(
        &whip::answer(&parse(&declined), &local()).unwrap_err(),
        "no m-section",
    );
    let full = text("ffmpeg");
    let (head, sections) = full.split_at(full.find("m=audio").unwrap());
    let sections = sections
        .replace("a=mid:0\r\n", "")
        .replace("a=mid:1\r\n", "");
    let many = head.replace("a=group:BUNDLE 0 1\r\n", "") + &sections.repeat(5);
    unprocessable(
        &whip::answer(&parse(&many), &local()).unwrap_err(),
        "more than 8",
    );
}

#[test]
fn sections_that_the_offer_declines_stay_declined() {
    let text = text("ffmpeg").replace("m=audio 9", "m=audio 0");
    let offer = parse(&text);
    let answer = whip::answer(&offer, &local()).unwrap();
    check_answer(&offer, &answer.sdp);
    snapshot("whip_declined_section", &answer.sdp);
    assert_eq!(answer.tracks.len(), 1);
    assert_eq!(answer.tracks[0].media_index, 1);
    assert!(answer.sdp.media[0].is_rejected());
    let bundle: Vec<&str> = answer.sdp.bundles[0]
        .iter()
        .map(ion_sdp::Mid::as_str)
        .collect();
    assert_eq!(bundle, ["1"]);
    assert_eq!(
        answer.sdp.media[1].candidates.len(),
        2,
        "they move to the first one in use"
    );
}

#[test]
fn h264_in_fragments_is_preferred() {
    let text = text("ffmpeg").replace(
        "a=rtpmap:106 H264/90000\r\n",
        "a=rtpmap:104 H264/90000\r\na=fmtp:104 profile-level-id=42001e\r\na=rtpmap:106 H264/90000\r\n",
    );
    let text = text.replace("SAVPF 106 105", "SAVPF 104 106 105");
    let answer = whip::answer(&parse(&text), &local()).unwrap();
    assert_eq!(answer.tracks[1].pt, 106);
}

#[test]
fn simulcast_takes_the_first_alternative_that_fits() {
    let text = text("chromium_simulcast")
        .replace("a=simulcast:send q;h;f", "a=simulcast:send ~q,h;f")
        .replace("a=rid:q send", "a=rid:q send pt=98");
    let answer = whip::answer(&parse(&text), &local()).unwrap();
    assert_eq!(
        rids(&answer.tracks[1]),
        ["h", "f"],
        "q is for another payload type"
    );
    assert_eq!(
        answer.sdp.media[1].simulcast.as_ref().unwrap().to_string(),
        "recv h;f"
    );
}

#[test]
fn simulcast_without_the_rid_extension_is_one_stream() {
    let text = text("chromium_simulcast").replace("sdes:rtp-stream-id", "sdes:other");
    let answer = whip::answer(&parse(&text), &local()).unwrap();
    assert_eq!(answer.tracks[1].encodings, [Encoding::default()]);
    assert_eq!(answer.sdp.media[1].simulcast, None);
}

#[test]
fn simulcast_by_ssrc_group() {
    let text = text("ffmpeg").replace(
        "a=ssrc-group:FID 1219669942 1219669943\r\n",
        "a=ssrc-group:SIM 10 20\r\na=ssrc-group:FID 10 11\r\na=ssrc-group:FID 20 21\r\n",
    );
    let answer = whip::answer(&parse(&text), &local()).unwrap();
    let ssrcs: Vec<_> = answer.tracks[1]
        .encodings
        .iter()
        .map(|e| (e.ssrc.unwrap(), e.rtx_ssrc))
        .collect();
    assert_eq!(ssrcs, [(10, Some(11)), (20, Some(21))]);
}

#[test]
fn one_ssrc_for_two_streams_is_malformed() {
    let reject = refusal("ffmpeg", "1219669942", "1219669941");
    assert_eq!(reject.status(), 400, "{reject}");
}

#[test]
fn one_extension_id_has_one_meaning() {
    // The video section gives id 1, the audio level of the first section, another meaning.
    let text = text("chromium_sendonly").replace("extmap:14 urn", "extmap:1 urn");
    let answer = whip::answer(&parse(&text), &local()).unwrap();
    assert_eq!(answer.extensions.kind(1), Some(ExtensionKind::AudioLevel));
    assert_eq!(
        answer.extensions.id(ExtensionKind::TransmissionOffset),
        None
    );
    assert!(!answer.sdp.to_string().contains("toffset"));
}

#[test]
fn ids_of_the_two_byte_form_need_it_to_be_offered() {
    let mixed = text("chromium_sendonly").replace("extmap:14 urn", "extmap:20 urn");
    let answer = whip::answer(&parse(&mixed), &local()).unwrap();
    assert_eq!(
        answer.extensions.kind(20),
        Some(ExtensionKind::TransmissionOffset)
    );
    let plain = mixed.replace("a=extmap-allow-mixed\r\n", "");
    let answer = whip::answer(&parse(&plain), &local()).unwrap();
    assert_eq!(answer.extensions.kind(20), None);
    let reserved = text("chromium_sendonly").replace("extmap:14 urn", "extmap:15 urn");
    let answer = whip::answer(&parse(&reserved), &local()).unwrap();
    assert_eq!(answer.extensions.kind(15), None);
}

#[test]
fn a_single_rid_keeps_its_announced_ssrc() {
    let text = text("chromium_sendonly").replace("a=ssrc-group", "a=rid:only send\r\na=ssrc-group");
    let answer = whip::answer(&parse(&text), &local()).unwrap();
    let rid = Some("only".to_owned());
    let (ssrc, rtx_ssrc) = (Some(4_182_618_417), Some(3_739_023_740));
    assert_eq!(
        answer.tracks[1].encodings,
        [Encoding {
            rid,
            ssrc,
            rtx_ssrc,
            fec_ssrc: None,
        }]
    );
    assert!(answer.sdp.to_string().contains("a=rid:only recv\r\n"));
    assert!(!answer.sdp.to_string().contains("a=simulcast"));
}

/// Transport-wide feedback where it is offered; RFC 8888 from who offers that alone, of a whole section.
#[test]
fn feedback_by_rfc_8888_is_taken_where_there_is_no_other() {
    let both = text("chromium_sendonly")
        .replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-fb:* ack ccfb\r\n");
    let alone: String = both
        .split_inclusive("\r\n")
        .filter(|line| !line.ends_with(" transport-cc\r\n"))
        .collect();
    for (offer, taken) in [(both, false), (alone, true)] {
        // `webrtc-sdp` knows no `ack ccfb`: no second opinion.
        let offer = parse(&offer);
        let answer = whip::answer(&offer, &local()).unwrap();
        check_answer(&offer, &answer.sdp);
        for track in &answer.tracks {
            assert_eq!(track.feedback.ccfb, taken);
            assert!(!(taken && track.feedback.transport_cc));
        }
        assert!(
            answer
                .tracks
                .iter()
                .any(|track| track.feedback.transport_cc != taken)
        );
        let written = answer.sdp.to_string();
        let lines = written.matches("a=rtcp-fb:* ack ccfb\r\n").count();
        assert_eq!(lines, if taken { answer.tracks.len() } else { 0 });
        assert_eq!(written.matches("ack ccfb").count(), lines);
    }
}
