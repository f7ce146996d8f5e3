//! One recorded case, read from its file.

use super::text::Names;
use super::{expect, step};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// How long to go on listening after the last step, when the case does not say.
const SETTLE: Duration = Duration::from_millis(350);
/// Cases that took longer against the original mostly wait.
const LONG_SECS: f64 = 15.0;

/// A case with everything a run needs.
pub(crate) struct Case {
    /// `group/name`.
    pub(crate) name: String,
    pub(crate) why: String,
    pub(crate) is_heavy: bool,
    /// Whether it waits for most of its time.
    pub(crate) is_long: bool,
    pub(crate) settle: Duration,
    pub(crate) steps: Vec<step::Placed>,
    /// Any one of these is right.
    pub(crate) accepted: Vec<expect::Expectation>,
}

/// Every case of every file in the directory. A case that cannot be understood is an error: none
/// is ever left out.
pub(crate) fn load_all(directory: &Path) -> Result<Vec<Case>, String> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let text = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file: Vec<Value> = serde_json::from_slice(&text)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        for value in file {
            cases.push(Case::read(&value).map_err(|why| format!("{}: {why}", path.display()))?);
        }
    }
    Ok(cases)
}

impl Case {
    fn read(value: &Value) -> Result<Self, String> {
        let text = |field: &str| value.get(field).and_then(Value::as_str);
        let (Some(group), Some(name)) = (text("group"), text("name")) else {
            return Err(format!("a case without group or name: {value}"));
        };
        let name = format!("{group}/{name}");
        let blame = |why: String| format!("{name}: {why}");
        let names = Names::fresh();
        let steps = step::read_all(list(value, "steps").map_err(blame)?, &names).map_err(blame)?;
        let mut accepted = Vec::new();
        for events in accepted_lists(value).map_err(blame)? {
            accepted.push(expect::Expectation::read(events, &names).map_err(blame)?);
        }
        let seconds = value.get("duration_s").and_then(Value::as_f64).unwrap_or_default();
        let settle = value.get("settle_ms").and_then(Value::as_u64);
        Ok(Self {
            why: text("why").unwrap_or_default().to_owned(),
            is_heavy: value.get("heavy").is_some_and(|heavy| heavy == true),
            is_long: seconds > LONG_SECS,
            settle: settle.map_or(SETTLE, Duration::from_millis),
            steps,
            accepted,
            name,
        })
    }
}

/// The event lists to compare with: `desired_any`, else `desired`, else `observed`.
fn accepted_lists(value: &Value) -> Result<Vec<&[Value]>, String> {
    if value.get("desired_any").is_none() {
        let field = if value.get("desired").is_some() { "desired" } else { "observed" };
        return Ok(vec![list(value, field)?]);
    }
    let lists = list(value, "desired_any")?.iter();
    let lists = lists.map(|events| events.as_array().map(Vec::as_slice));
    lists.collect::<Option<_>>().ok_or_else(|| "desired_any is not a list of lists".to_owned())
}

fn list<'a>(value: &'a Value, field: &str) -> Result<&'a [Value], String> {
    let list = value.get(field).and_then(Value::as_array);
    list.map(Vec::as_slice).ok_or_else(|| format!("{field} is not a list"))
}
