//! The report as one HTML page: no script, nothing from elsewhere, plots as inline SVG.

use std::fmt::Write;

use super::report::{Percentiles, Report, Second, ViewerRow};

/// Rows of viewers that are shown: the worst.
const ROWS: usize = 50;
/// Size of a plot, in the units of its view box.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 26.0;
const TOP: f64 = 12.0;
const RIGHT: f64 = 12.0;

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d9dee5;--back:#f6f7f9;--card:#fff;--one:#2563c9;--two:#c2571a;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa5b4;--line:#333c48;--back:#14181e;--card:#1c222a;--one:#6ea8ff;--two:#ff9d5c;--bad:#ff8a80}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1000px;padding:24px 16px 48px;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back)}
h1{font-size:22px;margin:0}h2{font-size:16px;margin:32px 0 8px}p{margin:4px 0}.soft{color:var(--soft)}.bad{color:var(--bad)}code{overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:12px;margin-top:20px}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px}.card b{display:block;font-size:22px;font-weight:600}
.card span{color:var(--soft);font-size:13px}.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(420px,1fr));gap:12px}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 12px}figcaption{font-size:13px}
svg{display:block;width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:var(--soft)}.grid{stroke:var(--line)}
.one{stroke:var(--one)}.two{stroke:var(--two)}polyline{fill:none;stroke-width:1.8;stroke-linejoin:round}.bar{fill:var(--one)}
.key-one{color:var(--one)}.key-two{color:var(--two)}
.table{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:4px 12px;border-bottom:1px solid var(--line);white-space:nowrap;font-size:13px}th{color:var(--soft);font-weight:500}tr:last-child>*{border:0}th:first-child{text-align:left}
@media(max-width:480px){.plots{grid-template-columns:1fr}}";

/// The whole page.
pub(crate) fn page(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut out, report);
    out
}

fn write_page(out: &mut String, report: &Report) -> std::fmt::Result {
    let run = &report.run;
    write!(
        out,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'>\
         <title>Load test</title><style>{STYLE}</style><h1>Load test: {}, {}, {}</h1>\
         <p class=soft>{} by {}, {:.2} Mbit/s each, {:.1} s with all of them{}; DTLS {}; ion-loadtest {}</p>",
        counted(run.publishers, "publisher"),
        counted(run.viewers, "viewer"),
        counted(run.rooms, "room"),
        escape(&run.mix),
        escape(&run.codec),
        to_f64(run.bitrate) / 1e6,
        run.steady_s,
        if run.interrupted { ", interrupted" } else { "" },
        run.dtls,
        run.version,
    )?;
    for (name, url) in [
        ("WHIP", &run.whip),
        ("WHEP", &run.whep),
        ("Signalling", &run.signal),
    ] {
        if let Some(url) = url {
            write!(out, "<p class=soft>{name} <code>{}</code></p>", escape(url))?;
        }
    }
    for failed in &report.failed {
        write!(out, "<p class=bad><b>Failed:</b> {}</p>", escape(failed))?;
    }
    for warning in &report.warnings {
        write!(out, "<p class=bad>{}</p>", escape(warning))?;
    }
    cards(out, report)?;
    plots(out, report)?;
    details(out, report)?;
    viewers(out, &report.viewers)
}

fn cards(out: &mut String, report: &Report) -> std::fmt::Result {
    let p99 = |of: Option<Percentiles>| of.map_or("–".into(), |ms| format!("{:.2} ms", ms.p99));
    let loss = report.loss.map_or("–".into(), |loss| {
        format!("{} %", significant(loss * 100.0))
    });
    out.push_str("<div class=cards>");
    for (value, what) in [
        (
            format!(
                "{} / {}",
                report.joins_ok,
                report.joins_ok + report.joins_failed
            ),
            "viewers joined",
        ),
        (p99(report.join_ms), "join time, p99"),
        (loss, "packets lost"),
        (p99(report.latency_ms), "one-way latency, p99"),
        (p99(report.jitter_ms), "jitter, p99"),
        (report.freezes.to_string(), "freezes"),
        (
            format!("{} / {}", report.frames_complete, report.frames_expected),
            "frames complete",
        ),
        (
            format!("{:.0}", report.generator.packets_per_s),
            "packets received per second",
        ),
    ] {
        write!(
            out,
            "<div class=card><b>{value}</b><span>{what}</span></div>"
        )?;
    }
    out.push_str("</div>");
    Ok(())
}

