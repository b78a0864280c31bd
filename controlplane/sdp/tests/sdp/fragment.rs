use crate::common::local;
use ion_sdp::{MediaKind, Mid, SdpError, SdpFragment};

const TRICKLE: &str = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
    a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
    a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\n\
    a=candidate:3471623853 1 udp 2122194687 198.51.100.2 61765 typ host\r\n\
    a=candidate:nonsense\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\n\
    a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active\r\n\
    a=end-of-candidates\r\n";

#[test]
fn candidates_by_section() {
    let fragment = SdpFragment::parse(TRICKLE.as_bytes()).unwrap();
    assert_eq!(fragment.ufrag.as_deref(), Some("EsAw"));
    assert!(fragment.end_of_candidates);
    assert_eq!(fragment.media.len(), 2);
    assert_eq!(fragment.media[0].mid, Mid::new("0"));
    assert_eq!(fragment.media[1].kind, MediaKind::Video);
    assert_eq!(fragment.candidates().count(), 3, "nonsense is skipped");
    let usable = fragment
        .candidates()
        .filter_map(ion_sdp::Candidate::socket_addr);
    assert_eq!(usable.count(), 2);
    let again = SdpFragment::parse(fragment.to_string().as_bytes()).unwrap();
    assert_eq!(again, fragment);
}

#[test]
fn other_credentials_mean_a_restart() {
    let fragment = SdpFragment::parse(TRICKLE.as_bytes()).unwrap();
    let current = fragment.credentials().unwrap();
    assert!(!fragment.is_restart_of(&current));
    assert!(fragment.is_restart_of(&local().ice));
    let bare = b"m=audio 9 RTP/AVP 0\na=mid:0\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\n";
    let bare = SdpFragment::parse(bare).unwrap();
    assert!(!bare.is_restart_of(&current), "no credentials, no restart");
    assert_eq!(bare.credentials(), None);
    assert_eq!(bare.candidates().count(), 1);
}

#[test]
fn answer_to_a_restart() {
    let local = local();
    let mid = Mid::new("0");
    let answer = SdpFragment::restart_answer(&local.ice, MediaKind::Audio, mid, &local.candidates);
    assert_eq!(
        answer.to_string(),
        "a=ice-ufrag:ionu\r\na=ice-pwd:ionpasswordionpassword00\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
         a=candidate:1 1 udp 2130706431 198.51.100.7 7882 typ host\r\n\
         a=candidate:2 1 udp 2130706175 2001:db8::7 7882 typ host\r\n\
         a=end-of-candidates\r\n"
    );
}

#[test]
fn credentials_in_sections_have_to_agree() {
    let one = "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=ice-ufrag:aaaa\r\n\
               a=ice-pwd:0123456789012345678901\r\n";
    let same = one.to_owned() + &one.replace("audio", "video").replace("mid:0", "mid:1");
    assert_eq!(
        SdpFragment::parse(same.as_bytes())
            .unwrap()
            .ufrag
            .as_deref(),
        Some("aaaa")
    );
    let other = one.to_owned() + &one.replace("aaaa", "bbbb");
    let error = SdpFragment::parse(other.as_bytes()).unwrap_err();
    assert!(
        matches!(
            error,
            SdpError::Attribute {
                name: "ice-ufrag",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn malformed_fragments() {
    for (text, message) in [
        ("a=ice-ufrag:x\r\n", "4 to 255 printable characters"),
        ("hello\r\n", "line 1 is not of the form"),
        ("m=audio 9 RTP/AVP 0\r\na=mid:\r\n", "cannot be one"),
    ] {
        let error = SdpFragment::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    assert_eq!(SdpFragment::parse(b"").unwrap(), SdpFragment::default());
}
