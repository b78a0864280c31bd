//! `/v1/rooms/{room}`: making, changing, joining and closing rooms.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use utoipa_axum::router::OpenApiRouter;

use super::extract::{Body, Governed, Meant, Part, Seen, listed};
use super::params::{IdempotencyKey, IfMatchHeader, PageQuery, RoomPath};
use super::{Described, resource};
use crate::accounts::{self, Page, Versioned};
use crate::backend::Backend;
use crate::documents::Expected;
use crate::exchange::{self, App, Made, State};
use crate::govern::{Act, Maker};
use crate::limits;
use crate::model::rooms::{
    Destination, NewData, NewRoom, RoomChange, RoomDetails, RoomSettings, RoomView, Split,
};
use crate::model::{RoomInfo, RoomList};
use crate::names::RoomName;
use crate::problem::Problem;

pub(super) fn routes<B: Backend>() -> Described<B> {
    OpenApiRouter::new()
        .routes(resource!(list, create))
        .routes(resource!(read, change, close))
        .routes(resource!(merge))
        .routes(resource!(split))
        .routes(resource!(send))
}

pub(super) type PathOf<T> = Result<Path<T>, PathRejection>;

/// Does it, and answers 204.
pub(super) async fn done<B: Backend>(
    app: &Arc<App<B>>,
    room: RoomName,
    act: Act,
) -> Result<Response, Problem> {
    let backend = Arc::clone(&app.backend);
    app.run(async move { backend.act(room, act).await })
        .await??;
    Ok(exchange::gone())
}

fn check(settings: &RoomSettings) -> Result<(), Problem> {
    if settings.audio.slots > limits::AUDIO_SLOTS {
        let text = format!("audio.slots is {} at most", limits::AUDIO_SLOTS);
        return Err(Problem::invalid(text));
    }
    accounts::check_texts(&settings.metadata, &settings.attributes)
}

async fn shown<B: Backend>(
    app: &Arc<App<B>>,
    room: &RoomName,
) -> Result<Versioned<RoomView>, Problem> {
    let (backend, name) = (Arc::clone(&app.backend), room.clone());
    let found = app.run(async move {
        let details = backend.details(name.clone()).await;
        (details, backend.room(name).await)
    });
    let (details, info) = found.await?;
    let (details, version) = match (details, &info) {
        (Some(details), _) => (details.value, details.version),
        (None, Some(_)) => (RoomDetails::default(), 0),
        (None, None) => {
            let text = format!("there is no room called {room}");
            return Err(Problem::not_found(text));
        }
    };
    let nobody = || RoomInfo {
        name: room.as_str().to_owned(),
        ..RoomInfo::default()
    };
    let value = RoomView {
        info: info.unwrap_or_else(nobody),
        details,
    };
    Ok(Versioned { value, version })
}

/// List rooms
#[utoipa::path(get, path = "/v1/rooms", operation_id = "listRooms", tag = "rooms",
    params(PageQuery), responses((status = 200, body = RoomList, description = "A page of rooms")))]
async fn list<B: Backend>(
    axum::extract::State(app): State<B>,
    headers: HeaderMap,
    part: Result<Part, Problem>,
) -> Result<Response, Problem> {
    app.auth.lister(&headers)?;
    let Part { limit, after } = part?;
    let backend = Arc::clone(&app.backend);
    let mut rooms = app.run(async move { backend.rooms().await }).await?;
    rooms.sort_by(|a, b| a.name.cmp(&b.name));
    rooms.retain(|room| after.as_ref().is_none_or(|after| room.name > *after));
    let page = Page::of(rooms, limit, |room| room.name.clone());
    Ok(listed(page, |rooms, next| RoomList { rooms, next }))
}

/// Make a room
///
/// Rooms need not be made: the first participant does it. One that is made can have settings, and stays
/// while nobody is in it.
#[utoipa::path(post, path = "/v1/rooms", operation_id = "createRoom", tag = "rooms",
    params(IdempotencyKey), request_body = NewRoom,
    responses(
        (status = 201, body = RoomView, description = "The room"),
        (status = 409, description = "There is one of this name"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn create<B: Backend>(
    axum::extract::State(app): State<B>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let caller = app.auth.creator(&headers)?;
    let new: NewRoom = exchange::json(&headers, &bytes)?;
    if !new.keep {
        return Err(Problem::invalid(
            "nobody is in a new room, so that without keep it would be gone at once",
        ));
    }
    let settings = RoomSettings {
        metadata: new.metadata,
        attributes: new.attributes,
        lobby: new.lobby,
        max_participants: new.max_participants,
        keep: new.keep,
        audio: new.audio,
    };
    check(&settings)?;
    let maker = caller.key().map(|key| Maker {
        key: key.to_owned(),
        quota: app.auth.accounts.quota(key),
    });
    let (app, room) = (Arc::clone(&app), new.name);
    let making = Arc::clone(&app);
    let make = async move {
        let expected = Expected::Absent;
        let act = Act::Configure {
            expected,
            settings,
            maker,
        };
        done(&making, room.clone(), act)
            .await
            .map_err(|problem| match problem.kind {
                "version-mismatch" => Problem::conflict(format!("there is a room called {room}")),
                _ => problem,
            })?;
        let location = format!("/v1/rooms/{}", exchange::segment(room.as_str()));
        Made::at(location, shown(&making, &room).await?)
    };
    app.once(&headers, &caller, &bytes, make).await
}

/// Show a room
///
/// Its `ETag` is that of its settings.
#[utoipa::path(get, path = "/v1/rooms/{room}", operation_id = "readRoom",
    tag = "rooms", params(RoomPath),
    responses(
        (status = 200, body = RoomView, description = "Its settings"),
        (status = 404, description = "There is no such room"),
    ))]
