//! The settings in force as TOML that can be read again, and as the table of the documentation.

use super::Loaded;
use super::table::{SETTINGS, Section, Setting};
use super::value::{Kind, Raw, Value};
use std::fmt::Write as _;

/// The settings in force as a configuration file, each with its source beside it.
#[must_use]
pub fn effective_toml(loaded: &Loaded) -> String {
    let mut toml = String::new();
    for section in Section::ALL {
        let _ = writeln!(toml, "{}# {}", if toml.is_empty() { "" } else { "\n" }, section.title());
        for setting in SETTINGS.iter().filter(|setting| setting.section == section) {
            let source = loaded.source(setting.name);
            let value = (setting.get)(&loaded.settings);
            let _ = match value {
                Value::Unset => writeln!(toml, "# {} is unset  # {source}", setting.name),
                Value::Span(_)
                | Value::Number(_)
                | Value::Switch(_)
                | Value::Word(_)
                | Value::Address(_)
                | Value::Path(_)
                | Value::Text(_)
                | Value::Words(_)
                | Value::Rules(_) => {
                    writeln!(toml, "{} = {}  # {source}", setting.name, toml_value(setting, &value))
                }
            };
        }
    }
    toml
}

/// The table of all settings in `docs/operations.md`.
#[must_use]
pub fn markdown_table() -> String {
    let mut table = String::new();
    for section in Section::ALL {
        let _ = writeln!(
            table,
            "### {}\n\n| setting | default | takes | meaning |\n|---|---|---|---|",
            section.title()
        );
        for setting in SETTINGS.iter().filter(|setting| setting.section == section) {
            let default = match setting.default_text() {
                text if text.is_empty() => "none".to_owned(),
                text => format!("`{text}`"),
            };
            let _ = writeln!(
                table,
                "| `{}` | {default} | {} | {} |",
                setting.name,
                takes(setting.kind),
                setting.meaning.replace('|', "\\|"),
            );
        }
        table.push('\n');
    }
    table
}

fn takes(kind: Kind) -> String {
    let what = match kind {
        Kind::Duration(..) => "duration",
        Kind::Size(..) => "size",
        Kind::Count(..) | Kind::Seed => "number",
        Kind::Switch => "`true`, `false`",
        Kind::Choice(words) => {
            let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
            return quoted.join(", ");
        }
        Kind::Address => "address and port",
        Kind::MaybeAddress => "address and port, or `off`",
        Kind::Path => "path",
        Kind::Text(what) => return what.to_lowercase(),
        Kind::Words(_) => "list",
        Kind::Rules => "list of rules",
    };
    match kind.bounds() {
        bounds if bounds.is_empty() => what.to_owned(),
        bounds => format!("{what}, {bounds}"),
    }
}

fn toml_value(setting: &Setting, value: &Value) -> String {
    match setting.kind.show(value) {
        Raw::One(text) => match value {
            // TOML's integers end at 2^63 - 1.
            Value::Number(number)
                if matches!(setting.kind, Kind::Count(..) | Kind::Seed)
                    && i64::try_from(*number).is_ok() =>
            {
                text
            }
            Value::Switch(_) => text,
            Value::Number(_)
            | Value::Span(_)
            | Value::Word(_)
            | Value::Address(_)
            | Value::Path(_)
            | Value::Text(_)
            | Value::Words(_)
            | Value::Rules(_)
            | Value::Unset => toml_string(&text),
        },
        Raw::Many(texts) => {
            let quoted: Vec<_> = texts.iter().map(|text| toml_string(text)).collect();
            format!("[{}]", quoted.join(", "))
        }
    }
}

fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
