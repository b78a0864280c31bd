use crate::metric::{Metric, pick};
use crate::process::Runner;
use crate::raw::RawRun;
use crate::scenario::Scenario;
use crate::stats::{Spread, paired_ratio};
use serde_json::Value;

/// Values of one metric, round by round.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What was measured.
    pub metric: Metric,
    /// Of the first candidate.
    pub a: Vec<f64>,
    /// Of the second.
    pub b: Vec<f64>,
}

impl Series {
    /// `b / a`, paired by round.
    #[must_use]
    pub fn ratio(&self) -> Option<Spread> {
        paired_ratio(&self.a, &self.b)
    }

    /// Whether one is better in every single round; `None` if that changes or they are equal.
    #[must_use]
    pub fn winner(&self) -> Option<&'static str> {
        let ratio = self.ratio()?;
        let (more, less) = if self.metric.more_is_better {
            ("B", "A")
        } else {
            ("A", "B")
        };
        if ratio.low > 1.0 {
            Some(more)
        } else if ratio.high < 1.0 {
            Some(less)
        } else {
            None
        }
    }
}

/// One scenario, measured with both.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// What was run.
    pub title: String,
    /// Its metrics.
    pub series: Vec<Series>,
}

impl Comparison {
    /// Sorts the results of rounds by metric. Metrics that a round lacks are left out.
    #[must_use]
    pub fn of(title: &str, metrics: &[Metric], a: &[Value], b: &[Value]) -> Self {
        let values = |of: &[Value], path: &str| -> Option<Vec<f64>> {
            of.iter().map(|result| pick(result, path)).collect()
        };
        let series = metrics.iter().filter_map(|&metric| {
            Some(Series {
                metric,
                a: values(a, metric.path)?,
                b: values(b, metric.path)?,
            })
        });
        Self {
            title: title.to_owned(),
            series: series.collect(),
        }
    }
}

/// Runs two candidates in turn, A B A B, in each scenario.
///
/// # Errors
/// When a run fails.
pub fn raw(
    runner: &Runner,
    candidates: &[RawRun; 2],
    scenarios: &[Scenario],
    rounds: u32,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<Vec<Comparison>> {
    let mut comparisons = Vec::with_capacity(scenarios.len());
    for scenario in scenarios {
        let mut results = [Vec::new(), Vec::new()];
        for round in 1..=rounds {
            for (name, (candidate, results)) in
                ["A", "B"].iter().zip(candidates.iter().zip(&mut results))
            {
                let result = candidate.measure(runner, scenario)?;
                let cost = pick(&result, "cpu_ns_per_packet").unwrap_or(0.0);
                progress(&format!(
                    "{scenario} round {round} of {rounds}, {name}: {cost:.0} ns per packet"
                ));
                results.push(result);
            }
        }
        let [a, b] = &results;
        let title = scenario.to_string();
        comparisons.push(Comparison::of(&title, crate::metric::RAW, a, b));
    }
    Ok(comparisons)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::RAW;
    use serde_json::json;

    fn rounds(costs: &[f64]) -> Vec<Value> {
        let of = |cost: &f64| json!({ "cpu_ns_per_packet": cost, "packets_per_s": 1e9 / cost });
        costs.iter().map(of).collect()
    }

    #[test]
    fn series_hold_what_both_say_in_every_round() {
        let a = rounds(&[100.0, 120.0, 110.0]);
        let mut b = rounds(&[90.0, 100.0, 105.0]);
        let comparison = Comparison::of("x", RAW, &a, &b);
        let titles: Vec<_> = comparison.series.iter().map(|s| s.metric.path).collect();
        assert_eq!(titles, ["cpu_ns_per_packet", "packets_per_s"]);
        let cost = &comparison.series[0];
        assert_eq!(cost.ratio().unwrap().median, 0.9);
        b[1] = json!({ "cpu_ns_per_packet": 100.0 });
        let comparison = Comparison::of("x", RAW, &a, &b);
        assert_eq!(comparison.series.len(), 1, "a round has no rate");
    }

    #[test]
    fn a_winner_wins_every_round() {
        let series = |a: &[f64], b: &[f64]| Comparison::of("x", RAW, &rounds(a), &rounds(b)).series;
        let clear = series(&[100.0, 120.0], &[90.0, 110.0]);
        assert_eq!(
            (clear[0].winner(), clear[1].winner()),
            (Some("B"), Some("B"))
        );
        let mixed = series(&[100.0, 100.0], &[90.0, 110.0]);
        assert_eq!(mixed[0].winner(), None);
        assert_eq!(series(&[5.0], &[5.0])[0].winner(), None);
    }
}
