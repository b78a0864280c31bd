//! What a client receives: its tracks, each measured on its own.

use std::collections::BTreeMap;

use str0m::Rtc;
use str0m::media::{KeyframeRequestKind, Mid, Rid};
use str0m::rtp::{RtpPacket, Ssrc};

use super::client::Now;
use super::histogram::Histogram;
use super::meter::{Latencies, Meter, Origin};

/// A player that misses a frame asks for a keyframe after this time, and again after the second one.
const PLI_AFTER_NS: u64 = 300_000_000;
const PLI_EVERY_NS: u64 = 1_000_000_000;

struct Playing {
    mid: Mid,
    meter: Meter,
    last_pli_ns: u64,
}

pub(crate) struct Viewer {
    playing: Vec<Playing>,
    /// Positions in `playing`.
    by_ssrc: BTreeMap<Ssrc, usize>,
    /// Whether media is decrypted and counted.
    pub(crate) sampled: bool,
    pub(crate) latency: Histogram,
    pub(crate) first_packet_ns: Option<u64>,
    pub(crate) first_frame_ns: Option<u64>,
    pub(crate) plis_sent: u64,
}

impl Viewer {
    pub(crate) fn new(sampled: bool) -> Self {
        Self {
            playing: Vec::new(),
            by_ssrc: BTreeMap::new(),
            sampled,
            latency: Histogram::default(),
            first_packet_ns: None,
            first_frame_ns: None,
            plis_sent: 0,
        }
    }

    /// One track more is to come in this section.
    pub(crate) fn play(&mut self, mid: Mid, origin: Origin) {
        self.playing.push(Playing {
            mid,
            meter: Meter::new(origin),
            last_pli_ns: 0,
        });
    }

    pub(crate) fn meters(&mut self) -> impl Iterator<Item = &mut Meter> {
        self.playing.iter_mut().map(|playing| &mut playing.meter)
    }

    /// Tracks of which something has come.
    pub(crate) fn tracks_heard(&self) -> usize {
        let heard = self
            .playing
            .iter()
            .filter(|playing| playing.meter.has_received());
        heard.count()
    }

    /// A decrypted packet that arrived at `arrival_ns`, nanoseconds of the Unix epoch.
    pub(crate) fn packet(
        &mut self,
        packet: &RtpPacket,
        arrival_ns: u64,
        rtc: &mut Rtc,
        second: &mut Histogram,
    ) {
        let Some(at) = self.find(packet.header.ssrc, rtc) else {
            return;
        };
        let meter = &mut self.playing[at].meter;
        let seen = meter.packet(packet, arrival_ns);
        if let Some(ns) = seen.latency_ns {
            Latencies {
                viewer: &mut self.latency,
                second,
            }
            .record(ns);
        }
        if seen.keyframe {
            self.first_frame_ns.get_or_insert(arrival_ns);
        }
        if meter.has_received() {
            self.first_packet_ns.get_or_insert(arrival_ns);
        }
    }

    fn find(&mut self, ssrc: Ssrc, rtc: &mut Rtc) -> Option<usize> {
        if let Some(at) = self.by_ssrc.get(&ssrc) {
            return Some(*at);
        }
        let mid = rtc.direct_api().stream_rx(&ssrc)?.mid();
        let at = self.playing.iter().position(|playing| playing.mid == mid)?;
        self.by_ssrc.insert(ssrc, at);
        Some(at)
    }

    /// Asks for a keyframe where a picture has waited too long for one. Returns whether it did.
    pub(crate) fn repair(&mut self, rtc: &mut Rtc, now: Now) -> bool {
        let before = self.plis_sent;
        for playing in &mut self.playing {
            if playing.meter.waiting_ns(now.wall_ns) <= PLI_AFTER_NS
                || now.wall_ns.saturating_sub(playing.last_pli_ns) < PLI_EVERY_NS
            {
                continue;
            }
            let mut api = rtc.direct_api();
            if let Some(stream) = api.stream_rx_by_mid(playing.mid, None::<Rid>) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
                playing.last_pli_ns = now.wall_ns;
                self.plis_sent += 1;
            }
        }
        self.plis_sent > before
    }
}
