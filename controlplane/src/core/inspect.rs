//! What the API shows.

use super::Core;
use super::rates::Flow;
use crate::limits;
use crate::programmer::table_name;
use crate::record::{Kind, Played, Published};
use crate::rooms::Key;
use crate::session::Session;
use ion_api::model::{
    DataplaneStatus, DroppedPacket, EncodingInfo, MediaKind, ParticipantInfo, Role, RoomInfo,
    SessionState, Status, TableUsage, TrackInfo, WorkerStatus, XdpStatus,
};
use ion_api::names::{Identity, RoomName};
use ion_ebpf_types::{Sample, Verdict};
use ion_tables::{Bypass, Encoding, RowKind, Subscription, Transport, WorkerCounters};
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};
use zerocopy::FromBytes;

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

pub(super) fn media_kind(kind: Kind) -> MediaKind {
    match kind {
        Kind::Audio => MediaKind::Audio,
        Kind::Video => MediaKind::Video,
    }
}

impl Core {
    pub(super) fn of_room(&self, room: &RoomName) -> Vec<(Key, &Session)> {
        let keys = self.rooms.sessions(room).into_iter();
        keys.filter_map(|key| Some((key, self.sessions.get(&key)?)))
            .collect()
    }

    pub(super) fn room_infos(&self) -> Vec<RoomInfo> {
        self.rooms
            .names()
            .iter()
            .filter_map(|name| self.room_info(name))
            .collect()
    }

    pub(super) fn room_info(&self, room: &RoomName) -> Option<RoomInfo> {
        let sessions = self.of_room(room);
        let first = sessions
            .iter()
            .map(|(_, session)| session.record.joined_at_s)
            .min()?;
        let mut info = RoomInfo {
            name: room.as_str().to_owned(),
            created_at_s: first,
            ..RoomInfo::default()
        };
        let shown = sessions
            .iter()
            .filter(|(_, session)| !session.record.hidden);
        for (_, session) in shown {
            match session.record.role() {
                Role::Publisher => info.publishers += 1,
                Role::Viewer => info.viewers += 1,
                Role::Participant => {
                    info.publishers += u32::from(!session.record.published().is_empty());
                    info.viewers += u32::from(!session.record.played().is_empty());
                }
            }
            info.tracks += count(session.record.published().len());
            let row = session.record.row.row;
            info.received_bps += self.rates.bps(RowKind::Transport, row, Flow::Received);
            info.sent_bps += self.rates.bps(RowKind::Transport, row, Flow::Sent);
        }
        Some(info)
    }

    pub(super) fn participant_infos(
        &self,
        now: Instant,
        room: &RoomName,
    ) -> Option<Vec<ParticipantInfo>> {
        let sessions = self.of_room(room);
        if sessions.is_empty() {
            return None;
        }
        let shown = sessions
            .iter()
            .filter(|(_, session)| !session.record.hidden);
        Some(
            shown
                .map(|(key, session)| self.participant_info(now, *key, session))
                .collect(),
        )
    }

    fn participant_info(&self, now: Instant, key: Key, session: &Session) -> ParticipantInfo {
        let record = &session.record;
        let row = record.row.row;
        let rtt_us = self
            .programmer
            .tables()
            .counters::<Transport>(row)
            .map(|c| c.rtt_us.load());
        ParticipantInfo {
            identity: record.identity.as_str().to_owned(),
            name: record.name.clone(),
            role: record.role(),
            state: state(now, session),
            joined_at_s: record.joined_at_s,
            dtls_version: record
                .dtls_version
                .as_deref()
                .map(|v| v.trim_start_matches("DTLS ").to_owned()),
            srtp_profile: self.profile_name(session),
            rtt_ms: rtt_us
                .filter(|&us| us > 0 && session.is_connected())
                .map(milliseconds),
            tracks: count(
                record.published().len() + self.rooms.bound(key).iter().flatten().count(),
            ),
            received_bps: self.rates.bps(RowKind::Transport, row, Flow::Received),
            sent_bps: self.rates.bps(RowKind::Transport, row, Flow::Sent),
            worker: u32::from(session.worker),
        }
    }

    pub(super) fn track_infos(
        &self,
        room: &RoomName,
        identity: &Identity,
    ) -> Option<Vec<TrackInfo>> {
        let mut sessions = self.of_room(room);
        sessions
            .retain(|(_, session)| session.record.identity == *identity && !session.record.hidden);
        if sessions.is_empty() {
            return None;
        }
        let mut infos = Vec::new();
        for (key, session) in sessions {
            for track in session.record.published() {
                infos.push(self.published_info(track));
            }
            for (index, slot) in session.record.played().iter().enumerate() {
                infos.push(self.played_info(key, index, slot));
            }
        }
        Some(infos)
    }

