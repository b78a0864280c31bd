use serde_json::Value;

/// A figure of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Where it is in the JSON: keys, with dots between them.
    pub path: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// Its unit; empty for ratios and counts.
    pub unit: &'static str,
    /// Whether more is better.
    pub more_is_better: bool,
}

const fn cost(path: &'static str, title: &'static str, unit: &'static str) -> Metric {
    Metric {
        path,
        title,
        unit,
        more_is_better: false,
    }
}

const fn gain(path: &'static str, title: &'static str, unit: &'static str) -> Metric {
    Metric {
        path,
        title,
        unit,
        more_is_better: true,
    }
}

/// What `ion-loadtest raw --json` says, the most telling first.
pub const RAW: &[Metric] = &[
    cost("cpu_ns_per_packet", "CPU per forwarded packet", "ns"),
    cost("plain_sends_per_packet", "the same in plain sends", "S"),
    gain("packets_per_send", "packets per send", ""),
    cost("syscalls_per_packet", "system calls per packet", ""),
    gain("packets_per_s", "rate reached", "packets/s"),
    cost("latency_us.p50", "latency p50", "µs"),
    cost("latency_us.p99", "latency p99", "µs"),
    cost("loss", "loss", ""),
    cost("resident_bytes", "resident memory", "bytes"),
    cost("plain_send_ns", "one plain send (S)", "ns"),
];

/// What `ion-loadtest run --json` says, and the CPU time that is measured beside it.
pub const SERVER: &[Metric] = &[
    cost("cpu_ns_per_packet", "CPU per received packet", "ns"),
    cost("cpu_share", "CPU", "cores"),
    cost("loss", "loss", ""),
    cost("latency_ms.p50", "latency p50", "ms"),
    cost("latency_ms.p99", "latency p99", "ms"),
    cost("jitter_ms.p50", "jitter p50", "ms"),
    cost("jitter_ms.p99", "jitter p99", "ms"),
    cost("join_ms.p50", "join time p50", "ms"),
    cost("join_ms.p99", "join time p99", "ms"),
    gain("joins_ok", "joins", ""),
    cost("joins_failed", "failed joins", ""),
    gain("packets_received", "packets received", ""),
    gain("frames_complete", "frames complete", ""),
    cost("freezes", "freezes", ""),
    cost("nacks_sent", "NACKs", ""),
];

/// The number at a path, if there is one.
#[must_use]
pub fn pick(value: &Value, path: &str) -> Option<f64> {
    path.split('.')
        .try_fold(value, |value, key| value.get(key))?
        .as_f64()
}

/// A value as people read it: large ones without decimals, small ones with three digits.
#[must_use]
pub fn shown(value: f64) -> String {
    match value.abs() {
        magnitude if magnitude >= 100.0 || magnitude == 0.0 => format!("{value:.0}"),
        magnitude if magnitude >= 10.0 => format!("{value:.1}"),
        magnitude if magnitude >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_are_picked_by_path() {
        let value = json!({ "loss": 0, "latency_us": { "p50": 12.5 }, "name": "x" });
        assert_eq!(pick(&value, "latency_us.p50"), Some(12.5));
        assert_eq!(pick(&value, "loss"), Some(0.0));
        for missing in ["latency_us", "latency_us.p99", "name", "loss.p50", ""] {
            assert_eq!(pick(&value, missing), None, "{missing}");
        }
    }

    #[test]
    fn values_are_shown_with_the_digits_that_matter() {
        assert_eq!(shown(1234.5), "1234");
        assert_eq!(shown(12.34), "12.3");
        assert_eq!(shown(0.1234), "0.123");
        assert_eq!(shown(0.000_12), "1.20e-4");
        assert_eq!(shown(0.0), "0");
    }
}
