use ion_engine::Micros;

/// Throughput is counted in bins of this, microseconds.
pub const BIN_US: u64 = 100_000;

/// What is counted of one media flow while it runs.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// IP bytes of media delivered, by bin.
    pub delivered: Vec<u64>,
    /// Packets sent, and lost on the way, by bin of when.
    pub sent: Vec<u32>,
    /// See `sent`.
    pub lost: Vec<u32>,
    /// IP bytes sent in all, and of them padding.
    pub bytes: u64,
    /// See `bytes`.
    pub padding: u64,
    /// How long each packet waited in the queue, microseconds.
    pub waited_us: Vec<u32>,
    /// Packets that arrived marked.
    pub marked: u64,
}

fn count<T: Default + Clone>(bins: &mut Vec<T>, at: Micros) -> &mut T {
    let bin = (at.0 / BIN_US) as usize;
    if bin >= bins.len() {
        bins.resize(bin + 1, T::default());
    }
    &mut bins[bin]
}

impl Tally {
    pub(crate) fn sent(&mut self, at: Micros, bytes: u32, padding: bool) {
        *count(&mut self.sent, at) += 1;
        self.bytes += u64::from(bytes);
        self.padding += u64::from(if padding { bytes } else { 0 });
    }

    pub(crate) fn lost(&mut self, at: Micros) {
        *count(&mut self.lost, at) += 1;
    }

    pub(crate) fn delivered(&mut self, at: Micros, bytes: u32, waited_us: u64) {
        *count(&mut self.delivered, at) += u64::from(bytes);
        self.waited_us.push(waited_us as u32);
    }

    /// Media delivered from `from` to `to`, bit/s.
    pub fn bps(&self, from: Micros, to: Micros) -> f64 {
        let bins = |at: Micros| (at.0 / BIN_US) as usize;
        let (low, high) = (bins(from), bins(to));
        let bytes: u64 = self.delivered.iter().take(high).skip(low).sum();
        bytes as f64 * 8e6 / (to.since(from).max(1)) as f64
    }

    fn share_lost(&self, from: Micros, to: Micros) -> f64 {
        let bins = |at: Micros| (at.0 / BIN_US) as usize;
        let sum = |list: &[u32]| -> u32 { list.iter().take(bins(to)).skip(bins(from)).sum() };
        f64::from(sum(&self.lost)) / f64::from(sum(&self.sent).max(1))
    }
}

/// The value below which this share of all lies.
pub fn percentile(values: &mut [u32], share: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let at = ((values.len() - 1) as f64 * share).round() as usize;
    f64::from(*values.select_nth_unstable(at).1)
}

/// One media flow, judged.
#[derive(Debug, Clone)]
pub struct FlowReport {
    /// Media delivered on average while active, bit/s.
    pub bps: f64,
    /// Queueing delay, milliseconds.
    pub queue_ms: [f64; 3],
    /// Share lost.
    pub loss: f64,
    /// Padding as a share of what was sent.
    pub padding: f64,
    /// Freezes, and seconds frozen.
    pub freezes: (u64, f64),
    /// 95th percentile from camera to screen, milliseconds.
    pub frame_ms: f64,
    /// Changes of layer.
    pub switches: u32,
}

/// What followed a change of capacity.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// When, seconds.
    pub at: f64,
    /// From and to, bit/s.
    pub bps: (u64, u64),
    /// Until 90 % of what the flow could use were used over a second, seconds; `None` is never.
    /// For rises.
    pub reached: Option<f64>,
    /// Share lost in the second after. For falls.
    pub lost: f64,
}

/// A run, judged by the metrics of RFC 8868.
#[derive(Debug, Clone)]
pub struct Report {
    /// Case.
    pub case: &'static str,
    /// Seed.
    pub seed: u64,
    /// Media delivered, of what media could have been (against TCP: of its fair part), 0 to 1.
    pub utilisation: f64,
    /// Queueing delay of all media packets, 50th, 95th, 99th percentile, milliseconds.
    pub queue_ms: [f64; 3],
    /// Share of media packets lost.
    pub loss: f64,
    /// Jain's index over the flows, while all are active; 1 is equal.
    pub fairness: f64,
    /// Flow by flow.
    pub flows: Vec<FlowReport>,
    /// Changes of capacity, where one flow is alone.
    pub steps: Vec<Step>,
}

/// Percentiles of queueing delay, in milliseconds.
pub fn queue_ms(waited_us: &mut [u32]) -> [f64; 3] {
    [0.5, 0.95, 0.99].map(|share| percentile(waited_us, share) / 1e3)
}

/// Jain's fairness index.
pub fn jain(rates: &[f64]) -> f64 {
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
    if squares == 0.0 {
        return 1.0;
    }
    sum * sum / (rates.len() as f64 * squares)
}

/// What followed each change of a link's rate, for a flow alone on it that would use `max_bps`.
pub fn steps(tally: &Tally, rates: &[(Micros, u64)], max_bps: u64, end: Micros) -> Vec<Step> {
    let second = 1_000_000;
    rates
        .windows(2)
        .enumerate()
        .map(|(at, pair)| {
            let ((_, before), (from, to)) = (pair[0], pair[1]);
            let until = rates.get(at + 2).map_or(end, |next| next.0);
            let wanted = 0.9 * to.min(max_bps) as f64;
            let reached = (0..)
                .map(|bin| from + bin * BIN_US)
                .take_while(|&at| at + second <= until)
                .find(|&at| tally.bps(at, at + second) >= wanted)
                .map(|at| at.since(from) as f64 / 1e6);
            Step {
                at: from.0 as f64 / 1e6,
                bps: (before, to),
                reached: reached.filter(|_| to > before),
                lost: tally.share_lost(from, from + second),
            }
        })
        .collect()
}
