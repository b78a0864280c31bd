//! `GET /v1/signal`: one task for each socket. It reads, bounds and parses what the client says,
//! hands it to the backend, and writes what comes out of the [`Outbox`].

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, Query};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::client::{ClientMessage, Join, Request};
use super::model::{ParticipantId, Permissions, Source};
use super::server::{Answer, ErrorTag, Problem, Reason, ServerMessage};
use super::session::{Inbox, JoinRequest, Outbox, Outgoing};
use super::{PROTOCOL, SUBPROTOCOL};
use crate::auth::{self, Auth, Caller};
use crate::backend::{Backend, Participant};
use crate::exchange::{App, State};
use crate::limits;
use crate::names::{self, Identity, RoomName};
use crate::router::ClientAddr;
use crate::token::{Claims, Expiry, Grants};

/// How long a message may take to be written.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Refused messages after which a socket is closed.
const PATIENCE: u32 = 256;

pub(crate) fn routes<B: Backend>() -> Router<Arc<App<B>>> {
    Router::new().route("/v1/signal", get(upgrade::<B>))
}

#[derive(Deserialize)]
struct TokenQuery {
    #[serde(default)]
    access_token: Option<String>,
}

async fn upgrade<B: Backend>(
    axum::extract::State(app): State<B>,
    client: Option<Extension<ClientAddr>>,
    Query(query): Query<TokenQuery>,
    headers: HeaderMap,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(socket) = socket else {
        let detail = "this resource speaks WebSocket (RFC 6455) only";
        return crate::Problem::bad_request(detail).into_response();
    };
    let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let ip = client.map_or(unknown, |Extension(client)| client.0.ip());
    let place = Arc::clone(&app.sockets.places).try_acquire_owned();
    let (Ok(place), Some(seat)) = (place, app.sockets.clients.admit(ip)) else {
        return crate::Problem::overloaded("there are too many sockets", 5).into_response();
    };
    let bearer = query.access_token.or_else(|| {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.trim().split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| token.trim().to_owned())
    });
    socket
        .max_message_size(limits::MESSAGE_BYTES)
        .max_frame_size(limits::MESSAGE_BYTES)
        .protocols([SUBPROTOCOL])
        .on_upgrade(async move |socket| {
            serve(socket, &app, bearer).await;
            drop((place, seat));
        })
}

async fn serve<B: Backend>(mut socket: WebSocket, app: &App<B>, bearer: Option<String>) {
    let (outbox, mut inbox) = Outbox::channel(&app.sockets.backlog);
    let id = outbox.id();
    let entering = enter(&mut socket, app, bearer, outbox);
    let entered = timeout(app.sockets.join_timeout, entering).await;
    let from = match entered {
        Ok(Ok(from)) => from,
        Ok(Err(Refusal { id, problem })) => {
            let reason = problem.reason;
            let _ = say(&mut socket, refusal(id, problem)).await;
            return close(&mut socket, reason).await;
        }
        Err(_elapsed) => return close(&mut socket, Reason::TimedOut).await,
    };
    let reason = converse(&mut socket, &mut inbox, app, from, id).await;
    app.backend.signal_closed(from, id);
    if let Some(reason) = reason {
        close(&mut socket, reason).await;
    }
}

struct Refusal {
    id: Option<u32>,
    problem: Problem,
}

/// The first message: joins or resumes.
async fn enter<B: Backend>(
    socket: &mut WebSocket,
    app: &App<B>,
    bearer: Option<String>,
    outbox: Outbox,
) -> Result<ParticipantId, Refusal> {
    let text = loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => break text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            _ => {
                let problem = Problem::new(Reason::BadMessage, "the first message has to be text");
                return Err(Refusal { id: None, problem });
            }
        }
    };
    let message = parse(&text).map_err(|problem| Refusal { id: None, problem })?;
    let id = message.id;
    let entered = match message.request {
        Request::Join(join) => match joiner(&app.auth, bearer, join) {
            Ok(request) => app.backend.signal_join(request, id, outbox).await,
            Err(problem) => Err(problem),
        },
        Request::Resume(resume) => app.backend.signal_resume(resume, id, outbox).await,
        _ => Err(Problem::new(
            Reason::WrongState,
            "the first message has to be `join` or `resume`",
        )),
    };
    entered.map_err(|problem| Refusal { id, problem })
}

