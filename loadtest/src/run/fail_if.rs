//! `--fail-if 'loss>0.1%,latency_p99>20ms'`: when a run has failed.

use std::str::FromStr;

use super::report::{Percentiles, Report};

/// All conditions of a command line; the run fails when any of them holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions(Vec<Condition>);

#[derive(Clone, Debug)]
struct Condition {
    /// As it was written.
    text: String,
    metric: Metric,
    operator: Operator,
    /// In the metric's own unit.
    bound: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    More,
    AtLeast,
    Less,
    AtMost,
    Equal,
    Unequal,
}

/// Longer ones first, so that `>=` is not read as `>`.
const OPERATORS: [(&str, Operator); 7] = [
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    ("!=", Operator::Unequal),
    ("==", Operator::Equal),
    (">", Operator::More),
    ("<", Operator::Less),
    ("=", Operator::Equal),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Ratio,
    Milliseconds,
    Count,
}

/// One number of the report.
#[derive(Clone, Copy, Debug)]
struct Metric {
    name: &'static str,
    unit: Unit,
    /// `None` where the run could not measure it.
    value: fn(&Report) -> Option<f64>,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a run are far below 2^53"
)]
fn count(value: u64) -> Option<f64> {
    Some(value as f64)
}

fn api(report: &Report) -> Option<Percentiles> {
    report.api.as_ref()?.ms
}

const fn metric(name: &'static str, unit: Unit, value: fn(&Report) -> Option<f64>) -> Metric {
    Metric { name, unit, value }
}

const METRICS: [Metric; 26] = [
    metric("loss", Unit::Ratio, |report| report.loss),
    metric("latency_p50", Unit::Milliseconds, |report| {
        report.latency_ms.map(|ms| ms.p50)
    }),
    metric("latency_p99", Unit::Milliseconds, |report| {
        report.latency_ms.map(|ms| ms.p99)
    }),
    metric("latency_max", Unit::Milliseconds, |report| {
        report.latency_ms.map(|ms| ms.max)
    }),
    metric("jitter_p50", Unit::Milliseconds, |report| {
        report.jitter_ms.map(|ms| ms.p50)
    }),
    metric("jitter_p99", Unit::Milliseconds, |report| {
        report.jitter_ms.map(|ms| ms.p99)
    }),
    metric("join_p50", Unit::Milliseconds, |report| {
        report.join_ms.map(|ms| ms.p50)
    }),
    metric("join_p99", Unit::Milliseconds, |report| {
        report.join_ms.map(|ms| ms.p99)
    }),
    metric("join_max", Unit::Milliseconds, |report| {
        report.join_ms.map(|ms| ms.max)
    }),
    metric("joins_ok", Unit::Count, |report| count(report.joins_ok)),
    metric("joins_failed", Unit::Count, |report| {
        count(report.joins_failed)
    }),
    metric("packets_expected", Unit::Count, |report| {
        count(report.packets_expected)
    }),
    metric("packets_received", Unit::Count, |report| {
        count(report.packets_received)
    }),
    metric("packets_lost", Unit::Count, |report| {
        count(report.packets_lost)
    }),
    metric("frames_complete", Unit::Count, |report| {
        count(report.frames_complete)
    }),
    metric("frames_incomplete", Unit::Count, |report| {
        count(report.frames_incomplete)
    }),
    metric("freezes", Unit::Count, |report| count(report.freezes)),
    metric("disconnects", Unit::Count, |report| {
        count(report.disconnects)
    }),
    metric("nacks_sent", Unit::Count, |report| count(report.nacks_sent)),
    metric("plis_sent", Unit::Count, |report| count(report.plis_sent)),
    metric("tracks_silent", Unit::Count, |report| {
        count(report.tracks_silent)
    }),
    metric("api_p50", Unit::Milliseconds, |report| {
        api(report).map(|ms| ms.p50)
    }),
    metric("api_p99", Unit::Milliseconds, |report| {
        api(report).map(|ms| ms.p99)
    }),
    metric("api_max", Unit::Milliseconds, |report| {
        api(report).map(|ms| ms.max)
    }),
    metric("api_errors", Unit::Count, |report| {
        count(report.api.as_ref()?.errors)
    }),
    metric("generator_drops", Unit::Count, |report| {
        count(report.generator.socket_drops)
    }),
];

