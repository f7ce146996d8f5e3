//! Storms and their curves as a table for people.

use super::{Curve, Storm};
use std::fmt::Write as _;
use steadfast_core::time::Span;

/// A storm that was run.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was run.
    pub storm: Storm,
    /// What came of it.
    pub curve: Curve,
}

const HEAD: [&str; 10] = [
    "server takes",
    "down",
    "policy",
    "peak",
    "of all",
    "peak when up",
    "of all",
    "in 1 s when up",
    "tries each",
    "half, all back",
];

/// The rows as a Markdown table. Peaks are attempts in 100 ms, *of all* is their share of the
/// clients, and *back* counts from the loss.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = format!("| {} |\n", HEAD.join(" | "));
    let _ = writeln!(text, "|---|---|---|{}", "---:|".repeat(HEAD.len() - 3));
    for row in rows {
        let _ = writeln!(text, "| {} |", cells(row).join(" | "));
    }
    text
}

/// A row's cells; the first three say what was run.
pub(super) fn cells(Row { storm, curve }: &Row) -> [String; HEAD.len()] {
    let clients = u64::from(curve.clients());
    let share = |count: u32| percent(u64::from(count), clients);
    let tries_tenths = (curve.attempts() * 10 + clients / 2) / clients;
    [
        storm.acceptance.to_string(),
        format!("{} s", storm.outage.as_millis() / 1_000),
        storm.policy.to_string(),
        grouped(curve.peak()),
        share(curve.peak()),
        grouped(curve.peak_up()),
        share(curve.peak_up()),
        share(curve.peak_up_1s()),
        format!("{}.{}", tries_tenths / 10, tries_tenths % 10),
        format!("{}, {} s", seconds(curve.back_after(50)), seconds(curve.back_after(100))),
    ]
}

/// The share in percent, to a tenth.
fn percent(count: u64, all: u64) -> String {
    let tenths = (count * 1_000 + all / 2) / all;
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn seconds(span: Span) -> String {
    format!("{}.{}", span.as_millis() / 1_000, span.as_millis() % 1_000 / 100)
}

/// The number with a comma after each thousand.
pub(super) fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
