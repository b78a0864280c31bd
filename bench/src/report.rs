//! One document, written as Markdown and as a page that needs nothing besides itself.

/// The machine that figures are from.
pub mod host;
/// The page.
mod html;
/// Plots as inline SVG.
mod svg;

use crate::compare::{Comparison, Series};
use crate::metric::shown;
use crate::stats::Spread;
use anyhow::Context;
use std::path::{Path, PathBuf};

/// What is measured, with values round by round, on one line of a plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Dots {
    /// Whose values.
    pub label: String,
    /// Round by round.
    pub values: Vec<f64>,
}

/// Part of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// A heading.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// Rows under a head.
    Table {
        /// Names of the columns.
        head: Vec<String>,
        /// As many cells each.
        rows: Vec<Vec<String>>,
    },
    /// A dot for each round, from zero on. In the page only.
    Plot {
        /// What is shown, with its unit.
        title: String,
        /// One line each.
        lines: Vec<Dots>,
        /// A value to compare with, such as a bar to be met.
        mark: Option<f64>,
    },
}

/// A report.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its title.
    pub title: String,
    /// What follows.
    pub blocks: Vec<Block>,
}

impl Document {
    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n", self.title);
        for block in &self.blocks {
            text.push('\n');
            match block {
                Block::Heading(heading) => text.push_str(&format!("## {heading}\n")),
                Block::Text(paragraph) => text.push_str(&format!("{paragraph}\n")),
                Block::Table { head, rows } => {
                    let line = |cells: &[String]| {
                        let cells: Vec<_> = cells.iter().map(|c| c.replace('|', "\\|")).collect();
                        format!("| {} |\n", cells.join(" | "))
                    };
                    text.push_str(&line(head));
                    text.push_str(&format!("|{}\n", "---|".repeat(head.len())));
                    rows.iter().for_each(|row| text.push_str(&line(row)));
                }
                Block::Plot { .. } => {
                    text.pop();
                }
            }
        }
        text
    }

    /// Writes both files into a folder, named `NAME-TIME`; returns the path of the Markdown.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("making the folder {}", folder.display()))?;
        let base = folder.join(format!("{name}-{}", host::utc_stamp()));
        let markdown = base.with_extension("md");
        for (path, text) in [
            (markdown.clone(), self.markdown()),
            (base.with_extension("html"), html::page(self)),
        ] {
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(markdown)
    }
}

/// Median and, if there were several rounds, the range.
#[must_use]
pub fn spread_cell(values: &[f64]) -> String {
    match Spread::of(values) {
        None => "-".into(),
        Some(Spread { low, median, high }) if values.len() > 1 => {
            format!("{} ({} to {})", shown(median), shown(low), shown(high))
        }
        Some(Spread { median, .. }) => shown(median),
    }
}

/// The report of an A/B run. `names` says what A and B are.
#[must_use]
pub fn ab(title: &str, names: &[String; 2], comparisons: &[Comparison]) -> Document {
    let [a, b] = names;
    let mut blocks = vec![
        Block::Text(format!("A: `{a}`  \nB: `{b}`")),
        Block::Text(host::describe()),
        Block::Text(
            "Medians of the rounds and their range. The ratio is made round by round. \"Better\" names who won \
             every single round."
                .into(),
        ),
    ];
    for comparison in comparisons {
        blocks.push(Block::Heading(comparison.title.clone()));
        blocks.push(Block::Table {
            head: ["metric", "A", "B", "B / A", "better"]
                .map(String::from)
                .to_vec(),
            rows: comparison.series.iter().map(ab_row).collect(),
        });
        if let Some(first) = comparison.series.first() {
            blocks.push(plot(first));
        }
    }
    Document {
        title: title.into(),
        blocks,
    }
}

fn titled(series: &Series) -> String {
    let metric = series.metric;
    if metric.unit.is_empty() {
        metric.title.into()
    } else {
        format!("{}, {}", metric.title, metric.unit)
    }
}

fn ab_row(series: &Series) -> Vec<String> {
    let ratio = series.ratio().map_or_else(
        || "-".into(),
        |r| format!("{:.3} ({:.3} to {:.3})", r.median, r.low, r.high),
    );
    vec![
        titled(series),
        spread_cell(&series.a),
        spread_cell(&series.b),
        ratio,
        series.winner().unwrap_or("-").into(),
    ]
}

fn plot(series: &Series) -> Block {
    let line = |label: &str, values: &[f64]| Dots {
        label: label.into(),
        values: values.to_vec(),
    };
    Block::Plot {
        title: titled(series),
        lines: vec![line("A", &series.a), line("B", &series.b)],
        mark: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::RAW;
    use serde_json::json;

    fn document() -> Document {
        let of = |cost: f64| json!({ "cpu_ns_per_packet": cost });
        let comparison = Comparison::of(
            "video-1x50",
            RAW,
            &[of(1_000.0), of(1_200.0)],
            &[of(900.0), of(1_020.0)],
        );
        ab("A or B", &["a|x".into(), "<b>".into()], &[comparison])
    }

    #[test]
    fn markdown_has_medians_ratio_and_winner() {
        let text = document().markdown();
        let row = "| CPU per forwarded packet, ns | 1100 (1000 to 1200) | 960 (900 to 1020) | 0.875 (0.850 to 0.900) | B |";
        assert!(text.contains(row), "{text}");
        assert!(!text.contains("svg"));
    }

    #[test]
    fn the_page_is_whole_and_its_text_escaped() {
        let page = html::page(&document());
        assert!(page.contains("&lt;b&gt;") && !page.contains("<b>"));
        assert_eq!(page.matches("<circle").count(), 4);
        assert!(
            !page.contains("http://")
                || page.matches("http://").count() == page.matches("http://www.w3.org").count()
        );
    }

    #[test]
    fn files_are_written() {
        let folder = std::env::temp_dir().join(format!("ion-bench-test-{}", std::process::id()));
        let path = document().write(&folder, "ab").unwrap();
        assert!(path.with_extension("html").exists() && path.exists());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
