//! What single packets get as an answer.

mod common;

use common::{Bench, Check, PWD, addr, credentials};
use ion_ice::{Agent, Credentials, Outcome, Pair, Reason, username_of};
use stun::message::*;
use stun_types::message::{
    IntegrityAlgorithm, Message as Stun, MessageWrite, MessageWriteExt, MessageWriteVec,
    ShortTermCredentials,
};

/// RFC 5769 §2.1: a request of another implementation, from an agent that believes itself controlled.
const RFC_5769_REQUEST: [u8; 108] = [
    0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86,
    0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74, 0x65, 0x73,
    0x74, 0x20, 0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff,
    0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36, 0x00, 0x06, 0x00, 0x09,
    0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20, 0x20, 0x00, 0x08, 0x00, 0x14,
    0x9a, 0xea, 0xa7, 0x0c, 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e, 0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49,
    0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28, 0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf,
];

#[test]
fn a_good_check_is_answered() {
    let mut bench = Bench::new();
    let pair = bench.pair;
    let packet = Check::to("local123").build();
    assert_eq!(username_of(&packet), Some(("local123", "remote")));
    let first = Outcome::Reply {
        pair,
        newly_validated: true,
        nominated: None,
    };
    assert_eq!(bench.handle(&packet), first);
    assert_eq!(bench.mapped_address(), pair.remote);
    assert!(bench.agent.is_validated(pair, bench.now));
    let again = Outcome::Reply {
        pair,
        newly_validated: false,
        nominated: None,
    };
    assert_eq!(bench.handle(&packet), again);
}

#[test]
fn ipv6_and_ipv4_in_ipv6() {
    let local = addr("[2001:db8::1]:7882");
    for (remote, mapped) in [
        ("[2001:db8:1234:5678:11:2233:4455:6677]:32853", None),
        ("[::ffff:192.0.2.33]:32853", Some("192.0.2.33:32853")),
    ] {
        let mut bench = Bench::new();
        bench.pair = Pair {
            local,
            remote: addr(remote),
        };
        let pair = bench.pair;
        let expected = Outcome::Reply {
            pair,
            newly_validated: true,
            nominated: None,
        };
        assert_eq!(bench.handle(&Check::to("local123").build()), expected);
        assert_eq!(bench.mapped_address(), addr(mapped.unwrap_or(remote)));
    }
}

#[test]
fn rfc_5769_vector_is_authentic_and_in_conflict() {
    let mut bench = Bench::new();
    let local = Credentials::new("evtj", "VOkJxbRl1RmTxUk/WvJxBt").unwrap();
    bench.agent = Agent::new(local, None, bench.now);
    assert_eq!(username_of(&RFC_5769_REQUEST), Some(("evtj", "h6vY")));
    assert_eq!(
        bench.handle(&RFC_5769_REQUEST),
        Outcome::Refused(Reason::RoleConflict)
    );
    // One bit of the priority: the fingerprint tells. With the fingerprint made good: the HMAC does.
    let mut changed = RFC_5769_REQUEST;
    changed[44] ^= 1;
    bench.assert_ignored(&changed, Reason::Fingerprint);
    let fingerprint = stun::fingerprint::fingerprint_value(&changed[..100]);
    changed[104..].copy_from_slice(&fingerprint.to_be_bytes());
    assert_eq!(
        bench.handle(&changed),
        Outcome::Refused(Reason::BadIntegrity)
    );
}

#[test]
fn wrong_password_or_user_is_unauthorized() {
    let mut bench = Bench::new();
    let mut wrong = Check::to("local123");
    wrong.pwd = Some("x".repeat(24));
    bench.assert_refused(&wrong.build(), Reason::BadIntegrity, (401, false));
    for name in ["someone", "local12", "local1234", ""] {
        let packet = Check::to(name).nominating().build();
        bench.assert_refused(&packet, Reason::UnknownUser, (401, false));
    }
    assert_eq!(
        (bench.agent.selected(), bench.agent.last_seen()),
        (None, None)
    );
}

