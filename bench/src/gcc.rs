//! The yardstick: Google congestion control as the crate `rtc-interceptor` has it, driven as
//! ours is.

use ion_engine::Micros;
use ion_engine::congestion::{Bounds, Estimator, PacketReport, Probe, Wanted};
use rtc_interceptor::{BandwidthEstimator, Gcc, PacketReport as Theirs};
use std::time::{Duration, Instant};

/// Where it begins, bits per second, as its users do. Beginning with more, as Ion does, does not suit it.
const START_BPS: f64 = 300_000.0;

/// `Gcc` behind our trait. It has no probes, no answer to silence and no congestion marks.
pub struct GccEstimator {
    gcc: Gcc,
    zero: Instant,
    count: u64,
    theirs: Vec<Theirs>,
}

impl GccEstimator {
    /// An estimator that knows nothing yet.
    #[expect(clippy::cast_precision_loss, reason = "bitrates are below 2^53")]
    pub fn new(bounds: Bounds) -> Self {
        let Bounds {
            min_bps, max_bps, ..
        } = bounds;
        Self {
            gcc: Gcc::new(START_BPS, min_bps as f64, max_bps as f64),
            // Any instant will do: only differences count.
            zero: Instant::now(),
            count: 0,
            theirs: Vec::new(),
        }
    }

    fn instant(&self, at: Micros) -> Instant {
        self.zero + Duration::from_micros(at.0)
    }

    fn convert(&mut self, packet: &PacketReport) -> Theirs {
        self.count += 1;
        let number = u16::try_from(self.count & 0xffff).unwrap_or_default();
        Theirs {
            ssrc: 1,
            id: self.count,
            rtp_sequence_number: number,
            is_twcc: true,
            twcc_sequence_number: number,
            size: usize::from(packet.bytes),
            arrived: packet.arrived.is_some(),
            departure: self.instant(packet.sent),
            arrival: packet
                .arrived
                .and_then(|at| u64::try_from(at).ok())
                .map(Duration::from_micros),
            // It does not look at marks.
            ecn: Default::default(),
        }
    }
}

impl Estimator for GccEstimator {
    fn on_feedback(&mut self, now: Micros, packets: &[PacketReport]) {
        let mut theirs = std::mem::take(&mut self.theirs);
        theirs.clear();
        theirs.extend(packets.iter().map(|packet| self.convert(packet)));
        self.gcc.on_reports(self.instant(now), &theirs);
        self.theirs = theirs;
    }

    fn on_remb(&mut self, _: Micros, _: u64) {}

    fn on_timeout(&mut self, _: Micros, _: Option<Micros>) {}

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within its bounds"
    )]
    fn target_bps(&self) -> u64 {
        self.gcc.target_bitrate() as u64
    }

    fn probe(&mut self, _: Micros, _: Wanted) -> Option<Probe> {
        None
    }
}
