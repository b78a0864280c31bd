use crate::common::{OFFERS, offer, parse, text};
use ion_sdp::stream::RidDirection;
use ion_sdp::transport::{CandidateAddress, CandidateTransport};
use ion_sdp::{Candidate, Direction, Feedback, MediaKind, SdpError, SessionDescription, Setup};

#[test]
fn every_offer_survives_being_written_and_read() {
    for name in OFFERS {
        let first = offer(name);
        let second = parse(&first.to_string());
        assert_eq!(first, second, "{name}");
        assert_eq!(first.to_string(), second.to_string(), "{name}");
    }
}

#[test]
fn session_level_values_reach_every_section() {
    let sdp = parse(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
         a=recvonly\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n\
         a=fingerprint:sha-1 00:11\r\na=fingerprint:SHA-256 \
         00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13:14:15:16:17:18:19:1a:1b:1c:1d:1e:1F\r\n\
         a=candidate:1 1 udp 1 192.0.2.9 5000 typ host\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\na=sendonly\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n\
         a=rtcp-fb:* nack pli\r\na=ice-ufrag:other\r\na=ice-pwd:abcdefghijabcdefghijab\r\n",
    );
    let [audio, video] = &sdp.media[..] else {
        panic!()
    };
    assert_eq!(
        (audio.direction, video.direction),
        (Direction::SendOnly, Direction::RecvOnly)
    );
    assert_eq!(audio.ice_ufrag.as_deref(), Some("abcd"));
    assert_eq!(video.ice_ufrag.as_deref(), Some("other"));
    assert_eq!(video.ice_pwd.as_deref(), Some("abcdefghijabcdefghijab"));
    for media in [audio, video] {
        assert_eq!(media.setup, Some(Setup::Actpass));
        assert_eq!(media.candidates.len(), 1);
        let [fingerprint] = &media.fingerprints[..] else {
            panic!("sha-1 is not accepted")
        };
        assert_eq!(fingerprint.digest[31], 0x1f);
    }
    assert_eq!(video.codecs[0].feedback, [Feedback::NackPli]);
}

#[test]
fn firefox_offer_as_typed_values() {
    let sdp = offer("firefox_simulcast");
    assert!(sdp.extmap_allow_mixed, "it stands in every section");
    let [audio, video] = &sdp.media[..] else {
        panic!()
    };
    assert_eq!(
        audio.direction,
        Direction::SendOnly,
        "not the session's sendrecv"
    );
    assert_eq!(audio.candidates.len(), 8);
    let usable: Vec<_> = audio
        .candidates
        .iter()
        .filter_map(Candidate::socket_addr)
        .collect();
    assert_eq!(
        usable.len(),
        2,
        "component 2 and TCP are of no use: {usable:?}"
    );
    assert_eq!(video.rids.len(), 3);
    assert_eq!(video.rids[0].direction, RidDirection::Send);
    assert_eq!(video.simulcast.as_ref().unwrap().to_string(), "send q;h;f");
    assert_eq!(video.rtx_of(120), Some(124));
    assert_eq!(video.rtx_ssrc_of(2_928_109_953), Some(2_812_243_993));
    assert_eq!(video.codecs[0].fmtp.value("MAX-FS"), Some("12288"));
}

#[test]
fn feedback_and_parameters_of_absent_payload_types_are_skipped() {
    let with = text("chromium_recvonly").replacen(
        "a=rtpmap:111 ",
        "a=rtcp-fb:77 nack\r\na=fmtp:77 x=y\r\na=rtpmap:77 VP8/90000\r\na=rtpmap:111 ",
        1,
    );
    assert_eq!(parse(&with), offer("chromium_recvonly"));
}

#[test]
fn static_payload_types_need_no_rtpmap() {
    let sdp =
        parse("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/SAVPF 0 8 50\r\n");
    let names: Vec<&str> = sdp.media[0]
        .codecs
        .iter()
        .map(|codec| codec.name.as_str())
        .collect();
    assert_eq!(names, ["PCMU", "PCMA"]);
    assert_eq!(sdp.media[0].other_formats, ["50"]);
}

#[test]
fn candidates_of_all_kinds() {
    for line in [
        "1 1 udp 2130706431 2001:db8::1 5000 typ host generation 0 network-id 1",
        "2 1 udp 1685987071 192.0.2.1 6000 typ srflx raddr 10.0.0.1 rport 5000",
        "3 1 udp 41885439 198.51.100.2 3478 typ relay raddr 192.0.2.1 rport 6000",
        "4 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
        "5 2 udp 1 192.0.2.1 5001 typ host",
        "6 1 udp 2113937151 5f3c1e9e-4f1e-4ab5-9d5c-6a1f7c7ab9a1.local 5000 typ host",
    ] {
        let candidate: Candidate = line.parse().unwrap();
        assert_eq!(candidate.to_string(), line);
        assert_eq!(format!("a=candidate:{line}").parse(), Ok(candidate));
    }
    let tcp: Candidate = "4 1 TCP 1 192.0.2.1 9 typ host tcptype passive"
        .parse()
        .unwrap();
    assert_eq!(
        tcp.transport,
        CandidateTransport::Tcp(Some("passive".to_owned()))
    );
    assert_eq!(tcp.socket_addr(), None);
    let hidden: Candidate = "6 1 udp 1 x.local 5000 typ host".parse().unwrap();
    assert_eq!(hidden.address, CandidateAddress::Name("x.local".to_owned()));
    assert_eq!(hidden.socket_addr(), None);
    for bad in [
        "",
        "1 1 udp",
        "1 1 sctp 1 192.0.2.1 1 typ host",
        "1 1 udp 1 192.0.2.1 70000 typ host",
    ] {
        assert!(bad.parse::<Candidate>().is_err(), "{bad}");
    }
}