#[test]
fn missing_attributes_are_a_bad_request() {
    let mut bench = Bench::new();
    let mut no_user = Check::to("local123");
    no_user.username = None;
    bench.assert_refused(&no_user.build(), Reason::BadRequest, (400, false));
    let mut no_colon = Check::to("local123");
    no_colon.username = Some("local123".to_owned());
    bench.assert_refused(&no_colon.build(), Reason::BadRequest, (400, false));
    let mut no_integrity = Check::to("local123");
    no_integrity.pwd = None;
    bench.assert_refused(&no_integrity.build(), Reason::BadRequest, (400, false));
}

#[test]
fn errors_never_amplify() {
    let mut bench = Bench::new();
    // 28 bytes; the shortest error response is 36.
    let bare = Check {
        username: None,
        pwd: None,
        is_plain: true,
        ..Check::to("x")
    };
    bench.assert_ignored(&bare.build(), Reason::BadRequest);
    // 44 bytes: room for the error, not for its phrase.
    let short = Check {
        pwd: None,
        is_plain: true,
        ..Check::to("abcd")
    };
    let packet = short.build();
    assert_eq!(packet.len(), 44);
    bench.assert_refused(&packet, Reason::BadRequest, (400, false));
    // Unknown attributes are listed, and cost the peer at least what they cost us.
    for count in 1..30_u16 {
        let mut check = Check {
            is_plain: true,
            ..Check::to("local123")
        };
        check.extra = (0..count).map(|i| (0x7000 + i, Vec::new())).collect();
        bench.assert_refused(&check.build(), Reason::UnknownAttribute, (420, true));
    }
}

#[test]
fn unknown_required_attributes_are_named() {
    let mut bench = Bench::new();
    let check = Check::to("local123")
        .with(0x7abc, b"what")
        .with(0xfabc, b"fine");
    bench.assert_refused(&check.build(), Reason::UnknownAttribute, (420, true));
    let listed = bench
        .response()
        .get(stun::attributes::ATTR_UNKNOWN_ATTRIBUTES)
        .unwrap();
    assert_eq!(listed, [0x7a, 0xbc]);
    // Optional ones alone are no matter.
    let check = Check::to("local123").with(0xfabc, b"fine");
    assert!(matches!(
        bench.handle(&check.build()),
        Outcome::Reply { .. }
    ));
}

#[test]
fn unauthenticated_peers_learn_nothing_more() {
    let mut bench = Bench::new();
    let mut check = Check::to("local123")
        .with(0x7abc, b"what")
        .with(0x8029, &[1; 8]);
    check.pwd = Some("x".repeat(24));
    bench.assert_refused(&check.build(), Reason::BadIntegrity, (401, false));
}

#[test]
fn a_controlled_peer_is_told_to_switch() {
    let mut bench = Bench::new();
    let check = Check {
        is_plain: true,
        ..Check::to("local123")
    }
    .with(0x8029, &[0; 8]);
    bench.assert_refused(
        &check.nominating().build(),
        Reason::RoleConflict,
        (487, true),
    );
    assert_eq!(
        (bench.agent.selected(), bench.agent.last_seen()),
        (None, None)
    );
}

#[test]
fn only_what_integrity_covers_counts() {
    let mut bench = Bench::new();
    let mut check = Check::to("local123");
    // USE-CANDIDATE, ICE-CONTROLLED and an unknown attribute, added by someone on the path.
    check.behind_integrity = vec![(0x0025, vec![]), (0x8029, vec![1; 8]), (0x7abc, vec![])];
    let pair = bench.pair;
    let expected = Outcome::Reply {
        pair,
        newly_validated: true,
        nominated: None,
    };
    assert_eq!(bench.handle(&check.build()), expected);
    // A username behind MESSAGE-INTEGRITY routes nowhere.
    let mut check = Check::to("local123");
    check.username = None;
    check.behind_integrity = vec![(0x0006, b"local123:remote".to_vec())];
    assert_eq!(username_of(&check.build()), None);
    assert_eq!(
        bench.handle(&check.build()),
        Outcome::Refused(Reason::BadRequest)
    );
}