/// Reads and writes until one side has enough; says what to close with, if anything.
async fn converse<B: Backend>(
    socket: &mut WebSocket,
    inbox: &mut Inbox,
    app: &App<B>,
    from: ParticipantId,
    id: u64,
) -> Option<Reason> {
    let mut rate = Rate::new();
    let mut refused = 0;
    loop {
        let heard = timeout(limits::SOCKET_IDLE, socket.recv());
        let text = tokio::select! {
            out = inbox.next() => match out {
                Some(Outgoing::Text(text)) => {
                    if send(socket, Message::Text(text.into())).await.is_err() {
                        return None;
                    }
                    continue;
                }
                Some(Outgoing::Close(reason)) => return Some(reason),
                None => return Some(Reason::ServerStopping),
            },
            heard = heard => match heard {
                Ok(Some(Ok(Message::Text(text)))) => text,
                // Pings are answered by the library.
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
                Ok(Some(Ok(Message::Binary(_)))) => return Some(Reason::BadMessage),
                Ok(Some(Ok(Message::Close(_))) | None) => return None,
                Ok(Some(Err(_broken))) => return Some(Reason::TooLarge),
                Err(_idle) => return Some(Reason::TimedOut),
            },
        };
        let (id_of_request, outcome) = match (rate.take(), parse(&text)) {
            (_, Err(problem)) => (None, Err(problem)),
            (false, Ok(message)) => (
                message.id,
                Err(Problem::new(
                    Reason::RateLimited,
                    "too many messages; try again later",
                )),
            ),
            (true, Ok(message)) => (message.id, app.backend.signal(from, id, message)),
        };
        let Err(problem) = outcome else {
            refused = 0;
            continue;
        };
        refused += 1;
        if refused > PATIENCE || say(socket, refusal(id_of_request, problem)).await.is_err() {
            return Some(Reason::RateLimited);
        }
    }
}

fn parse(text: &str) -> Result<ClientMessage, Problem> {
    serde_json::from_str(text).map_err(|error| {
        // The words of the parser name fields and places, never values of others.
        let detail = names::display_name(&error.to_string());
        Problem::new(Reason::BadMessage, detail)
    })
}

fn refusal(id: Option<u32>, problem: Problem) -> ServerMessage {
    match id {
        Some(id) => ServerMessage::Answer {
            id,
            answer: Answer::Error(problem),
        },
        None => ServerMessage::Error {
            kind: ErrorTag::Error,
            problem,
        },
    }
}

async fn say(socket: &mut WebSocket, message: ServerMessage) -> Result<(), ()> {
    let text = serde_json::to_string(&message).map_err(|_| ())?;
    send(socket, Message::Text(text.into())).await
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), ()> {
    match timeout(SEND_TIMEOUT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(()),
    }
}

/// Close codes: 1000 where the client left, else 4000, with the reason as text.
async fn close(socket: &mut WebSocket, reason: Reason) {
    let text = serde_json::to_value(reason).ok();
    let text = text
        .as_ref()
        .and_then(|value| value.as_str())
        .unwrap_or_default();
    let frame = CloseFrame {
        code: if reason == Reason::Left { 1_000 } else { 4_000 },
        reason: text.into(),
    };
    let _ = send(socket, Message::Close(Some(frame))).await;
}

/// A token bucket.
struct Rate {
    tokens: f64,
    at: Instant,
}

impl Rate {
    fn new() -> Self {
        Self {
            tokens: f64::from(limits::MESSAGE_BURST),
            at: Instant::now(),
        }
    }

    fn take(&mut self) -> bool {
        let now = Instant::now();
        let gained =
            now.duration_since(self.at).as_secs_f64() * f64::from(limits::MESSAGES_PER_SECOND);
        self.at = now;
        self.tokens = (self.tokens + gained).min(f64::from(limits::MESSAGE_BURST));
        let has_one = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(has_one));
        has_one
    }
}

/// May somebody join, where, as whom, and what may it do there?
fn joiner(auth: &Auth, bearer: Option<String>, join: Join) -> Result<JoinRequest, Problem> {
    if join.protocol != PROTOCOL {
        let detail = format!("this server speaks version {PROTOCOL} of the protocol");
        return Err(Problem::new(Reason::UnsupportedProtocol, detail));
    }
    let asked = join.room.as_deref().map(RoomName::parse).transpose();
    let asked = asked
        .map_err(|error| Problem::new(Reason::BadMessage, format!("the room's name {error}")))?;
    let mut headers = HeaderMap::new();
    if let Some(token) = join.token.or(bearer).filter(|token| !token.is_empty()) {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let value =
            value.map_err(|_| Problem::new(Reason::TokenInvalid, "the token is no text"))?;
        headers.insert(header::AUTHORIZATION, value);
    }
    let mut request = match auth.caller(&headers, Expiry::Enforce)? {
        Caller::Guest(bearer) => as_guest(asked, join.identity.or(bearer))?,
        Caller::Token(claims) => by_token(auth, asked, &claims)?,
    };
    if let Some(name) = join.name {
        let may =
            request.permissions.can_update_own_metadata || request.participant.name.is_empty();
        if !may {
            return Err(Problem::new(
                Reason::Forbidden,
                "the token gives another name and lacks the grant `canUpdateOwnMetadata`",
            ));
        }
        request.participant.name = names::display_name(&name);
    }
    request.auto_subscribe = join.auto_subscribe.unwrap_or(true);
    Ok(request)
}

