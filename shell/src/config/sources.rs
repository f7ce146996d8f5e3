//! What file, variables and flags say, before it is understood.

use super::problem::{Problem, Source};
use super::suggest::{hint, nearest};
use super::table::{SETTINGS, Setting, VARIABLE_PREFIX, index_of};
use super::value::{Kind, Raw};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// The environment variable that names the configuration file.
pub const CONFIG_VARIABLE: &str = "STEADFAST_CONFIG";

/// Everything the settings are read from.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The configuration file: its path and its text.
    pub file: Option<(PathBuf, String)>,
    /// The environment; what does not begin with `STEADFAST_` is ignored.
    pub environment: Vec<(OsString, OsString)>,
    /// The flags that were given.
    pub flags: Vec<Flag>,
}

/// One flag, given once or, for lists, several times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The setting's name.
    pub name: &'static str,
    /// What was given.
    pub values: Vec<String>,
}

/// What one source says about one setting.
#[derive(Debug)]
pub(super) struct Given {
    /// Its place in [`SETTINGS`].
    pub(super) setting: usize,
    /// The value.
    pub(super) raw: Raw,
    /// Where it stands.
    pub(super) source: Source,
}

/// All that is said, weakest source first; what nobody understands becomes a problem.
pub(super) fn collect(inputs: &Inputs, problems: &mut Vec<Problem>) -> Vec<Given> {
    let mut given = Vec::new();
    if let Some((path, text)) = &inputs.file {
        read_file(path, text, &mut given, problems);
    }
    read_environment(&inputs.environment, &mut given, problems);
    for flag in &inputs.flags {
        let setting = index_of(flag.name).expect("flags are made from the table");
        let raw = match flag.values.as_slice() {
            [one] => written_list(&SETTINGS[setting], one),
            many => Raw::Many(many.to_vec()),
        };
        let source = Source::Flag(format!("--{}", SETTINGS[setting].flag()));
        given.push(Given { setting, raw, source });
    }
    given
}

fn read_environment(
    environment: &[(OsString, OsString)],
    given: &mut Vec<Given>,
    problems: &mut Vec<Problem>,
) {
    for (variable, value) in environment {
        let variable = variable.to_string_lossy();
        if !variable.starts_with(VARIABLE_PREFIX) || variable == CONFIG_VARIABLE {
            continue;
        }
        let source = Source::Variable(variable.clone().into_owned());
        let value = value.to_str();
        let found = SETTINGS.iter().position(|setting| setting.variable() == variable);
        match (found, value) {
            (Some(setting), Some(value)) => {
                let raw = written_list(&SETTINGS[setting], value);
                given.push(Given { setting, raw, source });
            }
            (Some(_), None) => problems.push(Problem {
                thing: variable.into_owned(),
                value: None,
                source,
                what: "is not valid UTF-8".to_owned(),
            }),
            (None, _) => {
                let unknown = variable[VARIABLE_PREFIX.len()..].to_ascii_lowercase();
                let known = SETTINGS.iter().map(|setting| setting.name).chain(["config"]);
                let hint = hint(nearest(&unknown, known).map(in_environment));
                problems.push(Problem {
                    thing: variable.clone().into_owned(),
                    value: value.map(str::to_owned),
                    source: Source::Variable("environment".to_owned()),
                    what: format!("there is no such setting{hint}"),
                });
            }
        }
    }
}

/// The variable of the setting of this name.
fn in_environment(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.to_ascii_uppercase())
}

/// A list in a variable or flag may be written as in TOML, for parts that contain a comma.
fn written_list(setting: &Setting, text: &str) -> Raw {
    let is_list = matches!(setting.kind, Kind::Words(_) | Kind::Rules);
    if is_list && text.trim_start().starts_with('[') {
        let parsed = DeValue::parse(text.trim());
        if let Ok(value) = parsed
            && let Ok(raw) = to_raw(value.get_ref())
        {
            return raw;
        }
    }
    Raw::One(text.to_owned())
}

fn read_file(path: &Path, text: &str, given: &mut Vec<Given>, problems: &mut Vec<Problem>) {
    let at = |offset: usize| {
        let line = 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        Source::File { path: path.to_owned(), line }
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        problems.push(Problem {
            thing: "TOML".to_owned(),
            value: None,
            source: at(error.span().map_or(0, |span| span.start)),
            what: error.message().replace('\n', ", "),
        });
    }
    // After a syntax error the parser may leave an empty key behind.
    let mut entries: Vec<_> =
        table.get_ref().iter().filter(|(key, _)| !key.get_ref().is_empty()).collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let source = at(key.span().start);
        let problem = |what| Problem {
            thing: key.get_ref().to_string(),
            value: None,
            source: source.clone(),
            what,
        };
        let Some(setting) = index_of(key.get_ref()) else {
            let near = nearest(key.get_ref(), SETTINGS.iter().map(|setting| setting.name));
            let hint = hint(near.map(str::to_owned));
            problems.push(problem(format!("there is no such setting{hint}")));
            continue;
        };
        match to_raw(value.get_ref()) {
            Ok(raw) => given.push(Given { setting, raw, source }),
            Err(what) => problems.push(problem(what)),
        }
    }
}

/// The text that stands for a TOML value in variables and flags too.
fn to_raw(value: &DeValue<'_>) -> Result<Raw, String> {
    let DeValue::Array(parts) = value else {
        return to_text(value).map(Raw::One);
    };
    let texts: Result<Vec<_>, _> = parts.iter().map(|part| to_text(part.get_ref())).collect();
    texts.map(Raw::Many)
}

fn to_text(value: &DeValue<'_>) -> Result<String, String> {
    Ok(match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| "is too large a number".to_owned())?
            .to_string(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(on) => on.to_string(),
        DeValue::Table(table) => rule_text(table)?,
        DeValue::Datetime(_) => return Err("is a date, which no setting takes".to_owned()),
        DeValue::Array(_) => return Err("is a list within a list".to_owned()),
    })
}

/// `{ prefix = "desk-", policy = "kick" }` as `prefix:desk-=kick`.
fn rule_text(table: &DeTable<'_>) -> Result<String, String> {
    let wanted = "has a table; a rule has policy and either prefix or dialect, all of them text";
    let text = |name: &str| table.get(name).and_then(|value| value.get_ref().as_str());
    match (text("prefix"), text("dialect"), text("policy"), table.len()) {
        (Some(prefix), None, Some(policy), 2) => Ok(format!("prefix:{prefix}={policy}")),
        (None, Some(dialect), Some(policy), 2) => Ok(format!("dialect:{dialect}={policy}")),
        _ => Err(wanted.to_owned()),
    }
}
