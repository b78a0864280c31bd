//! `/v1/rooms/{room}/participants/…` and `/v1/rooms/{room}/tracks/…`: what changes something.

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;

use super::extract::{Body, Somebody, Track, governed, publication};
use super::govern::{PathOf, done};
use super::params::{IdentityPath, OtherPath, RoomPath, TrackPath};
use super::{Described, resource};
use crate::accounts;
use crate::backend::Backend;
use crate::exchange::{self, App, State, decoded};
use crate::govern::Act;
use crate::model::rooms::{Decision, Destination, MuteAll, ParticipantChange, TrackChange};
use crate::names::RoomName;
use crate::problem::Problem;
use crate::signal::PublicationId;

pub(super) fn routes<B: Backend>() -> Described<B> {
    OpenApiRouter::new()
        .routes(resource!(change_participant, kick))
        .routes(resource!(admit))
        .routes(resource!(mute))
        .routes(resource!(shift))
        .routes(resource!(rule))
        .routes(resource!(change_track, unpublish))
        .routes(resource!(attach, detach))
}

/// Change a participant
///
/// Permissions take effect at once.
#[utoipa::path(patch, path = "/v1/rooms/{room}/participants/{identity}",
    operation_id = "changeParticipant", tag = "rooms", params(RoomPath, IdentityPath),
    request_body = ParticipantChange,
    responses(
        (status = 204, description = "It is so"),
        (status = 404, description = "There is no such participant"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn change_participant<B: Backend>(
    axum::extract::State(app): State<B>,
    Somebody { room, identity }: Somebody,
    Body(change): Body<ParticipantChange>,
) -> Result<Response, Problem> {
    let metadata = change.metadata.as_deref().unwrap_or_default();
    accounts::check_texts(metadata, &change.attributes)?;
    let describes =
        change.name.is_some() || change.metadata.is_some() || !change.attributes.is_empty();
    if describes || change.permissions.is_none() {
        let describe = Act::Describe {
            identity: identity.clone(),
            name: change.name.as_deref().map(crate::names::display_name),
            metadata: change.metadata,
            attributes: change.attributes,
        };
        done(&app, room.clone(), describe).await?;
    }
    match change.permissions {
        Some(permissions) => done(&app, room, Act::Permit(identity, permissions)).await,
        None => Ok(exchange::gone()),
    }
}

/// Kick a participant
///
/// Its stay ends, and its tokens for this room are refused from then on; a new token lets it in again.
#[utoipa::path(delete, path = "/v1/rooms/{room}/participants/{identity}",
    operation_id = "kickParticipant", tag = "rooms", params(RoomPath, IdentityPath),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such participant; its tokens are dead all the same"),
        (status = 409, description = "It is gone, but its tokens still work: there are as many revocations as there may be"),
    ))]
async fn kick<B: Backend>(
    axum::extract::State(app): State<B>,
    Somebody { room, identity }: Somebody,
) -> Result<Response, Problem> {
    let subject = accounts::Subject::Participant(room.clone(), identity.clone());
    // First, so that it cannot come back in between; where that fails, it goes all the same.
    let revoked = app
        .accounts(move |accounts| accounts.revoke(&subject, "kicked"))
        .await;
    let gone = done(&app, room, Act::Kick(identity)).await;
    revoked.and(gone)
}

/// Let a participant in from the lobby
#[utoipa::path(post, path = "/v1/rooms/{room}/participants/{identity}/admit",
    operation_id = "admitParticipant", tag = "rooms", params(RoomPath, IdentityPath),
    responses(
        (status = 204, description = "It is in the room"),
        (status = 404, description = "There is no such participant"),
        (status = 409, description = "It does not wait in the lobby"),
    ))]
async fn admit<B: Backend>(
    axum::extract::State(app): State<B>,
    Somebody { room, identity }: Somebody,
) -> Result<Response, Problem> {
    done(&app, room, Act::Admit(identity)).await
}