/// A guest of a development server may do everything.
fn as_guest(room: Option<RoomName>, identity: Option<String>) -> Result<JoinRequest, Problem> {
    let room = room.ok_or_else(|| Problem::new(Reason::BadMessage, "`room` is missing"))?;
    if let Some(identity) = &identity {
        Identity::parse(identity)
            .map_err(|error| Problem::new(Reason::BadMessage, format!("the identity {error}")))?;
    }
    let participant = Participant {
        name: String::new(),
        ..auth::guest(identity)?
    };
    Ok(JoinRequest {
        room,
        participant,
        permissions: Permissions {
            can_update_own_metadata: true,
            room_admin: true,
            ..Permissions::default()
        },
        metadata: String::new(),
        attributes: BTreeMap::new(),
        auto_subscribe: true,
    })
}

fn by_token(auth: &Auth, asked: Option<RoomName>, claims: &Claims) -> Result<JoinRequest, Problem> {
    let room = RoomName::parse(&claims.video.room).map_err(|error| {
        Problem::new(Reason::TokenInvalid, format!("the token's `room` {error}"))
    })?;
    if asked.is_some_and(|asked| asked != room) {
        return Err(Problem::new(
            Reason::OtherRoom,
            "the token is for another room",
        ));
    }
    crate::auth::joins(claims, &room)?;
    Ok(JoinRequest {
        room,
        participant: auth.participant(claims)?,
        permissions: permissions(&claims.video),
        metadata: claims.metadata.clone(),
        attributes: claims.attributes.clone(),
        auto_subscribe: true,
    })
}

/// Grants as permissions.
pub(crate) fn permissions(grants: &Grants) -> Permissions {
    let source = |name: &String| {
        let word = serde_json::Value::String(name.to_ascii_lowercase());
        serde_json::from_value::<Source>(word).ok()
    };
    let sources: Vec<Source> = grants
        .can_publish_sources
        .iter()
        .filter_map(source)
        .collect();
    // Sources that are all unknown allow none, and not all.
    let is_none = sources.is_empty() && !grants.can_publish_sources.is_empty();
    Permissions {
        can_publish: grants.can_publish != Some(false) && !is_none,
        can_publish_sources: sources,
        can_subscribe: grants.can_subscribe != Some(false),
        can_publish_data: grants.can_publish_data != Some(false),
        can_update_own_metadata: grants.can_update_own_metadata == Some(true),
        hidden: grants.hidden,
        room_admin: grants.room_admin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Accounts;
    use crate::token::{Keys, mint};

    #[test]
    fn what_a_token_says_of_its_holder_comes_along() {
        let secret = "a secret of thirty-two characters";
        let keys: Keys = [("key", secret)].into_iter().collect();
        let auth = Auth {
            accounts: Arc::new(Accounts::ephemeral(keys).unwrap()),
            dev: false,
        };
        let attributes = BTreeMap::from([("team".to_owned(), "red".to_owned())]);
        let claims = Claims {
            sub: "vera".into(),
            jti: "one".into(),
            name: "Vera".into(),
            metadata: "{}".into(),
            attributes: attributes.clone(),
            video: Grants {
                room_join: true,
                room: "lobby".into(),
                ..Grants::default()
            },
            ..Claims::default()
        };
        let token = mint("key", secret, claims, Duration::from_secs(60)).unwrap();
        let join = Join {
            protocol: PROTOCOL,
            token: Some(token),
            ..Join::default()
        };
        let request = joiner(&auth, None, join).unwrap();
        assert_eq!((&*request.metadata, request.attributes), ("{}", attributes));
        let Participant { name, token, .. } = request.participant;
        let token = token.unwrap();
        assert_eq!((&*name, &*token.key, &*token.id), ("Vera", "key", "one"));
    }
}
