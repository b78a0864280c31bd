//! How the management API answers while sessions join.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ion_api::client::{Client, ClientError};
use ion_api::model::rooms::{AudioSettings, NewRoom};
use ion_api::names::RoomName;
use ion_api::token::{Claims, Grants};

use super::histogram::Histogram;
use super::report::{ApiFigures, Percentiles};
use super::shared::{Phase, Shared};

const EVERY: Duration = Duration::from_millis(20);
/// The room that is made and closed again and again.
const ROOM: &str = "load-probe";

/// Asks in turn for the rooms, for somebody's room, and makes and closes one of its own, until all sessions have joined.
pub(crate) fn run(shared: &Shared, url: &str) -> ApiFigures {
    let client = Client::new(url, token(shared).as_deref());
    let (mut all, mut by_request) = (Histogram::default(), BTreeMap::<_, Histogram>::new());
    let (mut errors, mut last_error) = (0, None);
    let mut next = Instant::now();
    for turn in 0_usize.. {
        if shared.all_settled() || shared.phase() >= Phase::Leaving {
            break;
        }
        let asked = Instant::now();
        let (name, outcome) = ask(&client, turn, shared.plan.rooms);
        let ns = u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX);
        all.record(ns);
        by_request.entry(name).or_default().record(ns);
        match outcome {
            // Nobody has come into that room yet.
            Err(ClientError::Refused { status: 404, .. }) | Ok(()) => {}
            Err(error) => {
                errors += 1;
                last_error = Some(error.to_string());
            }
        }
        next = (next + EVERY).max(Instant::now());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let _ = client.close_room(ROOM);
    ApiFigures {
        ms: Percentiles::of(&all),
        by_request: by_request
            .iter()
            .filter_map(|(name, times)| Some((*name, Percentiles::of(times)?)))
            .collect(),
        requests: all.count(),
        errors,
        last_error,
    }
}

fn ask(client: &Client, turn: usize, rooms: usize) -> (&'static str, Result<(), ClientError>) {
    let room = format!("load-{}", turn / 4 % rooms);
    match turn % 4 {
        0 => ("GET rooms", client.rooms().map(drop)),
        1 => ("GET participants", client.participants(&room).map(drop)),
        2 => {
            let made = RoomName::parse(ROOM).map(|name| {
                let new = NewRoom {
                    name,
                    metadata: String::new(),
                    attributes: BTreeMap::new(),
                    lobby: false,
                    max_participants: 0,
                    audio: AudioSettings::default(),
                    keep: true,
                };
                client.create_room(&new).map(drop)
            });
            ("POST room", made.unwrap_or(Ok(())))
        }
        _ => ("DELETE room", client.close_room(ROOM)),
    }
}

fn token(shared: &Shared) -> Option<String> {
    let plan = &shared.plan;
    let Some(key) = &plan.key else {
        return plan.token.clone();
    };
    let claims = Claims {
        sub: "probe".into(),
        video: Grants {
            server_admin: true,
            ..Grants::default()
        },
        ..Claims::default()
    };
    key.mint(claims, plan.duration)
}
