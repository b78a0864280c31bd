//! Nomination, consent, restarts and resumption.

mod common;

use std::time::Duration;

use common::{Bench, Check, credentials};
use ion_ice::{Agent, MAX_PAIRS, Outcome, Pair, Reason};

const SECOND: Duration = Duration::from_secs(1);

fn nominated(outcome: Outcome) -> Option<Pair> {
    match outcome {
        Outcome::Reply { nominated, .. } => nominated,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_latest_nomination_wins() {
    let mut bench = Bench::new();
    let (check, nomination) = (Check::to("local123"), Check::to("local123").nominating());
    assert_eq!(nominated(bench.handle_from(1000, &check)), None);
    assert_eq!(bench.agent.selected(), None);
    let first = nominated(bench.handle_from(1000, &nomination)).unwrap();
    assert_eq!(bench.agent.selected(), Some(first));
    // Chromium nominates with every check: only changes are told.
    assert_eq!(nominated(bench.handle_from(1000, &nomination)), None);
    // The peer's address changes, without a restart; checks alone do not move media.
    assert_eq!(nominated(bench.handle_from(2000, &check)), None);
    assert_eq!(bench.agent.selected(), Some(first));
    let second = nominated(bench.handle_from(2000, &nomination)).unwrap();
    assert_eq!(second.remote.port(), 2000);
    assert_eq!(bench.agent.selected(), Some(second));
    assert_eq!(nominated(bench.handle_from(1000, &nomination)), Some(first));
}

#[test]
fn pairs_are_bounded_and_the_selected_one_stays() {
    let mut bench = Bench::new();
    let selected = nominated(bench.handle_from(1, &Check::to("local123").nominating())).unwrap();
    for port in 2..200 {
        bench.pass(SECOND / 100);
        let outcome = bench.handle_from(port, &Check::to("local123"));
        assert!(matches!(
            outcome,
            Outcome::Reply {
                newly_validated: true,
                ..
            }
        ));
        assert!(bench.agent.pairs().count() <= MAX_PAIRS);
    }
    assert_eq!(bench.agent.selected(), Some(selected));
    assert!(bench.agent.is_validated(selected, bench.now));
    let ports = |bench: &Bench| -> Vec<u16> {
        let mut ports: Vec<_> = bench
            .agent
            .pairs()
            .map(|(pair, _)| pair.remote.port())
            .collect();
        ports.sort_unstable();
        ports
    };
    let newest: Vec<u16> = std::iter::once(1).chain(185..200).collect();
    assert_eq!(ports(&bench), newest);
    // What was used lately is kept before what came lately.
    bench.pass(SECOND);
    bench.handle_from(185, &Check::to("local123"));
    bench.handle_from(300, &Check::to("local123"));
    assert!(ports(&bench).contains(&185) && !ports(&bench).contains(&186));
}

#[test]
fn no_check_in_time_expires() {
    let mut bench = Bench::new();
    bench.pass(SECOND * 15 - SECOND / 1000);
    assert!(!bench.agent.is_expired(bench.now));
    // Refused checks do not keep a session alive.
    let mut wrong = Check::to("local123");
    wrong.pwd = Some("z".repeat(22));
    bench.handle(&wrong.build());
    bench.pass(SECOND / 1000);
    assert!(bench.agent.is_expired(bench.now));
    assert_eq!(bench.agent.expires_at(), bench.now);
}

#[test]
fn consent_expires_thirty_seconds_after_the_last_check() {
    let mut bench = Bench::new();
    bench.pass(SECOND * 14);
    bench.handle(&Check::to("local123").nominating().build());
    for _ in 0..10 {
        bench.pass(SECOND * 29);
        assert!(!bench.agent.is_expired(bench.now));
        bench.handle(&Check::to("local123").build());
    }
    bench.pass(SECOND * 30);
    assert!(bench.agent.is_expired(bench.now));
    assert!(!bench.agent.is_validated(bench.pair, bench.now));
    // A peer that comes back before it was torn down is as good as new.
    let outcome = bench.handle(&Check::to("local123").build());
    assert!(matches!(
        outcome,
        Outcome::Reply {
            newly_validated: true,
            ..
        }
    ));
    assert!(!bench.agent.is_expired(bench.now));
}

#[test]
fn media_over_the_selected_pair_keeps_a_publisher_alive() {
    let mut bench = Bench::new();
    // Before anything is nominated there is no pair that media could come over.
    bench.agent.media_seen(bench.now);
    assert_eq!(bench.agent.last_seen(), None);
    let nomination = Check::to("local123").nominating();
    let pair = nominated(bench.handle_from(1000, &nomination)).unwrap();
    for _ in 0..4 {
        bench.now += 20 * SECOND;
        bench.agent.media_seen(bench.now);
        assert!(!bench.agent.is_expired(bench.now));
        assert!(bench.agent.is_validated(pair, bench.now));
    }
    bench.now += 30 * SECOND;
    assert!(bench.agent.is_expired(bench.now), "and its end is seen");
}

#[test]
fn consent_is_per_pair_for_dtls() {
    let mut bench = Bench::new();
    bench.handle_from(1, &Check::to("local123"));
    let first = bench.pair;
    bench.pass(SECOND * 20);
    bench.handle_from(2, &Check::to("local123"));
    bench.pass(SECOND * 10);
    assert!(!bench.agent.is_validated(first, bench.now));
    assert!(bench.agent.is_validated(bench.pair, bench.now));
    assert!(!bench.agent.is_expired(bench.now));
}

#[test]
fn restart_takes_over_when_the_new_credentials_nominate() {
    let mut bench = Bench::new();
    let old = nominated(bench.handle_from(1, &Check::to("local123").nominating())).unwrap();
    bench.agent.restart(
        bench.now,
        credentials("fresh456"),
        Some(credentials("peer")),
    );
    assert_eq!(bench.agent.remote().unwrap().ufrag(), "peer");
    let ufrags: Vec<_> = bench.agent.ufrags(bench.now).collect();
    assert_eq!(ufrags, ["fresh456", "local123"]);
    // Both are answered, each with its own key, and media stays where it was.
    for ufrag in ["local123", "fresh456", "local123"] {
        assert_eq!(nominated(bench.handle_from(1, &Check::to(ufrag))), None);
        assert_eq!(bench.agent.selected(), Some(old));
    }
    assert!(bench.agent.is_restarting(bench.now));
    let new = nominated(bench.handle_from(2, &Check::to("fresh456").nominating())).unwrap();
    assert_eq!((bench.agent.selected(), new.remote.port()), (Some(new), 2));
    // A late check of the old generation must not bring the old pair back.
    assert!(!bench.agent.is_restarting(bench.now));
    let late = Check::to("local123").nominating();
    assert_eq!(
        bench.handle_from(1, &late),
        Outcome::Refused(Reason::UnknownUser)
    );
    assert_eq!(bench.agent.selected(), Some(new));
}

#[test]
fn a_restart_that_is_never_completed_leaves_the_session_alone() {
    let mut bench = Bench::new();
    let pair = nominated(bench.handle_from(1, &Check::to("local123").nominating())).unwrap();
    bench
        .agent
        .restart(bench.now, credentials("fresh456"), None);
    // The client rolls back and goes on with what it had.
    for _ in 0..10 {
        bench.pass(SECOND * 20);
        let check = Check::to("local123").nominating();
        assert_eq!(nominated(bench.handle_from(1, &check)), None);
    }
    assert_eq!(bench.agent.selected(), Some(pair));
    assert!(!bench.agent.is_expired(bench.now));
    // A forged check extends nothing.
    bench.pass(SECOND * 29);
    let mut forged = Check::to("local123").build();
    let middle = forged.len() / 2;
    forged[middle] ^= 1;
    bench.handle(&forged);
    bench.pass(SECOND);
    assert!(!bench.agent.is_restarting(bench.now));
}

#[test]
fn restart_of_a_restart_and_its_end() {
    let mut bench = Bench::new();
    bench.handle(&Check::to("local123").nominating().build());
    for ufrag in ["second", "third", "fourth"] {
        bench.pass(SECOND);
        bench.agent.restart(bench.now, credentials(ufrag), None);
    }
    let ufrags: Vec<_> = bench.agent.ufrags(bench.now).collect();
    assert_eq!(ufrags, ["fourth", "third", "second"]);
    assert_eq!(
        bench.handle(&Check::to("local123").build()),
        Outcome::Refused(Reason::UnknownUser)
    );
    bench.pass(SECOND * 29);
    assert_eq!(
        bench.agent.ufrags(bench.now).collect::<Vec<_>>(),
        ["fourth", "third"]
    );
    bench.pass(SECOND);
    assert_eq!(
        bench.agent.ufrags(bench.now).collect::<Vec<_>>(),
        ["fourth"]
    );
    assert_eq!(
        bench.handle(&Check::to("third").build()),
        Outcome::Refused(Reason::UnknownUser)
    );
    assert!(matches!(
        bench.handle(&Check::to("fourth").build()),
        Outcome::Reply { .. }
    ));
}

#[test]
fn a_resumed_agent_answers_at_once() {
    let before = Bench::new();
    let agent = Agent::resume(credentials("local123"), None, before.pair, before.now);
    let mut bench = Bench::with(agent, before.now, before.pair);
    assert_eq!(bench.agent.selected(), Some(bench.pair));
    assert!(bench.agent.is_validated(bench.pair, bench.now));
    bench.pass(SECOND * 29);
    assert!(!bench.agent.is_expired(bench.now));
    let outcome = bench.handle(&Check::to("local123").nominating().build());
    let expected = Outcome::Reply {
        pair: bench.pair,
        newly_validated: false,
        nominated: None,
    };
    assert_eq!(outcome, expected);
    assert_eq!(bench.mapped_address(), bench.pair.remote);
    bench.pass(SECOND * 30);
    assert!(bench.agent.is_expired(bench.now));
}