fn plots(out: &mut String, report: &Report) -> std::fmt::Result {
    let series = |of: fn(&Second) -> Option<f64>| -> Vec<(f64, f64)> {
        report
            .seconds
            .iter()
            .filter_map(|second| Some((to_f64(second.at_s), of(second)?)))
            .collect()
    };
    out.push_str("<h2>Over time, in seconds</h2><div class=plots>");
    lines(
        out,
        "Received, Mbit/s",
        &[("one", series(|second| Some(to_f64(second.bytes) * 8e-6)))],
    )?;
    lines(
        out,
        "Viewers with media",
        &[("one", series(|second| Some(to_f64(second.viewers))))],
    )?;
    lines(
        out,
        "Packets lost, %",
        &[("one", series(|second| second.loss.map(|loss| loss * 100.0)))],
    )?;
    lines(
        out,
        "One-way latency, ms: <span class=key-one>p50</span>, <span class=key-two>p99</span>",
        &[
            ("one", series(|second| second.latency_p50_ms)),
            ("two", series(|second| second.latency_p99_ms)),
        ],
    )?;
    out.push_str("</div>");
    if !report.join_histogram.is_empty() {
        out.push_str("<h2>Join times</h2><div class=plots>");
        bars(
            out,
            "Viewers by time from the POST to the first media packet, ms",
            &report.join_histogram,
        )?;
        out.push_str("</div>");
    }
    Ok(())
}

/// The largest value of an axis: 1, 2 or 5 times a power of ten.
fn ceiling(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|top| *top >= value)
        .unwrap_or(value)
}

/// A few significant digits, without trailing zeros.
fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let decimals = (2.0 - value.abs().log10().floor()).clamp(0.0, 9.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 9"
    )]
    let text = format!("{value:.*}", decimals as usize);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// The frame of a plot: axis labels and lines, for values up to `top`.
fn frame(out: &mut String, caption: &str, top: f64, from: &str, to: &str) -> std::fmt::Result {
    write!(
        out,
        "<figure><figcaption>{caption}</figcaption><svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img>"
    )?;
    for part in [0.0, 0.5, 1.0] {
        let y = y_of(top * part, top);
        write!(
            out,
            "<line class=grid x1={LEFT} x2={} y1={y:.1} y2={y:.1} /><text x={} y={:.1} text-anchor=end>{}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            y + 4.0,
            significant(top * part)
        )?;
    }
    let y = HEIGHT - 8.0;
    write!(
        out,
        "<text x={LEFT} y={y}>{from}</text><text x={} y={y} text-anchor=end>{to}</text>",
        WIDTH - RIGHT
    )
}

fn y_of(value: f64, top: f64) -> f64 {
    TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - value / top)
}

fn lines(out: &mut String, caption: &str, series: &[(&str, Vec<(f64, f64)>)]) -> std::fmt::Result {
    let points = || series.iter().flat_map(|(_, points)| points);
    let top = ceiling(points().map(|(_, y)| *y).fold(0.0, f64::max));
    let first = points().map(|(x, _)| *x).fold(f64::INFINITY, f64::min);
    let last = points().map(|(x, _)| *x).fold(0.0, f64::max);
    if !first.is_finite() {
        return write!(
            out,
            "<figure><figcaption>{caption}</figcaption><p class=soft>not measured</p></figure>"
        );
    }
    frame(out, caption, top, &significant(first), &significant(last))?;
    let span = (last - first).max(1.0);
    for (class, points) in series {
        write!(out, "<polyline class={class} points='")?;
        for (x, y) in points {
            let x = LEFT + (WIDTH - LEFT - RIGHT) * (x - first) / span;
            write!(out, "{x:.1},{:.1} ", y_of(*y, top))?;
        }
        out.push_str("'/>");
    }
    out.push_str("</svg></figure>");
    Ok(())
}

/// Buckets by their upper bounds, gathered into bars of equal width.
fn bars(out: &mut String, caption: &str, buckets: &[(f64, u32)]) -> std::fmt::Result {
    const BARS: usize = 40;
    let longest = ceiling(buckets.iter().map(|(upper, _)| *upper).fold(0.0, f64::max));
    let mut counts = [0_u32; BARS];
    for (upper, count) in buckets {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "from 0 to 40"
        )]
        let at = ((upper / longest * BARS as f64).ceil() as usize).clamp(1, BARS) - 1;
        counts[at] += count;
    }
    let top = ceiling(f64::from(counts.iter().copied().max().unwrap_or(0)));
    frame(out, caption, top, "0", &significant(longest))?;
    #[expect(clippy::cast_precision_loss, reason = "40")]
    let width = (WIDTH - LEFT - RIGHT) / BARS as f64;
    let mut x = LEFT;
    for count in counts {
        let y = y_of(f64::from(count), top);
        let height = HEIGHT - BOTTOM - y;
        write!(
            out,
            "<rect class=bar x={:.1} y={y:.1} width={:.1} height={height:.1} />",
            x + 1.0,
            width - 2.0
        )?;
        x += width;
    }
    out.push_str("</svg></figure>");
    Ok(())
}

