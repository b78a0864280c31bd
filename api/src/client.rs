//! A thin typed client of the HTTP API: one method for each request, the types of [`crate::model`], and
//! no more state than a base URL and a token. It blocks; its users are command lines and scripts.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::Method;

use crate::exchange::segment;
use crate::model::access::{
    Introspection, IntrospectionRequest, IssuedToken, KeyInfo, KeyList, KeySecret, NewKey,
    NewRevocation, NewToken, RevocationInfo, Rotation, UserChange, UserInfo, UserList,
};
use crate::model::events::{WebhookChange, WebhookInfo, WebhookList, WebhookSecret};
use crate::model::rooms::{
    Destination, Member, MemberList, MuteAll, NewData, NewRoom, RoomChange, RoomView, Split,
    TrackChange,
};
use crate::model::{ParticipantList, RoomInfo, RoomList, Status};
use crate::signal::PublicationId;

/// For one request and its answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Largest answer that is read, in bytes.
const ANSWER_BYTES: u64 = 64 * 1024 * 1024;

/// Pages of a list that are read before it is thought to have no end.
const PAGES: usize = 10_000;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The server refuses.
    #[error("the server answers {status}: {title}: {detail}")]
    Refused {
        /// Status code.
        status: u16,
        /// Last part of the problem's type, such as `not-found`.
        kind: String,
        /// What is wrong, in general.
        title: String,
        /// What is wrong this time.
        detail: String,
    },
    /// The server cannot be reached, or does not answer in time.
    #[error("{0}")]
    Unreachable(String),
    /// It is no Ion that answers.
    #[error("the answer makes no sense: {0}")]
    Odd(String),
}

/// Talks to one server.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

type Result<T> = std::result::Result<T, ClientError>;

fn room_path(room: &str) -> String {
    format!("/v1/rooms/{}", segment(room))
}

fn participant_path(room: &str, identity: &str) -> String {
    format!("{}/participants/{}", room_path(room), segment(identity))
}

impl Client {
    /// A client of the server at `base`, such as `http://127.0.0.1:7880`.
    pub fn new(base: &str, token: Option<&str>) -> Self {
        let agent = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("ion-client/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self {
            agent,
            base: base.trim_end_matches('/').to_owned(),
            token: token.map(str::to_owned),
        }
    }

