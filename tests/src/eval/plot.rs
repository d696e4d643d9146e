//! Detected against wrongly detected, as an SVG: a curve for each share of targets that answer, a point for
//! each factor on the thresholds.

use std::fmt::Write as _;

use crate::scaled::Scaled;

const LEFT: f64 = 70.0;
const TOP: f64 = 40.0;
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 300.0;
/// By share of targets that answer; told apart by the colour-blind too (Okabe, Ito 2008).
const COLOURS: [&str; 4] = ["#0072b2", "#009e73", "#e69f00", "#d55e00"];

/// Where a point is, in the SVG's units.
#[derive(Clone, Copy)]
struct At {
    x: f64,
    y: f64,
}

/// The plot of what other thresholds do.
pub(crate) fn plot(scaled: &[Scaled]) -> String {
    let most = scaled.iter().map(|scaled| scaled.false_verdicts_per_hour).fold(1.0, f64::max).ceil();
    let at = |false_verdicts: f64, share: f64| At {
        x: LEFT + false_verdicts / most * WIDTH,
        y: TOP + (1.0 - share) * HEIGHT,
    };
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 410\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"640\" height=\"410\" fill=\"#fff\"/>\n",
    );
    axes(&mut svg, most, at);
    let mut marks: Vec<(At, Vec<f64>)> = Vec::new();
    for (index, colour) in COLOURS.iter().enumerate() {
        let Some(answered) = scaled.first().and_then(|first| first.detected.get(index)) else { continue };
        let points = scaled
            .iter()
            .map(|scaled| (at(scaled.false_verdicts_per_hour, scaled.detected[index].share), scaled.factor));
        let points: Vec<_> = points.collect();
        curve(&mut svg, &points, colour);
        points.iter().for_each(|(point, factor)| mark(&mut marks, *point, *factor));
        let y = TOP + 60.0 + 22.0 * index as f64;
        text(&mut svg, 505.0, y + 4.0, "start", &format!("{} % answer", answered.answered_percent));
        _ = writeln!(svg, "<circle cx=\"494\" cy=\"{y}\" r=\"4\" fill=\"{colour}\"/>");
    }
    for (point, factors) in &marks {
        text(&mut svg, point.x + 7.0, point.y + 14.0, "start", &label(factors));
    }
    svg.push_str("</svg>\n");
    svg
}

fn axes(svg: &mut String, most: f64, at: impl Fn(f64, f64) -> At) {
    let (right, bottom) = (LEFT + WIDTH, TOP + HEIGHT);
    _ = writeln!(svg, "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#333\"/>");
    for quarter in 0..=4 {
        let share = f64::from(quarter) / 4.0;
        text(svg, LEFT - 8.0, at(0.0, share).y + 4.0, "end", &format!("{:.0} %", share * 100.0));
        let value = most * share;
        text(svg, at(value, 0.0).x, bottom + 18.0, "middle", &format!("{value:.1}"));
    }
    text(svg, LEFT, TOP - 20.0, "start", "scans detected, by a factor on all thresholds");
    text(svg, LEFT + WIDTH / 2.0, bottom + 42.0, "middle", "false verdicts per source-hour");
    text(svg, 485.0, TOP + 38.0, "start", "of the targets");
}

fn curve(svg: &mut String, points: &[(At, f64)], colour: &str) {
    let line: Vec<_> = points.iter().map(|(at, _)| format!("{:.1},{:.1}", at.x, at.y)).collect();
    _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        line.join(" ")
    );
    for (at, _) in points {
        _ = writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{colour}\"/>", at.x, at.y);
    }
}

/// Notes a factor at a point, together with those that came out nearly the same.
fn mark(marks: &mut Vec<(At, Vec<f64>)>, point: At, factor: f64) {
    let near = |other: &At| (other.x - point.x).abs() < 30.0 && (other.y - point.y).abs() < 12.0;
    match marks.iter_mut().find(|(other, _)| near(other)) {
        Some((_, factors)) if factors.contains(&factor) => {}
        Some((_, factors)) => factors.push(factor),
        None => marks.push((point, vec![factor])),
    }
}

fn label(factors: &[f64]) -> String {
    let mut sorted = factors.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.as_slice() {
        [first, .., last] => format!("\u{d7}{first} to \u{d7}{last}"),
        factors => factors.iter().map(|factor| format!("\u{d7}{factor}")).collect(),
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}
