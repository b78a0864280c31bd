use crate::common::{OFFERS, check_answer, local, senders, source, text};
use ion_sdp::{CodecKind, Direction, PublishAnswer, SdpFragment, SessionDescription, whep, whip};
use proptest::prelude::*;

/// A change to an offer, made of whole lines or bytes; the numbers wrap around its length.
#[derive(Debug, Clone)]
enum Mutation {
    Delete(usize),
    Duplicate(usize, usize),
    Swap(usize, usize),
    Splice(usize, usize, usize),
    Byte(usize, u8),
    Truncate(usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let n = any::<usize>;
    prop_oneof![
        n().prop_map(Mutation::Delete),
        (n(), n()).prop_map(|(from, to)| Mutation::Duplicate(from, to)),
        (n(), n()).prop_map(|(a, b)| Mutation::Swap(a, b)),
        (n(), n(), n()).prop_map(|(a, b, cut)| Mutation::Splice(a, b, cut)),
        (n(), any::<u8>()).prop_map(|(at, byte)| Mutation::Byte(at, byte)),
        (n(), 0..8_u8).prop_filter_map("rarely", |(at, r)| (r == 0)
            .then_some(Mutation::Truncate(at))),
    ]
}

fn mutate(text: &str, mutations: &[Mutation]) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
    for mutation in mutations {
        let len = lines.len();
        if len == 0 {
            break;
        }
        match *mutation {
            Mutation::Delete(at) => drop(lines.remove(at % len)),
            Mutation::Duplicate(from, to) => {
                let line = lines[from % len].clone();
                lines.insert(to % len, line);
            }
            Mutation::Swap(a, b) => lines.swap(a % len, b % len),
            Mutation::Splice(a, b, cut) => {
                let tail = lines[b % len].clone();
                let line = &mut lines[a % len];
                line.truncate(cut % (line.len() + 1));
                line.extend_from_slice(&tail[cut % (tail.len() + 1)..]);
            }
            Mutation::Byte(at, byte) => {
                let line = &mut lines[at % len];
                if let Some(length) = line.len().checked_sub(1) {
                    line[(at / len) % (length + 1)] = byte;
                }
            }
            Mutation::Truncate(at) => lines.truncate(at % len),
        }
    }
    lines.join(&b"\r\n"[..])
}

fn offers() -> impl Strategy<Value = Vec<u8>> {
    (
        prop::sample::select(OFFERS.to_vec()),
        prop::collection::vec(mutation(), 0..6),
    )
        .prop_map(|(name, mutations)| mutate(&text(name), &mutations))
}

fn check_tracks(answer: &PublishAnswer) {
    for track in &answer.tracks {
        assert!(!track.encodings.is_empty() && track.encodings.len() <= 4);
        assert_ne!(track.rtx_pt, Some(track.pt));
        assert!(
            answer.sdp.media[track.media_index]
                .codecs
                .iter()
                .any(|c| c.pt == track.pt)
        );
        for (kind, id) in track.extensions.iter() {
            assert_eq!(answer.extensions.id(kind), Some(id));
        }
    }
    let mut ssrcs: Vec<u32> = answer
        .tracks
        .iter()
        .flat_map(|track| &track.encodings)
        .flat_map(|encoding| encoding.ssrc.into_iter().chain(encoding.rtx_ssrc))
        .collect();
    let count = ssrcs.len();
    ssrcs.sort_unstable();
    ssrcs.dedup();
    assert_eq!(ssrcs.len(), count);
}

/// What is written is read as the same, unless defaults that were folded in make it too large.
fn check_written(sdp: &SessionDescription) {
    let written = sdp.to_string();
    match SessionDescription::parse(written.as_bytes()) {
        Ok(read) => assert_eq!(&read, sdp, "{written}"),
        Err(error) => assert!(error.is_limit(), "{error}: {written}"),
    }
}

fn exercise(bytes: &[u8]) {
    if let Ok(fragment) = SdpFragment::parse(bytes) {
        assert_eq!(
            SdpFragment::parse(fragment.to_string().as_bytes()).as_ref(),
            Ok(&fragment)
        );
    }
    let Ok(offer) = SessionDescription::parse(bytes) else {
        return;
    };
    check_written(&offer);
    let local = local();
    if let Ok(answer) = whip::answer(&offer, &local) {
        check_answer(&offer, &answer.sdp);
        check_tracks(&answer);
        check_written(&answer.sdp);
    }
    let sources = [source(CodecKind::Opus, ""), source(CodecKind::Vp8, "")];
    if let Ok(answer) = whep::answer(&offer, &local, &sources, &senders()) {
        check_answer(&offer, &answer.sdp);
        for track in &answer.tracks {
            assert_eq!(
                answer.sdp.media[track.media_index].direction,
                Direction::SendOnly
            );
            let Some(source) = track.source else { continue };
            let codec = &sources[source].codec;
            let best = whep::find_payload(&track.payloads, codec).unwrap();
            assert_eq!(
                best, &track.payloads[0],
                "the codec of the source comes first"
            );
            assert_eq!(answer.sdp.media[track.media_index].codecs[0].pt, best.pt);
        }
    }
    let ours = whep::offer(&local, &sources, &senders());
    let _ = whep::accept(&ours, &offer);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 800,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(7),
        ..ProptestConfig::default()
    })]

    #[test]
    fn mutated_offers_never_panic(bytes in offers()) {
        exercise(&bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        exercise(&bytes);
        exercise(&[b"v=0\r\nm=audio 9 RTP/SAVPF 0\r\na=".as_slice(), &bytes].concat());
    }

    #[test]
    fn arbitrary_lines_never_panic(
        lines in prop::collection::vec("(a=(rid|ssrc|simulcast|fmtp|rtpmap|extmap|candidate|group|mid|msid|rtcp-fb|ssrc-group|setup|fingerprint):[ -~]{0,30}|m=[ -~]{0,20}|[a-z]=.{0,10})", 0..20)
    ) {
        exercise(format!("v=0\r\n{}", lines.join("\r\n")).as_bytes());
    }
}
