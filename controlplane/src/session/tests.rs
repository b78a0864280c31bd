use super::*;
use ion_api::names::{Identity, RoomName};
use std::net::SocketAddr;
use std::time::Duration;

fn pair(port: u16) -> Pair {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Pair {
        local: address(1),
        remote: address(port),
    }
}

fn record(media: Media) -> Record {
    let room = RoomName::parse("r").unwrap();
    let identity = Identity::parse("vera").unwrap();
    Record::new(String::new(), 1, room, identity, media)
}

/// A session whose peer has sent a check, on this pair.
fn checked(now: Instant, record: Record, pair: Pair) -> Session {
    let local = Credentials::from_random(&[7; Credentials::RANDOM_BYTES]);
    let agent = Agent::resume(local, None, pair, now);
    Session::new(SessionId::random().unwrap(), record, agent, None)
}

fn causes(session: &mut Session, now: Instant) -> Vec<EndCause> {
    let mut output = Output::default();
    session.handle_timeout(now, &mut output);
    let cause = |event| match event {
        SessionEvent::Ended(cause) => Some(cause),
        _ => None,
    };
    output.events.into_iter().filter_map(cause).collect()
}

#[test]
fn an_offer_waits_for_its_answer_whatever_ice_says() {
    let now = Instant::now();
    let offered = || Media::Offered { sdp: String::new() };
    let mut session = checked(now, record(offered()), pair(2));
    // Checks go on for ever; or they stop at once, which is no reason to end either.
    for consent in [3_600, 1] {
        let timeouts = Timeouts {
            consent: Duration::from_secs(consent),
            ..Timeouts::default()
        };
        session.renew(now, timeouts);
        session.wait_for_answer(now + limits::ANSWER_TIMEOUT);
        assert_eq!(causes(&mut session, now + limits::ANSWER_TIMEOUT / 2), []);
        let late = now + limits::ANSWER_TIMEOUT;
        assert_eq!(causes(&mut session, late), [EndCause::AnswerTimeout]);
    }
    // The answer came at the last moment: now there is time to connect.
    let at = now + limits::ANSWER_TIMEOUT;
    let ice = IceCredentials {
        ufrag: "abcd".to_owned(),
        pwd: "a".repeat(22),
    };
    session.answered(at, record(Media::Play(Vec::new())), ice);
    let connect = Timeouts::default().connect;
    assert_eq!(causes(&mut session, at + connect / 2), []);
    assert_eq!(causes(&mut session, at + connect), [EndCause::IceTimeout]);
}

#[test]
fn as_a_client_it_calls_on_the_selected_pair() {
    let now = Instant::now();
    let (selected, validated) = (pair(2), pair(3));
    let endpoint = Endpoint::new(
        ion_dtls::Identity::generate().unwrap(),
        ion_dtls::Config::default(),
    );
    let endpoint = endpoint.unwrap();
    let mut record = record(Media::Play(Vec::new()));
    record.is_dtls_client = true;
    record.fingerprints = vec![endpoint.fingerprint().to_string()];
    let mut session = checked(now, record, selected);
    let mut output = Output::default();
    session.start_dtls(now, validated, &endpoint, &mut output);
    assert!(!output.transmits.is_empty(), "a ClientHello");
    assert!(output.transmits.iter().all(|(pair, _)| *pair == selected));
}

#[test]
fn a_path_moves_at_most_once_in_a_while() {
    let now = Instant::now();
    let mut session = checked(now, record(Media::Play(Vec::new())), pair(2));
    assert!(session.may_move(now, pair(2)));
    let soon = now + limits::PATH_INTERVAL / 2;
    assert!(!session.may_move(soon, pair(3)));
    assert!(session.may_move(soon, pair(2)), "back to where it is");
    let later = now + limits::PATH_INTERVAL;
    assert!(session.may_move(later, pair(3)));
    assert!(!session.may_move(later, pair(2)));
}
