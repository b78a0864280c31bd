use super::dataplane::Figures;
use super::sink::Seen;
use serde_json::json;
use std::time::Duration;

/// What a run found.
pub(super) struct Report {
    /// The unit `S`.
    pub(super) plain_send_ns: f64,
    /// From the generator's core to a worker's and back, before and after.
    pub(super) distances_ns: [Option<f64>; 2],
    pub(super) elapsed: Duration,
    /// Packets that publishers sent.
    pub(super) published: u64,
    /// Packets that viewers should have got for them.
    pub(super) expected: u64,
    /// What the dataplane used meanwhile.
    pub(super) used: Figures,
    pub(super) sink: Seen,
    /// Since the dataplane began.
    pub(super) drops: Vec<(String, u64)>,
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run fit")]
fn ratio(part: u64, of: u64) -> f64 {
    if of == 0 {
        0.0
    } else {
        part as f64 / of as f64
    }
}

impl Report {
    /// CPU time of the dataplane for each packet that arrived, nanoseconds.
    fn cpu_ns(&self) -> f64 {
        ratio(self.used.cpu_ns, self.sink.received)
    }

    fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.sink.received)
    }

    fn per_s(&self, count: u64) -> f64 {
        ratio(
            count,
            u64::try_from(self.elapsed.as_nanos()).unwrap_or(u64::MAX),
        ) * 1e9
    }

    /// Age in microseconds that `percent` of the opened packets do not exceed.
    fn age_us(&self, percent: usize) -> f64 {
        let ages = &self.sink.ages_ns;
        let at = (ages.len() * percent / 100).min(ages.len().saturating_sub(1));
        ages.get(at).map_or(0.0, |&ns| ratio(ns, 1_000))
    }

    fn distance(&self) -> String {
        match self.distances_ns {
            [Some(before), Some(after)] => {
                format!("{before:.0} ns there and back before, {after:.0} after")
            }
            _ => "not measured: a worker shares the generator's core".into(),
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> String {
        let (used, sink) = (&self.used, &self.sink);
        let drops: serde_json::Map<_, _> = self
            .drops
            .iter()
            .map(|(reason, count)| (reason.clone(), json!(count)))
            .collect();
        json!({
            "plain_send_ns": self.plain_send_ns,
            "core_round_trip_ns": self.distances_ns,
            "seconds": self.elapsed.as_secs_f64(),
            "packets_published": self.published,
            "packets_expected": self.expected,
            "packets_received": sink.received,
            "loss": ratio(self.lost(), self.expected),
            "packets_per_s": self.per_s(sink.received),
            "cpu_ns_per_packet": self.cpu_ns(),
            "cpu_share": self.per_s(used.cpu_ns) / 1e9,
            "plain_sends_per_packet": self.cpu_ns() / self.plain_send_ns,
            "packets_per_send": ratio(used.sent, used.sends),
            "syscalls_per_packet": ratio(used.syscalls, sink.received),
            "received_per_batch": ratio(used.received, used.batches),
            "packets_crossed": used.crossed,
            "resident_bytes": used.resident_bytes,
            "latency_us": {
                "p50": self.age_us(50), "p99": self.age_us(99), "max": self.age_us(100),
            },
            "packets_opened": sink.opened,
            "packets_refused": sink.refused,
            "packets_foreign": sink.foreign,
            "rtcp_received": sink.rtcp,
            "feedback_sent": sink.feedback,
            "viewer_packets": { "fewest": sink.fewest, "most": sink.most },
            "drops": drops,
        })
        .to_string()
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let (used, sink) = (&self.used, &self.sink);
        let cpu = self.cpu_ns();
        let mut lines = vec![
            format!("packets published      {}", self.published),
            format!(
                "packets delivered      {} of {}, lost {}",
                sink.received,
                self.expected,
                self.lost()
            ),
            format!(
                "rate                   {:.0} packets/s",
                self.per_s(sink.received)
            ),
            format!(
                "dataplane CPU          {cpu:.0} ns a packet, {:.2} cores",
                self.per_s(used.cpu_ns) / 1e9
            ),
            format!(
                "plain sendto           {:.0} ns: a packet costs {:.2} S",
                self.plain_send_ns,
                cpu / self.plain_send_ns
            ),
            format!("cores apart            {}", self.distance()),
            format!(
                "packets to a send      {:.1}; system calls a packet {:.3}",
                ratio(used.sent, used.sends),
                ratio(used.syscalls, sink.received)
            ),
            format!(
                "latency                p50 {:.0} µs, p99 {:.0} µs, max {:.0} µs, of {} packets opened",
                self.age_us(50),
                self.age_us(99),
                self.age_us(100),
                sink.opened
            ),
            format!("fewest, most a viewer  {} {}", sink.fewest, sink.most),
        ];
        if sink.refused + sink.foreign > 0 {
            lines.push(format!(
                "not as they should be  {} failed to open, {} of no viewer",
                sink.refused, sink.foreign
            ));
        }
        for (reason, count) in &self.drops {
            lines.push(format!("dropped                {count} {reason}"));
        }
        lines.join("\n")
    }
}
