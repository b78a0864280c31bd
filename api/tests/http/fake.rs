//! A backend that answers by the room's name, and a client that looks at answers.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use ion_api::accounts::{Accounts, Subject, Versioned};
use ion_api::auth::Auth;
use ion_api::backend::*;
use ion_api::documents::Expected;
use ion_api::govern::{Act, RoomDetails, RoomSettings};
use ion_api::if_match::IfMatch;
use ion_api::model::stats::{Limitation, OutboundStats, ParticipantStats, SessionStats};
use ion_api::model::{ParticipantInfo, RoomInfo, Status, TrackInfo};
use ion_api::names::{Identity, RoomName, SessionId};
use ion_api::token::{Claims, Grants, Keys, mint};
use ion_api::whep::extensions::{LayerSelection, Playing};
use ion_api::{Backend, Config, Problem, router};
use tower::ServiceExt as _;

pub(crate) const SESSION: &str = "0123456789abcdef";
pub(crate) const ETAG: &str = "ice-1";
pub(crate) const SECRET: &str = "a secret of thirty-two characters";

/// What the backend was asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Call {
    Publish(String, Participant, Sources, String),
    Play(String, Option<String>, Participant),
    Trickle(SessionRef, IfMatch, String),
    Accept(SessionRef, String),
    Select(SessionRef, LayerSelection),
    End(SessionRef),
    Govern(String, Act),
    Revoke(Subject),
}

#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) calls: Mutex<Vec<Call>>,
    pub(crate) metrics: String,
    pub(crate) not_ready: Option<String>,
    /// What is done in the room "late" waits for this.
    pub(crate) gate: tokio::sync::Notify,
}

impl Fake {
    fn called(&self, call: Call) {
        self.calls.lock().unwrap().push(call);
    }

    fn created(sdp: &str) -> Created {
        let turn = IceServer {
            url: "turn:turn.example.net?transport=udp".into(),
            username: Some("u\"x".into()),
            credential: Some("c".into()),
        };
        let stun = IceServer {
            url: "stun:stun.example.net".into(),
            ..IceServer::default()
        };
        Created {
            session: SessionId::parse(SESSION).unwrap(),
            sdp: sdp.into(),
            etag: ETAG.into(),
            ice_servers: vec![stun, turn],
        }
    }

    fn refusal(room: &str) -> Result<(), Problem> {
        match room {
            "empty" => Err(Problem::not_live("nobody publishes in this room", 3)),
            "full" => Err(Problem::overloaded("the transport table is full", 5)),
            "bad" => Err(Problem::malformed_sdp("line 2: no such thing")),
            "mute" => Err(Problem::unprocessable("no codec in common")),
            "panic" => panic!("a fault of the backend, on purpose"),
            _ => Ok(()),
        }
    }

    fn known(session: &SessionRef) -> Result<(), Problem> {
        if session.id.as_str() != SESSION || session.room.as_str() == "elsewhere" {
            return Err(Problem::no_such_session("it has ended, or never was"));
        }
        Ok(())
    }
}

impl Backend for Fake {
    async fn publish(&self, r: PublishRequest) -> Result<Created, Problem> {
        Self::refusal(r.room.as_str())?;
        self.called(Call::Publish(
            r.room.into(),
            r.participant,
            r.sources,
            r.offer,
        ));
        Ok(Self::created("answer"))
    }

    async fn play(&self, r: PlayRequest) -> Result<Play, Problem> {
        Self::refusal(r.room.as_str())?;
        let counter = r.room.as_str() == "counter";
        let publisher = r.publisher.map(String::from);
        self.called(Call::Play(r.room.into(), publisher, r.participant));
        if counter {
            let valid_until = Some(UNIX_EPOCH + Duration::from_secs(784_111_777));
            return Ok(Play::CounterOffer {
                created: Self::created("offer"),
                valid_until,
            });
        }
        Ok(Play::Answer(Self::created("answer")))
    }

