//! What the management API asks of rooms: names become keys, and rooms decide.

use super::Core;
use crate::rooms::input::Cap;
use crate::rooms::{Description, Input, Key, Rooms, Settings};
use ion_api::accounts::Versioned;
use ion_api::documents::Expected;
use ion_api::govern::{self, Act, Maker, Member, RoomDetails, RoomSettings};
use ion_api::model::MediaKind;
use ion_api::names::{Identity, RoomName};
use ion_api::problem::Problem;
use ion_api::signal::PublicationId;
use ion_api::signal::model::SubscriptionInfo;
use std::time::Instant;

impl Core {
    /// Does something in a room, or refuses it.
    pub(super) fn act_in(
        &mut self,
        now: Instant,
        room: &RoomName,
        act: Act,
    ) -> Result<(), Problem> {
        for input in self.inputs(room, act)? {
            self.govern(now, input)?;
        }
        Ok(())
    }

    fn inputs(&self, room: &RoomName, act: Act) -> Result<Vec<Input>, Problem> {
        let rooms = &self.rooms;
        let one = |input| Ok(vec![input]);
        match act {
            Act::Configure {
                expected,
                settings,
                maker,
            } => {
                expect(rooms, room, expected)?;
                let mut settings = settings_from(settings);
                if let Some(Maker { key, quota }) = maker {
                    self.may_have_room(room, &key, quota)?;
                    settings.maker = Some(key);
                }
                let room = room.clone();
                one(Input::Configure { room, settings })
            }
            Act::Close => one(Input::Close(room.clone())),
            Act::Admit(identity) => each(rooms, room, &identity, Input::Admit),
            Act::Kick(identity) => each(rooms, room, &identity, Input::Kick),
            Act::Permit(identity, permissions) => {
                each(rooms, room, &identity, |key| Input::Permit {
                    key,
                    permissions: permissions.clone(),
                })
            }
            Act::Describe {
                identity,
                name,
                metadata,
                attributes,
            } => each(rooms, room, &identity, |key| Input::Describe {
                key,
                changes: Description {
                    name: name.clone(),
                    metadata: metadata.clone(),
                    attributes: attributes.clone(),
                },
                is_own: false,
            }),
            Act::MuteAll(identity, kind) => mute_all(rooms, room, &identity, kind),
            Act::Move { identities, to } => shift(rooms, room, &identities, to),
            Act::Rule(identity, publication, rule) => {
                published(rooms, room, publication)?;
                each(rooms, room, &identity, |key| Input::Rule {
                    key,
                    publication,
                    rule,
                })
            }
            Act::Mute(id) => one(Input::Mute(published(rooms, room, id)?)),
            Act::Pause(id, is_paused) => one(Input::Pause {
                publication: published(rooms, room, id)?,
                is_paused,
            }),
            Act::Throttle(id, cap) => one(Input::Throttle {
                publication: published(rooms, room, id)?,
                cap: cap_from(cap),
            }),
            Act::Unpublish(id) => one(Input::Unpublish(published(rooms, room, id)?)),
            Act::Attach(id, room_to) => one(Input::Attach {
                publication: published(rooms, room, id)?,
                room: room_to,
            }),
            Act::Detach(id, room_to) => one(Input::Detach {
                publication: published(rooms, room, id)?,
                room: room_to,
            }),
            // Goes another way: it changes nothing.
            Act::Send { .. } => Ok(Vec::new()),
        }
    }
}

fn settings_from(settings: RoomSettings) -> Settings {
    Settings {
        metadata: settings.metadata,
        attributes: settings.attributes,
        lobby: settings.lobby,
        max_participants: settings.max_participants,
        is_kept: settings.keep,
        audio: settings.audio,
        maker: None,
    }
}

fn cap_from(cap: govern::Cap) -> Cap {
    Cap {
        max_spatial: cap.max_spatial,
        max_temporal: cap.max_temporal,
        max_bitrate_bps: cap.max_bitrate_bps,
    }
}

fn not_there(room: &RoomName, identity: &Identity) -> Problem {
    Problem::not_found(format!("{identity} is not in a room called {room}"))
}

