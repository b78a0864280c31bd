//! One bar of the table, and what was measured against it.

use crate::distance::{by_distance, ratios_at_one_distance};
use crate::stats::{Spread, median, paired_ratio, rounded_up};
use serde_json::Value;

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What is measured.
    pub what: String,
    /// Unit of values and bar.
    pub unit: &'static str,
    /// What it must not exceed.
    pub bar: f64,
    /// Round by round; none if it was not measured.
    pub values: Vec<f64>,
    /// What to know about it.
    pub note: String,
}

impl Row {
    /// Whether the median meets the bar, as it was measured and not as it is shown.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match median(&self.values) {
            None => "not measured",
            Some(median) if median <= self.bar => "pass",
            Some(_) => "**miss**",
        }
    }

    pub(super) fn cells(&self) -> Vec<String> {
        let decimals = if self.bar >= 10.0 { 1 } else { 3 };
        let measured = Spread::of(&self.values).map_or_else(
            || "-".into(),
            |Spread { low, median, high }| {
                let show = |value| rounded_up(value, decimals);
                format!("{} ({} to {})", show(median), show(low), show(high))
            },
        );
        let unit = if self.unit.is_empty() {
            String::new()
        } else {
            format!(" {}", self.unit)
        };
        vec![
            self.what.clone(),
            format!("{measured}{unit}"),
            format!("≤ {}{unit}", self.bar),
            self.verdict().into(),
            self.note.clone(),
        ]
    }
}

/// One figure against another, round by round.
pub(super) fn ratio_row(what: String, bar: f64, of: &[f64], against: &[f64], note: String) -> Row {
    let values = against
        .iter()
        .zip(of)
        .filter_map(|(against, of)| paired_ratio(&[*against], &[*of]))
        .map(|ratio| ratio.median)
        .collect();
    Row {
        what,
        unit: "×",
        bar,
        values,
        note,
    }
}

/// CPU time per packet of one against that of another, of the rounds in which the cores were equally far apart for both.
pub(super) fn pair_row(what: &str, bar: f64, of: &[Value], against: &[Value]) -> Row {
    const COST: &str = "cpu_ns_per_packet";
    let values = ratios_at_one_distance(of, against, COST);
    let note = format!(
        "{} of {} rounds, in which the distance of the cores was the same for both; {} against {}",
        values.len(),
        of.len(),
        by_distance(of, COST),
        by_distance(against, COST),
    );
    Row {
        what: what.into(),
        unit: "×",
        bar,
        values,
        note,
    }
}
