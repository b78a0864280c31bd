//! How viewers fare: how many there are in each bin of a figure, now. A series for each bin, however many viewers.

use super::dataplane::Series;
use ion_tables::{
    HasHead, Limit, Row, Subscription, SubscriptionCounters, Tables, Transport, TransportCounters,
};
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;

/// Upper bounds of bins; what exceeds them is in `+Inf` only.
const RTT_US: [u64; 6] = [10_000, 30_000, 100_000, 200_000, 500_000, 1_000_000];
const ESTIMATE_BPS: [u64; 6] = [
    150_000, 300_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
];
/// Of 256.
const LOSS: [u64; 5] = [0, 2, 5, 13, 26];

/// How many are at most so much, for each bound, and how many there are.
struct Bins<const N: usize> {
    bounds: [u64; N],
    at_most: [i64; N],
    all: i64,
}

impl<const N: usize> Bins<N> {
    fn new(bounds: [u64; N]) -> Self {
        Self {
            bounds,
            at_most: [0; N],
            all: 0,
        }
    }

    fn add(&mut self, value: u64) {
        self.all += 1;
        for (count, bound) in self.at_most.iter_mut().zip(self.bounds) {
            *count += i64::from(value <= bound);
        }
    }

    /// Writes the bins; bounds are told divided by `unit`.
    fn encode(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        about: (&str, &str),
        unit: f64,
    ) -> fmt::Result {
        let mut series = Series::new(encoder, about, MetricType::Gauge)?;
        for (count, bound) in self.at_most.into_iter().zip(self.bounds) {
            // Exact: bounds are small.
            let bound = f64::from(u32::try_from(bound).unwrap_or(u32::MAX)) / unit;
            series.put(&[("le", bound.to_string())], ConstGauge::new(count))?;
        }
        series.put(&[("le", "+Inf")], ConstGauge::new(self.all))
    }
}

/// Counters of the live rows of a table that have begun to count.
fn live<R: Row>(tables: &Tables) -> impl Iterator<Item = (u32, &R::Counters)> {
    (0..tables.capacities().of(R::KIND)).filter_map(|row| {
        let head = tables.config::<R>(row)?.read().ok()?.head();
        let counters = tables.counters::<R>(row).filter(|_| head.live == 1)?;
        Some((head.generation, counters))
    })
}

pub(super) fn encode(tables: &Tables, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let transports = || {
        let all = live::<Transport>(tables);
        let counts =
            |(life, c): &(u32, &TransportCounters)| c.generation.load() == u64::from(*life);
        all.filter(counts).map(|(_, counters)| counters)
    };
    let (mut rtt, mut estimate) = (Bins::new(RTT_US), Bins::new(ESTIMATE_BPS));
    for counters in transports() {
        let (rtt_us, bps) = (counters.rtt_us.load(), counters.estimate_bps.load());
        (rtt_us > 0).then(|| rtt.add(rtt_us));
        (bps > 0).then(|| estimate.add(bps));
    }
    let (mut loss, mut limits) = (Bins::new(LOSS), [0_i64; Limit::ALL.len()]);
    let subscriptions = live::<Subscription>(tables);
    let counts = |(life, c): &(u32, &SubscriptionCounters)| c.generation.load() == u64::from(*life);
    for (_, counters) in subscriptions.filter(counts) {
        loss.add(counters.fraction_lost.load());
        let limit = Limit::of(counters.limit.load()).unwrap_or_default();
        limits[limit as usize] += 1;
    }
    let about = (
        "clients_by_round_trip_seconds",
        "Clients whose round trip is at most so long",
    );
    rtt.encode(encoder, about, 1e6)?;
    let about = (
        "viewers_by_estimate_bps",
        "Viewers whose network is taken to carry at most so much",
    );
    estimate.encode(encoder, about, 1.0)?;
    let about = (
        "subscriptions_by_loss",
        "Subscriptions whose viewer last reported at most this part lost",
    );
    loss.encode(encoder, about, 256.0)?;
    let about = (
        "subscriptions_by_limit",
        "Subscriptions by why they are not sent the best that there is",
    );
    let mut series = Series::new(encoder, about, MetricType::Gauge)?;
    for (limit, count) in Limit::ALL.into_iter().zip(limits) {
        series.put(&[("limit", limit.name())], ConstGauge::new(count))?;
    }
    Ok(())
}
