//! The figures as bars, in SVG, a picture for each section.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};

use crate::figure::{Aim, Figure};
use crate::results::{Results, directory, number};

const ROW: usize = 22;
const LABEL: usize = 470;
const BARS: usize = 400;
const WIDTH: usize = LABEL + BARS + 220;

/// Writes a picture for each section beside the results.
pub(crate) fn write(results: &Results) -> Result<()> {
    let mut rest: &[Figure] = &results.figures;
    while let Some(first) = rest.first() {
        let section = section_of(first);
        let length = rest.iter().take_while(|figure| section_of(figure) == section).count();
        let (figures, others) = rest.split_at(length);
        let file = directory().join(format!("{section}.svg"));
        fs::write(&file, picture(figures)).with_context(|| format!("writing {}", file.display()))?;
        rest = others;
    }
    Ok(())
}

fn section_of(figure: &Figure) -> &str {
    figure.name.split('/').next().unwrap_or_default()
}

/// Figures of one unit share a scale.
fn picture(figures: &[Figure]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        figures.len() * ROW + 10,
    );
    for (row, figure) in figures.iter().enumerate() {
        let same_unit = figures.iter().filter(|other| other.unit == figure.unit);
        let most = same_unit.map(extent).fold(f64::MIN_POSITIVE, f64::max);
        bar(&mut svg, figure, 5 + row * ROW, most);
    }
    svg + "</svg>\n"
}

/// The largest value that a figure's row shows.
fn extent(figure: &Figure) -> f64 {
    let aim = match figure.aim {
        Some(Aim::AtMost(most)) => most,
        _ => 0.0,
    };
    figure.value.high.max(aim)
}

fn bar(svg: &mut String, figure: &Figure, top: usize, most: f64) {
    let x = |value: f64| LABEL as f64 + (value / most * BARS as f64).clamp(0.0, BARS as f64);
    let (middle, centre) = (top + ROW / 2 + 4, top + ROW / 2);
    let label = figure.name.split_once('/').map_or("", |(_, label)| label);
    let colour = if figure.reached() == Some(false) { "#c44e52" } else { "#4c72b0" };
    let value = figure.value;
    // Writing to a string does not fail.
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>\n\
         <rect x=\"{LABEL}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\"/>\n\
         <path d=\"M{:.1} {centre}H{:.1}\" stroke=\"black\"/>\n\
         <text x=\"{:.1}\" y=\"{middle}\">{} {}</text>",
        LABEL - 6,
        escaped(label),
        top + 3,
        x(value.median) - LABEL as f64,
        ROW - 6,
        x(value.low),
        x(value.high),
        x(value.high) + 5.0,
        number(value.median),
        escaped(&figure.unit),
    );
    if let Some(Aim::AtMost(aim)) = figure.aim {
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {}v{}\" stroke=\"#55a868\" stroke-width=\"2\"/>",
            x(aim),
            top + 1,
            ROW - 2
        );
    }
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