/// 404 or 412 where the room is not as expected.
fn expect(rooms: &Rooms, room: &RoomName, expected: Expected) -> Result<(), Problem> {
    let current = rooms.room_state(room).map(|state| u64::from(state.version));
    match (expected, current) {
        (Expected::Any | Expected::Version(_), None) => Err(Problem::not_found(format!(
            "there is no room called {room}"
        ))),
        _ if expected.met_by(current) => Ok(()),
        _ => Err(Problem::version_mismatch(
            "it was changed meanwhile: read it again",
        )),
    }
}

/// One input for each participant of this identity.
fn each(
    rooms: &Rooms,
    room: &RoomName,
    identity: &Identity,
    input: impl Fn(Key) -> Input,
) -> Result<Vec<Input>, Problem> {
    let keys = rooms.named(room, identity);
    match keys.is_empty() {
        true => Err(not_there(room, identity)),
        false => Ok(keys.into_iter().map(input).collect()),
    }
}

/// A publication of this room; what other rooms lend it is theirs to govern.
fn published(rooms: &Rooms, room: &RoomName, id: PublicationId) -> Result<PublicationId, Problem> {
    let owner = rooms.owner(id).and_then(|owner| rooms.room_of(owner));
    match owner == Some(room) {
        true => Ok(id),
        false => Err(Problem::not_found("there is no such track")),
    }
}

fn mute_all(
    rooms: &Rooms,
    room: &RoomName,
    identity: &Identity,
    kind: Option<MediaKind>,
) -> Result<Vec<Input>, Problem> {
    let keys = rooms.named(room, identity);
    if keys.is_empty() {
        return Err(not_there(room, identity));
    }
    let all = keys.iter().flat_map(|key| rooms.publications(*key));
    let wanted = all.filter(|id| {
        let info = rooms.publication_info(**id, false);
        info.is_some_and(|info| !info.muted && kind.is_none_or(|kind| info.kind == kind))
    });
    Ok(wanted.copied().map(Input::Mute).collect())
}

fn shift(
    rooms: &Rooms,
    room: &RoomName,
    identities: &[Identity],
    to: RoomName,
) -> Result<Vec<Input>, Problem> {
    if identities.is_empty() {
        let from = room.clone();
        return Ok(vec![Input::Merge { from, into: to }]);
    }
    let mut keys = Vec::new();
    for identity in identities {
        let own = rooms.named(room, identity);
        if own.is_empty() {
            return Err(not_there(room, identity));
        }
        keys.extend(own);
    }
    Ok(vec![Input::Move { keys, to }])
}

/// How a room is set up.
pub(crate) fn details(rooms: &Rooms, room: &RoomName) -> Option<Versioned<RoomDetails>> {
    let (settings, state) = (rooms.settings(room)?, rooms.room_state(room)?);
    let value = RoomDetails {
        settings: RoomSettings {
            metadata: settings.metadata.clone(),
            attributes: settings.attributes.clone(),
            lobby: settings.lobby,
            max_participants: settings.max_participants,
            keep: settings.is_kept,
            audio: settings.audio,
        },
        guests: rooms.guests(room),
        audio_slots: rooms.audio_slots(room),
    };
    Some(Versioned {
        value,
        version: u64::from(state.version),
    })
}

/// Who is in a room, without hidden ones.
pub(crate) fn members(rooms: &Rooms, room: &RoomName) -> Option<Vec<Member>> {
    rooms.settings(room)?;
    let keys = rooms.sessions(room).into_iter();
    let members = keys.filter_map(|key| {
        let permissions = rooms.permissions(key)?.clone();
        let info = rooms.participant_info(key)?;
        (!permissions.hidden).then_some(Member { info, permissions })
    });
    Some(members.collect())
}

/// What the participants of an identity receive.
pub(crate) fn subscriptions(
    rooms: &Rooms,
    room: &RoomName,
    identity: &Identity,
) -> Option<Vec<SubscriptionInfo>> {
    let keys = rooms.named(room, identity);
    (!keys.is_empty()).then(|| {
        keys.iter()
            .flat_map(|key| rooms.subscriptions(*key))
            .collect()
    })
}
