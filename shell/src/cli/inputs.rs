//! Reads what the settings are made from: the file, the environment, the flags.

use crate::config::sources::CONFIG_VARIABLE;
use crate::config::table::SETTINGS;
use crate::config::{Flag, Inputs, Loaded};
use clap::ArgMatches;
use clap::parser::ValueSource;
use std::path::{Path, PathBuf};

/// The settings in force, or everything that is wrong with them.
pub(super) fn load(matches: &ArgMatches) -> Result<Loaded, Vec<String>> {
    let (path, source) = match matches.get_one::<PathBuf>("config") {
        Some(path) => (Some(path.clone()), "--config"),
        None => (std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from), CONFIG_VARIABLE),
    };
    let file = match path {
        Some(path) => {
            let text = read(&path, source).map_err(|problem| vec![problem])?;
            Some((path, text))
        }
        None => None,
    };
    let inputs = Inputs { file, environment: std::env::vars_os().collect(), flags: flags(matches) };
    Loaded::load(&inputs).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn read(path: &Path, source: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| {
        format!(
            "cannot read the configuration file {} ({source}): {error}; check the path, its \
             permissions and that it is UTF-8",
            path.display()
        )
    })
}

fn flags(matches: &ArgMatches) -> Vec<Flag> {
    let given = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
    SETTINGS
        .iter()
        .filter(|setting| given(setting.name))
        .map(|setting| Flag {
            name: setting.name,
            values: matches
                .get_many::<String>(setting.name)
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
        })
        .collect()
}
