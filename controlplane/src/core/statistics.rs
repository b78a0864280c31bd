//! What the API shows of the counters in the rows.

use super::Core;
use super::inspect::{media_kind, track_id};
use super::rates::Flow;
use crate::record::{Link, Played, Published, PublishedEncoding};
use crate::rooms::Key;
use crate::session::Session;
use ion_api::model::stats::{
    InboundStats, Layer, Limitation, OutboundStats, ParticipantStats, SessionStats, TransportStats,
};
use ion_api::names::{Identity, RoomName};
use ion_tables::{
    Counter, Encoding, Limit, RowKind, Subscription, SubscriptionCounters, Transport,
};

impl Core {
    pub(super) fn stats(&self, room: &RoomName, identity: &Identity) -> Option<ParticipantStats> {
        let sessions = self.of_room(room).into_iter();
        let sessions: Vec<SessionStats> = sessions
            .filter(|(_, session)| session.record.identity == *identity && !session.record.hidden)
            .map(|(key, session)| self.session_stats(key, session))
            .collect();
        (!sessions.is_empty()).then_some(ParticipantStats { sessions })
    }

    fn session_stats(&self, key: Key, session: &Session) -> SessionStats {
        let record = &session.record;
        let published = record.published().iter();
        let inbound = published.flat_map(|track| {
            let encodings = track.encodings.iter();
            encodings.map(move |encoding| self.inbound_stats(track, encoding))
        });
        let played = record.played().iter().enumerate();
        SessionStats {
            role: record.role(),
            joined_at_s: record.joined_at_s,
            transport: self.transport_stats(record.row),
            inbound: inbound.collect(),
            outbound: played
                .map(|(index, slot)| self.outbound_stats(key, index, slot))
                .collect(),
        }
    }

    fn transport_stats(&self, row: Link) -> TransportStats {
        let counters = self.programmer.tables().counters::<Transport>(row.row);
        let counters = counters.filter(|c| c.generation.load() == u64::from(row.generation));
        counters.map_or_else(TransportStats::default, |c| TransportStats {
            packets_received: c.packets_received.load(),
            bytes_received: c.bytes_received.load(),
            packets_sent: c.packets_sent.load(),
            bytes_sent: c.bytes_sent.load(),
            current_round_trip_time: known_seconds(&c.rtt_us),
            available_outgoing_bitrate: Some(c.estimate_bps.load()).filter(|&bps| bps > 0),
            packets_dropped: c.dropped.load(),
            rtcp_packets_received: c.rtcp_received.load(),
            rtcp_packets_sent: c.rtcp_sent.load(),
            pacer_packets: c.pacer_packets.load(),
            probe_bytes_sent: c.probe_bytes.load(),
            packets_received_with_ce: c.congestion_marks.load(),
            inbound_packets_with_ce: c.congestion_marks_received.load(),
        })
    }

    fn inbound_stats(&self, track: &Published, encoding: &PublishedEncoding) -> InboundStats {
        let tables = self.programmer.tables();
        let Link { row, generation } = encoding.row;
        let state = tables.state::<Encoding>(row);
        let state = state
            .and_then(|cell| cell.read().ok())
            .filter(|state| state.generation == generation);
        let mut stats = InboundStats {
            track_identifier: track_id(track.row),
            kind: media_kind(track.kind),
            mime_type: mime_type(track),
            mid: track.mid.clone(),
            rid: encoding.rid.clone(),
            ssrc: state.map_or(0, |state| state.ssrc),
            bitrate_bps: self.rates.bps(RowKind::Encoding, row, Flow::Received),
            ..InboundStats::default()
        };
        let counters = tables.counters::<Encoding>(row);
        let Some(c) = counters.filter(|c| c.generation.load() == u64::from(generation)) else {
            return stats;
        };
        stats.packets_received = c.packets_received.load();
        stats.bytes_received = c.bytes_received.load();
        stats.packets_lost = c.packets_lost.load().cast_signed();
        stats.jitter = seconds(c.jitter_us.load());
        stats.round_trip_time = known_seconds(&c.rtt_us);
        stats.frames_received = c.frames_received.load();
        stats.key_frames_received = c.key_frames_received.load();
        stats.nack_count = c.nack_messages_sent.load();
        stats.packets_nacked = c.nacks_sent.load();
        stats.pli_count = c.plis_sent.load();
        stats.fir_count = c.firs_sent.load();
        stats.retransmitted_packets_received = c.retransmitted_received.load();
        stats.retransmitted_bytes_received = c.retransmitted_bytes.load();
        stats.retransmitted_packets_useless = c.retransmitted_useless.load();
        stats.packets_recovered = c.fec_recovered.load();
        stats.red_packets_received = c.red_received.load();
        stats.fec_packets_received = c.fec_packets_received.load();
        stats.fec_bytes_received = c.fec_bytes_received.load();
        stats.fec_packets_discarded = c.fec_packets_discarded.load();
        match track.kind {
            crate::record::Kind::Audio => {
                stats.audio_level = Some(linear_level(c.audio_level.load()));
            }
            crate::record::Kind::Video => {
                let rates = c.spatial_bps.iter().map(Counter::load);
                stats.spatial_bitrates_bps = rates.take_while(|&bps| bps > 0).collect();
            }
        }
        stats
    }

