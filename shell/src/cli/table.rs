//! Tables for people: columns in line whatever the script, times in UTC, ages, texts cut to a width.

use jiff::Timestamp;
use serde_json::Value;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// No cell is wider: keys are short, and of a payload its beginning tells which it is.
const WIDEST: usize = 60;

/// On which side the cells of a column are filled up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Texts.
    Left,
    /// Numbers.
    Right,
}

/// A table under its headings.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    columns: [(&'static str, Side); N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(columns: [(&'static str, Side); N]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| cut(&cell)));
    }

    /// The lines of the table.
    pub(super) fn show(&self) -> String {
        let widths: [usize; N] = std::array::from_fn(|column| {
            let cells = self.rows.iter().map(|row| row[column].width());
            cells.chain([self.columns[column].0.width()]).max().unwrap_or_default()
        });
        let mut text = String::new();
        let mut line = |cells: [&str; N]| {
            let begin = text.len();
            for ((cell, width), (_, side)) in cells.into_iter().zip(widths).zip(self.columns) {
                let fill = " ".repeat(width - cell.width());
                let (before, after) = if side == Side::Right { (&*fill, "") } else { ("", &*fill) };
                text.push_str(&format!("{before}{cell}{after}  "));
            }
            text.truncate(begin + text[begin..].trim_end().len());
            text.push('\n');
        };
        line(self.columns.map(|(name, _)| name));
        for row in &self.rows {
            line(row.each_ref().map(String::as_str));
        }
        text
    }
}

/// A field of an answer as a text that a terminal shows and does not obey.
pub(super) fn text(field: &Value) -> String {
    match field {
        Value::Null => "-".to_owned(),
        Value::String(text) => harmless(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => field.to_string(),
    }
}

/// Escapes what moves the cursor or turns the direction of writing.
fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A time to the second; `-` for none.
pub(super) fn time(field: &Value) -> String {
    let cut = timestamp(field).and_then(|time| Timestamp::from_second(time.as_second()).ok());
    cut.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

/// How long ago a time is.
pub(super) fn age(field: &Value) -> String {
    let Some(time) = timestamp(field) else { return "-".to_owned() };
    let seconds = Timestamp::now().as_second().saturating_sub(time.as_second());
    show_age(u64::try_from(seconds).unwrap_or_default())
}

fn timestamp(field: &Value) -> Option<Timestamp> {
    field.as_str()?.parse().ok()
}

fn show_age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        86_400.. => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// The text, or as much of it as a cell may have and `…`.
fn cut(text: &str) -> String {
    if text.width() <= WIDEST {
        return text.to_owned();
    }
    let mut width = 0;
    let fits = |c: &char| {
        width += c.width().unwrap_or_default();
        width < WIDEST
    };
    let mut short: String = text.chars().take_while(fits).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_in_line_whatever_the_script() {
        let mut table = Table::new([("KEY", Side::Left), ("N", Side::Right), ("DATA", Side::Left)]);
        for (key, number, data) in [("5", "10", "a"), ("办公室", "9", "消息"), ("x", "100", "")]
        {
            table.add([key, number, data].map(str::to_owned));
        }
        assert_eq!(
            table.show(),
            "KEY       N  DATA\n5        10  a\n办公室    9  消息\nx       100\n"
        );
    }

    #[test]
    fn cells_are_cut_to_a_width() {
        let fits = "a".repeat(WIDEST);
        for (text, expected) in [
            (fits.clone(), fits.clone()),
            (fits.clone() + "b", "a".repeat(WIDEST - 1) + "…"),
            ("消".repeat(31), "消".repeat(29) + "…"),
            (format!("a{}", "消".repeat(30)), format!("a{}…", "消".repeat(29))),
        ] {
            let shown = cut(&text);
            assert_eq!(shown, expected);
            assert!(shown.width() <= WIDEST, "{shown}");
        }
    }

    #[test]
    fn a_terminal_is_told_nothing() {
        let wild = Value::from("a\u{1b}[2Jb\r\n\u{202e}c\u{9b}消");
        assert_eq!(text(&wild), "a\\u{1b}[2Jb\\r\\n\\u{202e}c\\u{9b}消");
    }

    #[test]
    fn times_and_ages() {
        assert_eq!(time(&Value::from("2026-01-01T12:00:00.999999Z")), "2026-01-01T12:00:00Z");
        assert_eq!(time(&Value::Null), "-");
        for (seconds, expected) in
            [(0, "0s"), (59, "59s"), (60, "1m00s"), (3_661, "1h01m"), (90_000, "1d01h")]
        {
            assert_eq!(show_age(seconds), expected);
        }
    }
}
