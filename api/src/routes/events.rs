//! `/v1/events`: what happens, as Server-Sent Events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use super::params::asked;
use super::{Described, resource};
use crate::accounts::refused;
use crate::backend::Backend;
use crate::events::{History, RoomEvent, STOPPING};
use crate::exchange::{self, App, State};
use crate::limits;
use crate::names::RoomName;
use crate::problem::Problem;

pub(super) fn routes<B: Backend>() -> Described<B> {
    OpenApiRouter::new().routes(resource!(events))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct EventsQuery {
    /// Only of this room.
    #[param(
        pattern = r"^(?!\.{1,2}$)[A-Za-z0-9_.~@:+=|-]+$",
        min_length = 1,
        max_length = 128
    )]
    room: Option<String>,
    /// As `Last-Event-ID`, for clients that cannot set headers.
    after: Option<u64>,
}

/// Follow what happens
///
/// Server-Sent Events; the data of each is a `RoomEvent`, its `event` the type. With `Last-Event-ID`
/// (or `after`) it goes on after that one, else it begins with what comes next. The server keeps some
/// thousand events; when the one named is older, an event `missed` comes first, and the state is to be
/// read anew. Comments come while nothing happens. The stream ends when the token does.
#[utoipa::path(get, path = "/v1/events", operation_id = "followEvents", tag = "events",
    params(EventsQuery, ("Last-Event-ID" = Option<u64>, Header, description = "The last one seen")),
    responses((status = 200, body = RoomEvent, content_type = "text/event-stream",
        description = "Events, until either side ends it")))]
async fn events<B: Backend>(
    axum::extract::State(app): State<B>,
    query: Result<Query<EventsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(query) = asked(query)?;
    let room = query.room.as_deref().map(exchange::room).transpose()?;
    may_follow(&app, &headers, room.as_ref())?;
    let last = match headers.get("last-event-id") {
        Some(value) => {
            let text = value.to_str().ok().map(str::trim);
            let id = text.and_then(|text| text.parse().ok());
            Some(id.ok_or_else(|| Problem::bad_request("Last-Event-ID: must be a number"))?)
        }
        None => query.after,
    };
    let permit = Arc::clone(&app.followers)
        .try_acquire_owned()
        .map_err(|_| Problem::overloaded("too many clients follow events", 10))?;
    let newest = app.events.newest();
    let after = last.unwrap_or_else(|| *newest.borrow());
    let follower = Follower {
        app,
        headers,
        room,
        after,
        newest,
        waiting: Vec::new(),
        checked: Instant::now(),
        _permit: permit,
    };
    let mut response = Sse::new(follower.stream()).into_response();
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}

fn may_follow<B: Backend>(
    app: &App<B>,
    headers: &HeaderMap,
    room: Option<&RoomName>,
) -> Result<(), Problem> {
    match room {
        Some(room) => app.auth.inspector(headers, room),
        None => app.auth.lister(headers),
    }
}

/// One client that follows. It asks the log for more whenever there is more and the client has taken
/// what there was, so that a slow one costs nothing but its own connection.
struct Follower<B> {
    app: Arc<App<B>>,
    headers: HeaderMap,
    room: Option<RoomName>,
    after: u64,
    newest: watch::Receiver<u64>,
    /// To be sent, in reverse order.
    waiting: Vec<Event>,
    /// When the token was last looked at.
    checked: Instant,
    _permit: OwnedSemaphorePermit,
}

const KEEP_ALIVE: Duration = Duration::from_secs(15);

impl<B: Backend> Follower<B> {
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures_util::stream::unfold(self, |mut follower| async move {
            let event = follower.next().await?;
            Some((Ok(event), follower))
        })
    }

    /// The next event or comment; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop() {
                return Some(event);
            }
            if self.checked.elapsed() >= KEEP_ALIVE {
                may_follow(&self.app, &self.headers, self.room.as_ref()).ok()?;
                self.checked = Instant::now();
            }
            // What comes from here on is noticed below.
            let newest = *self.newest.borrow_and_update();
            if newest == STOPPING {
                return None;
            }
            self.fetch(newest).await.ok()?;
            if self.waiting.is_empty() && newest <= self.after {
                match tokio::time::timeout(KEEP_ALIVE, self.newest.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_gone)) => return None,
                    Err(_quiet) => return Some(Event::default().comment("")),
                }
            }
        }
    }

    async fn fetch(&mut self, newest: u64) -> Result<(), Problem> {
        let (log, room, after) = (Arc::clone(&self.app.events), self.room.clone(), self.after);
        let read = move || log.after(after, room.as_ref(), limits::EVENTS_AT_ONCE);
        let history = tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| Problem::internal())?
            .map_err(refused)?;
        let is_last = history.events.len() < limits::EVENTS_AT_ONCE;
        self.after = match history.events.last() {
            Some(event) if !is_last => event.id,
            // Events of other rooms are passed over.
            Some(event) => event.id.max(newest),
            // An id that this log never gave is cut for ever, and told of once.
            None if history.is_cut => newest,
            None => after.max(newest),
        };
        self.waiting = told(history, after);
        Ok(())
    }
}

/// As it is sent, in reverse order.
fn told(history: History, after: u64) -> Vec<Event> {
    let mut events: Vec<Event> = history
        .events
        .iter()
        .rev()
        .map(|kept| {
            Event::default()
                .id(kept.id.to_string())
                .event(kind(&kept.body))
                .data(&kept.body)
        })
        .collect();
    if history.is_cut {
        let missed = format!("{{\"type\":\"missed\",\"after\":{after}}}");
        events.push(Event::default().event("missed").data(missed));
    }
    events
}

fn kind(body: &str) -> String {
    #[derive(Deserialize)]
    struct Typed {
        event: Tag,
    }
    #[derive(Deserialize)]
    struct Tag {
        #[serde(rename = "type")]
        kind: String,
    }
    let typed = serde_json::from_str::<Typed>(body);
    typed.map_or_else(|_| "message".to_owned(), |typed| typed.event.kind)
}
