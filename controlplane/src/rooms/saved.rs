//! What outlives the process: participants with what was settled about them, and rooms.

use super::Settled;
use super::{Cap, Description, Effect, Input, Join, Key, Publish, Refused, Room, Rooms, Settings};
use crate::record::{Codec, Link};
use ion_api::names::RoomName;
use ion_api::signal::PublicationId;
use ion_api::signal::model::{ParticipantState, SubscriptionBounds, SubscriptionRule};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// A participant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedParticipant {
    /// As it would join.
    pub join: Join,
    /// Grows with each change.
    pub version: u32,
    /// Its publications.
    pub publications: Vec<SavedPublication>,
    /// What was settled about its subscriptions.
    pub wishes: Vec<SavedWish>,
    /// What its slots were given.
    pub assigned: Vec<Option<PublicationId>>,
}

/// A publication.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedPublication {
    /// As it would be published.
    pub publish: Publish,
    /// A moderator muted it.
    pub silenced: bool,
    /// A moderator stopped it.
    pub paused: bool,
    /// How much of it anybody gets.
    pub cap: Cap,
    /// Rooms that it is attached to.
    pub attached: Vec<RoomName>,
    /// Grows with each change.
    pub version: u32,
}

/// What was settled about a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedWish {
    /// About what.
    pub publication: PublicationId,
    /// Whether to receive it.
    pub subscribed: Option<bool>,
    /// How much of it.
    pub bounds: SubscriptionBounds,
    /// Who decides.
    pub rule: SubscriptionRule,
}

/// A room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRoom {
    /// Its name.
    pub name: RoomName,
    /// Its settings.
    pub settings: Settings,
    /// Grows with each change.
    pub version: u32,
    /// Seconds since the Unix epoch.
    pub created_at_s: u64,
    /// Its seats with their rows, and the epoch of the tables that these are in.
    #[serde(default)]
    pub stage: Option<(u64, Vec<(PublicationId, Link)>)>,
}

impl Rooms {
    /// What to keep of a participant.
    pub fn save(&self, key: Key) -> Option<SavedParticipant> {
        let p = self.participants.get(&key)?;
        let saved = |id: &PublicationId| self.save_publication(*id);
        let wish = |(id, settled): (&PublicationId, &Settled)| SavedWish {
            publication: *id,
            subscribed: settled.subscribed,
            bounds: settled.bounds,
            rule: settled.rule,
        };
        Some(SavedParticipant {
            join: Join {
                key,
                room: p.room.clone(),
                identity: p.identity.clone(),
                description: Description {
                    name: Some(p.name.clone()),
                    metadata: Some(p.metadata.clone()),
                    attributes: p.attributes.clone(),
                },
                kind: p.kind,
                permissions: p.permissions.clone(),
                play: p.play.clone(),
                joined_at_s: p.joined_at_s,
                token: p.token.clone(),
                is_admitted: p.state != ParticipantState::Lobby,
            },
            version: p.version,
            publications: p.publications.iter().filter_map(saved).collect(),
            wishes: p.wishes.iter().map(wish).collect(),
            assigned: p.slots.iter().map(|slot| slot.assigned).collect(),
        })
    }

    fn save_publication(&self, id: PublicationId) -> Option<SavedPublication> {
        let p = self.publications.get(&id)?;
        Some(SavedPublication {
            publish: Publish {
                key: p.owner,
                id,
                cid: p.cid.clone(),
                kind: p.kind,
                codec: Codec(p.codec.clone()),
                source: p.source,
                name: p.name.clone(),
                stream: p.stream.clone(),
                layers: p.layers.clone(),
                scalability_mode: p.scalability_mode.clone(),
                encrypted: p.encrypted,
                muted: p.muted,
            },
            silenced: p.silenced,
            paused: p.paused,
            cap: p.cap,
            attached: p.attached.iter().cloned().collect(),
            version: p.version,
        })
    }

    /// Whether moderators settled anything about a participant's publications.
    pub fn is_settled(&self, key: Key) -> bool {
        let is_settled = |p: &super::Publication| {
            p.silenced || p.paused || p.cap != Cap::default() || !p.attached.is_empty()
        };
        let published = self.publications(key).iter();
        published
            .filter_map(|id| self.publications.get(id))
            .any(is_settled)
    }

    /// What to keep of a room; `None` where nothing was settled about it.
    pub fn save_room(&self, name: &RoomName) -> Option<SavedRoom> {
        let room = self.rooms.get(name).filter(|room| room.version > 0)?;
        Some(SavedRoom {
            name: name.clone(),
            settings: room.settings.clone(),
            version: room.version,
            created_at_s: room.created_at_s,
            stage: None,
        })
    }

    /// Takes up a room; before its participants.
    pub fn restore_room(&mut self, saved: SavedRoom) {
        let room = Room {
            settings: saved.settings,
            version: saved.version,
            created_at_s: saved.created_at_s,
            ..Room::default()
        };
        self.rooms.insert(saved.name, room);
    }

    /// Takes up an SDK participant with its publications; [`Rooms::settle`] follows.
    ///
    /// # Errors
    /// When it contradicts what is there.
    pub fn restore(
        &mut self,
        saved: &SavedParticipant,
        now: Instant,
    ) -> Result<Vec<Effect>, Refused> {
        let mut fx = self.handle(Input::Join(Box::new(saved.join.clone())), now)?;
        for one in &saved.publications {
            fx.extend(self.handle(Input::Publish(Box::new(one.publish.clone())), now)?);
        }
        Ok(fx)
    }

    /// What was settled about a participant that was taken up, once all of them were.
    pub fn settle(&mut self, saved: &SavedParticipant, now: Instant) -> Vec<Effect> {
        let mut fx = Vec::new();
        for one in &saved.publications {
            let Some(publication) = self.publications.get_mut(&one.publish.id) else {
                continue;
            };
            publication.silenced = one.silenced;
            publication.muted = one.publish.muted;
            publication.paused = one.paused;
            publication.cap = one.cap;
            publication.version = one.version;
            for room in &one.attached {
                let (publication, room) = (one.publish.id, room.clone());
                let attached = self.handle(Input::Attach { publication, room }, now);
                fx.extend(attached.unwrap_or_default());
            }
        }
        let known = &self.publications;
        if let Some(p) = self.participants.get_mut(&saved.join.key) {
            let wish = |wish: &SavedWish| {
                let settled = Settled {
                    subscribed: wish.subscribed,
                    bounds: wish.bounds,
                    rule: wish.rule,
                };
                known
                    .contains_key(&wish.publication)
                    .then_some((wish.publication, settled))
            };
            p.wishes = saved.wishes.iter().filter_map(wish).collect();
            p.version = saved.version;
        }
        fx
    }
}
