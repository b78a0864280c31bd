//! `ion status`: the server's state as a table for people, and `ion top`: the same, live.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use ion_api::client::{Client, ClientError};
use ion_api::model::{ParticipantList, RoomInfo, Status, XdpStatus};

/// Fetches status and rooms and renders them.
///
/// # Errors
/// A sentence for the user: the server cannot be reached, or refuses.
pub fn fetch(server: &Client) -> Result<String, ClientError> {
    Ok(render(&server.status()?, &server.rooms()?))
}

/// Rooms of which [`top`] shows participants: the busiest ones.
const TOP_ROOMS: usize = 4;
/// Participants that it shows of each.
const TOP_PARTICIPANTS: usize = 8;
/// Between two looks.
const TOP_INTERVAL: Duration = Duration::from_secs(1);
/// To the upper left corner, and nothing below.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Shows status, the busiest rooms' participants and what XDP drops, anew each second until it
/// is interrupted.
///
/// # Errors
/// As [`fetch`].
pub fn top(server: &Client) -> Result<String, ClientError> {
    loop {
        let text = fetch_top(server)?;
        let mut out = io::stdout().lock();
        let shown = write!(out, "{CLEAR}{text}\n(Ctrl-C ends)\n").and_then(|()| out.flush());
        drop(out);
        if shown.is_err() {
            return Ok(String::new());
        }
        std::thread::sleep(TOP_INTERVAL);
    }
}

fn fetch_top(server: &Client) -> Result<String, ClientError> {
    let (status, mut rooms) = (server.status()?, server.rooms()?);
    rooms.sort_by_key(|room| Reverse(room.received_bps + room.sent_bps));
    let mut text = render(&status, &rooms);
    for room in rooms.iter().take(TOP_ROOMS) {
        // A room may be gone by now.
        if let Ok(list) = server.participants(&room.name) {
            render_participants(&mut text, &room.name, &list);
        }
    }
    render_dropped(&mut text, &status.xdp);
    Ok(text)
}

fn render_participants(out: &mut String, room: &str, list: &ParticipantList) {
    let mut all: Vec<_> = list.participants.iter().collect();
    all.sort_by_key(|one| Reverse(one.received_bps + one.sent_bps));
    let rows = all.iter().take(TOP_PARTICIPANTS).map(|one| {
        vec![
            one.identity.clone(),
            format!("{:?}", one.role).to_lowercase(),
            format!("{:?}", one.state).to_lowercase(),
            one.rtt_ms
                .map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms")),
            one.worker.to_string(),
            rate(one.received_bps),
            rate(one.sent_bps),
        ]
    });
    let first = format!("IN ROOM {room}");
    let heads = [&first, "ROLE", "STATE", "RTT", "WORKER", "IN", "OUT"];
    table(out, &heads, rows.collect());
}

fn render_xdp(out: &mut String, xdp: &XdpStatus) {
    if xdp.frames.is_empty() {
        return;
    }
    let rows = xdp
        .frames
        .iter()
        .map(|(verdict, count)| vec![verdict.clone(), count.to_string()]);
    let first = format!("XDP {}", xdp.attached);
    table(out, &[&first, "FRAMES"], rows.collect());
}

fn render_dropped(out: &mut String, xdp: &XdpStatus) {
    let rows = xdp.dropped.iter().take(TOP_PARTICIPANTS).map(|one| {
        vec![
            one.verdict.clone(),
            one.remote.clone(),
            one.local.clone(),
            one.payload_bytes.to_string(),
            one.payload_start.clone(),
        ]
    });
    let heads = ["DROPPED BY XDP", "FROM", "TO", "BYTES", "BEGINS WITH"];
    table(out, &heads, rows.collect());
}

