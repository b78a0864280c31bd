//! What a run found out, as it is written to the JSON file.

use std::collections::BTreeMap;

use serde::Serialize;

use super::histogram::Histogram;
use super::meter::Totals;

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Percentiles {
    /// `None` if nothing was recorded.
    pub(crate) fn of(histogram: &Histogram) -> Option<Self> {
        (!histogram.is_empty()).then(|| Self {
            p50: ms(histogram.percentile_ns(0.5)),
            p99: ms(histogram.percentile_ns(0.99)),
            max: ms(histogram.max_ns()),
        })
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times of a run are far below 2^53 ns"
)]
pub(crate) fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Lost packets over expected ones; `None` if none were expected.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a run are far below 2^53"
)]
pub(crate) fn loss(totals: &Totals) -> Option<f64> {
    (totals.expected > 0).then(|| totals.lost as f64 / totals.expected as f64)
}

/// Everything.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// What was asked for.
    pub(crate) run: RunInfo,
    /// Viewers who decrypted a first media packet, and participants who publish and are connected (with `--decrypt-sample`,
    /// the others: who connected).
    pub(crate) joins_ok: u64,
    pub(crate) joins_failed: u64,
    /// From the POST, or from opening the socket, to that.
    pub(crate) join_ms: Option<Percentiles>,
    /// From the POST to the first complete keyframe.
    pub(crate) first_frame_ms: Option<Percentiles>,
    /// Why joins failed, of publishers too, and how often.
    pub(crate) join_failures: BTreeMap<String, u64>,
    /// Sent by publishers while a viewer was there, from its first packet on.
    pub(crate) packets_expected: u64,
    pub(crate) packets_received: u64,
    pub(crate) packets_lost: u64,
    /// Lost over expected.
    pub(crate) loss: Option<f64>,
    /// Received more than a second late (and so counted as lost), or sent before the viewer's first.
    pub(crate) packets_late: u64,
    pub(crate) packets_duplicate: u64,
    /// Decrypted media that none of our publishers sent.
    pub(crate) packets_unknown: u64,
    /// Received and not decrypted, by viewers outside the sample.
    pub(crate) packets_not_decrypted: u64,
    /// One-way, from just before the publisher's send to the kernel's stamp of the arrival.
    pub(crate) latency_ms: Option<Percentiles>,
    /// RFC 3550 interarrival jitter of each track, sampled each second.
    pub(crate) jitter_ms: Option<Percentiles>,
    pub(crate) frames_expected: u64,
    pub(crate) frames_complete: u64,
    pub(crate) frames_incomplete: u64,
    /// Complete, and all before them back to a keyframe too.
    pub(crate) frames_shown: u64,
    /// Not shown, since a later keyframe was.
    pub(crate) frames_skipped: u64,
    /// By the W3C's rule for `freezeCount`.
    pub(crate) freezes: u64,
    pub(crate) frozen_ms: f64,
    pub(crate) nacks_sent: u64,
    pub(crate) plis_sent: u64,
    /// Sessions that ended although nobody asked for it.
    pub(crate) disconnects: u64,
    pub(crate) deletes_failed: u64,
    /// Tracks of our publishers that sessions should have received, and those of which nothing came.
    pub(crate) tracks_expected: u64,
    pub(crate) tracks_silent: u64,
    /// With `--probe-api`: how the API answered while sessions joined.
    pub(crate) api: Option<ApiFigures>,
    pub(crate) publishers: Publishers,
    pub(crate) generator: Generator,
    /// What makes the figures doubtful.
    pub(crate) warnings: Vec<String>,
    /// Conditions of `--fail-if` that held.
    pub(crate) failed: Vec<String>,
    pub(crate) seconds: Vec<Second>,
    /// Upper bounds in milliseconds, and how many viewers joined within.
    pub(crate) join_histogram: Vec<(f64, u32)>,
    pub(crate) viewers: Vec<ViewerRow>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct RunInfo {
    pub(crate) version: &'static str,
    pub(crate) started_unix_s: u64,
    /// How long all were there.
    pub(crate) steady_s: f64,
    pub(crate) interrupted: bool,
    pub(crate) whip: Option<String>,
    pub(crate) whep: Option<String>,
    pub(crate) signal: Option<String>,
    pub(crate) mix: String,
    pub(crate) codec: String,
    /// Of one publisher, all tracks, in bits per second of payload.
    pub(crate) bitrate: u64,
    pub(crate) rooms: usize,
    pub(crate) publishers: usize,
    pub(crate) viewers: usize,
    pub(crate) ramp_per_s: f64,
    pub(crate) churn_per_min: f64,
    /// One viewer in so many decrypts.
    pub(crate) decrypt_sample: usize,
    pub(crate) dtls: &'static str,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Publishers {
    pub(crate) joins_ok: u64,
    pub(crate) joins_failed: u64,
    pub(crate) packets_sent: u64,
    pub(crate) frames_sent: u64,
    pub(crate) nacks_received: u64,
    /// PLI and FIR.
    pub(crate) keyframe_requests_received: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ApiFigures {
    pub(crate) ms: Option<Percentiles>,
    pub(crate) by_request: BTreeMap<&'static str, Percentiles>,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) last_error: Option<String>,
}

/// What the load generator itself needed, and whether it kept up.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Generator {
    pub(crate) threads: usize,
    /// Over the whole run, of the generator threads.
    pub(crate) cpu_s: f64,
    /// While all were there: CPU time of the generator threads over datagrams received.
    pub(crate) cpu_ns_per_packet: Option<f64>,
    /// While all were there: share of one core that the busiest thread took.
    pub(crate) busiest_thread: f64,
    /// While all were there: share of the time for which the most neglected thread waited for a core.
    pub(crate) starved: f64,
    /// While all were there.
    pub(crate) packets_per_s: f64,
    /// How long datagrams waited in our own sockets. Not part of the latency.
    pub(crate) socket_wait_ms: Option<Percentiles>,
    /// Datagrams that overflowed our own sockets. They are counted as lost too.
    pub(crate) socket_drops: u64,
    /// Sends that the kernel refused.
    pub(crate) send_errors: u64,
}

