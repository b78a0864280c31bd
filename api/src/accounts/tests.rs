use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::documents::{Expected, Memory};
use crate::limits;
use crate::names::{Identity, RoomName};
use crate::token::{Grants, mint, sign};

fn accounts() -> Accounts {
    let keys = Keys::from_iter([("fixed", "a secret of thirty-two characters")]);
    Accounts::ephemeral(keys).unwrap()
}

fn joins(room: &str, identity: &str) -> Claims {
    Claims {
        sub: identity.to_owned(),
        video: Grants {
            room_join: true,
            room: room.to_owned(),
            ..Grants::default()
        },
        ..Claims::default()
    }
}

fn minted(key: &str, secret: &str) -> String {
    mint(
        key,
        secret,
        joins("lobby", "alice"),
        Duration::from_secs(60),
    )
    .unwrap()
}

fn identity(name: &str) -> Identity {
    Identity::parse(name).unwrap()
}

#[test]
fn a_key_signs_until_it_is_rotated_or_deleted() {
    let accounts = accounts();
    let made = accounts.create_key(NewKey::default()).unwrap();
    let (key, first) = (made.value.info.key.as_str(), made.value.secret.as_str());
    let verify = |secret: &str| accounts.verify(&minted(key, secret), Expiry::Enforce);
    assert_eq!(verify(first).unwrap().iss, key);

    let stale = Expected::Version(made.version + 7);
    let refused = accounts.rotate_key(key, stale, 0).unwrap_err();
    assert_eq!(refused.kind, "version-mismatch");
    let graceful = accounts.rotate_key(key, Expected::Any, 600).unwrap();
    let second = graceful.value.secret.as_str();
    assert!(verify(first).is_ok() && verify(second).is_ok());
    let hard = accounts.rotate_key(key, Expected::Any, 0).unwrap();
    assert_eq!(verify(first), Err(TokenError::Signature));
    assert_eq!(verify(second), Err(TokenError::Signature));
    assert!(verify(&hard.value.secret).is_ok());

    accounts.delete_key(key, Expected::Any).unwrap();
    assert_eq!(verify(&hard.value.secret), Err(TokenError::ForeignKey));
    assert_eq!(accounts.key(key).unwrap_err().kind, "not-found");
}

