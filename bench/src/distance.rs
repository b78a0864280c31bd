//! How far apart generator and dataplane were, and what that made of a figure.

use crate::metric::pick;
use crate::stats::{median, rounded_up};
use serde_json::Value;

/// Round trip of a cache line between two cores, nanoseconds, below which they are neighbours: on one die about 50 to 120, across
/// dies several hundred.
const NEAR_NS: f64 = 150.0;

/// Medians of a figure over the rounds in which the cores were near, and in which they were far apart from beginning to
/// end. Empty where no round says.
#[must_use]
pub fn by_distance(results: &[Value], path: &str) -> String {
    let of = |near: bool| {
        let there = |result: &&Value| place(result) == Some(near);
        let values: Vec<_> = results
            .iter()
            .filter(there)
            .filter_map(|result| pick(result, path))
            .collect();
        let name = if near { "near" } else { "far apart" };
        median(&values).map(|value| {
            let decimals = if value < 100.0 { 3 } else { 0 };
            format!("{} with cores {name}", rounded_up(value, decimals))
        })
    };
    let parts: Vec<_> = [true, false].into_iter().filter_map(of).collect();
    parts.join(", ")
}

/// Ratios of a figure, round by round, of the rounds in which both runs found the cores equally far apart; all of them where
/// no run says how far. A ratio over a change of distance is one of two machines.
#[must_use]
pub fn ratios_at_one_distance(of: &[Value], against: &[Value], path: &str) -> Vec<f64> {
    let rounds = || of.iter().zip(against);
    let ratio = |(of, against): (&Value, &Value)| {
        let against = pick(against, path).filter(|value| *value > 0.0)?;
        Some(pick(of, path)? / against)
    };
    let told = rounds().any(|(of, against)| place(of).is_some() || place(against).is_some());
    let same = |(of, against): &(&Value, &Value)| {
        !told || (place(of).is_some() && place(of) == place(against))
    };
    rounds().filter(same).filter_map(ratio).collect()
}

/// Whether the cores of a run were near each other; nothing if that changed, or was not measured.
fn place(result: &Value) -> Option<bool> {
    let trips = result["core_round_trip_ns"].as_array()?;
    let trips: Option<Vec<_>> = trips.iter().map(Value::as_f64).collect();
    let trips = trips.filter(|trips| !trips.is_empty())?;
    let near = |trip: &f64| *trip < NEAR_NS;
    match (trips.iter().all(near), trips.iter().any(near)) {
        (true, _) => Some(true),
        (_, false) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rounds_are_told_apart_and_those_between_left_out() {
        let round = |before, after, s| json!({"core_round_trip_ns": [before, after], "s": s});
        let rounds = [
            round(53.0, 54.0, 0.44),
            round(340.0, 390.0, 0.70),
            round(50.0, 330.0, 0.60),
            json!({"core_round_trip_ns": [null, null], "s": 9}),
            round(55.0, 60.0, 0.46),
        ];
        let said = by_distance(&rounds, "s");
        assert_eq!(said, "0.450 with cores near, 0.700 with cores far apart");
        assert_eq!(by_distance(&rounds[2..4], "s"), "");
    }

    #[test]
    fn a_ratio_is_taken_at_one_distance() {
        let run = |trip, s| json!({"core_round_trip_ns": [trip, trip], "s": s});
        let of = [run(53.0, 4.0), run(340.0, 9.0), run(330.0, 8.0)];
        let against = [run(52.0, 2.0), run(50.0, 2.0), run(350.0, 4.0)];
        assert_eq!(ratios_at_one_distance(&of, &against, "s"), [2.0, 2.0]);
        let unsaid = |s| json!({"core_round_trip_ns": [null, null], "s": s});
        let all = ratios_at_one_distance(&[unsaid(3.0)], &[unsaid(2.0)], "s");
        assert_eq!(all, [1.5]);
    }
}
