//! Detected against wrongly detected, as an SVG: a curve for each share of targets that answer, a point for
//! each factor on the thresholds.
//!
//! The horizontal axis is one of square roots, as most of what matters is near 0. Factors that come out the
//! same stand side by side.

use std::fmt::Write as _;

use crate::scaled::Scaled;

const LEFT: f64 = 70.0;
const TOP: f64 = 60.0;
const WIDTH: f64 = 540.0;
const HEIGHT: f64 = 300.0;
/// Least distance of two factors, for their labels' sake.
const APART: f64 = 40.0;
/// By share of targets that answer; told apart by the colour-blind too (Okabe, Ito 2008).
const COLOURS: [&str; 4] = ["#0072b2", "#009e73", "#e69f00", "#d55e00"];

/// The plot of what other thresholds do.
pub(crate) fn plot(scaled: &[Scaled]) -> String {
    // From the fewest false verdicts to the most; of the same, from the highest thresholds to the lowest.
    let mut scaled: Vec<_> = scaled.iter().collect();
    scaled.sort_by(|a, b| {
        let by_verdicts = a.false_verdicts_per_hour.total_cmp(&b.false_verdicts_per_hour);
        by_verdicts.then(b.factor.total_cmp(&a.factor))
    });
    let most = scaled.last().map_or(1.0, |last| last.false_verdicts_per_hour.max(1.0));
    let mut columns: Vec<f64> = Vec::new();
    for scaled in &scaled {
        let x = LEFT + (scaled.false_verdicts_per_hour / most).sqrt() * WIDTH;
        columns.push(columns.last().map_or(x, |last| x.max(last + APART)));
    }
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 680 430\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"680\" height=\"430\" fill=\"#fff\"/>\n",
    );
    axes(&mut svg, most);
    for (x, scaled) in columns.iter().zip(&scaled) {
        text(&mut svg, *x, TOP - 12.0, "middle", &format!("\u{d7}{}", scaled.factor));
    }
    for (index, colour) in COLOURS.iter().enumerate() {
        let points = columns.iter().zip(&scaled).filter_map(|(x, scaled)| {
            scaled.detected.get(index).map(|detected| (*x, height(detected.share)))
        });
        curve(&mut svg, &points.collect::<Vec<_>>(), colour);
        if let Some(detected) = scaled.first().and_then(|first| first.detected.get(index)) {
            let y = TOP + HEIGHT - 100.0 + 22.0 * index as f64;
            _ = writeln!(svg, "<circle cx=\"450\" cy=\"{y}\" r=\"4\" fill=\"{colour}\"/>");
            let answered = format!("{} % of the targets answer", detected.answered_percent);
            text(&mut svg, 462.0, y + 4.0, "start", &answered);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Where a share is, in the SVG's units.
fn height(share: f64) -> f64 {
    TOP + (1.0 - share) * HEIGHT
}

fn axes(svg: &mut String, most: f64) {
    let (right, bottom) = (LEFT + WIDTH, TOP + HEIGHT);
    _ = writeln!(svg, "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#333\"/>");
    for quarter in 0..=4 {
        let part = f64::from(quarter) / 4.0;
        text(svg, LEFT - 8.0, height(part) + 4.0, "end", &format!("{:.0} %", part * 100.0));
        text(svg, LEFT + part * WIDTH, bottom + 20.0, "middle", &format!("{:.1}", most * part * part));
    }
    text(svg, 10.0, TOP - 36.0, "start", "scans detected; all thresholds times");
    text(svg, LEFT + WIDTH / 2.0, bottom + 48.0, "middle", "false verdicts per source-hour");
}

fn curve(svg: &mut String, points: &[(f64, f64)], colour: &str) {
    let line: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let line = line.join(" ");
    _ = writeln!(svg, "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
    for (x, y) in points {
        _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>");
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}
