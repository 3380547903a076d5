//! Draws the plot: the shares of the limit of each run at the top, the flow around each change below. The SVG suits
//! light and dark pages.

use std::fmt::Write as _;

use super::measure::Measured;
use super::report::{Report, tenths};
use super::stats;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const SHARES_TOP: f64 = 60.0;
const SHARES_HEIGHT: f64 = 220.0;
const LABELS_HEIGHT: f64 = 150.0;
const FLOW_HEIGHT: f64 = 130.0;
const FLOW_GAP: f64 = 60.0;
/// The range of shares that is shown. A share outside of it is drawn at the nearest border.
const SHARES: (f64, f64) = (0.80, 1.20);

const STYLE: &str = "\
.page{fill:#ffffff}.ink{fill:#1f2328}.soft{fill:#59636e}.grid{stroke:#d1d9e0}.bar{stroke:#59636e;stroke-dasharray:5 4}\
.a{fill:#0969da}.w{fill:#bc4c00}.flow{stroke:#0969da;fill:none;stroke-width:1.5}.limit{stroke:#bc4c00;fill:none;stroke-width:1.5}\
text{font:12px system-ui,sans-serif}.title{font-size:15px;font-weight:600}\
@media(prefers-color-scheme:dark){.page{fill:#0d1117}.ink{fill:#e6edf3}.soft{fill:#9198a1}.grid{stroke:#3d444d}\
.bar{stroke:#9198a1}.a{fill:#4493f8}.w{fill:#f0883e}.flow{stroke:#4493f8}.limit{stroke:#f0883e}}";

impl Report {
    /// The report as an SVG.
    pub(crate) fn svg(&self) -> String {
        svg(self)
    }
}