    fn published_info(&self, track: &Published) -> TrackInfo {
        let tables = self.programmer.tables();
        let encodings: Vec<EncodingInfo> = track
            .encodings
            .iter()
            .enumerate()
            .map(|(layer, encoding)| {
                let row = encoding.row.row;
                let mut info = EncodingInfo {
                    watched: self.live.is_watched(track.row, layer),
                    rid: encoding.rid.clone(),
                    ssrc: encoding.ssrc.unwrap_or(0),
                    bitrate_bps: self.rates.bps(RowKind::Encoding, row, Flow::Received),
                    ..EncodingInfo::default()
                };
                if let Some(state) = tables
                    .state::<Encoding>(row)
                    .and_then(|cell| cell.read().ok())
                    && state.generation == encoding.row.generation
                {
                    info.ssrc = state.ssrc;
                }
                if let Some(counters) = tables.counters::<Encoding>(row)
                    && counters.generation.load() == u64::from(encoding.row.generation)
                {
                    info.packets = counters.packets_received.load();
                    info.bytes = counters.bytes_received.load();
                    // Two's complement: duplicates can make it negative.
                    info.lost =
                        u64::try_from(counters.packets_lost.load().cast_signed()).unwrap_or(0);
                    info.retransmitted = counters.retransmitted_received.load();
                    info.nacks = counters.nacks_sent.load();
                    info.keyframe_requests = counters.plis_sent.load() + counters.firs_sent.load();
                    info.jitter_ms = Some(milliseconds(counters.jitter_us.load()));
                }
                info
            })
            .collect();
        let viewers = self
            .rooms
            .players(track.id)
            .filter_map(|(viewer, _)| self.sessions.get(&viewer))
            .filter(|viewer| !viewer.record.hidden)
            .count();
        TrackInfo {
            id: track.id.to_string(),
            kind: media_kind(track.kind),
            codec: track.codec.0.kind.name().to_owned(),
            mid: track.mid.clone(),
            direction: Role::Publisher,
            viewers: count(viewers),
            speaking_dbov: self.live.speaking(track.row).map(|level| -i16::from(level)),
            ..sums(encodings)
        }
    }

    fn played_info(&self, key: Key, index: usize, slot: &Played) -> TrackInfo {
        let row = slot.row.row;
        let bound = self.rooms.bound(key).get(index).copied().flatten();
        let source = bound.and_then(|bound| self.published(bound));
        let (publisher, track) = (source.map(|(p, _)| p), source.map(|(_, t)| t));
        let mut info = EncodingInfo {
            ssrc: slot.ssrc,
            bitrate_bps: self.rates.bps(RowKind::Subscription, row, Flow::Sent),
            ..EncodingInfo::default()
        };
        if let Some(counters) = self.programmer.tables().counters::<Subscription>(row)
            && counters.generation.load() == u64::from(slot.row.generation)
        {
            info.packets = counters.packets_sent.load();
            info.bytes = counters.bytes_sent.load();
            info.retransmitted = counters.retransmitted_sent.load();
            info.nacks = counters.nacks_received.load();
        }
        let first = slot
            .payloads
            .first()
            .map(|payload| payload.codec.0.kind.name());
        let codec = track
            .map(|track| track.codec.0.kind.name())
            .or(first)
            .unwrap_or("");
        TrackInfo {
            id: track_id(slot.row),
            kind: media_kind(slot.kind),
            codec: codec.to_owned(),
            mid: slot.mid.clone(),
            direction: Role::Viewer,
            publisher: publisher
                .filter(|p| !p.record.hidden)
                .map(|p| p.record.identity.as_str().to_owned()),
            ..sums(vec![info])
        }
    }

