use crate::common::text;
use ion_sdp::limits::{MAX_CANDIDATES, MAX_LINE_BYTES, MAX_MEDIA, MAX_SDP_BYTES};
use ion_sdp::{Reject, SdpError, SdpFragment, SessionDescription};

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
const AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";

fn error(text: &str) -> SdpError {
    SessionDescription::parse(text.as_bytes()).unwrap_err()
}

#[track_caller]
fn too_many(text: &str, what: &str) {
    let error = error(text);
    assert!(matches!(error, SdpError::TooMany { .. }), "{error}");
    assert!(error.to_string().contains(what), "{error}");
    assert_eq!(Reject::from(error).status(), 422);
}

/// `count` lines made from their number.
fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(|n| line(n) + "\r\n").collect()
}

#[test]
fn a_megabyte_is_refused_unread() {
    let text = HEAD.to_owned() + &"a=x\r\n".repeat(200_000);
    let bytes = text.len();
    assert_eq!(
        error(&text),
        SdpError::TooLarge {
            bytes,
            max: MAX_SDP_BYTES
        }
    );
    let fragment = SdpFragment::parse(text.as_bytes());
    assert_eq!(
        fragment,
        Err(SdpError::TooLarge {
            bytes,
            max: MAX_SDP_BYTES
        })
    );
}

#[test]
fn sections_and_candidates_are_counted() {
    too_many(&(HEAD.to_owned() + &"m=\r\n".repeat(10_000)), "m-sections");
    too_many(
        &(HEAD.to_owned() + &AUDIO.repeat(MAX_MEDIA + 1)),
        "more than 128 m-sections",
    );
    let candidate = |n| format!("a=candidate:{n} 1 udp 1 192.0.2.1 5000 typ host");
    let candidates = lines(MAX_CANDIDATES + 1, candidate);
    too_many(
        &(HEAD.to_owned() + AUDIO + &candidates),
        "more than 64 candidates",
    );
    let spread = |n| AUDIO.to_owned() + &lines(11, |m| candidate(n * 11 + m));
    too_many(
        &(HEAD.to_owned() + &lines(6, spread)),
        "more than 64 candidates",
    );
    let fragment = SdpFragment::parse((AUDIO.to_owned() + &candidates).as_bytes());
    assert!(matches!(
        fragment,
        Err(SdpError::TooMany {
            what: "candidates",
            ..
        })
    ));
    let folded = HEAD.to_owned() + &lines(33, candidate) + &AUDIO.repeat(2);
    too_many(&folded, "more than 64 candidates");
    let just = HEAD.to_owned() + AUDIO + &lines(MAX_CANDIDATES, candidate);
    assert_eq!(
        crate::common::parse(&just).media[0].candidates.len(),
        MAX_CANDIDATES
    );
}

#[test]
fn what_one_section_may_have_is_counted() {
    let section = |lines: String| HEAD.to_owned() + AUDIO + &lines;
    too_many(
        &section(lines(33, |n| format!("a=extmap:{} urn:x:{n}", n + 1))),
        "a=extmap",
    );
    too_many(
        &section(lines(33, |n| format!("a=ssrc:{n} cname:x"))),
        "32 SSRCs",
    );
    too_many(&section("a=ssrc:1 cname:x\r\n".repeat(200)), "a=ssrc lines");
    too_many(
        &section(lines(17, |n| format!("a=ssrc-group:FID {n} 1"))),
        "a=ssrc-group",
    );
    let many = (0..40).map(|n| format!(" {n}")).collect::<String>();
    too_many(
        &section(format!("a=ssrc-group:SIM{many}\r\n")),
        "a=ssrc-group",
    );
    too_many(&section(lines(5, |n| format!("a=rid:{n} send"))), "4 a=rid");
    too_many(
        &section("a=simulcast:send 1,2,3;4;5\r\n".to_owned()),
        "a=simulcast",
    );
    let fingerprint = format!("a=fingerprint:sha-256 {}\r\n", ["AA"; 32].join(":"));
    too_many(&section(fingerprint.repeat(5)), "4 a=fingerprint");
    too_many(&section("a=rtcp-fb:111 nack\r\n".repeat(600)), "a=rtcp-fb");
    too_many(
        &section("a=rtpmap:111 opus/48000/2\r\n".repeat(65)),
        "a=rtpmap",
    );
    let parameters = lines(1, |_| format!("a=fmtp:111 {}", "x=1;".repeat(40)));
    too_many(
        &section("a=rtpmap:111 opus/48000/2\r\n".to_owned() + &parameters),
        "parameters in one a=fmtp",
    );
    let types = (0..65).map(|n| format!(" {n}")).collect::<String>();
    too_many(
        &format!("{HEAD}m=audio 9 UDP/TLS/RTP/SAVPF{types}\r\n"),
        "64 payload types",
    );
    too_many(
        &format!("{HEAD}{}", "a=group:LS 1\r\n".repeat(5)),
        "4 a=group",
    );
    too_many(
        &format!("{HEAD}{}", "b=AS:1\r\n".repeat(16_100)),
        "16000 lines",
    );
}

#[test]
fn a_long_line_is_named() {
    let text = format!("{HEAD}a=x:{}\r\n", "y".repeat(MAX_LINE_BYTES));
    let error = error(&text);
    assert_eq!(
        error,
        SdpError::LineTooLong {
            line: 5,
            max: MAX_LINE_BYTES
        }
    );
    assert_eq!(error.to_string(), "line 5 is longer than 4096 bytes");
}

#[test]
fn real_offers_stay_far_below_the_limits() {
    for name in crate::common::OFFERS {
        let text = text(name);
        assert!(
            text.len() * 4 < MAX_SDP_BYTES && text.lines().count() < 400,
            "{name}"
        );
    }
}
