//! Bars side by side, a colour for each algorithm or burst, in SVG.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};
use gateway::config::FairUse;

use super::cases::BURSTS_MS;
use super::report::{Report, Row, Span};
use crate::plot::escaped;
use crate::results::directory;

const COLOURS: [&str; 7] = ["#c44e52", "#4c72b0", "#8c8c8c", "#bdbdbd", "#55a868", "#dd8452", "#8172b3"];
const BAR: usize = 9;
const GAP: usize = 9;
const TOP: usize = 40;
const LABEL: usize = 250;
const BARS: usize = 480;
const WIDTH: usize = LABEL + BARS + 90;

/// One picture.
struct Picture<'a> {
    file: &'a str,
    title: &'a str,
    series: Vec<String>,
    groups: Vec<Group>,
    /// A line across, where the cap is.
    mark: Option<f64>,
}

/// Bars that belong together, one for each series, if it was measured.
struct Group {
    label: String,
    bars: Vec<Option<Span>>,
}

/// Writes all pictures beside the results.
pub(super) fn write(report: &Report) -> Result<()> {
    let alone = |row: &Row| row.cap_mbit_per_sec == 10 && ["reno", "cubic", "bbr"].contains(&&*row.workload);
    let by_algorithm =
        |file, title, mark, wanted: &dyn Fn(&Row) -> bool, figure: fn(&Row) -> Option<Span>| Picture {
            file,
            title,
            series: report.algorithms.iter().map(|algorithm| algorithm.label().to_owned()).collect(),
            groups: groups(report, wanted, figure),
            mark,
        };
    let pictures = [
        by_algorithm("goodput", "Goodput of one flow over a cap of 10 Mbit/s", Some(1.0), &alone, |row| {
            Some(row.goodput)
        }),
        by_algorithm("resent", "Segments sent again per MB, 10 Mbit/s", None, &alone, |row| {
            row.retransmissions_per_mb
        }),
        by_algorithm("peaks", "Busiest second over the cap, 10 Mbit/s", Some(1.0), &alone, |row| {
            Some(row.peak_later)
        }),
        by_algorithm(
            "sharing",
            "Share of the first flow, over the cap",
            Some(0.5),
            &|row| ["cubic beside bbr", "cubic beside UDP", "bbr beside UDP"].contains(&&*row.workload),
            |row| Some(row.first_share),
        ),
        by_algorithm(
            "downloads",
            "100 kB beside a long flow, ms (median)",
            None,
            &|row| row.download_ms.is_some(),
            |row| row.download_ms,
        ),
        bursts(report),
    ];
    for picture in pictures {
        let file = directory().join(format!("caps-{}.svg", picture.file));
        fs::write(&file, draw(&picture)).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Groups by workload, cap and round trip, with a bar for each algorithm under the default burst.
fn groups(
    report: &Report,
    wanted: &dyn Fn(&Row) -> bool,
    figure: impl Fn(&Row) -> Option<Span>,
) -> Vec<Group> {
    let rows: Vec<&Row> = report.rows.iter().filter(|row| row.burst_ms.is_none() && wanted(row)).collect();
    let mut groups: Vec<Group> = Vec::new();
    for row in rows {
        let label = format!("{}, {} Mbit/s, {} ms", row.workload, row.cap_mbit_per_sec, row.round_trip_ms);
        let place = groups.iter().position(|group| group.label == label).unwrap_or_else(|| {
            groups.push(Group { label, bars: vec![None; report.algorithms.len()] });
            groups.len() - 1
        });
        if let Some(series) = report.algorithms.iter().position(|algorithm| *algorithm == row.algorithm) {
            groups[place].bars[series] = figure(row);
        }
    }
    groups
}

/// What other bursts than the default do under the fair algorithm.
fn bursts(report: &Report) -> Picture<'static> {
    let default = u32::try_from(FairUse::DEFAULT.burst.as_millis()).unwrap_or(u32::MAX);
    let mut bursts: Vec<u32> = BURSTS_MS.into_iter().chain([default]).collect();
    bursts.sort_unstable();
    let is_ours = |row: &&Row| row.algorithm.label() == "fair";
    let tried: Vec<&Row> =
        report.rows.iter().filter(is_ours).filter(|row| row.burst_ms == Some(BURSTS_MS[0])).collect();
    let group = |row: &&Row| {
        let bar = |burst: &u32| {
            let burst_ms = (*burst != default).then_some(*burst);
            let same = |other: &&Row| {
                (&other.workload, other.cap_mbit_per_sec, other.round_trip_ms)
                    == (&row.workload, row.cap_mbit_per_sec, row.round_trip_ms)
                    && other.burst_ms == burst_ms
            };
            report.rows.iter().filter(is_ours).find(same).map(|row| row.goodput)
        };
        let label = format!("{}, {} Mbit/s, {} ms", row.workload, row.cap_mbit_per_sec, row.round_trip_ms);
        Group { label, bars: bursts.iter().map(bar).collect() }
    };
    Picture {
        file: "bursts",
        title: "Goodput of one flow over its cap, by burst",
        series: bursts.iter().map(|burst| format!("{burst} ms")).collect(),
        groups: tried.iter().map(group).collect(),
        mark: Some(1.0),
    }
}

fn draw(picture: &Picture<'_>) -> String {
    let Picture { title, series, groups, mark, .. } = picture;
    let step = series.len() * BAR + GAP;
    let spans = groups.iter().flat_map(|group| group.bars.iter().flatten());
    let most = spans.map(|span| span.most).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| LABEL as f64 + value / most * BARS as f64;
    let height = TOP + groups.len() * step + 10;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LABEL}\" y=\"14\" font-size=\"13\">{}</text>\n",
        escaped(title)
    );
    // Writing to a string does not fail.
    for (index, name) in series.iter().enumerate() {
        let left = LABEL + index * 70;
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"22\" width=\"10\" height=\"10\" fill=\"{}\"/><text x=\"{}\" y=\"31\">{}</text>",
            COLOURS[index % COLOURS.len()],
            left + 14,
            escaped(name)
        );
    }
    for (index, group) in groups.iter().enumerate() {
        let top = TOP + index * step;
        let middle = top + series.len() * BAR / 2 + 4;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>",
            LABEL - 6,
            escaped(&group.label)
        );
        for (series, span) in group.bars.iter().enumerate() {
            let Some(span) = span else { continue };
            let (y, centre) = (top + series * BAR, top + series * BAR + BAR / 2);
            let value =
                if most < 5.0 { format!("{:.2}", span.median) } else { format!("{:.0}", span.median) };
            let _ = writeln!(
                svg,
                "<rect x=\"{LABEL}\" y=\"{y}\" width=\"{:.1}\" height=\"{}\" fill=\"{}\"/>\
                 <path d=\"M{:.1} {centre}H{:.1}\" stroke=\"black\"/>\
                 <text x=\"{:.1}\" y=\"{}\" font-size=\"9\">{value}</text>",
                x(span.median) - LABEL as f64,
                BAR - 1,
                COLOURS[series % COLOURS.len()],
                x(span.least),
                x(span.most),
                x(span.most) + 4.0,
                centre + 4,
            );
        }
    }
    if let Some(mark) = mark {
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {TOP}V{}\" stroke=\"#333\" stroke-dasharray=\"3 3\"/>",
            x(*mark),
            height - 10
        );
    }
    svg + "</svg>\n"
}