    pub(super) fn status_info(&self, now: Instant) -> Status {
        let tables = self.programmer.tables();
        let header = tables.header();
        let roles = |role| {
            count(
                self.sessions
                    .values()
                    .filter(|s| s.record.role() == role)
                    .count(),
            )
        };
        let workers = (0..tables.workers())
            .filter_map(|worker| Some(self.worker_status(worker, tables.worker_counters(worker)?)));
        let up_us = SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0))
            .saturating_sub(header.clock_zero_unix_us());
        let is_attached = self.dataplane.is_some();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: now.saturating_duration_since(self.started).as_secs(),
            ready: self.ready.load(Ordering::Relaxed),
            attachments: header.control().incarnation.load(),
            rooms: count(self.rooms.len()),
            publishers: roles(Role::Publisher),
            viewers: roles(Role::Viewer),
            dataplane: DataplaneStatus {
                pid: u32::try_from(header.dataplane().pid.load())
                    .ok()
                    .filter(|_| is_attached)
                    .unwrap_or(0),
                uptime_s: up_us / 1_000_000,
                media: self.media.iter().map(ToString::to_string).collect(),
            },
            workers: workers.collect(),
            tables: RowKind::ALL
                .into_iter()
                .map(|kind| {
                    let (used, capacity) = self.programmer.usage(kind);
                    TableUsage {
                        table: table_name(kind).to_owned(),
                        used,
                        capacity,
                    }
                })
                .collect(),
            xdp: xdp_status(header.bypass()),
        }
    }

    fn worker_status(&self, worker: usize, counters: &WorkerCounters) -> WorkerStatus {
        let owned = || {
            self.sessions
                .values()
                .filter(|session| session.is_connected() && usize::from(session.worker) == worker)
        };
        let bps = |flow| {
            owned()
                .map(|s| self.rates.bps(RowKind::Transport, s.record.row.row, flow))
                .sum()
        };
        WorkerStatus {
            worker: count(worker),
            transports: count(owned().count()),
            received_packets: counters.packets_received.load(),
            sent_packets: counters.packets_sent.load(),
            received_bps: bps(Flow::Received),
            sent_bps: bps(Flow::Sent),
            dropped_packets: counters.drops.iter().map(ion_tables::Counter::load).sum(),
            ring_sent_packets: counters.ring_sent.load(),
        }
    }
}

/// How far a session has come.
pub(super) fn state(now: Instant, session: &Session) -> SessionState {
    let last_seen = session.agent().last_seen();
    let is_late =
        last_seen.is_none_or(|seen| now.saturating_duration_since(seen) > limits::CONSENT_LATE);
    match (session.is_connected(), last_seen) {
        (true, _) if is_late => SessionState::Disconnected,
        (true, _) => SessionState::Connected,
        (false, Some(_)) => SessionState::Connecting,
        (false, None) => SessionState::Negotiated,
    }
}

fn xdp_status(bypass: &Bypass) -> XdpStatus {
    let frames = Verdict::ALL.into_iter().zip(&bypass.verdicts);
    let frames = frames.map(|(verdict, count)| (verdict.name().to_owned(), count.load()));
    // What the other process wrote is not trusted: a sample that makes no sense is left out.
    let samples = bypass.samples.read();
    let samples = samples.iter().flat_map(|samples| &samples.samples);
    let mut samples: Vec<_> = samples
        .filter_map(|bytes| Sample::read_from_bytes(bytes).ok())
        .filter(|sample| sample.at_ns != 0)
        .collect();
    samples.sort_unstable_by_key(|sample| std::cmp::Reverse(sample.at_ns));
    XdpStatus {
        attached: match bypass.attached.load() {
            Bypass::NATIVE => "native",
            Bypass::GENERIC => "generic",
            _ => "none",
        }
        .to_owned(),
        frames: frames.filter(|(_, count)| *count > 0).collect(),
        dropped: samples.iter().filter_map(dropped_packet).collect(),
    }
}

fn dropped_packet(sample: &Sample) -> Option<DroppedPacket> {
    let copied = usize::from(sample.payload_copied);
    let payload = sample.payload.get(..copied)?.iter();
    Some(DroppedPacket {
        verdict: sample.verdict()?.name().to_owned(),
        remote: sample.key.remote.socket_addr().to_string(),
        local: sample.key.local.socket_addr().to_string(),
        payload_bytes: sample.payload_len,
        payload_start: payload.map(|byte| format!("{byte:02x}")).collect(),
    })
}

/// The row's number and life: stable while the track lives, and tells nothing else.
pub(super) fn track_id(row: crate::record::Link) -> String {
    format!("TR_{}_{}", row.row, row.generation)
}

fn sums(encodings: Vec<EncodingInfo>) -> TrackInfo {
    let sum = |field: fn(&EncodingInfo) -> u64| encodings.iter().map(field).sum();
    TrackInfo {
        bitrate_bps: sum(|e| e.bitrate_bps),
        packets: sum(|e| e.packets),
        bytes: sum(|e| e.bytes),
        lost: sum(|e| e.lost),
        encodings,
        ..TrackInfo::default()
    }
}

pub(super) fn milliseconds(us: u64) -> f64 {
    // Below 2^32 microseconds is over an hour: more than any time shown.
    f64::from(u32::try_from(us).unwrap_or(u32::MAX)) / 1_000.0
}