async fn read<B: Backend>(
    axum::extract::State(app): State<B>,
    Seen(room): Seen,
) -> Result<Response, Problem> {
    exchange::versioned(shown(&app, &room).await?)
}

/// Change a room
#[utoipa::path(patch, path = "/v1/rooms/{room}", operation_id = "changeRoom",
    tag = "rooms", params(RoomPath, IfMatchHeader), request_body = RoomChange,
    responses(
        (status = 200, body = RoomView, description = "Its settings as they are now"),
        (status = 404, description = "There is no such room"),
        (status = 412, description = "They were changed meanwhile"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn change<B: Backend>(
    axum::extract::State(app): State<B>,
    Governed(room): Governed,
    Meant(expected): Meant,
    Body(change): Body<RoomChange>,
) -> Result<Response, Problem> {
    let found = shown(&app, &room).await?;
    if !expected.met_by(Some(found.version)) {
        return Err(Problem::version_mismatch(
            "it was changed meanwhile: read it again",
        ));
    }
    let old = found.value.details.settings.clone();
    let settings = RoomSettings {
        metadata: change.metadata.unwrap_or(old.metadata),
        attributes: change.attributes.unwrap_or(old.attributes),
        lobby: change.lobby.unwrap_or(old.lobby),
        max_participants: change.max_participants.unwrap_or(old.max_participants),
        keep: change.keep.unwrap_or(old.keep),
        audio: change.audio.unwrap_or(old.audio),
    };
    check(&settings)?;
    let expected = Expected::Version(found.version);
    let act = Act::Configure {
        expected,
        settings: settings.clone(),
        maker: None,
    };
    done(&app, room.clone(), act).await?;
    match shown(&app, &room).await {
        // It was kept for nobody, and is not any more.
        Err(problem) if problem.status == StatusCode::NOT_FOUND => {
            let mut last = found.value;
            last.details.settings = settings;
            Ok(exchange::fresh(last))
        }
        shown => exchange::versioned(shown?),
    }
}

/// Close a room
///
/// Everybody's stay in it ends.
#[utoipa::path(delete, path = "/v1/rooms/{room}", operation_id = "closeRoom",
    tag = "rooms", params(RoomPath),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such room"),
    ))]
async fn close<B: Backend>(
    axum::extract::State(app): State<B>,
    Governed(room): Governed,
) -> Result<Response, Problem> {
    done(&app, room, Act::Close).await
}

/// Merge a room into another
///
/// Everybody of this room goes to the other one; nothing reconnects.
/// A moderator's token needs the other room as its `destinationRoom`.
#[utoipa::path(post, path = "/v1/rooms/{room}/merge", operation_id = "mergeRoom", tag = "rooms",
    params(RoomPath), request_body = Destination,
    responses(
        (status = 204, description = "All are there"),
        (status = 404, description = "There is no such room"),
        (status = 409, description = "Somebody would be there twice, or there is no place"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn merge<B: Backend>(
    axum::extract::State(app): State<B>,
    Governed(room): Governed,
    headers: HeaderMap,
    Body(Destination { to }): Body<Destination>,
) -> Result<Response, Problem> {
    app.auth.opener(&headers, &to)?;
    let identities = Vec::new();
    done(&app, room, Act::Move { identities, to }).await
}

/// Split a room
///
/// Some go to another room, all of them or none; nothing reconnects.
/// A moderator's token needs the other room as its `destinationRoom`.
#[utoipa::path(post, path = "/v1/rooms/{room}/split", operation_id = "splitRoom", tag = "rooms",
    params(RoomPath), request_body = Split,
    responses(
        (status = 204, description = "They are there"),
        (status = 404, description = "Somebody of them is not here"),
        (status = 409, description = "Somebody would be there twice, or there is no place"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn split<B: Backend>(
    axum::extract::State(app): State<B>,
    Governed(room): Governed,
    headers: HeaderMap,
    Body(Split { to, identities }): Body<Split>,
) -> Result<Response, Problem> {
    app.auth.opener(&headers, &to)?;
    if identities.is_empty() || identities.len() > limits::PAGE {
        let text = format!("identities: 1 to {} are allowed", limits::PAGE);
        return Err(Problem::invalid(text));
    }
    done(&app, room, Act::Move { identities, to }).await
}

/// Send data to participants
///
/// As the application's server: it has no sender.
#[utoipa::path(post, path = "/v1/rooms/{room}/data", operation_id = "sendData", tag = "rooms",
    params(RoomPath), request_body = NewData,
    responses(
        (status = 204, description = "It is on its way"),
        (status = 404, description = "There is no such room"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn send<B: Backend>(
    axum::extract::State(app): State<B>,
    Governed(room): Governed,
    Body(data): Body<NewData>,
) -> Result<Response, Problem> {
    let decoded = STANDARD
        .decode(&data.payload)
        .map_err(|_| Problem::invalid("payload: is no base64"))?;
    let too_much = decoded.len() > limits::DATA_MESSAGE_BYTES
        || data.topic.len() > limits::TOPIC_BYTES
        || data.to.as_ref().is_some_and(|to| to.len() > limits::PAGE);
    if too_much {
        return Err(Problem::invalid(
            "payload, topic or to: there is more than is allowed",
        ));
    }
    let act = Act::Send {
        to: data.to,
        topic: data.topic,
        payload: data.payload,
        lossy: data.lossy,
    };
    done(&app, room, act).await
}
