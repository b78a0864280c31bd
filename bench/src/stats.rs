/// Lowest, median and highest of several rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The lowest.
    pub low: f64,
    /// The median; of an even count, the mean of the middle two.
    pub median: f64,
    /// The highest.
    pub high: f64,
}

impl Spread {
    /// `None` if there is no value, or one that is no number.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(*sorted.get(middle.wrapping_sub(1))?, *sorted.get(middle)?)
        } else {
            *sorted.get(middle)?
        };
        Some(Self {
            low: *sorted.first()?,
            median,
            high: *sorted.last()?,
        })
    }
}

/// The median, if there is a value.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    Spread::of(values).map(|spread| spread.median)
}

/// The ratio `b / a` of each round: what drifts from round to round drops out. `None` if the rounds do
/// not match, there is none, or an `a` is zero.
#[must_use]
pub fn paired_ratio(a: &[f64], b: &[f64]) -> Option<Spread> {
    if a.len() != b.len() {
        return None;
    }
    let ratios: Vec<_> = a.iter().zip(b).map(|(a, b)| b / a).collect();
    Spread::of(&ratios)
}

/// The value that `percent` of `sorted` do not exceed; zero if it is empty.
#[must_use]
pub fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(0)
}

/// The value with so many decimals, never smaller than it is: costs are not rounded in our favour.
#[must_use]
pub fn rounded_up(value: f64, decimals: usize) -> String {
    let factor = 10_f64.powi(i32::try_from(decimals).unwrap_or(0));
    // What binary fractions add by themselves is not rounded up: 0.3 stays 0.3.
    let up = (value * factor - 1e-6).ceil() / factor;
    format!("{:.decimals$}", if up == 0.0 { 0.0 } else { up })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        let spread = Spread::of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.low, spread.median, spread.high), (1.0, 2.0, 3.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn ratios_are_made_round_by_round() {
        // Of medians it would be 1.5; the machine was slow in the last round, for both.
        let ratio = paired_ratio(&[1.0, 2.0, 10.0], &[2.0, 3.0, 10.0]).unwrap();
        assert_eq!((ratio.low, ratio.median, ratio.high), (1.0, 1.5, 2.0));
        assert_eq!(paired_ratio(&[1.0], &[1.0, 2.0]), None);
        assert_eq!(paired_ratio(&[0.0], &[1.0]), None);
    }

    #[test]
    fn percentiles_stay_inside() {
        let sorted: Vec<u64> = (0..100).collect();
        assert_eq!(percentile(&sorted, 50), 50);
        assert_eq!(percentile(&sorted, 99), 99);
        assert_eq!(percentile(&sorted, 100), 99);
        assert_eq!(percentile(&[], 50), 0);
    }

    #[test]
    fn costs_are_rounded_up_only() {
        assert_eq!(rounded_up(0.5001, 2), "0.51");
        assert_eq!(rounded_up(0.3, 1), "0.3");
        assert_eq!(rounded_up(0.1 + 0.2, 1), "0.3");
        assert_eq!(rounded_up(7.0, 0), "7");
        assert_eq!(rounded_up(0.0, 2), "0.00");
    }
}
