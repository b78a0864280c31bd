use super::Dots;
use super::html::escaped;
use crate::metric::shown;
use crate::stats::median;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LABELS: f64 = 230.0;
const LINE: f64 = 26.0;
const HEAD: f64 = 30.0;
const COLOURS: [&str; 2] = ["#2f6fdd", "#c2572b"];

/// The next larger number that reads well: one, two or five times a power of ten.
fn ceiling(value: f64) -> f64 {
    if value.is_nan() || value <= 0.0 || value.is_infinite() {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|&step| step >= value)
        .unwrap_or(10.0 * power)
}

/// A line for each label, from zero on: a dot for each value, a stroke at the median, and a dashed line
/// through all of them at `mark`.
pub(super) fn dots(title: &str, lines: &[Dots], mark: Option<f64>) -> String {
    let all = lines.iter().flat_map(|line| &line.values).copied();
    let most = ceiling(
        all.chain(mark)
            .filter(|v| v.is_finite())
            .fold(0.0, f64::max),
    );
    let scale = |value: f64| LABELS + (value.clamp(0.0, most) / most) * (WIDTH - LABELS - 60.0);
    #[expect(clippy::cast_precision_loss, reason = "a handful of lines")]
    let at = |line: usize| HEAD + LINE * (line as f64 + 0.5);
    let height = at(lines.len()) + LINE * 0.6;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" role=\"img\" aria-label=\"{0}\" \
         font-size=\"13\" fill=\"currentColor\">\n<text x=\"0\" y=\"16\" font-weight=\"600\">{0}</text>\n",
        escaped(title)
    );
    for tick in [0.0, most / 2.0, most] {
        let (x, bottom) = (scale(tick), at(lines.len()) - LINE * 0.4);
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {HEAD}V{bottom:.1}\" stroke=\"currentColor\" stroke-opacity=\".2\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            shown(tick)
        );
    }
    for (number, (line, colour)) in lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let y = at(number);
        let _ = writeln!(
            svg,
            "<text x=\"0\" y=\"{:.1}\">{}</text>",
            y + 4.0,
            escaped(&line.label)
        );
        for value in line.values.iter().filter(|value| value.is_finite()) {
            let x = scale(*value);
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\" fill-opacity=\".6\"/>"
            );
        }
        if let Some(median) = median(&line.values) {
            let x = scale(median);
            let (top, bottom) = (y - 9.0, y + 9.0);
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {top:.1}V{bottom:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                x + 8.0,
                y + 4.0,
                shown(median)
            );
        }
    }
    if let Some(mark) = mark {
        let (x, bottom) = (scale(mark), at(lines.len()) - LINE * 0.4);
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {HEAD}V{bottom:.1}\" stroke=\"currentColor\" stroke-dasharray=\"4 3\"/>"
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_in_round_numbers() {
        let cases = [
            (0.3, 0.5),
            (1.0, 1.0),
            (1.1, 2.0),
            (870.0, 1_000.0),
            (6e6, 1e7),
        ];
        for (value, expected) in cases {
            let end = ceiling(value);
            assert!((end - expected).abs() < expected * 1e-9, "{value}: {end}");
        }
        assert_eq!(ceiling(0.0), 1.0);
        assert_eq!(ceiling(f64::NAN), 1.0);
    }

    #[test]
    fn nothing_but_numbers_is_drawn() {
        let lines = [Dots {
            label: "x".into(),
            values: vec![f64::NAN, f64::INFINITY, 1.0],
        }];
        let svg = dots("t", &lines, Some(0.5));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert_eq!(svg.matches("<circle").count(), 1);
    }
}