    async fn trickle_or_restart(
        &self,
        session: SessionRef,
        if_match: IfMatch,
        frag: String,
    ) -> Result<Patched, Problem> {
        Self::known(&session)?;
        if !if_match.matches(ETAG) {
            return Err(Problem::precondition_failed(
                "the ETag is of an earlier ICE session",
            ));
        }
        let restart = frag.contains("restart");
        self.called(Call::Trickle(session, if_match, frag));
        Ok(match restart {
            true => Patched::Restarted {
                frag: "fragment".into(),
                etag: "ice-2".into(),
            },
            false => Patched::NoContent,
        })
    }

    async fn accept(&self, session: SessionRef, answer: String) -> Result<(), Problem> {
        Self::known(&session)?;
        self.called(Call::Accept(session, answer));
        Ok(())
    }

    async fn end(&self, session: SessionRef) -> Result<(), Problem> {
        Self::known(&session)?;
        self.called(Call::End(session));
        Ok(())
    }

    async fn revoke(&self, subject: Subject) -> Result<(), Problem> {
        self.called(Call::Revoke(subject));
        Ok(())
    }

    async fn playing(&self, session: SessionRef) -> Option<Playing> {
        Self::known(&session).ok()?;
        Some(Playing::default())
    }

    async fn select_layers(
        &self,
        session: SessionRef,
        selection: LayerSelection,
    ) -> Result<(), Problem> {
        Self::known(&session)?;
        self.called(Call::Select(session, selection));
        Ok(())
    }

    async fn rooms(&self) -> Vec<RoomInfo> {
        vec![RoomInfo {
            name: "lobby".into(),
            sent_bps: 7,
            ..RoomInfo::default()
        }]
    }

    async fn room(&self, room: RoomName) -> Option<RoomInfo> {
        (room.as_str() == "lobby").then(|| RoomInfo {
            name: room.into(),
            ..RoomInfo::default()
        })
    }

    async fn participants(&self, room: RoomName) -> Option<Vec<ParticipantInfo>> {
        (room.as_str() == "lobby").then(|| vec![ParticipantInfo::default()])
    }

    async fn stats(&self, _: RoomName, identity: Identity) -> Option<ParticipantStats> {
        let outbound = OutboundStats {
            packets_sent: 7,
            quality_limitation_reason: Limitation::Bandwidth,
            ..OutboundStats::default()
        };
        let session = SessionStats {
            outbound: vec![outbound],
            ..SessionStats::default()
        };
        (identity.as_str() == "alice").then(|| ParticipantStats {
            sessions: vec![session],
        })
    }

    async fn tracks(&self, _: RoomName, identity: Identity) -> Option<Vec<TrackInfo>> {
        let track = TrackInfo {
            codec: "VP8".into(),
            bitrate_bps: 9,
            ..TrackInfo::default()
        };
        (identity.as_str() == "alice").then_some(vec![track])
    }

    async fn act(&self, room: RoomName, act: Act) -> Result<(), Problem> {
        let is_new = matches!(
            &act,
            Act::Configure {
                expected: Expected::Absent,
                ..
            }
        );
        if room.as_str() == "nowhere" && !is_new {
            return Err(Problem::not_found("there is no such room"));
        }
        if room.as_str() == "lobby" && is_new {
            return Err(Problem::version_mismatch("it is there"));
        }
        let is_late = room.as_str() == "late";
        self.called(Call::Govern(room.into(), act));
        if is_late {
            self.gate.notified().await;
        }
        Ok(())
    }

    async fn details(&self, room: RoomName) -> Option<Versioned<RoomDetails>> {
        let settings = RoomSettings {
            metadata: "as it was".into(),
            ..RoomSettings::default()
        };
        let value = RoomDetails {
            settings,
            ..RoomDetails::default()
        };
        (!["nowhere", "other"].contains(&room.as_str())).then_some(Versioned { value, version: 7 })
    }

