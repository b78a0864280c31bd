use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;
use crate::token::{Grants, Keys, sign};

const KEY: &str = "key";
const SECRET: &str = "a secret of thirty-two characters";
const YEAR: u64 = crate::limits::TOKEN_TTL_S;

fn auth(dev: bool) -> Auth {
    let keys = Keys::from_iter([(KEY, SECRET), ("other", "other secret")]);
    let accounts = Arc::new(Accounts::ephemeral(keys).unwrap());
    Auth { accounts, dev }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn claims() -> Claims {
    Claims {
        iss: KEY.into(),
        sub: "alice".into(),
        exp: now() + 600,
        video: Grants {
            room_join: true,
            room: "lobby".into(),
            ..Grants::default()
        },
        ..Claims::default()
    }
}

fn with(change: impl FnOnce(&mut Claims)) -> String {
    let mut claims = claims();
    change(&mut claims);
    sign(SECRET, &claims).unwrap()
}

/// A token of any header and payload, with a signature that is right for HS256.
fn raw(header: &serde_json::Value, payload: &serde_json::Value) -> String {
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(payload));
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let algorithm = jsonwebtoken::Algorithm::HS256;
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn bearer(token: &str) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

fn lobby() -> RoomName {
    RoomName::parse("lobby").unwrap()
}

/// Status and problem of a publish attempt.
fn publish(auth: &Auth, headers: &HeaderMap) -> Result<Participant, (u16, &'static str)> {
    let outcome = auth.publisher(headers, &lobby());
    outcome
        .map(|(participant, _)| participant)
        .map_err(|p| (p.status.as_u16(), p.kind))
}

#[test]
fn a_good_token_admits_its_subject() {
    let token = with(|c| {
        c.name = "Alice".into();
        c.video.hidden = true;
    });
    let (participant, sources) = auth(false).publisher(&bearer(&token), &lobby()).unwrap();
    assert_eq!(participant.identity.as_str(), "alice");
    assert_eq!(
        (participant.name.as_str(), participant.hidden),
        ("Alice", true)
    );
    assert_eq!(
        sources,
        Sources {
            video: true,
            audio: true
        }
    );
    assert!(auth(false).player(&bearer(&token), &lobby()).is_ok());
}

#[test]
fn a_livekit_token_with_claims_unknown_here_passes() {
    let payload = json!({
        "iss": KEY, "sub": "alice", "exp": now() + 60, "nbf": now(), "jti": "alice", "aud": "x",
        "metadata": "{}", "sha256": "", "kind": "standard", "attributes": {"a": "b"},
        "video": {"roomJoin": true, "room": "lobby", "canPublish": true, "canSubscribe": true,
                  "canPublishData": true, "ingressAdmin": false, "recorder": false},
        "sip": {"admin": true},
    });
    let token = raw(&json!({"alg": "HS256", "typ": "JWT"}), &payload);
    assert!(publish(&auth(false), &bearer(&token)).is_ok());
}

#[test]
fn bad_tokens_are_401_with_a_challenge() {
    let good = with(|_| {});
    let head_and_body = good.rsplit_once('.').unwrap().0.to_owned();
    let payload = serde_json::to_value(claims()).unwrap();
    let mut no_exp = payload.clone();
    no_exp.as_object_mut().unwrap().remove("exp");
    let mut text_exp = payload.clone();
    text_exp["exp"] = json!("tomorrow");
    let invalid = "token-invalid";
    let cases = [
        ("expired", with(|c| c.exp = now() - 60), "token-expired"),
        ("not yet", with(|c| c.nbf = Some(now() + 300)), invalid),
        (
            "good for too long",
            with(|c| c.exp = now() + YEAR + 60),
            invalid,
        ),
        (
            "good for too long, begun long ago",
            with(|c| (c.iat, c.exp) = (Some(now() - YEAR), now() + 60)),
            invalid,
        ),
        ("foreign key", with(|c| c.iss = "nobody".into()), invalid),
        (
            "another key's name",
            with(|c| c.iss = "other".into()),
            invalid,
        ),
        ("no key", with(|c| c.iss = String::new()), invalid),
        ("no identity", with(|c| c.sub = String::new()), invalid),
        (
            "hostile identity",
            with(|c| c.sub = "a/../b".into()),
            invalid,
        ),
        ("no exp", raw(&json!({"alg": "HS256"}), &no_exp), invalid),
        (
            "exp is text",
            raw(&json!({"alg": "HS256"}), &text_exp),
            invalid,
        ),
        ("alg none", raw(&json!({"alg": "none"}), &payload), invalid),
        (
            "alg none, unsigned",
            {
                let part = |v: &serde_json::Value| URL_SAFE_NO_PAD.encode(v.to_string());
                format!("{}.{}.", part(&json!({"alg": "none"})), part(&payload))
            },
            invalid,
        ),
        ("RS256", raw(&json!({"alg": "RS256"}), &payload), invalid),
        ("HS512", raw(&json!({"alg": "HS512"}), &payload), invalid),
        ("no alg", raw(&json!({"typ": "JWT"}), &payload), invalid),
        ("unsigned", format!("{head_and_body}."), invalid),
        (
            "signature of another",
            {
                let other = with(|c| c.sub = "bob".into());
                format!("{head_and_body}.{}", other.rsplit_once('.').unwrap().1)
            },
            invalid,
        ),
        (
            "payload is a list",
            raw(&json!({"alg": "HS256"}), &json!([1])),
            invalid,
        ),
        (
            "video is text",
            {
                let mut odd = payload.clone();
                odd["video"] = json!("all");
                raw(&json!({"alg": "HS256"}), &odd)
            },
            invalid,
        ),
        ("huge", "a".repeat(crate::limits::TOKEN_BYTES + 1), invalid),
        ("garbage", "not a jwt".into(), invalid),
        ("dots", "..".into(), invalid),
    ];
    for (name, token, kind) in cases {
        let problem = auth(false)
            .publisher(&bearer(&token), &lobby())
            .unwrap_err();
        assert_eq!(
            (problem.status.as_u16(), problem.kind),
            (401, kind),
            "{name}"
        );
        let challenge = problem.www_authenticate.unwrap();
        assert!(
            challenge.contains("error=\"invalid_token\""),
            "{name}: {challenge}"
        );
        assert!(!problem.detail.contains(SECRET), "{name}");
        // A JWT is a JWT in dev too.
        if token::looks_like_jwt(&token) {
            assert_eq!(
                publish(&auth(true), &bearer(&token)),
                Err((401, kind)),
                "dev: {name}"
            );
        }
    }
}

#[test]
fn clocks_may_differ_a_little() {
    let token = with(|c| {
        c.exp = now() - 3;
        c.nbf = Some(now() + 3);
    });
    assert!(publish(&auth(false), &bearer(&token)).is_ok());
    let longest = with(|c| c.exp = now() + YEAR + 3);
    assert!(publish(&auth(false), &bearer(&longest)).is_ok());
}

#[test]
fn no_token_is_401_without_an_error_code() {
    let mut basic = HeaderMap::new();
    basic.insert(
        header::AUTHORIZATION,
        HeaderValue::from_static("Basic YTpi"),
    );
    for headers in [HeaderMap::new(), basic, bearer("")] {
        let problem = auth(false).player(&headers, &lobby()).unwrap_err();
        assert_eq!(
            (problem.status.as_u16(), problem.kind),
            (401, "token-missing")
        );
        assert_eq!(problem.www_authenticate, Some("Bearer realm=\"ion\""));
    }
}

#[test]
fn two_authorization_headers_are_refused() {
    let mut headers = bearer(&with(|_| {}));
    headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    assert_eq!(publish(&auth(true), &headers), Err((401, "token-invalid")));
}

#[test]
fn the_scheme_is_case_insensitive() {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::try_from(format!("bEARER   {}", with(|_| {}))).unwrap();
    headers.insert(header::AUTHORIZATION, value);
    assert!(publish(&auth(false), &headers).is_ok());
}

#[test]
fn lacking_grants_are_403() {
    let forbidden = |token: &str| {
        let problem = auth(false).publisher(&bearer(token), &lobby()).unwrap_err();
        assert!(
            problem
                .www_authenticate
                .unwrap()
                .contains("insufficient_scope")
        );
        problem.status.as_u16()
    };
    assert_eq!(forbidden(&with(|c| c.video.room = "another".into())), 403);
    assert_eq!(forbidden(&with(|c| c.video.room = String::new())), 403);
    assert_eq!(forbidden(&with(|c| c.video.room_join = false)), 403);
    assert_eq!(forbidden(&with(|c| c.video.can_publish = Some(false))), 403);
    let mute = with(|c| c.video.can_publish = Some(false));
    assert!(auth(false).player(&bearer(&mute), &lobby()).is_ok());
    let blind = with(|c| c.video.can_subscribe = Some(false));
    assert_eq!(
        auth(false)
            .player(&bearer(&blind), &lobby())
            .unwrap_err()
            .status
            .as_u16(),
        403
    );
    assert!(publish(&auth(false), &bearer(&blind)).is_ok());
}

#[test]
fn sources_narrow_what_may_be_published() {
    let allowed = |list: &[&str]| {
        let token = with(|c| {
            c.video.can_publish_sources = list.iter().map(|s| (*s).to_owned()).collect();
        });
        let (_, sources) = auth(false).publisher(&bearer(&token), &lobby()).unwrap();
        (sources.video, sources.audio)
    };
    assert_eq!(allowed(&[]), (true, true));
    assert_eq!(allowed(&["microphone"]), (false, true));
    assert_eq!(allowed(&["CAMERA"]), (true, false));
    assert_eq!(
        allowed(&["screen_share", "screen_share_audio"]),
        (true, true)
    );
    assert_eq!(allowed(&["telepathy"]), (false, false));
}

#[test]
fn guests_come_in_with_dev_only_and_have_names() {
    let named = publish(&auth(true), &bearer("alice")).unwrap();
    assert_eq!(named.identity.as_str(), "alice");
    let first = publish(&auth(true), &HeaderMap::new()).unwrap();
    let second = publish(&auth(true), &bearer("no name/at all")).unwrap();
    assert!(first.identity.as_str().starts_with("guest-"));
    assert_ne!(first.identity, second.identity);
    assert_eq!(
        publish(&auth(false), &bearer("alice")),
        Err((401, "token-invalid"))
    );
}

#[test]
fn sessions_take_no_token_or_one_of_their_room() {
    let status = |token: &str| {
        auth(false)
            .session(&bearer(token), &lobby())
            .map_err(|p| p.status.as_u16())
    };
    assert_eq!(auth(false).session(&HeaderMap::new(), &lobby()), Ok(()));
    assert_eq!(status(&with(|_| {})), Ok(()));
    assert_eq!(status(&with(|c| c.exp = now() - 9999)), Ok(()));
    assert_eq!(status(&with(|c| c.video.room = "another".into())), Err(403));
    assert_eq!(status(&with(|c| c.iss = "nobody".into())), Err(401));
    assert_eq!(status("garbage"), Err(401));
    let admin = with(|c| {
        c.video.room_join = false;
        c.video.room_admin = true;
    });
    assert_eq!(status(&admin), Ok(()));
}

#[test]
fn looking_needs_list_or_admin() {
    let list = with(|c| c.video.room_list = true);
    let admin = with(|c| c.video.room_admin = true);
    let plain = with(|_| {});
    let auth = auth(false);
    let lists = |token: &str| auth.lister(&bearer(token)).map_err(|p| p.status.as_u16());
    let sees = |token: &str, room: &str| {
        auth.inspector(&bearer(token), &RoomName::parse(room).unwrap())
            .map_err(|p| p.status.as_u16())
    };
    assert_eq!(
        (lists(&list), lists(&admin), lists(&plain)),
        (Ok(()), Err(403), Err(403))
    );
    assert_eq!((sees(&list, "x"), sees(&admin, "lobby")), (Ok(()), Ok(())));
    assert_eq!(
        (sees(&admin, "x"), sees(&plain, "lobby")),
        (Err(403), Err(403))
    );
}

#[test]
fn minted_tokens_verify_until_they_expire() {
    let claims = Claims {
        sub: "bob".into(),
        ..claims()
    };
    let token = token::mint(KEY, SECRET, claims, Duration::from_secs(60)).unwrap();
    let verified = auth(false)
        .accounts
        .verify(&token, Expiry::Enforce)
        .unwrap();
    assert_eq!((verified.iss.as_str(), verified.sub.as_str()), (KEY, "bob"));
    assert!(verified.exp <= now() + 60);
}

#[test]
fn secrets_are_not_printed() {
    let printed = format!("{:?}", auth(false));
    assert!(
        printed.contains(KEY) && !printed.contains(SECRET),
        "{printed}"
    );
}