fn details(out: &mut String, report: &Report) -> std::fmt::Result {
    out.push_str("<h2>Figures</h2><div class=table><table><tr><th><th>p50<th>p99<th>max</tr>");
    let generator = &report.generator;
    for (name, of) in [
        ("Join: POST to first media packet, ms", report.join_ms),
        ("POST to first complete keyframe, ms", report.first_frame_ms),
        ("One-way latency, ms", report.latency_ms),
        ("Jitter (RFC 3550), ms", report.jitter_ms),
        (
            "Wait in the generator's own sockets, ms",
            generator.socket_wait_ms,
        ),
    ] {
        match of {
            Some(ms) => write!(
                out,
                "<tr><th>{name}<td>{:.3}<td>{:.3}<td>{:.3}</tr>",
                ms.p50, ms.p99, ms.max
            )?,
            None => write!(out, "<tr><th>{name}<td>–<td>–<td>–</tr>")?,
        }
    }
    out.push_str("</table></div><div class=table style='margin-top:12px'><table>");
    for (name, value) in [
        ("Packets expected", report.packets_expected),
        ("Packets received", report.packets_received),
        ("Packets lost", report.packets_lost),
        ("Frames shown", report.frames_shown),
        ("NACKs sent by viewers", report.nacks_sent),
        ("PLIs sent by viewers", report.plis_sent),
        (
            "NACKs that reached publishers",
            report.publishers.nacks_received,
        ),
        (
            "Keyframe requests that reached publishers",
            report.publishers.keyframe_requests_received,
        ),
        ("Sessions that ended unasked", report.disconnects),
        (
            "Datagrams that overflowed the generator's sockets",
            generator.socket_drops,
        ),
    ] {
        write!(out, "<tr><th>{name}<td>{value}</tr>")?;
    }
    let cost = generator
        .cpu_ns_per_packet
        .map_or("–".into(), |ns| format!("{ns:.0}"));
    write!(
        out,
        "<tr><th>CPU of the generator per packet received, ns<td>{cost}</tr>"
    )?;
    write!(
        out,
        "<tr><th>Busiest generator thread<td>{:.0} %</tr></table></div>",
        generator.busiest_thread * 100.0
    )?;
    if !report.join_failures.is_empty() {
        out.push_str("<h2>What failed</h2><div class=table><table>");
        for (reason, count) in &report.join_failures {
            write!(out, "<tr><th>{}<td>{count}</tr>", escape(reason))?;
        }
        out.push_str("</table></div>");
    }
    Ok(())
}

/// The viewers who had it worst.
fn viewers(out: &mut String, rows: &[ViewerRow]) -> std::fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    let mut worst: Vec<&ViewerRow> = rows.iter().collect();
    let badness = |row: &ViewerRow| {
        (
            row.loss.unwrap_or(0.0),
            to_f64(row.freezes),
            row.latency_ms.map_or(0.0, |ms| ms.p99),
        )
    };
    worst.sort_by(|one, two| {
        let (one, two) = ((one.joined, badness(two)), (two.joined, badness(one)));
        one.partial_cmp(&two).unwrap_or(std::cmp::Ordering::Equal)
    });
    let shown = worst.len().min(ROWS);
    write!(
        out,
        "<h2>Viewers: the worst {shown} of {}</h2><div class=table><table><tr><th>viewer<th>room<th>join, ms<th>packets<th>loss, %\
         <th>latency p99, ms<th>jitter, ms<th>frames<th>freezes<th>NACK<th>PLI<th>ended</tr>",
        rows.len()
    )?;
    let or_dash = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.2}"));
    for row in worst.into_iter().take(ROWS) {
        write!(
            out,
            "<tr><td>{}<td>{}<td>{}<td>{} / {}<td>{}<td>{}<td>{}<td>{} / {}<td>{}<td>{}<td>{}<td>{}</tr>",
            row.viewer,
            row.room,
            or_dash(row.join_ms),
            row.packets_received,
            row.packets_expected,
            row.loss
                .map_or("–".into(), |loss| significant(loss * 100.0)),
            or_dash(row.latency_ms.map(|ms| ms.p99)),
            or_dash(row.jitter_ms),
            row.frames_complete,
            row.frames_expected,
            row.freezes,
            row.nacks_sent,
            row.plis_sent,
            row.error.as_deref().map_or("–".into(), escape),
        )?;
    }
    out.push_str("</table></div>");
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a run are far below 2^53"
)]
fn to_f64(count: u64) -> f64 {
    count as f64
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_escaped() {
        let mut report = Report::default();
        report
            .join_failures
            .insert("viewer: <script>alert('x')</script>".into(), 1);
        report.viewers.push(ViewerRow {
            error: Some("<b>".into()),
            ..ViewerRow::default()
        });
        let page = page(&report);
        assert!(!page.contains("<script>") && !page.contains("<td><b>"));
        assert!(page.contains("&lt;script&gt;") && page.contains("<td>&lt;b&gt;"));
    }

    #[test]
    fn axes_end_at_round_values() {
        for (value, top) in [
            (0.0, 1.0),
            (0.03, 0.05),
            (1.0, 1.0),
            (11.0, 20.0),
            (999.0, 1000.0),
        ] {
            assert!((ceiling(value) / top - 1.0).abs() < 1e-9, "{value}");
        }
        assert_eq!(
            (significant(0.05), significant(20.0), significant(1234.5)),
            ("0.05".into(), "20".into(), "1234".into())
        );
    }
}