#[test]
fn other_messages_are_ignored() {
    let mut bench = Bench::new();
    let method = |class, method| MessageType { class, method };
    for (typ, reason) in [
        (method(CLASS_INDICATION, METHOD_BINDING), Reason::Indication),
        (BINDING_SUCCESS, Reason::Response),
        (BINDING_ERROR, Reason::Response),
        (method(CLASS_REQUEST, METHOD_ALLOCATE), Reason::Method),
    ] {
        let packet = Check {
            typ,
            ..Check::to("local123")
        }
        .nominating()
        .build();
        assert_eq!(username_of(&packet), None);
        bench.assert_ignored(&packet, reason);
    }
    assert_eq!(bench.agent.last_seen(), None);
}

#[test]
fn malformed_packets_are_ignored() {
    let mut bench = Bench::new();
    let good = Check::to("local123").build();
    for len in 0..good.len() {
        bench.assert_ignored(&good[..len], Reason::Malformed);
    }
    let mut trailing = good.clone();
    trailing.extend([0; 4]);
    bench.assert_ignored(&trailing, Reason::Malformed);
    let mut huge = Check::to("local123");
    huge.extra.push((0xc000, vec![0; 1500]));
    bench.assert_ignored(&huge.build(), Reason::Malformed);
    // Something behind the fingerprint, with the lengths right.
    let mut behind = good.clone();
    behind.extend([0xc0, 0x00, 0, 0]);
    let len = u16::try_from(behind.len() - 20).unwrap();
    behind[2..4].copy_from_slice(&len.to_be_bytes());
    assert!(matches!(bench.handle(&behind), Outcome::Ignored(_)));
    // Integrity of a wrong length.
    let mut odd = Check::to("local123");
    odd.pwd = None;
    bench.assert_ignored(
        &odd.clone().with(0x0008, &[1; 19]).build(),
        Reason::Malformed,
    );
    bench.assert_ignored(&odd.with(0x001c, &[1; 16]).build(), Reason::Malformed);
    assert!(matches!(bench.handle(&good), Outcome::Reply { .. }));
}

#[test]
fn without_fingerprint_it_is_no_check() {
    let key = ShortTermCredentials::new(PWD.to_owned()).make_key();
    let mut m = Stun::builder_request(stun_types::message::BINDING, MessageWriteVec::new());
    let user = stun_types::attribute::Username::new("local123:remote").unwrap();
    m.add_attribute(&user).unwrap();
    m.add_message_integrity_with_key(&key, IntegrityAlgorithm::Sha1)
        .unwrap();
    Bench::new().assert_ignored(&m.finish(), Reason::Fingerprint);
}

#[test]
fn sha256_is_answered_with_sha256_and_cannot_be_bid_down() {
    let key = ShortTermCredentials::new(PWD.to_owned()).make_key();
    let other = ShortTermCredentials::new("y".repeat(24)).make_key();
    let build = |sha256_key| {
        let mut m = Stun::builder_request(stun_types::message::BINDING, MessageWriteVec::new());
        let user = stun_types::attribute::Username::new("local123:remote").unwrap();
        m.add_attribute(&user).unwrap();
        m.add_message_integrity_with_key(&key, IntegrityAlgorithm::Sha1)
            .unwrap();
        m.add_message_integrity_with_key(sha256_key, IntegrityAlgorithm::Sha256)
            .unwrap();
        m.add_fingerprint().unwrap();
        m.finish()
    };
    let mut bench = Bench::new();
    assert!(matches!(bench.handle(&build(&key)), Outcome::Reply { .. }));
    let response = Stun::from_bytes(&bench.reply).unwrap();
    let signed = response.validate_integrity_with_key(&key).unwrap();
    assert_eq!(signed, IntegrityAlgorithm::Sha256);
    // The stronger one decides, even when the weaker one matches.
    assert_eq!(
        bench.handle(&build(&other)),
        Outcome::Refused(Reason::BadIntegrity)
    );
}

#[test]
fn debug_output_holds_no_address_and_no_password() {
    let bench = Bench::new();
    let shown = format!("{:?} {:?}", bench.agent, bench.pair);
    assert!(!shown.contains("192") && !shown.contains(PWD), "{shown}");
    assert_eq!(bench.agent.local(), &credentials("local123"));
}