/// One second of the run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Second {
    /// Since the start.
    pub(crate) at_s: u64,
    /// Viewers that receive.
    pub(crate) viewers: u64,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Decided in this second, sent one to two seconds before.
    pub(crate) lost: u64,
    pub(crate) loss: Option<f64>,
    pub(crate) latency_p50_ms: Option<f64>,
    pub(crate) latency_p99_ms: Option<f64>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ViewerRow {
    pub(crate) viewer: usize,
    pub(crate) room: usize,
    /// Whom it plays; `None`: all others of its room.
    pub(crate) publisher: Option<usize>,
    /// Whether its media was decrypted and counted.
    pub(crate) sampled: bool,
    pub(crate) joined: bool,
    /// Why it did not join, or how it ended early.
    pub(crate) error: Option<String>,
    pub(crate) join_ms: Option<f64>,
    pub(crate) first_frame_ms: Option<f64>,
    pub(crate) packets_expected: u64,
    pub(crate) packets_received: u64,
    pub(crate) loss: Option<f64>,
    pub(crate) latency_ms: Option<Percentiles>,
    pub(crate) jitter_ms: Option<f64>,
    pub(crate) frames_expected: u64,
    pub(crate) frames_complete: u64,
    pub(crate) frames_shown: u64,
    pub(crate) freezes: u64,
    pub(crate) frozen_ms: f64,
    pub(crate) nacks_sent: u64,
    pub(crate) plis_sent: u64,
}

impl Report {
    /// Adds what the tracks of a viewer were worth.
    pub(crate) fn add(&mut self, totals: &Totals) {
        self.packets_expected += totals.expected;
        self.packets_received += totals.received;
        self.packets_lost += totals.lost;
        self.packets_late += totals.late;
        self.packets_duplicate += totals.duplicates;
        self.packets_unknown += totals.unknown;
        self.frames_expected += totals.frames_expected;
        self.frames_complete += totals.frames_complete;
        self.frames_incomplete +=
            totals.frames_expected - totals.frames_complete.min(totals.frames_expected);
        self.frames_shown += totals.frames_shown;
        self.frames_skipped += totals.frames_skipped;
        self.freezes += totals.freezes;
        self.frozen_ms += ms(totals.frozen_ns);
    }
}