    /// Sends one request, and reads the answer as text.
    fn text(&self, method: Method, path: &str, body: Option<String>) -> Result<String> {
        let unreachable = |error: ureq::Error| ClientError::Unreachable(error.to_string());
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("accept", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let odd = |error: ureq::http::Error| ClientError::Odd(error.to_string());
        let answer = match body {
            Some(body) => self.agent.run(request.body(body).map_err(odd)?),
            None => self.agent.run(request.body(()).map_err(odd)?),
        };
        let mut answer = answer.map_err(unreachable)?;
        let reader = answer.body_mut().with_config().limit(ANSWER_BYTES);
        let text = reader.read_to_string().map_err(unreachable)?;
        match answer.status().as_u16() {
            200..300 => Ok(text),
            status => Err(refused(status, &text)),
        }
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T> {
        let text = self.text(method, path, body.map(json).transpose()?)?;
        serde_json::from_str(&text).map_err(|error| ClientError::Odd(error.to_string()))
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.ask(Method::GET, path, None::<&()>)
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.ask(Method::POST, path, Some(body))
    }

    /// A request that is answered by nothing.
    fn tell(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<()> {
        let body = body.map(json).transpose()?;
        self.text(method, path, body).map(|_| ())
    }

    /// All entries of a list, page by page.
    fn pages<L: DeserializeOwned, T>(
        &self,
        path: &str,
        read: impl Fn(L) -> (Vec<T>, Option<String>),
    ) -> Result<Vec<T>> {
        let (mut all, mut query) = (Vec::new(), "?limit=1000".to_owned());
        for _ in 0..PAGES {
            let (items, next) = read(self.get(&format!("{path}{query}"))?);
            all.extend(items);
            match next {
                Some(next) => query = format!("?limit=1000&cursor={next}"),
                None => return Ok(all),
            }
        }
        Err(ClientError::Odd("the list has no end".to_owned()))
    }

    /// Whether the server takes sessions.
    pub fn is_ready(&self) -> bool {
        self.text(Method::GET, "/readyz", None).is_ok()
    }

    /// State of the server.
    ///
    /// # Errors
    /// See [`ClientError`], as for all methods here.
    pub fn status(&self) -> Result<Status> {
        self.get("/v1/status")
    }

    /// All rooms.
    pub fn rooms(&self) -> Result<Vec<RoomInfo>> {
        self.pages("/v1/rooms", |page: RoomList| (page.rooms, page.next))
    }

    /// One room.
    pub fn room(&self, room: &str) -> Result<RoomView> {
        self.get(&room_path(room))
    }

    /// Makes a room.
    pub fn create_room(&self, new: &NewRoom) -> Result<RoomView> {
        self.post("/v1/rooms", new)
    }

    /// Changes a room.
    pub fn change_room(&self, room: &str, change: &RoomChange) -> Result<RoomView> {
        self.ask(Method::PATCH, &room_path(room), Some(change))
    }

    /// Closes a room.
    pub fn close_room(&self, room: &str) -> Result<()> {
        self.tell(Method::DELETE, &room_path(room), None::<&()>)
    }

    /// Moves everybody of a room to another.
    pub fn merge(&self, room: &str, into: &Destination) -> Result<()> {
        let path = format!("{}/merge", room_path(room));
        self.tell(Method::POST, &path, Some(into))
    }

    /// Moves some of a room to another.
    pub fn split(&self, room: &str, split: &Split) -> Result<()> {
        let path = format!("{}/split", room_path(room));
        self.tell(Method::POST, &path, Some(split))
    }

    /// Sends data to a room.
    pub fn send_data(&self, room: &str, data: &NewData) -> Result<()> {
        let path = format!("{}/data", room_path(room));
        self.tell(Method::POST, &path, Some(data))
    }

    /// Sessions of a room, with their bitrates.
    pub fn participants(&self, room: &str) -> Result<ParticipantList> {
        self.get(&format!("{}/participants", room_path(room)))
    }

    /// Who is in a room, in full.
    pub fn members(&self, room: &str) -> Result<Vec<Member>> {
        let list: MemberList = self.get(&format!("{}/members", room_path(room)))?;
        Ok(list.members)
    }

    /// Kicks a participant.
    pub fn kick(&self, room: &str, identity: &str) -> Result<()> {
        self.tell(
            Method::DELETE,
            &participant_path(room, identity),
            None::<&()>,
        )
    }

    /// Lets a participant in from the lobby.
    pub fn admit(&self, room: &str, identity: &str) -> Result<()> {
        let path = format!("{}/admit", participant_path(room, identity));
        self.tell(Method::POST, &path, None::<&()>)
    }

    /// Mutes a participant.
    pub fn mute(&self, room: &str, identity: &str, what: &MuteAll) -> Result<()> {
        let path = format!("{}/mute", participant_path(room, identity));
        self.tell(Method::POST, &path, Some(what))
    }

    /// Moves a participant to another room.
    pub fn move_participant(&self, room: &str, identity: &str, to: &Destination) -> Result<()> {
        let path = format!("{}/move", participant_path(room, identity));
        self.tell(Method::POST, &path, Some(to))
    }

    /// Mutes, pauses or throttles a track.
    pub fn change_track(&self, room: &str, track: PublicationId, to: &TrackChange) -> Result<()> {
        let path = format!("{}/tracks/{track}", room_path(room));
        self.tell(Method::PATCH, &path, Some(to))
    }

    /// All API keys.
    pub fn keys(&self) -> Result<Vec<KeyInfo>> {
        self.pages("/v1/keys", |page: KeyList| (page.keys, page.next))
    }

    /// Makes an API key.
    pub fn create_key(&self, new: &NewKey) -> Result<KeySecret> {
        self.post("/v1/keys", new)
    }

    /// Gives an API key a new secret.
    pub fn rotate_key(&self, key: &str, rotation: &Rotation) -> Result<KeySecret> {
        self.post(&format!("/v1/keys/{}/rotate", segment(key)), rotation)
    }

    /// Deletes an API key.
    pub fn delete_key(&self, key: &str) -> Result<()> {
        let path = format!("/v1/keys/{}", segment(key));
        self.tell(Method::DELETE, &path, None::<&()>)
    }

    /// All users.
    pub fn users(&self) -> Result<Vec<UserInfo>> {
        self.pages("/v1/users", |page: UserList| (page.users, page.next))
    }

    /// Makes a user.
    pub fn create_user(&self, new: &UserChange) -> Result<UserInfo> {
        self.post("/v1/users", new)
    }

    /// Issues a token.
    pub fn issue_token(&self, new: &NewToken) -> Result<IssuedToken> {
        self.post("/v1/tokens", new)
    }

    /// What is known of a token.
    pub fn introspect(&self, token: &str) -> Result<Introspection> {
        let token = token.to_owned();
        self.post("/v1/tokens/introspect", &IntrospectionRequest { token })
    }

    /// Revokes tokens.
    pub fn revoke(&self, new: &NewRevocation) -> Result<RevocationInfo> {
        self.post("/v1/revocations", new)
    }

    /// All webhooks.
    pub fn webhooks(&self) -> Result<Vec<WebhookInfo>> {
        self.pages("/v1/webhooks", |page: WebhookList| {
            (page.webhooks, page.next)
        })
    }

    /// Makes a webhook.
    pub fn create_webhook(&self, new: &WebhookChange) -> Result<WebhookSecret> {
        self.post("/v1/webhooks", new)
    }
}

fn json(body: &impl Serialize) -> Result<String> {
    serde_json::to_string(body).map_err(|error| ClientError::Odd(error.to_string()))
}

/// Reads a problem.
fn refused(status: u16, text: &str) -> ClientError {
    let problem: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let part = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    let kind = part("type");
    ClientError::Refused {
        status,
        kind: kind.rsplit(':').next().unwrap_or_default().to_owned(),
        title: part("title"),
        detail: part("detail"),
    }
}
