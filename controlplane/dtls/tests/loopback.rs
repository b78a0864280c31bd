//! Handshakes between two sessions of ours.

mod common;

use std::time::Duration;

use boring::asn1::Asn1Time;
use boring::hash::MessageDigest;
use boring::pkey::{PKey, Private};
use boring::rsa::Rsa;
use boring::x509::{X509, X509NameBuilder};
use common::{Fate, Side, VERSIONS, Wire, config, endpoint};
use ion_dtls::{
    Config, DtlsError, DtlsEvent, DtlsSession, DtlsVersion, Endpoint, Fingerprint, HashAlgorithm,
    Identity, Session, SrtpProfile,
};

#[test]
fn both_versions_agree_on_keys_and_carry_data() {
    for version in VERSIONS {
        let (client, server) = (endpoint(config(version)), endpoint(config(version)));
        let mut wire = Wire::new(&client, &server);
        wire.run();
        wire.assert_connected();
        assert_eq!(wire.server.connected().version, version);
        assert_eq!(wire.server.connected().profile, SrtpProfile::AeadAes128Gcm);
        assert_eq!(
            &wire.server.connected().peer_fingerprint,
            client.fingerprint()
        );
        assert!(wire.longest <= 1200, "{}", wire.longest);

        wire.client.session.send(wire.now, b"hello").unwrap();
        wire.server.session.send(wire.now, &[7; 1200]).unwrap();
        wire.run();
        assert_eq!(wire.server.seen.data, [b"hello".to_vec()]);
        assert_eq!(wire.client.seen.data, [vec![7; 1200]]);

        wire.server.session.close(wire.now);
        wire.run();
        assert!(wire.server.seen.closed && wire.client.seen.closed);
        assert!(!wire.client.session.is_connected());
        let late = wire.client.session.send(wire.now, b"too late");
        assert_eq!(late, Err(DtlsError::NotConnected));
        assert_eq!(wire.client.session.next_timeout(), None);
    }
}

#[test]
fn versions_meet_at_the_lower_one() {
    for (client, server) in [
        (DtlsVersion::V1_2, DtlsVersion::V1_3),
        (DtlsVersion::V1_3, DtlsVersion::V1_2),
    ] {
        let mut wire = Wire::new(&endpoint(config(client)), &endpoint(config(server)));
        wire.run();
        wire.assert_connected();
        assert_eq!(wire.client.connected().version, DtlsVersion::V1_2);
    }
}