/// The text of `ion status`.
pub fn render(status: &Status, rooms: &[RoomInfo]) -> String {
    let mut out = String::new();
    let state = if status.ready { "ready" } else { "not ready" };
    let plane = &status.dataplane;
    let _ = write!(
        out,
        "Ion {}, {state}, up {}",
        status.version,
        age(status.uptime_s)
    );
    if plane.pid != 0 {
        let _ = write!(
            out,
            "; dataplane pid {}, up {}",
            plane.pid,
            age(plane.uptime_s)
        );
    }
    if !plane.media.is_empty() {
        let _ = write!(out, ", media {}", plane.media.join(" "));
    }
    out.push('\n');
    let workers = status.workers.iter().map(|w| {
        vec![
            w.worker.to_string(),
            w.transports.to_string(),
            w.received_packets.to_string(),
            w.sent_packets.to_string(),
            w.dropped_packets.to_string(),
            rate(w.received_bps),
            rate(w.sent_bps),
        ]
    });
    let heads = [
        "WORKER",
        "TRANSPORTS",
        "RECEIVED",
        "SENT",
        "DROPPED",
        "IN",
        "OUT",
    ];
    table(&mut out, &heads, workers.collect());
    let tables = status
        .tables
        .iter()
        .map(|t| vec![t.table.clone(), t.used.to_string(), t.capacity.to_string()]);
    table(&mut out, &["TABLE", "ROWS", "OF"], tables.collect());
    render_xdp(&mut out, &status.xdp);
    let rooms = rooms.iter().map(|r| {
        vec![
            r.name.clone(),
            r.publishers.to_string(),
            r.viewers.to_string(),
            r.tracks.to_string(),
            rate(r.received_bps),
            rate(r.sent_bps),
        ]
    });
    table(
        &mut out,
        &["ROOM", "PUBLISHERS", "VIEWERS", "TRACKS", "IN", "OUT"],
        rooms.collect(),
    );
    out
}

/// First column to the left, the others to the right.
pub(super) fn table(out: &mut String, heads: &[&str], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let widths: Vec<usize> = (0..heads.len())
        .map(|c| {
            rows.iter()
                .map(|row| row[c].len())
                .max()
                .unwrap_or(0)
                .max(heads[c].len())
        })
        .collect();
    out.push('\n');
    let heads = heads.iter().map(|head| (*head).to_owned()).collect();
    for row in std::iter::once(heads).chain(rows) {
        let mut line = format!("{:<w$}", row[0], w = widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            let _ = write!(line, "  {cell:>width$}");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

pub(super) fn rate(bps: u64) -> String {
    match bps {
        0..1_000 => format!("{bps} bit/s"),
        1_000..1_000_000 => format!("{} kbit/s", bps / 1_000),
        _ => format!("{}.{} Mbit/s", bps / 1_000_000, bps % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ion_api::model::{DataplaneStatus, RoomInfo, WorkerStatus};

    #[test]
    fn columns_line_up() {
        let status = Status {
            version: "0.1.0".into(),
            uptime_s: 61,
            ready: true,
            dataplane: DataplaneStatus {
                pid: 7,
                uptime_s: 7300,
                media: vec!["0.0.0.0:7882".into()],
            },
            workers: vec![WorkerStatus {
                transports: 12,
                sent_bps: 2_560_000,
                ..Default::default()
            }],
            ..Status::default()
        };
        let room = |name: &str, viewers| RoomInfo {
            name: name.into(),
            viewers,
            ..Default::default()
        };
        let rooms = [room("lobby", 2), room("a-longer-name", 1000)];
        let expected = "\
Ion 0.1.0, ready, up 1 min; dataplane pid 7, up 2 h 1 min, media 0.0.0.0:7882

WORKER  TRANSPORTS  RECEIVED  SENT  DROPPED       IN         OUT
0               12         0     0        0  0 bit/s  2.5 Mbit/s

ROOM           PUBLISHERS  VIEWERS  TRACKS       IN      OUT
lobby                   0        2       0  0 bit/s  0 bit/s
a-longer-name           0     1000       0  0 bit/s  0 bit/s
";
        assert_eq!(render(&status, &rooms), expected);
    }
}