/// Mute a participant
///
/// All that it publishes now, or all of one kind; it may unmute itself.
#[utoipa::path(post, path = "/v1/rooms/{room}/participants/{identity}/mute",
    operation_id = "muteParticipant", tag = "rooms", params(RoomPath, IdentityPath),
    request_body = MuteAll,
    responses(
        (status = 204, description = "It is muted"),
        (status = 404, description = "There is no such participant"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn mute<B: Backend>(
    axum::extract::State(app): State<B>,
    Somebody { room, identity }: Somebody,
    Body(MuteAll { kind }): Body<MuteAll>,
) -> Result<Response, Problem> {
    done(&app, room, Act::MuteAll(identity, kind)).await
}

/// Move a participant to another room
///
/// With all that it publishes; nothing reconnects.
/// A moderator's token needs the other room as its `destinationRoom`.
#[utoipa::path(post, path = "/v1/rooms/{room}/participants/{identity}/move",
    operation_id = "moveParticipant", tag = "rooms", params(RoomPath, IdentityPath),
    request_body = Destination,
    responses(
        (status = 204, description = "It is there"),
        (status = 404, description = "There is no such participant"),
        (status = 409, description = "It would be there twice, or there is no place"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn shift<B: Backend>(
    axum::extract::State(app): State<B>,
    Somebody { room, identity }: Somebody,
    headers: HeaderMap,
    Body(Destination { to }): Body<Destination>,
) -> Result<Response, Problem> {
    app.auth.opener(&headers, &to)?;
    let identities = vec![identity];
    done(&app, room, Act::Move { identities, to }).await
}

/// Decide what a participant receives
///
/// `forced`: it gets the track whatever it wishes; `forbidden`: it does not; `free`: it decides.
#[utoipa::path(put, path = "/v1/rooms/{room}/participants/{identity}/subscriptions/{track}",
    operation_id = "decideSubscription", tag = "rooms", params(RoomPath, IdentityPath, TrackPath),
    request_body = Decision,
    responses(
        (status = 204, description = "It is so"),
        (status = 404, description = "There is no such participant or track"),
        (status = 409, description = "The state of the room does not allow this"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn rule<B: Backend>(
    axum::extract::State(app): State<B>,
    path: PathOf<(String, String, String)>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let (room, identity, track) = decoded(path)?;
    let room = governed(&app, &headers, &room)?;
    let (identity, track) = (exchange::identity(&identity)?, publication(&track)?);
    let Decision { rule } = exchange::json(&headers, &bytes)?;
    done(&app, room, Act::Rule(identity, track, rule)).await
}

/// Mute, pause or throttle a track
#[utoipa::path(patch, path = "/v1/rooms/{room}/tracks/{track}", operation_id = "changeTrack",
    tag = "rooms", params(RoomPath, TrackPath), request_body = TrackChange,
    responses(
        (status = 204, description = "It is so"),
        (status = 404, description = "There is no such track"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn change_track<B: Backend>(
    axum::extract::State(app): State<B>,
    Track { room, track }: Track,
    Body(TrackChange { paused, muted, cap }): Body<TrackChange>,
) -> Result<Response, Problem> {
    if muted == Some(false) {
        let text = "muted: only its publisher unmutes a track";
        return Err(Problem::invalid(text));
    }
    let acts = [
        cap.map(|cap| Act::Throttle(track, cap)),
        paused.map(|paused| Act::Pause(track, paused)),
        muted.map(|_| Act::Mute(track)),
    ];
    for act in acts.into_iter().flatten() {
        done(&app, room.clone(), act).await?;
    }
    Ok(exchange::gone())
}

/// End a track
///
/// Its publisher may publish again, unless it is not permitted to.
#[utoipa::path(delete, path = "/v1/rooms/{room}/tracks/{track}", operation_id = "endTrack",
    tag = "rooms", params(RoomPath, TrackPath),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such track"),
    ))]
async fn unpublish<B: Backend>(
    axum::extract::State(app): State<B>,
    Track { room, track }: Track,
) -> Result<Response, Problem> {
    done(&app, room, Act::Unpublish(track)).await
}

fn elsewhere<B>(
    app: &App<B>,
    path: PathOf<(String, String, String)>,
    headers: &HeaderMap,
) -> Result<(RoomName, PublicationId, RoomName), Problem> {
    let (room, track, other) = decoded(path)?;
    let (room, other) = (governed(app, headers, &room)?, exchange::room(&other)?);
    app.auth.opener(headers, &other)?;
    Ok((room, publication(&track)?, other))
}

/// Multicast a track to another room
///
/// Sent once by its publisher, forwarded to the viewers of both.
/// A moderator's token needs the other room as its `destinationRoom`.
#[utoipa::path(put, path = "/v1/rooms/{room}/tracks/{track}/rooms/{other}",
    operation_id = "attachTrack", tag = "rooms", params(RoomPath, TrackPath, OtherPath),
    responses(
        (status = 204, description = "It is forwarded there too"),
        (status = 404, description = "There is no such track"),
        (status = 409, description = "It is there already, or there is no place"),
        (status = 422, description = "It is in too many rooms"),
    ))]
async fn attach<B: Backend>(
    axum::extract::State(app): State<B>,
    path: PathOf<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (room, track, other) = elsewhere(&app, path, &headers)?;
    done(&app, room, Act::Attach(track, other)).await
}

/// Multicast a track no longer
#[utoipa::path(delete, path = "/v1/rooms/{room}/tracks/{track}/rooms/{other}",
    operation_id = "detachTrack", tag = "rooms", params(RoomPath, TrackPath, OtherPath),
    responses(
        (status = 204, description = "It is not forwarded there any more"),
        (status = 404, description = "There is no such track, or it is not forwarded there"),
    ))]
async fn detach<B: Backend>(
    axum::extract::State(app): State<B>,
    path: PathOf<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (room, track, other) = elsewhere(&app, path, &headers)?;
    done(&app, room, Act::Detach(track, other)).await
}