#[test]
fn keys_differ_from_session_to_session() {
    let (client, server) = (endpoint(Config::default()), endpoint(Config::default()));
    let keys: Vec<Vec<u8>> = (0..2)
        .map(|_| {
            let mut wire = Wire::new(&client, &server);
            wire.run();
            wire.client.connected().keying_material.as_bytes().to_vec()
        })
        .collect();
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn the_servers_order_of_profiles_counts() {
    use SrtpProfile::{AeadAes128Gcm, AeadAes256Gcm, Aes128CmSha1_80};
    for version in VERSIONS {
        for (client_order, server_order, expected) in [
            (
                vec![Aes128CmSha1_80, AeadAes256Gcm, AeadAes128Gcm],
                None,
                AeadAes128Gcm,
            ),
            (vec![Aes128CmSha1_80, AeadAes256Gcm], None, AeadAes256Gcm),
            (vec![Aes128CmSha1_80], None, Aes128CmSha1_80),
            (
                SrtpProfile::PREFERENCE.to_vec(),
                Some(vec![Aes128CmSha1_80, AeadAes128Gcm]),
                Aes128CmSha1_80,
            ),
        ] {
            let client = endpoint(Config {
                srtp_profiles: client_order,
                ..config(version)
            });
            let mut server = config(version);
            server.srtp_profiles = server_order.unwrap_or(server.srtp_profiles);
            let mut wire = Wire::new(&client, &endpoint(server));
            wire.run();
            wire.assert_connected();
            let connected = wire.server.connected();
            assert_eq!(connected.profile, expected);
            let len = 2 * (expected.key_len() + expected.salt_len());
            assert_eq!(connected.keying_material.as_bytes().len(), len);
        }
    }
}

#[test]
fn no_common_profile_ends_the_session() {
    for version in VERSIONS {
        let only = |profile| Config {
            srtp_profiles: vec![profile],
            ..config(version)
        };
        let client = endpoint(only(SrtpProfile::Aes128CmSha1_80));
        let server = endpoint(only(SrtpProfile::AeadAes128Gcm));
        let mut wire = Wire::new(&client, &server);
        wire.run();
        assert_eq!(wire.server.seen.failed, Some(DtlsError::NoSrtpProfile));
        assert!(wire.server.seen.connected.is_none() && wire.client.seen.connected.is_none());
        assert!(wire.client.seen.failed.is_some());
    }
}

#[test]
fn fingerprints_decide() {
    let (client, server) = (endpoint(Config::default()), endpoint(Config::default()));
    let stranger = endpoint(Config::default()).fingerprint().clone();
    let cases: [(&[Fingerprint], bool); 4] = [
        (&[], false),
        (std::slice::from_ref(&stranger), false),
        (&[stranger.clone(), client.fingerprint().clone()], true),
        (std::slice::from_ref(client.fingerprint()), true),
    ];
    for version in VERSIONS {
        for (expected, is_good) in cases {
            let client = Endpoint::new(client.identity().clone(), config(version)).unwrap();
            let now = std::time::Instant::now();
            let accepting = server.accept(now, expected).unwrap();
            let connecting = client
                .connect(now, &[server.fingerprint().clone()])
                .unwrap();
            let mut wire = Wire::of(connecting, accepting, now);
            wire.run();
            if is_good {
                wire.assert_connected();
            } else {
                assert_eq!(
                    wire.server.seen.failed,
                    Some(DtlsError::FingerprintMismatch)
                );
                // The peer learns why: bad_certificate.
                assert_eq!(wire.client.seen.failed, Some(DtlsError::PeerAlert(42)));
                assert!(wire.server.seen.connected.is_none());
            }
        }
        // The other way round: the client looks as closely.
        let now = std::time::Instant::now();
        let accepting = server.accept(now, &[client.fingerprint().clone()]).unwrap();
        let connecting = client
            .connect(now, std::slice::from_ref(&stranger))
            .unwrap();
        let mut wire = Wire::of(connecting, accepting, now);
        wire.run();
        assert_eq!(
            wire.client.seen.failed,
            Some(DtlsError::FingerprintMismatch)
        );
        assert!(wire.server.seen.connected.is_none());
    }
}

#[test]
fn longer_hashes_match_too() {
    let (client, server) = (endpoint(Config::default()), endpoint(Config::default()));
    let (certificate, _) = client.identity().to_der().unwrap();
    for (algorithm, digest) in [
        (HashAlgorithm::Sha384, MessageDigest::sha384()),
        (HashAlgorithm::Sha512, MessageDigest::sha512()),
    ] {
        let hash = boring::hash::hash(digest, &certificate).unwrap();
        let good = Fingerprint::new(algorithm, &hash).unwrap();
        let mut other = hash.to_vec();
        other[47] ^= 1;
        let bad = Fingerprint::new(algorithm, &other).unwrap();
        for (expected, is_good) in [(good, true), (bad, false)] {
            let now = std::time::Instant::now();
            let accepting = server.accept(now, &[expected]).unwrap();
            let connecting = client
                .connect(now, &[server.fingerprint().clone()])
                .unwrap();
            let mut wire = Wire::of(connecting, accepting, now);
            wire.run();
            assert_eq!(wire.server.seen.connected.is_some(), is_good);
        }
    }
}

fn rsa_identity(bits: u32) -> Identity {
    let key: PKey<Private> = PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap();
    let name = X509NameBuilder::new().unwrap().build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder
        .set_not_before(&Asn1Time::days_from_now(0).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::days_from_now(1).unwrap())
        .unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let certificate = builder.build().to_der().unwrap();
    Identity::from_der(&certificate, &key.private_key_to_der_pkcs8().unwrap()).unwrap()
}

#[test]
fn rsa_peers_of_2048_to_4096_bits() {
    let ours = endpoint(Config::default());
    for (bits, is_good) in [(1024, false), (2048, true), (4096, true)] {
        let identity = rsa_identity(bits);
        for version in VERSIONS {
            let theirs = Endpoint::new(identity.clone(), config(version)).unwrap();
            for (client, server) in [(&theirs, &ours), (&ours, &theirs)] {
                let mut wire = Wire::new(client, server);
                wire.run();
                let us = if std::ptr::eq(server, &ours) {
                    &wire.server
                } else {
                    &wire.client
                };
                if is_good {
                    wire.assert_connected();
                } else {
                    assert!(us.seen.connected.is_none());
                    assert!(us.seen.failed.is_some(), "{:?}", us.seen);
                }
            }
        }
    }
}

#[test]
fn an_identity_survives_being_stored() {
    let before = endpoint(Config::default());
    let (certificate, key) = before.identity().to_der().unwrap();
    let restored = Identity::from_der(&certificate, key.as_bytes()).unwrap();
    assert_eq!(restored.fingerprint(), before.fingerprint());
    let after = Endpoint::new(restored, Config::default()).unwrap();
    let client = endpoint(Config::default());
    let now = std::time::Instant::now();
    let accepting = after.accept(now, &[client.fingerprint().clone()]).unwrap();
    let connecting = client
        .connect(now, &[before.fingerprint().clone()])
        .unwrap();
    let mut wire = Wire::of(connecting, accepting, now);
    wire.run();
    wire.assert_connected();

    let (_, other_key) = client.identity().to_der().unwrap();
    assert!(matches!(
        Identity::from_der(&certificate, other_key.as_bytes()),
        Err(DtlsError::Engine(_))
    ));
    assert!(Identity::from_der(&certificate[..100], key.as_bytes()).is_err());
    assert!(Identity::from_der(&certificate, &key.as_bytes()[..30]).is_err());
}

/// How many datagrams an undisturbed handshake takes.
fn handshake_len(client: &Endpoint, server: &Endpoint) -> usize {
    let mut wire = Wire::new(client, server);
    wire.run();
    wire.sent
}

#[test]
fn the_loss_of_any_datagram_is_made_good() {
    for version in VERSIONS {
        let (client, server) = (endpoint(config(version)), endpoint(config(version)));
        let total = handshake_len(&client, &server);
        assert!((4..10).contains(&total), "{total}");
        for lost in 0..total {
            let mut wire = Wire::new(&client, &server);
            let start = wire.now;
            wire.run_with(|number, _| {
                if number == lost {
                    Fate::Lose
                } else {
                    Fate::Deliver
                }
            });
            wire.assert_connected();
            let retransmissions = [&wire.client, &wire.server]
                .map(|side| side.session.counters().retransmissions)
                .iter()
                .sum::<u64>();
            let took = wire.now - start;
            assert!(
                took < Duration::from_secs(2),
                "{version:?} {lost}: {took:?}"
            );
            assert!(retransmissions < 8, "{retransmissions}");
        }
    }
}

#[test]
fn two_losses_are_made_good() {
    for version in VERSIONS {
        let (client, server) = (endpoint(config(version)), endpoint(config(version)));
        for first in 0..6 {
            for second in first + 1..8 {
                let mut wire = Wire::new(&client, &server);
                wire.run_with(|number, _| match number {
                    n if n == first || n == second => Fate::Lose,
                    _ => Fate::Deliver,
                });
                wire.assert_connected();
            }
        }
    }
}

#[test]
fn silence_ends_at_the_deadline() {
    for version in VERSIONS {
        let (client, server) = (endpoint(config(version)), endpoint(config(version)));
        let mut wire = Wire::new(&client, &server);
        let start = wire.now;
        // The server never hears anything; the client hears nothing back.
        wire.run_with(|_, _| Fate::Lose);
        assert_eq!(wire.now - start, Duration::from_secs(15));
        for side in [&wire.client, &wire.server] {
            assert_eq!(side.seen.failed, Some(DtlsError::Timeout));
            assert!(side.session.next_timeout().is_none());
        }
        // 0.4 s doubling: retransmissions are few.
        assert!(wire.sent < 16, "{}", wire.sent);
    }
}

#[test]
fn a_server_whose_replies_are_lost_sends_little() {
    for version in VERSIONS {
        let (client, server) = (endpoint(config(version)), endpoint(config(version)));
        let mut wire = Wire::new(&client, &server);
        let mut from_server = 0;
        wire.run_with(|_, to_server| {
            from_server += usize::from(!to_server);
            if to_server { Fate::Deliver } else { Fate::Lose }
        });
        assert_eq!(wire.server.seen.failed, Some(DtlsError::Timeout));
        // Two or three datagrams a flight, six flights.
        assert!(from_server <= 24, "{from_server}");
    }
}

#[test]
fn what_is_after_the_end_is_dropped() {
    let (client, server) = (endpoint(Config::default()), endpoint(Config::default()));
    let mut wire = Wire::new(&client, &server);
    wire.run();
    wire.client.session.send(wire.now, b"one").unwrap();
    let datagram = wire.client.session.poll_datagram().unwrap();
    wire.server.session.close(wire.now);
    wire.server.session.handle_datagram(wire.now, &datagram);
    assert_eq!(wire.server.session.counters().datagrams_dropped, 1);
    wire.server.session.close(wire.now);
    let events: Vec<_> = std::iter::from_fn(|| wire.server.session.poll_event()).collect();
    assert!(matches!(events[..], [DtlsEvent::Closed(_)]), "{events:?}");
}

#[test]
fn data_is_bounded() {
    let (client, server) = (endpoint(Config::default()), endpoint(Config::default()));
    let mut wire = Wire::new(&client, &server);
    let early = wire.client.session.send(wire.now, b"early");
    assert_eq!(early, Err(DtlsError::NotConnected));
    wire.run();
    let Side { session, .. } = &mut wire.client;
    assert_eq!(session.send(wire.now, &[]), Err(DtlsError::DataLength));
    assert_eq!(
        session.send(wire.now, &[0; 1201]),
        Err(DtlsError::DataLength)
    );
    let sent = (0..1000)
        .take_while(|_| session.send(wire.now, &[1; 1200]).is_ok())
        .count();
    assert_eq!(session.send(wire.now, &[1]), Err(DtlsError::QueueFull));
    assert!((1..=64).contains(&sent), "{sent}");
    wire.run();
    assert_eq!(wire.server.seen.data.len(), sent);
    // An owner who does not take events loses data, and is told how much.
    for _ in 0..1000 {
        wire.client.session.send(wire.now, &[2; 100]).unwrap();
        let datagram = wire.client.session.poll_datagram().unwrap();
        wire.server.session.handle_datagram(wire.now, &datagram);
    }
    let events = std::iter::from_fn(|| wire.server.session.poll_event()).count();
    let lost = wire.server.session.counters().queue_overflows;
    assert_eq!(u64::try_from(events).unwrap() + lost, 1000);
    assert!(events <= 256, "{events}");
}

#[test]
fn sessions_can_move_between_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<Session>();
    assert_send::<Box<dyn DtlsSession>>();
    let (client, server) = (endpoint(Config::default()), endpoint(Config::default()));
    let mut wire = Wire::new(&client, &server);
    // The engine's clock goes with the call and not with the thread.
    let mut wire = std::thread::spawn(move || {
        wire.run_with(|number, _| {
            if number == 1 {
                Fate::Lose
            } else {
                Fate::Deliver
            }
        });
        wire
    })
    .join()
    .unwrap();
    wire.assert_connected();
    wire.client.session.send(wire.now, b"from here").unwrap();
    wire.run();
    assert_eq!(wire.server.seen.data, [b"from here".to_vec()]);
}