    async fn status(&self) -> Status {
        Status {
            version: "test".into(),
            ..Status::default()
        }
    }

    async fn metrics(&self) -> String {
        self.metrics.clone()
    }

    fn ready(&self) -> Result<(), String> {
        self.not_ready.clone().map_or(Ok(()), Err)
    }
}

/// A router, the backend behind it, and an answer at a time.
pub(crate) struct Api {
    pub(crate) backend: Arc<Fake>,
    pub(crate) router: Router,
}

pub(crate) fn config(dev: bool) -> Config {
    let keys = Keys::from_iter([("key", SECRET)]);
    let accounts = Arc::new(Accounts::ephemeral(keys).unwrap());
    Config::new(Auth { accounts, dev }).unwrap()
}

impl Api {
    /// Guests may come in.
    pub(crate) fn dev() -> Self {
        Self::with(Fake::default(), config(true))
    }

    /// Tokens are needed.
    pub(crate) fn strict() -> Self {
        Self::with(Fake::default(), config(false))
    }

    pub(crate) fn with(backend: Fake, config: Config) -> Self {
        let backend = Arc::new(backend);
        Self {
            router: router(Arc::clone(&backend), config),
            backend,
        }
    }

    pub(crate) fn last_call(&self) -> Call {
        self.backend
            .calls
            .lock()
            .unwrap()
            .last()
            .expect("the backend was called")
            .clone()
    }

    /// Sends a request; header lines are given as `name: value`.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        lines: &[&str],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for line in lines {
            let (name, value) = line.split_once(": ").expect("name: value");
            request = request.header(name, value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.into()).unwrap(),
        };
        answer.check();
        answer
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.send(Method::POST, path, &[SDP], "v=0").await
    }
}

pub(crate) const SDP: &str = "content-type: application/sdp";
pub(crate) const FRAG: &str = "content-type: application/trickle-ice-sdpfrag";

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// What holds for every answer.
    fn check(&self) {
        assert_eq!(self.header("access-control-allow-origin"), "*");
        let exposed = self.header("access-control-expose-headers");
        for name in ["Location", "Link", "ETag", "Retry-After"] {
            assert!(exposed.contains(name), "{exposed}");
        }
        assert_eq!(self.header("x-content-type-options"), "nosniff");
        if self.status.as_u16() >= 400 && self.status != StatusCode::NOT_ACCEPTABLE {
            let problem = self.problem();
            assert_eq!(problem["status"], self.status.as_u16());
            assert!(problem["title"].is_string() && problem["detail"].is_string());
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn problem(&self) -> serde_json::Value {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{}",
            self.body
        );
        serde_json::from_str(&self.body).unwrap()
    }

    /// Status code and the last part of the problem's type.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let problem = self.problem();
        let kind = problem["type"]
            .as_str()
            .unwrap()
            .strip_prefix("urn:ion:problem:")
            .unwrap();
        (self.status.as_u16(), kind.to_owned())
    }

    pub(crate) fn code(&self) -> u16 {
        self.status.as_u16()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.body.is_empty() && !self.headers.contains_key(header::CONTENT_TYPE)
    }
}

/// `Authorization` with a token of these grants.
pub(crate) fn token(video: Grants) -> String {
    let claims = Claims {
        sub: "alice".into(),
        video,
        ..Claims::default()
    };
    let token = mint("key", SECRET, claims, Duration::from_secs(600)).unwrap();
    format!("authorization: Bearer {token}")
}

pub(crate) fn joins(room: &str) -> Grants {
    Grants {
        room_join: true,
        room: room.into(),
        ..Grants::default()
    }
}

/// A token that expired an hour ago.
pub(crate) fn expired(room: &str) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let claims = Claims {
        iss: "key".into(),
        sub: "alice".into(),
        exp: now - 3600,
        video: joins(room),
        ..Claims::default()
    };
    format!(
        "authorization: Bearer {}",
        ion_api::token::sign(SECRET, &claims).unwrap()
    )
}