impl Conditions {
    /// What holds, each with the value that was measured.
    ///
    /// A metric that the run could not measure fails it too: silence is no success.
    pub(crate) fn that_hold(&self, report: &Report) -> Vec<String> {
        self.0
            .iter()
            .filter_map(|condition| match (condition.metric.value)(report) {
                None => Some(format!(
                    "{}: there is no such measurement in this run",
                    condition.text
                )),
                Some(value) if condition.holds(value) => {
                    let shown = match condition.metric.unit {
                        Unit::Ratio => format!("{} %", value * 100.0),
                        Unit::Milliseconds => format!("{value:.3} ms"),
                        Unit::Count => format!("{value}"),
                    };
                    Some(format!("{}: it is {shown}", condition.text))
                }
                Some(_) => None,
            })
            .collect()
    }
}

impl Condition {
    fn holds(&self, value: f64) -> bool {
        match self.operator {
            Operator::More => value > self.bound,
            Operator::AtLeast => value >= self.bound,
            Operator::Less => value < self.bound,
            Operator::AtMost => value <= self.bound,
            Operator::Equal => (value - self.bound).abs() < f64::EPSILON,
            Operator::Unequal => (value - self.bound).abs() >= f64::EPSILON,
        }
    }
}

impl FromStr for Conditions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(condition)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn condition(text: &str) -> Result<Condition, String> {
    let text = text.trim();
    let (name, operator, bound) = OPERATORS
        .iter()
        .find_map(|(sign, operator)| {
            text.split_once(sign)
                .map(|(name, bound)| (name.trim(), *operator, bound.trim()))
        })
        .ok_or_else(|| format!("{text:?} is no condition such as loss>0.1%"))?;
    let metric = METRICS
        .into_iter()
        .find(|metric| metric.name == name)
        .ok_or_else(|| {
            let names: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
            format!("there is no metric {name:?}, only {}", names.join(", "))
        })?;
    let bound = self::bound(bound, metric.unit).ok_or_else(|| {
        let example = match metric.unit {
            Unit::Ratio => "0.1% or 0.001",
            Unit::Milliseconds => "20ms or 1.5s",
            Unit::Count => "0 or 12",
        };
        format!("{bound:?} is no bound for {name}, which wants one such as {example}")
    })?;
    Ok(Condition {
        text: text.to_owned(),
        metric,
        operator,
        bound,
    })
}

fn bound(text: &str, unit: Unit) -> Option<f64> {
    let (number, factor) = match unit {
        Unit::Ratio => text
            .strip_suffix('%')
            .map_or((text, 1.0), |number| (number, 0.01)),
        Unit::Count => (text, 1.0),
        // Without a unit a bound of time would be a guess.
        Unit::Milliseconds => match text.strip_suffix("ms") {
            Some(number) => (number, 1.0),
            None => text.strip_suffix("us").map_or_else(
                || text.strip_suffix('s').map(|number| (number, 1000.0)),
                |number| Some((number, 0.001)),
            )?,
        },
    };
    let value = number.trim().parse::<f64>().ok()?;
    (value.is_finite() && value >= 0.0).then_some(value * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(conditions: &str, report: &Report) -> Vec<String> {
        conditions.parse::<Conditions>().unwrap().that_hold(report)
    }

    #[test]
    fn conditions_name_what_failed_and_by_how_much() {
        let latency_ms = Some(Percentiles {
            p50: 1.0,
            p99: 21.5,
            max: 30.0,
        });
        let report = Report {
            loss: Some(0.002),
            latency_ms,
            joins_ok: 3,
            freezes: 0,
            ..Report::default()
        };
        assert_eq!(
            failed("loss>0.1%, latency_p99 >= 20ms,freezes>0", &report),
            [
                "loss>0.1%: it is 0.2 %",
                "latency_p99 >= 20ms: it is 21.500 ms"
            ]
        );
        assert!(
            failed(
                "loss>0.002,latency_p99>0.0215s,joins_ok<3,latency_p50>1000us",
                &report
            )
            .is_empty()
        );
        assert_eq!(failed("joins_ok!=4", &report).len(), 1);
        assert_eq!(failed("joins_ok==3", &report).len(), 1);
    }

    #[test]
    fn what_was_not_measured_fails() {
        assert_eq!(failed("latency_p99>1s", &Report::default()).len(), 1);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "loss",
            "loss>",
            "loss>x%",
            "loss>1ms",
            "latency_p99>20",
            "freezes>1%",
            "loss>1%,",
            "loss>NaN",
            "loss>-1%",
        ] {
            assert!(text.parse::<Conditions>().is_err(), "{text}");
        }
    }
}