fn svg(report: &Report) -> String {
    let shares: Vec<&Measured> = report
        .runs
        .iter()
        .filter(|run| run.achieved().is_some() && run.changed_at.is_none())
        .collect();
    let changes: Vec<&Measured> = report.runs.iter().filter(|run| run.changed_at.is_some()).collect();
    let flows_top = SHARES_TOP
        + if shares.is_empty() {
            0.0
        } else {
            SHARES_HEIGHT + LABELS_HEIGHT
        };
    let height = flows_top + index(changes.len()) * (FLOW_HEIGHT + FLOW_GAP) + 20.0;
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-label=\"lockstone bench throttle\"><style>{STYLE}</style>\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\"/>"
    );
    text(&mut svg, "ink title", LEFT, 24.0, "start", "lockstone bench throttle");
    if !shares.is_empty() {
        draw_shares(&mut svg, &shares);
    }
    for (number, run) in changes.iter().enumerate() {
        draw_flow(
            &mut svg,
            flows_top + index(number) * (FLOW_HEIGHT + FLOW_GAP) + 20.0,
            run,
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_shares(svg: &mut String, runs: &[&Measured]) {
    let y = |share: f64| {
        let inside = (share.clamp(SHARES.0, SHARES.1) - SHARES.0) / (SHARES.1 - SHARES.0);
        SHARES_TOP + SHARES_HEIGHT * (1.0 - inside)
    };
    let _ = write!(
        svg,
        "<circle class=\"a\" cx=\"{LEFT}\" cy=\"40\" r=\"4\"/><rect class=\"w\" x=\"196\" y=\"36\" width=\"8\" height=\"8\"/>"
    );
    text(svg, "soft", LEFT + 10.0, 44.0, "start", "achieved / limit");
    text(svg, "soft", 210.0, 44.0, "start", "worst second / limit");
    for (share, class) in [
        (0.80, "grid"),
        (0.90, "grid"),
        (0.97, "bar"),
        (1.00, "bar"),
        (1.10, "bar"),
        (1.20, "grid"),
    ] {
        let at = y(share);
        let _ = write!(
            svg,
            "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
            WIDTH - RIGHT
        );
        text(svg, "soft", LEFT - 8.0, at + 4.0, "end", &format!("{share:.2}"));
    }
    let step = (WIDTH - LEFT - RIGHT) / index(runs.len());
    for (number, run) in runs.iter().enumerate() {
        let x = LEFT + step * (index(number) + 0.5);
        let (achieved, worst) = (run.achieved().unwrap_or(0.0), run.worst_second().unwrap_or(0.0));
        let _ = write!(
            svg,
            "<rect class=\"w\" x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\"><title>{worst:.4}</title></rect>\
             <circle class=\"a\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"4\"><title>{achieved:.4}</title></circle>",
            x - 4.0,
            y(worst) - 4.0,
            y(achieved)
        );
        let (at, label) = (SHARES_TOP + SHARES_HEIGHT + 14.0, label(run));
        let _ = write!(
            svg,
            "<text class=\"soft\" text-anchor=\"end\" transform=\"translate({:.1} {at:.1}) rotate(-50)\">{}</text>",
            x + 4.0,
            escaped(&label)
        );
    }
}

fn draw_flow(svg: &mut String, top: f64, run: &Measured) {
    let flow: Vec<f64> = tenths(&run.slots)
        .into_iter()
        .map(|bytes| stats::number(bytes) * 10.0)
        .collect();
    let changed_at = index(run.changed_at.unwrap_or(0)) / index(stats::SECOND / 10);
    let from = run.setting.limit.rate.map_or(0.0, stats::number);
    let highest = flow.iter().copied().fold(from, f64::max).max(1.0);
    let to = run.limit().map_or(highest, stats::number);
    let last = index(flow.len()).max(1.0);
    let x = |tenth: f64| LEFT + (WIDTH - LEFT - RIGHT) * tenth / last;
    let y = |rate: f64| top + FLOW_HEIGHT * (1.0 - rate / (highest * 1.05));
    let acted = run.acted().map_or_else(
        || "never".to_owned(),
        |acted| format!("after {:.2} s", acted.as_secs_f64()),
    );
    let then = run.setting.then.as_ref().map_or("", |limit| &limit.text);
    let title = format!("{} to {then}: acted {acted}", run.setting.limit.text);
    text(svg, "ink", LEFT, top - 8.0, "start", &title);
    for rate in [0.0, highest / 2.0, highest] {
        let at = y(rate);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
            WIDTH - RIGHT
        );
        text(
            svg,
            "soft",
            LEFT - 8.0,
            at + 4.0,
            "end",
            &format!("{:.2}", rate * 8.0 / 1e6),
        );
    }
    text(svg, "soft", LEFT - 8.0, top + FLOW_HEIGHT + 16.0, "end", "Mbps");
    for second in 0..=flow.len() / 10 {
        let at = x(index(second * 10));
        text(
            svg,
            "soft",
            at,
            top + FLOW_HEIGHT + 16.0,
            "middle",
            &format!("{second} s"),
        );
    }
    let _ = write!(
        svg,
        "<polyline class=\"limit\" points=\"{:.1},{:.1} {:.1},{:.1} {:.1},{:.1} {:.1},{:.1}\"/><polyline class=\"flow\" points=\"",
        x(0.0),
        y(from),
        x(changed_at),
        y(from),
        x(changed_at),
        y(to),
        x(last),
        y(to)
    );
    for (tenth, rate) in flow.iter().enumerate() {
        let _ = write!(svg, "{:.1},{:.1} ", x(index(tenth) + 0.5), y(*rate));
    }
    svg.push_str("\"/>");
}

/// The settings that distinguish a run from the others.
fn label(run: &Measured) -> String {
    let setting = &run.setting;
    let piece = setting.piece.0.map_or_else(String::new, |piece| format!(" {piece} B"));
    format!(
        "{} ×{}{piece} {} MiB",
        setting.limit.text,
        setting.parallel,
        setting.budget >> 20
    )
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, anchor: &str, words: &str) {
    let _ = write!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
        escaped(words)
    );
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// An index as a coordinate.
fn index(at: usize) -> f64 {
    stats::number(at as u64)
}
