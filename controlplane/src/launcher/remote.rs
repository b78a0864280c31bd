//! `ion rooms` and `ion keys`: what a running server is asked over its HTTP API.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Subcommand;
use ion_api::client::{Client, ClientError};
use ion_api::model::access::{KeyInfo, KeySecret, NewKey, Rotation};
use ion_api::model::rooms::{Destination, Member, MuteAll, NewRoom};
use ion_api::names::RoomName;

use super::status::{rate, table};

/// `ion rooms …`.
#[derive(Debug, Subcommand)]
pub enum RoomsCommand {
    /// All rooms
    List,
    /// Who is in a room, and what they publish
    Show {
        /// The room
        room: RoomName,
    },
    /// Make a room that stays while nobody is in it
    Create {
        /// The room
        room: RoomName,
        /// Who joins waits until admitted
        #[arg(long)]
        lobby: bool,
        /// The application's own text
        #[arg(long, default_value = "")]
        metadata: String,
    },
    /// End a room and everybody's stay in it
    Close {
        /// The room
        room: RoomName,
    },
    /// Let somebody in from the lobby
    Admit {
        /// The room
        room: RoomName,
        /// Who
        identity: String,
    },
    /// Mute all that somebody publishes
    Mute {
        /// The room
        room: RoomName,
        /// Who
        identity: String,
    },
    /// End somebody's stay; its tokens for the room are dead
    Kick {
        /// The room
        room: RoomName,
        /// Who
        identity: String,
    },
    /// Move somebody to another room; nothing reconnects
    Move {
        /// The room
        room: RoomName,
        /// Who
        identity: String,
        /// The other room
        to: RoomName,
    },
}

/// `ion keys …`.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// All API keys of the server
    List,
    /// Make a key; shows its secret, this once
    Create {
        /// What it is for
        #[arg(long, default_value = "")]
        label: String,
    },
    /// Replace a key's secret; shows the new one, this once
    Rotate {
        /// The key
        key: String,
        /// For how many seconds the secret before is still accepted
        #[arg(long, default_value_t = 0)]
        grace: u64,
    },
    /// Delete a key; all its tokens are refused from then on
    Delete {
        /// The key
        key: String,
    },
}

/// Where to reach a server that listens on `address`: a wildcard is reached on loopback.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// What went wrong, with what may help.
pub fn sentence(base: &str, error: &ClientError) -> String {
    let remedy = match error {
        ClientError::Refused {
            status: 401 | 403, ..
        } => "; give that server's settings (--config), or a token that may (--token)",
        ClientError::Refused { kind, .. } if kind.is_empty() => "; is it Ion that listens there?",
        ClientError::Odd(_) => "; is it Ion that listens there?",
        ClientError::Unreachable(_) => "; is `ion run` running?",
        ClientError::Refused { .. } => "",
    };
    format!("{base}: {error}{remedy}")
}

/// Does what `ion rooms` asks for, and says what came of it.
///
/// # Errors
/// See [`ClientError`].
pub fn rooms(server: &Client, command: &RoomsCommand) -> Result<String, ClientError> {
    let done = |()| "done".to_owned();
    match command {
        RoomsCommand::List => list(server),
        RoomsCommand::Show { room } => Ok(members(&server.members(room.as_str())?)),
        RoomsCommand::Create {
            room,
            lobby,
            metadata,
        } => {
            let new = NewRoom {
                name: room.clone(),
                metadata: metadata.clone(),
                attributes: Default::default(),
                lobby: *lobby,
                max_participants: 0,
                keep: true,
                audio: Default::default(),
            };
            server.create_room(&new).map(|_| "made".to_owned())
        }
        RoomsCommand::Close { room } => server.close_room(room.as_str()).map(done),
        RoomsCommand::Admit { room, identity } => server.admit(room.as_str(), identity).map(done),
        RoomsCommand::Mute { room, identity } => server
            .mute(room.as_str(), identity, &MuteAll::default())
            .map(done),
        RoomsCommand::Kick { room, identity } => server.kick(room.as_str(), identity).map(done),
        RoomsCommand::Move { room, identity, to } => {
            let to = Destination { to: to.clone() };
            server
                .move_participant(room.as_str(), identity, &to)
                .map(done)
        }
    }
}

fn list(server: &Client) -> Result<String, ClientError> {
    let rooms = server.rooms()?;
    let rows = rooms.iter().map(|room| {
        vec![
            room.name.clone(),
            room.publishers.to_string(),
            room.viewers.to_string(),
            room.tracks.to_string(),
            rate(room.received_bps),
            rate(room.sent_bps),
        ]
    });
    let heads = ["ROOM", "PUBLISHERS", "VIEWERS", "TRACKS", "IN", "OUT"];
    Ok(tabled(&heads, rows.collect(), "there is no room"))
}

fn members(members: &[Member]) -> String {
    let rows = members.iter().map(|Member { info, .. }| {
        let tracks = info.publications.iter().map(|p| p.id.to_string());
        vec![
            info.identity.clone(),
            format!("{:?}", info.kind).to_lowercase(),
            format!("{:?}", info.state).to_lowercase(),
            tracks.collect::<Vec<_>>().join(" "),
        ]
    });
    let heads = ["PARTICIPANT", "KIND", "STATE", "TRACKS"];
    tabled(&heads, rows.collect(), "nobody is there")
}

/// Does what `ion keys` asks for, and says what came of it.
///
/// # Errors
/// See [`ClientError`].
pub fn keys(server: &Client, command: &KeysCommand) -> Result<String, ClientError> {
    match command {
        KeysCommand::List => Ok(key_table(&server.keys()?)),
        KeysCommand::Create { label } => {
            let new = NewKey {
                label: label.clone(),
                ..NewKey::default()
            };
            server.create_key(&new).map(|made| shown(&made))
        }
        KeysCommand::Rotate { key, grace } => {
            let rotation = Rotation { grace_s: *grace };
            server.rotate_key(key, &rotation).map(|made| shown(&made))
        }
        KeysCommand::Delete { key } => server.delete_key(key).map(|()| "done".to_owned()),
    }
}

fn shown(key: &KeySecret) -> String {
    format!("key: {}\nsecret: {}", key.info.key, key.secret)
}

fn key_table(keys: &[KeyInfo]) -> String {
    let rows = keys.iter().map(|key| {
        let from = if key.fixed { "settings" } else { "API" };
        vec![key.key.clone(), from.to_owned(), key.label.clone()]
    });
    tabled(
        &["KEY", "MADE BY", "LABEL"],
        rows.collect(),
        "there is no key",
    )
}

fn tabled(heads: &[&str], rows: Vec<Vec<String>>, none: &str) -> String {
    if rows.is_empty() {
        return none.to_owned();
    }
    let mut out = String::new();
    table(&mut out, heads, rows);
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_reached_on_loopback() {
        let reach = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reach("0.0.0.0:7880"), "127.0.0.1:7880");
        assert_eq!(reach("[::]:7880"), "[::1]:7880");
        assert_eq!(reach("192.0.2.1:1"), "192.0.2.1:1");
    }

    #[test]
    fn errors_say_what_may_help() {
        let refused = |status, kind: &str| ClientError::Refused {
            status,
            kind: kind.to_owned(),
            title: "No".to_owned(),
            detail: "because".to_owned(),
        };
        let base = "http://127.0.0.1:1";
        assert!(sentence(base, &refused(401, "token-missing")).contains("--token"));
        assert!(sentence(base, &refused(404, "")).contains("is it Ion"));
        assert!(sentence(base, &refused(404, "not-found")).ends_with("because"));
    }
}