#[test]
fn everything_is_there_after_a_restart_but_no_secret_in_the_clear() {
    let documents = Arc::new(Memory::default());
    let dir = std::env::temp_dir().join(format!("ion-accounts-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("server.key");
    let open = || {
        let sealer = Sealer::open(&path).unwrap();
        let documents: Arc<dyn Documents> = Arc::clone(&documents) as Arc<dyn Documents>;
        Accounts::open(documents, sealer, Keys::default()).unwrap()
    };
    let before = open();
    let made = before.create_key(NewKey::default()).unwrap().value;
    before
        .create_user(UserChange {
            identity: Some(identity("mallory")),
            disabled: Some(true),
            ..UserChange::default()
        })
        .unwrap();
    let lobby = RoomName::parse("lobby").unwrap();
    before
        .revoke(&Subject::Participant(lobby, identity("bob")), "kicked")
        .unwrap();
    drop(before);

    let after = open();
    let token = |name: &str| {
        let claims = joins("lobby", name);
        let token = mint(
            &made.info.key,
            &made.secret,
            claims,
            Duration::from_secs(60),
        )
        .unwrap();
        after
            .verify(&token, Expiry::Enforce)
            .map(|claims| claims.sub)
    };
    assert_eq!(token("alice"), Ok("alice".to_owned()));
    assert_eq!(token("mallory"), Err(TokenError::Revoked));
    assert_eq!(token("bob"), Err(TokenError::Revoked));
    let stored = documents.get(Kind::Key, &made.info.key).unwrap().unwrap();
    assert!(!stored.body.contains(&made.secret), "{}", stored.body);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn revocations_refuse_what_was_issued_before_them_and_nothing_else() {
    let accounts = accounts();
    let secret = "a secret of thirty-two characters";
    let now = now_s();
    let check = |room: &str, name: &str, jti: &str, issued: Option<u64>| {
        let claims = Claims {
            iss: "fixed".to_owned(),
            exp: now + 600,
            iat: issued,
            jti: jti.to_owned(),
            ..joins(room, name)
        };
        accounts
            .verify(&sign(secret, &claims).unwrap(), Expiry::Enforce)
            .is_ok()
    };
    let (lobby, later) = (RoomName::parse("lobby").unwrap(), Some(now + 10));
    assert!(check("lobby", "alice", "one", Some(now)));

    accounts
        .revoke(&Subject::Token(identity("one")), "")
        .unwrap();
    assert!(!check("lobby", "alice", "one", later));
    assert!(check("lobby", "alice", "two", Some(now)));

    accounts
        .revoke(&Subject::Participant(lobby.clone(), identity("bob")), "")
        .unwrap();
    assert!(!check("lobby", "bob", "", Some(now)) && !check("lobby", "bob", "", None));
    assert!(check("lobby", "bob", "", later) && check("other", "bob", "", Some(now)));
    // A clock that is ahead is no way around it, and neither is a token from the future.
    assert!(!check("lobby", "bob", "", Some(now + 5)));
    assert!(!check("lobby", "bob", "", Some(now + 3600)));
    assert!(!check("lobby", "alice", "", Some(now + 3600)));

    accounts
        .revoke(&Subject::User(identity("carol")), "")
        .unwrap();
    assert!(!check("other", "carol", "", Some(now)) && check("other", "carol", "", later));

    accounts.revoke(&Subject::Room(lobby.clone()), "").unwrap();
    assert!(!check("lobby", "alice", "two", Some(now)) && check("lobby", "alice", "two", later));
    accounts.unrevoke(&Subject::Room(lobby).id()).unwrap();
    assert!(check("lobby", "alice", "two", Some(now)));
    assert_eq!(
        accounts.unrevoke("room:lobby").unwrap_err().kind,
        "not-found"
    );
}

#[test]
fn revocations_are_forgotten_when_their_tokens_have_expired() {
    let documents = Arc::new(Memory::default());
    let open = || {
        let documents: Arc<dyn Documents> = Arc::clone(&documents) as Arc<dyn Documents>;
        Accounts::open(documents, Sealer::ephemeral().unwrap(), Keys::default()).unwrap()
    };
    let (accounts, now) = (open(), now_s());
    let user = |n: usize| Subject::User(identity(&format!("u{n}")));
    let made = accounts.revoke(&user(0), "").unwrap();
    let last = made.issued_until_s + limits::TOKEN_TTL_S;
    assert!(made.forgotten_at_s > last, "the last of its tokens");
    let token = Subject::Token(identity("t"));
    let made = accounts.revoke(&token, "").unwrap();
    assert!(made.forgotten_at_s > now + 2 * limits::TOKEN_TTL_S);
    // Others, of whom so many are about no token any more.
    let fill = |over: usize| {
        for n in 1..limits::REVOCATIONS - 1 {
            let id = user(n).id();
            let forgotten_at_s = if n <= over { now - 1 } else { now + 600 };
            let one = RevocationInfo {
                id: id.clone(),
                forgotten_at_s,
                ..RevocationInfo::default()
            };
            let body = written(&one).unwrap();
            let version = documents.put(Kind::Revocation, &id, Expected::Any, &body);
            assert!(version.is_ok());
        }
    };
    let kept = || documents.count(Kind::Revocation).unwrap();
    fill(0);
    let accounts = open();
    assert_eq!(kept(), limits::REVOCATIONS);
    let late = user(limits::REVOCATIONS);
    assert_eq!(
        accounts.revoke(&late, "").unwrap_err().kind,
        "limit-reached"
    );
    assert!(accounts.revoke(&user(7), "").is_ok(), "it is there");
    // A start forgets, and so does the need for room.
    fill(5);
    let restarted = open();
    assert_eq!(kept(), limits::REVOCATIONS - 5);
    for one in accounts.live_mut().revoked.values_mut().take(3) {
        one.expire();
    }
    assert!(accounts.revoke(&late, "").is_ok());
    assert_eq!(accounts.live().revoked.len(), limits::REVOCATIONS - 2);
    drop(restarted);
}

#[test]
fn a_deleted_users_tokens_are_dead() {
    let accounts = accounts();
    let alice = identity("alice");
    let change = UserChange {
        identity: Some(alice.clone()),
        ..UserChange::default()
    };
    accounts.create_user(change.clone()).unwrap();
    assert_eq!(accounts.create_user(change).unwrap_err().kind, "conflict");
    let token = minted("fixed", "a secret of thirty-two characters");
    assert!(accounts.verify(&token, Expiry::Enforce).is_ok());
    accounts.delete_user(&alice, Expected::Any).unwrap();
    assert_eq!(
        accounts.verify(&token, Expiry::Enforce),
        Err(TokenError::Revoked)
    );
    assert_eq!(
        accounts
            .delete_user(&alice, Expected::Any)
            .unwrap_err()
            .kind,
        "not-found"
    );
}

#[test]
fn a_keys_rate_is_its_own() {
    let accounts = accounts();
    let limited = |rate| NewKey {
        limits: KeyLimits {
            requests_per_second: NonZeroU32::new(rate),
            burst: NonZeroU32::new(2),
            ..KeyLimits::default()
        },
        ..NewKey::default()
    };
    let slow = accounts.create_key(limited(1)).unwrap().value.info.key;
    let other = accounts
        .create_key(NewKey::default())
        .unwrap()
        .value
        .info
        .key;
    assert_eq!(
        (accounts.admit(&slow), accounts.admit(&slow)),
        (Ok(()), Ok(()))
    );
    assert!(accounts.admit(&slow).is_err_and(|wait_s| wait_s >= 1));
    assert_eq!(accounts.admit(&other), Ok(()));
}

#[test]
fn lists_come_in_pages_that_end() {
    let accounts = accounts();
    for n in 0..5 {
        let change = UserChange {
            identity: Some(identity(&format!("user-{n}"))),
            ..UserChange::default()
        };
        accounts.create_user(change).unwrap();
    }
    let (mut after, mut seen, mut pages) = (None, Vec::new(), 0);
    loop {
        let page = accounts.users(after.as_deref(), 2).unwrap();
        seen.extend(page.items.into_iter().map(|user| user.identity));
        (pages, after) = (pages + 1, page.next);
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..5).map(|n| format!("user-{n}")).collect();
    assert_eq!((seen, pages), (expected, 3));
    let exact = accounts.users(None, 5).unwrap();
    assert_eq!((exact.items.len(), exact.next), (5, None));
}

#[test]
fn keys_of_the_settings_are_shown_and_stay() {
    let accounts = accounts();
    assert!(accounts.keys(None, 10).items[0].fixed);
    let refusals = [
        accounts.delete_key("fixed", Expected::Any).unwrap_err(),
        accounts.rotate_key("fixed", Expected::Any, 0).unwrap_err(),
    ];
    assert!(refusals.iter().all(|problem| problem.kind == "conflict"));
}
