//! Storms and their curves as a drawing: one panel each, a column for every outage and a row for
//! every policy.
//!
//! The drawing brings its own colours for light and dark surroundings, and its own background.

use super::table::grouped;
use super::{Curve, Row};
use std::fmt::Write as _;
use steadfast_core::time::Span;

const LEFT: f64 = 64.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = 46.0;
const PANEL_WIDTH: f64 = 280.0;
const PANEL_HEIGHT: f64 = 88.0;
const GAP_X: f64 = 22.0;
const GAP_Y: f64 = 34.0;
/// What is shown after the end of the outage, in seconds.
const SHOWN_UP_S: f64 = 40.0;
/// The decades of the vertical axis, from its top down: all clients, a tenth of them…
const DECADES: [&str; 5] = ["100 %", "10 %", "1 %", "0.1 %", "0.01 %"];

const STYLE: &str = "
.paper { fill: #ffffff } text { fill: #24292f; font: 12px system-ui, sans-serif }
.small { font-size: 11px; fill: #57606a } .title { font-size: 15px; font-weight: 600 }
.panel { fill: #f6f8fa } .down { fill: #e3c7c4 } .grid { stroke: #d0d7de }
.curve { fill: #0969da }
@media (prefers-color-scheme: dark) {
.paper { fill: #0d1117 } text { fill: #e6edf3 } .small { fill: #9da7b3 }
.panel { fill: #161b22 } .down { fill: #4a2b2b } .grid { stroke: #30363d }
.curve { fill: #58a6ff }
}
";

/// The rows as an SVG drawing.
///
/// # Panics
///
/// If there are no rows.
#[must_use]
pub fn plot(rows: &[Row]) -> String {
    let first = rows.first().expect("a plot shows something");
    let outages = distinct(rows.iter().map(|row| row.storm.outage));
    let policies = distinct(rows.iter().map(|row| row.storm.policy));
    let width = LEFT + along(outages.len(), PANEL_WIDTH, GAP_X);
    let height = TOP + along(policies.len(), PANEL_HEIGHT, GAP_Y) - GAP_Y + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n"
    );
    let title = format!(
        "{} clients lose their server, which takes {}: attempts in 100 ms, in % of the clients",
        grouped(first.storm.clients),
        first.storm.acceptance
    );
    let _ = writeln!(svg, "<title>{title}</title>");
    text(&mut svg, LEFT, 24.0, "title", &title);
    for row in rows {
        let column = place(&outages, &row.storm.outage);
        let line = place(&policies, &row.storm.policy);
        let x = LEFT + along(column, PANEL_WIDTH, GAP_X);
        let y = TOP + along(line, PANEL_HEIGHT, GAP_Y);
        panel(&mut svg, x, y, row);
        if column == 0 {
            decades(&mut svg, y);
        }
        if line + 1 == policies.len() {
            seconds(&mut svg, x, y + PANEL_HEIGHT, shown_s(row.storm.outage));
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// One storm: what it is, how long the server was down, and the attempts.
fn panel(svg: &mut String, x: f64, y: f64, Row { storm, curve }: &Row) {
    let scale = PANEL_WIDTH / shown_s(storm.outage);
    let down = seconds_of(storm.outage) * scale;
    let _ = writeln!(
        svg,
        "<rect class=\"panel\" x=\"{x}\" y=\"{y}\" width=\"{PANEL_WIDTH}\" height=\"{PANEL_HEIGHT}\"/>\n\
         <rect class=\"down\" x=\"{x}\" y=\"{y}\" width=\"{down:.1}\" height=\"{PANEL_HEIGHT}\"/>"
    );
    for decade in 0..DECADES.len() {
        let at = y + decade_y(decade);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{x} {at}h{PANEL_WIDTH}\" stroke-width=\"0.5\"/>"
        );
    }
    let _ = writeln!(svg, "<path class=\"curve\" d=\"{}\"/>", outline(x, y, curve, storm.outage));
    let name = format!("{}, down {} s", storm.policy, storm.outage.as_millis() / 1_000);
    text(svg, x, y - 6.0, "name", &name);
    let back = curve.back_after(100).as_millis();
    let back = format!("all back after {}.{} s", back / 1_000, back % 1_000 / 100);
    text(svg, x + PANEL_WIDTH, y - 6.0, "small\" text-anchor=\"end", &back);
}

/// The attempts as bars without gaps, at most one for each pixel: the highest of those that share it.
fn outline(x: f64, y: f64, curve: &Curve, outage: Span) -> String {
    let bins_shown = shown_s(outage) * 10.0;
    let bins_per_step = (bins_shown / PANEL_WIDTH).ceil().max(1.0);
    let step = PANEL_WIDTH / (bins_shown / bins_per_step);
    let bottom = y + PANEL_HEIGHT;
    let steps = curve.bins().chunks(bins_per_step as usize);
    let mut path = String::new();
    for (index, bins) in steps.enumerate().take((PANEL_WIDTH / step) as usize) {
        let count = bins.iter().copied().max().unwrap_or(0);
        let height = bar(f64::from(count) / f64::from(curve.clients()));
        if height > 0.0 {
            let left = x + step * index as f64;
            let _ = write!(path, "M{left:.1} {bottom}v-{height:.1}h{step:.1}V{bottom}z");
        }
    }
    path
}

/// How high the bar for this share of the clients is; nothing below the lowest decade.
fn bar(share: f64) -> f64 {
    let lowest = 1.0 - DECADES.len() as f64;
    let decades = if share > 0.0 { share.log10() - lowest } else { 0.0 };
    PANEL_HEIGHT * (decades / -lowest).clamp(0.0, 1.0)
}

fn decades(svg: &mut String, y: f64) {
    for (decade, name) in DECADES.iter().enumerate() {
        let at = y + decade_y(decade) + 4.0;
        text(svg, LEFT - 8.0, at, "small\" text-anchor=\"end", name);
    }
}

fn decade_y(decade: usize) -> f64 {
    PANEL_HEIGHT * decade as f64 / (DECADES.len() - 1) as f64
}

/// The labels of the time axis.
fn seconds(svg: &mut String, x: f64, bottom: f64, shown_s: f64) {
    let mut at_s = 0.0;
    while at_s <= shown_s {
        let at = x + PANEL_WIDTH * at_s / shown_s;
        text(svg, at, bottom + 16.0, "small\" text-anchor=\"middle", &format!("{at_s:.0}"));
        at_s += if shown_s > 60.0 { 20.0 } else { 10.0 };
    }
    let middle = x + PANEL_WIDTH / 2.0;
    let what = "seconds since the loss; shaded: down";
    text(svg, middle, bottom + 34.0, "small\" text-anchor=\"middle", what);
}

fn text(svg: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
}

fn shown_s(outage: Span) -> f64 {
    seconds_of(outage) + SHOWN_UP_S
}

fn seconds_of(span: Span) -> f64 {
    span.as_micros() as f64 / 1e6
}

/// Where the panel of this number begins.
fn along(count: usize, size: f64, gap: f64) -> f64 {
    (size + gap) * count as f64
}

fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

fn place<T: PartialEq>(values: &[T], value: &T) -> usize {
    values.iter().position(|other| other == value).expect("it was taken from these rows")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storm::{Storm, run};

    #[test]
    fn bars_are_as_high_as_their_decade() {
        let heights = [1.0, 0.01, 0.000_1, 0.000_01, 0.0].map(bar);
        assert_eq!(heights, [PANEL_HEIGHT, PANEL_HEIGHT / 2.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn each_storm_has_its_panel_and_each_of_these_its_bars() {
        let storms = Storm::all(20, 1);
        let rows: Vec<_> = storms[..8]
            .iter()
            .map(|storm| Row { storm: *storm, curve: run(storm, |_| {}) })
            .collect();
        let svg = plot(&rows);
        assert_eq!(svg.matches("class=\"panel\"").count(), 8);
        let curves: Vec<_> = svg.lines().filter(|line| line.contains("class=\"curve\"")).collect();
        assert_eq!(curves.len(), 8);
        // The first attempts come after 1 s of 40 s, 7 of 280 points into the panel, in full height.
        assert!(curves[0].contains("M71.0 154v-88.0h"), "{}", curves[0]);
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }
}