    fn outbound_stats(&self, key: Key, index: usize, slot: &Played) -> OutboundStats {
        let Link { row, generation } = slot.row;
        let bound = self.rooms.bound(key).get(index).copied().flatten();
        let source = bound.and_then(|bound| self.published(bound));
        let (publisher, track) = (source.map(|(p, _)| p), source.map(|(_, t)| t));
        let mut stats = OutboundStats {
            track_identifier: track_id(slot.row),
            publisher: publisher
                .filter(|publisher| !publisher.record.hidden)
                .map(|publisher| publisher.record.identity.as_str().to_owned()),
            kind: media_kind(slot.kind),
            mime_type: track.map(mime_type).unwrap_or_default(),
            mid: slot.mid.clone(),
            ssrc: slot.ssrc,
            bitrate_bps: self.rates.bps(RowKind::Subscription, row, Flow::Sent),
            ..OutboundStats::default()
        };
        let counters = self.programmer.tables().counters::<Subscription>(row);
        if let Some(c) = counters.filter(|c| c.generation.load() == u64::from(generation)) {
            sent_stats(c, &mut stats);
            reported_stats(c, &mut stats);
            stats.layer_in_use = layer(track, &c.layer_in_use);
            stats.layer_wanted = layer(track, &c.layer_wanted);
        }
        stats
    }
}

/// What is counted of what was sent, and asked for.
fn sent_stats(c: &SubscriptionCounters, stats: &mut OutboundStats) {
    stats.packets_sent = c.packets_sent.load();
    stats.bytes_sent = c.bytes_sent.load();
    stats.retransmitted_packets_sent = c.retransmitted_sent.load();
    stats.retransmitted_bytes_sent = c.retransmitted_bytes.load();
    stats.red_packets_sent = c.red_sent.load();
    stats.fec_packets_sent = c.fec_packets_sent.load();
    stats.fec_bytes_sent = c.fec_bytes_sent.load();
    stats.frames_sent = c.frames_sent.load();
    stats.key_frames_sent = c.key_frames_sent.load();
    stats.nack_count = c.nack_messages_received.load();
    stats.packets_nacked = c.nacks_received.load();
    stats.packets_nacked_missed = c.nacks_missed.load();
    stats.packets_nacked_suppressed = c.nacks_suppressed.load();
    stats.pli_count = c.plis_received.load();
    stats.fir_count = c.firs_received.load();
    stats.freeze_count = c.freezes.load();
    stats.total_freezes_duration = seconds(c.freeze_us.load());
    stats.layer_switches = c.switches.load() + c.layer_switches.load();
    stats.quality_limitation_reason = limitation(c.limit.load());
    stats.packets_withheld = c.packets_withheld.load();
    stats.packets_of_other_layers = c.packets_of_other_layers.load();
    stats.packets_blanked = c.packets_blanked.load();
    stats.packets_of_silence = c.packets_of_silence.load();
}

/// What the viewer last reported.
fn reported_stats(c: &SubscriptionCounters, stats: &mut OutboundStats) {
    stats.packets_lost = c.packets_lost.load().cast_signed();
    stats.fraction_lost =
        f64::from(u8::try_from(c.fraction_lost.load()).unwrap_or(u8::MAX)) / 256.0;
    stats.jitter = seconds(c.jitter_us.load());
    stats.round_trip_time = known_seconds(&c.rtt_us);
    stats.retransmitted_packets_received = c.retransmitted_arrived.load();
    stats.fec_packets_received = c.fec_packets_arrived.load();
}

fn mime_type(track: &Published) -> String {
    let kind = match track.kind {
        crate::record::Kind::Audio => "audio",
        crate::record::Kind::Video => "video",
    };
    format!("{kind}/{}", track.codec.0.kind.name())
}

fn layer(track: Option<&Published>, counter: &Counter) -> Option<Layer> {
    let (encoding, spatial, temporal) = SubscriptionCounters::layer_of(counter.load())?;
    let of_track = track.and_then(|track| track.encodings.get(usize::from(encoding)));
    Some(Layer {
        rid: of_track
            .map(|encoding| encoding.rid.clone())
            .unwrap_or_default(),
        encoding,
        spatial,
        temporal,
    })
}

fn limitation(number: u64) -> Limitation {
    match Limit::of(number).unwrap_or_default() {
        Limit::None => Limitation::None,
        Limit::Bandwidth => Limitation::Bandwidth,
        Limit::Requested => Limitation::Requested,
        Limit::Publisher => Limitation::Publisher,
        Limit::Paused => Limitation::Paused,
        Limit::Viewer => Limitation::Viewer,
    }
}

/// From dB above silence, of 127, to a factor of full scale, as webrtc-stats has it.
fn linear_level(above_silence: u64) -> f64 {
    match u8::try_from(above_silence) {
        Ok(0) | Err(_) => 0.0,
        Ok(level) => 10_f64.powf((f64::from(level) - 127.0) / 20.0),
    }
}

fn seconds(us: u64) -> f64 {
    super::inspect::milliseconds(us) / 1_000.0
}

fn known_seconds(us: &Counter) -> Option<f64> {
    Some(us.load()).filter(|&us| us > 0).map(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_linear() {
        assert!(linear_level(0).abs() < f64::EPSILON, "silence");
        assert!((linear_level(127) - 1.0).abs() < 1e-9, "full scale");
        assert!((linear_level(107) - 0.1).abs() < 1e-9, "20 dB below");
    }

    #[test]
    fn every_limit_has_a_word_of_the_api() {
        for limit in Limit::ALL {
            let shown = serde_json::to_value(limitation(limit as u64)).unwrap();
            assert_eq!(shown, limit.name());
        }
    }
}