#[test]
fn host_candidates_are_ranked() {
    let first = Candidate::host("192.0.2.1:7882".parse().unwrap(), 0);
    let second = Candidate::host("[2001:db8::1]:7882".parse().unwrap(), 1);
    assert_eq!(
        first.to_string(),
        "1 1 udp 2130706431 192.0.2.1 7882 typ host"
    );
    assert!(first.priority > second.priority && first.foundation != second.foundation);
}

#[test]
fn malformed_attributes_say_what_is_wrong() {
    let good = text("chromium_sendonly");
    for (from, to, message) in [
        (
            "a=setup:actpass",
            "a=setup:both",
            "both is not one of actpass, active, passive",
        ),
        ("a=mid:1", "a=mid:0", "two m-sections have the same one"),
        (
            "a=rtpmap:96 VP8/90000",
            "a=rtpmap:96 VP8",
            "expected `<pt> <name>/<clock rate>`",
        ),
        (
            "a=ice-pwd:zaVe9",
            "a=ice-pwd:short\r\na=x:",
            "22 to 255 printable characters",
        ),
        (
            "a=ice-ufrag:KxFG",
            "a=ice-ufrag:a:bcd",
            "a colon is not allowed",
        ),
        (
            "a=mid:1",
            "a=mid:0123456789abcdefg",
            "1 to 16 printable characters",
        ),
        (
            "a=fingerprint:sha-256 6A:A0",
            "a=fingerprint:sha-256 6A",
            "sha-256 has 32 pairs",
        ),
        (
            "a=fingerprint:sha-256 6A:A0",
            "a=fingerprint:sha-256 6A:+1",
            "hexadecimal pairs",
        ),
        ("a=extmap:1 ", "a=extmap:one ", "expected `<id> <URI>`"),
        (
            "a=ssrc:553077902",
            "a=ssrc:99999999999",
            "is no 32-bit number",
        ),
        (
            "SAVPF 111 63",
            "SAVPF 111 163",
            "163 is no RTP payload type",
        ),
        ("v=0", "v=1", "version"),
        ("t=0 0", "nonsense", "malformed SDP"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(good, bad, "{from}");
        let error = SessionDescription::parse(bad.as_bytes()).unwrap_err();
        let shown = error.to_string();
        assert!(
            shown.to_lowercase().contains(&message.to_lowercase()),
            "{from}: {shown}"
        );
    }
}

#[test]
fn text_that_is_no_sdp() {
    assert!(matches!(
        SessionDescription::parse(b""),
        Err(SdpError::Syntax(_))
    ));
    assert!(matches!(
        SessionDescription::parse(b"{\"type\":\"offer\"}"),
        Err(SdpError::Syntax(_))
    ));
    assert_eq!(
        SessionDescription::parse(b"v=0\r\ns=\xff"),
        Err(SdpError::NotUtf8 { at: 7 })
    );
    let zero = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
    assert!(parse(zero).media.is_empty());
}

#[test]
fn kinds_other_than_rtp_keep_their_formats() {
    let sdp = offer("chromium_datachannel");
    let data = sdp.media.last().unwrap();
    assert_eq!(data.kind, MediaKind::Application);
    assert_eq!(data.other_formats, ["webrtc-datachannel"]);
    assert!(data.codecs.is_empty());
}

#[test]
fn simulcast_with_alternatives_and_pauses() {
    let text =
        text("chromium_simulcast").replace("a=simulcast:send q;h;f", "a=simulcast:send q,~h;f");
    let sdp = parse(&text);
    let simulcast = sdp.media[1].simulcast.as_ref().unwrap();
    assert_eq!(simulcast.to_string(), "send q,~h;f");
    assert!(simulcast.send[0][1].paused && !simulcast.send[1][0].paused);
}

#[test]
fn no_address_and_no_password_in_logs() {
    for name in OFFERS {
        let offer = offer(name);
        let shown = format!("{offer:?}");
        let texts = offer.media.iter().flat_map(|media| {
            let addresses = media
                .candidates
                .iter()
                .filter_map(ion_sdp::Candidate::socket_addr);
            let addresses = addresses.map(|address| address.ip().to_string());
            addresses.chain(media.ice_pwd.clone())
        });
        for text in texts {
            assert!(!shown.contains(&text), "{name}: {text}");
        }
    }
}
