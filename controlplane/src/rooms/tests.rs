use super::*;
use crate::record::Codec;
use ion_api::accounts::Subject;
use ion_api::signal::server::{Event, Reason};
use ion_api::token::TokenRef;
use ion_sdp::{CodecKind, Fmtp};
use std::time::Duration;

mod govern;
mod media;
mod people;
mod properties;
mod stage;

pub(super) fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

pub(super) fn identity(name: &str) -> Identity {
    Identity::parse(name).unwrap()
}

pub(super) fn codec(kind: CodecKind) -> TrackCodec {
    TrackCodec {
        kind,
        fmtp: Fmtp::default(),
    }
}

pub(super) fn kind_of(kind: CodecKind) -> Kind {
    match kind {
        CodecKind::Opus => Kind::Audio,
        _ => Kind::Video,
    }
}

pub(super) fn slot(accepts: &[CodecKind], assigned: Option<u64>) -> Slot {
    Slot {
        kind: accepts.first().map_or(Kind::Video, |kind| kind_of(*kind)),
        mid: String::new(),
        accepts: accepts.iter().map(|kind| codec(*kind)).collect(),
        assigned: assigned.map(PublicationId),
    }
}

pub(super) fn join(key: u64, name: &RoomName, who: &str, kind: ParticipantKind) -> Join {
    Join {
        key: Key(key),
        room: name.clone(),
        identity: identity(who),
        description: Description::default(),
        kind,
        permissions: Permissions::default(),
        play: match kind {
            ParticipantKind::Sdk => Play::Subscribe { auto: true },
            ParticipantKind::Whep => Play::Follow {
                wanted: None,
                current: None,
            },
            _ => Play::Nothing,
        },
        joined_at_s: 1,
        token: None,
        is_admitted: kind != ParticipantKind::Sdk,
    }
}

pub(super) fn publication(key: u64, id: u64, kind: CodecKind) -> Publish {
    Publish {
        key: Key(key),
        id: PublicationId(id),
        cid: format!("c{id}"),
        kind: kind_of(kind),
        codec: Codec(codec(kind)),
        source: match kind {
            CodecKind::Opus => Source::Microphone,
            _ => Source::Camera,
        },
        name: String::new(),
        stream: String::new(),
        layers: Vec::new(),
        scalability_mode: String::new(),
        encrypted: false,
        muted: false,
    }
}

struct House {
    rooms: Rooms,
    now: Instant,
}

impl House {
    fn new() -> Self {
        Self {
            rooms: Rooms::default(),
            now: Instant::now(),
        }
    }

    #[track_caller]
    fn does(&mut self, input: Input) -> Vec<Effect> {
        self.rooms.handle(input, self.now).unwrap()
    }

    #[track_caller]
    fn joins(&mut self, key: u64, name: &str, who: &str) -> Vec<Effect> {
        let join = join(key, &room(name), who, ParticipantKind::Sdk);
        let mut effects = self.does(Input::Join(Box::new(join)));
        effects.extend(self.does(Input::Live(Key(key))));
        effects
    }

    #[track_caller]
    fn publishes(&mut self, key: u64, id: u64, kind: CodecKind) -> Vec<Effect> {
        self.does(Input::Publish(Box::new(publication(key, id, kind))))
    }

    /// Gives a participant of the SDK a section for each of these.
    #[track_caller]
    fn receives(&mut self, key: u64, ids: &[(u64, CodecKind)]) -> Vec<Effect> {
        let slots = ids
            .iter()
            .map(|(id, kind)| slot(&[*kind], Some(*id)))
            .collect();
        self.does(Input::Slots {
            key: Key(key),
            slots,
        })
    }

    fn sent(&self, key: u64) -> Vec<Option<u64>> {
        self.rooms
            .bound(Key(key))
            .iter()
            .map(|id| id.map(|id| id.0))
            .collect()
    }

    /// What a participant was told, by type.
    fn told(effects: &[Effect], key: u64) -> Vec<String> {
        let events = effects.iter().filter_map(|effect| match effect {
            Effect::Tell { to, event, .. } if to.contains(&Key(key)) => Some(name_of(event)),
            Effect::Resubscribed(k) if *k == Key(key) => Some("subscriptions".to_owned()),
            _ => None,
        });
        events.collect()
    }
}

fn name_of(event: &Event) -> String {
    let value = serde_json::to_value(event).unwrap();
    value["type"].as_str().unwrap().to_owned()
}

const A: CodecKind = CodecKind::Opus;
const V: CodecKind = CodecKind::Vp8;

fn whip(house: &mut House, key: u64, who: &str, tracks: &[(u64, CodecKind)]) {
    let join = join(key, &room("r"), who, ParticipantKind::Whip);
    house.does(Input::Join(Box::new(join)));
    for (id, kind) in tracks {
        house.publishes(key, *id, *kind);
    }
}

fn whep(house: &mut House, key: u64, wanted: Option<&str>) {
    let mut join = join(key, &room("r"), "viewer", ParticipantKind::Whep);
    join.play = Play::Follow {
        wanted: wanted.map(identity),
        current: None,
    };
    house.does(Input::Join(Box::new(join)));
    let slots = vec![slot(&[A], None), slot(&[V, CodecKind::H264], None)];
    house.does(Input::Slots {
        key: Key(key),
        slots,
    });
}
