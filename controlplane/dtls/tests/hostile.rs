//! Junk from someone who can spoof the peer's address but not see or stop its datagrams.

mod common;

use std::time::Duration;

use common::{Fate, VERSIONS, Wire, config, endpoint};
use ion_dtls::{DtlsError, DtlsSession};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn record(kind: u8, epoch: u16, sequence: u64, body: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 0xfe, 0xfd];
    record.extend(epoch.to_be_bytes());
    record.extend(&sequence.to_be_bytes()[2..]);
    record.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    record.extend(body);
    record
}

/// A ClientHello whose lengths are right and whose body is not.
fn forged_hello(len: u8, present: u8) -> Vec<u8> {
    let mut body = vec![1, 0, 0, len, 0, 0, 0, 0, 0, 0, 0, present];
    body.extend(vec![0xaa; usize::from(present)]);
    record(22, 0, 0, &body)
}

fn junk() -> Vec<Vec<u8>> {
    let mut junk = vec![
        Vec::new(),
        vec![22],
        vec![0x16; 2049],
        vec![0x3f; 30],
        vec![0x2c; 500],
    ];
    for sequence in [0, 1, 5, 90, 500, (1 << 48) - 1] {
        for description in [0, 10, 20, 40, 42, 47, 70, 80, 90, 110, 255] {
            junk.push(record(21, 0, sequence, &[2, description]));
            junk.push(record(21, 0, sequence, &[1, description]));
        }
        junk.push(record(21, 0, sequence, &[]));
        junk.push(record(20, 0, sequence, &[]));
        junk.push(record(20, 0, sequence, &[2]));
        junk.push(record(22, 0, sequence, &[]));
        junk.push(record(22, 0, sequence, &[1; 11]));
        junk.push(record(22, 0, sequence, &[0; 12]));
        junk.push(record(23, 0, sequence, b"data in the clear"));
        junk.push(record(24, 0, sequence, &[1, 0, 200]));
        junk.push(record(
            26,
            0,
            sequence,
            &[0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ));
        junk.push(record(26, 0, sequence, &[1]));
        junk.push(record(63, 0, sequence, &[7; 100]));
        for epoch in [1, 2, 3, 65535] {
            for kind in [20, 21, 22, 23, 26] {
                junk.push(record(kind, epoch, sequence, &[2, 40]));
                junk.push(record(kind, epoch, sequence, &[9; 60]));
            }
        }
    }
    for first in 0x20..0x40 {
        junk.push(std::iter::once(first).chain(0..60).collect());
    }
    junk
}

#[test]
fn junk_before_every_datagram_does_not_stop_a_handshake() {
    for version in VERSIONS {
        let (client, server) = (endpoint(config(version)), endpoint(config(version)));
        let mut wire = Wire::new(&client, &server);
        let start = wire.now;
        wire.run_with(|_, _| Fate::Precede(junk()));
        wire.assert_connected();
        assert!(wire.now - start < Duration::from_secs(1));
        for side in [&wire.client, &wire.server] {
            let counters = side.session.counters();
            assert!(counters.records_filtered > 100, "{counters:?}");
            assert!(counters.datagrams_dropped >= 4, "{counters:?}");
            assert_eq!(counters.rebuilt, 0);
        }
        // Nor does it end a session.
        wire.client.session.send(wire.now, b"still here").unwrap();
        wire.run_with(|_, _| Fate::Precede(junk()));
        assert_eq!(wire.server.seen.data, [b"still here".to_vec()]);
        wire.assert_connected();
    }
}

#[test]
fn an_undisturbed_handshake_is_not_filtered() {
    for version in VERSIONS {
        let mut wire = Wire::new(&endpoint(config(version)), &endpoint(config(version)));
        wire.run();
        for side in [&wire.client, &wire.server] {
            assert_eq!(side.session.counters(), ion_dtls::Counters::default());
        }
    }
}

#[test]
fn forged_hellos_cost_a_rebuild_each_and_no_more_than_three() {
    for version in VERSIONS {
        // Whole and senseless; and a fragment that the real one does not fit to.
        for hello in [forged_hello(60, 60), forged_hello(200, 30)] {
            for count in 1..=3 {
                let mut wire = Wire::new(&endpoint(config(version)), &endpoint(config(version)));
                let forged = vec![hello.clone(); count];
                wire.run_with(|number, _| match number {
                    0 => Fate::Precede(forged.clone()),
                    _ => Fate::Deliver,
                });
                wire.assert_connected();
                let rebuilt = wire.server.session.counters().rebuilt;
                assert!(
                    (1..=u64::try_from(count).unwrap()).contains(&rebuilt),
                    "{rebuilt}"
                );
            }
        }
        let mut wire = Wire::new(&endpoint(config(version)), &endpoint(config(version)));
        for _ in 0..4 {
            assert!(wire.server.session.poll_datagram().is_none());
            wire.server
                .session
                .handle_datagram(wire.now, &forged_hello(60, 60));
        }
        // The last alert does go out: if it was the real peer, it should know.
        assert!(wire.server.session.poll_datagram().is_some());
        wire.run();
        assert!(matches!(
            wire.server.seen.failed,
            Some(DtlsError::Handshake(_))
        ));
    }
}

#[test]
fn a_plaintext_alert_hastens_the_end_of_a_handshake_that_stands_still() {
    for version in VERSIONS {
        let mut wire = Wire::new(&endpoint(config(version)), &endpoint(config(version)));
        let start = wire.now;
        // The server's first flight reaches nobody; an alert comes back.
        wire.run_with(|number, to_server| match number {
            0 => Fate::Deliver,
            _ if to_server => Fate::Precede(vec![record(21, 0, 7, &[2, 40])]),
            _ => Fate::Lose,
        });
        assert_eq!(wire.server.seen.failed, Some(DtlsError::PeerAlert(40)));
        assert!(wire.now - start >= Duration::from_secs(2));
    }
}

#[test]
fn replayed_datagrams_do_no_harm() {
    for version in VERSIONS {
        let mut wire = Wire::new(&endpoint(config(version)), &endpoint(config(version)));
        let mut seen: [Vec<Vec<u8>>; 2] = Default::default();
        // Every datagram of the handshake again, to either side, at every step.
        while wire.server.seen.connected.is_none() {
            let from_client: Vec<_> =
                std::iter::from_fn(|| wire.client.session.poll_datagram()).collect();
            seen[0].extend(from_client);
            for datagram in &seen[0] {
                wire.server.session.handle_datagram(wire.now, datagram);
            }
            let from_server: Vec<_> =
                std::iter::from_fn(|| wire.server.session.poll_datagram()).collect();
            seen[1].extend(from_server);
            for datagram in &seen[1] {
                wire.client.session.handle_datagram(wire.now, datagram);
            }
            wire.run_with(|_, _| Fate::Deliver);
        }
        wire.assert_connected();
        for datagram in &seen[0] {
            wire.server.session.handle_datagram(wire.now, datagram);
        }
        wire.run();
        wire.assert_connected();
    }
}

fn any_datagram() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop::collection::vec(any::<u8>(), 0..200);
    let kind = prop_oneof![20_u8..27, any::<u8>()];
    let epoch = prop_oneof![3 => Just(0_u16), 2 => 0_u16..4, 1 => any::<u16>()];
    let sequence = prop_oneof![0_u64..20, 0_u64..1 << 48];
    let framed = (kind, epoch, sequence, bytes.clone())
        .prop_map(|(kind, epoch, sequence, body)| record(kind, epoch, sequence, &body));
    let unified = (0x20_u8..0x40, bytes.clone()).prop_map(|(first, mut body)| {
        body.insert(0, first);
        body
    });
    prop_oneof![
        bytes,
        framed.clone(),
        unified,
        (framed.clone(), framed).prop_map(|(mut a, b)| {
            a.extend(b);
            a
        })
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(2),
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_datagrams_do_not_stop_a_handshake(
        junk in prop::collection::vec(prop::collection::vec(any_datagram(), 0..6), 16),
        is_13: bool,
    ) {
        let version = VERSIONS[usize::from(!is_13)];
        let mut wire = Wire::new(&CLIENTS[usize::from(!is_13)], &SERVER);
        wire.run_with(|number, _| {
            Fate::Precede(junk.get(number).cloned().unwrap_or_default())
        });
        wire.assert_connected();
        prop_assert_eq!(wire.server.connected().version, version);
    }

    #[test]
    fn a_session_fed_with_nothing_else_ends_in_time(
        junk in prop::collection::vec(any_datagram(), 0..60),
    ) {
        let mut wire = Wire::new(&CLIENTS[0], &SERVER);
        for datagram in &junk {
            wire.server.session.handle_datagram(wire.now, datagram);
            wire.client.session.handle_datagram(wire.now, datagram);
        }
        wire.run_with(|_, _| Fate::Lose);
        prop_assert!(wire.server.seen.failed.is_some() && wire.client.seen.failed.is_some());
    }
}

static SERVER: std::sync::LazyLock<ion_dtls::Endpoint> =
    std::sync::LazyLock::new(|| endpoint(ion_dtls::Config::default()));
static CLIENTS: std::sync::LazyLock<[ion_dtls::Endpoint; 2]> =
    std::sync::LazyLock::new(|| VERSIONS.map(|version| endpoint(config(version))));
