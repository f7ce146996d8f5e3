//! How many files the process may have open, against how many connections it is to hold.

use crate::config::{Loaded, Source};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything that is neither a client nor a back end: listeners, log, store.
const RESERVE: u64 = 256;

/// Raises the limit on open files as far as it goes and fits `max_connections` to it.
///
/// Gives a warning when a default had to be lowered.
///
/// # Errors
///
/// When the number was asked for and cannot be had.
pub(super) fn fit(loaded: &mut Loaded) -> Result<Option<String>, String> {
    let source = loaded.source("max_connections").clone();
    let wanted = loaded.settings.core.max_connections;
    let reserve = RESERVE + u64::from(loaded.settings.max_backends);
    let (fitting, warning) = decide(wanted, reserve, &source, raise())?;
    loaded.settings.core.max_connections = fitting;
    Ok(warning)
}

/// Raises the soft limit to the hard one; gives what is in force, `None` for no limit.
fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where raising is forbidden, the limit stays what it was and is respected.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current
}

/// How many connections there can be, and what to say about it.
fn decide(
    wanted: u32,
    reserve: u64,
    source: &Source,
    limit: Option<u64>,
) -> Result<(u32, Option<String>), String> {
    let Some(limit) = limit else { return Ok((wanted, None)) };
    let fitting = u32::try_from(limit.saturating_sub(reserve)).unwrap_or(u32::MAX).min(wanted);
    if fitting == wanted {
        return Ok((wanted, None));
    }
    let needed = u64::from(wanted) + reserve;
    let facts = format!(
        "max_connections = {wanted} ({source}) needs {needed} open files, but the limit is {limit}"
    );
    if fitting > 0 && *source == Source::Default {
        let warning =
            format!("{facts}; going on with {fitting} (for more: ulimit -n or LimitNOFILE=)");
        return Ok((fitting, Some(warning)));
    }
    Err(format!(
        "{facts}; raise it (ulimit -n {needed} or LimitNOFILE={needed}) or lower max_connections"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_the_limit() {
        let flag = Source::Flag("--max-connections".to_owned());
        for (wanted, source, limit, expected) in [
            (100, &flag, None, Some((100, false))),
            (100, &flag, Some(356), Some((100, false))),
            (101, &flag, Some(356), None),
            (100_000, &Source::Default, Some(1_048_576), Some((100_000, false))),
            (100_000, &Source::Default, Some(20_000), Some((19_744, true))),
            (100_000, &Source::Default, Some(256), None),
        ] {
            let decided = decide(wanted, RESERVE, source, limit);
            let short = decided.as_ref().ok().map(|(fit, warning)| (*fit, warning.is_some()));
            assert_eq!(short, expected, "{wanted} {limit:?}");
        }
    }

    #[test]
    fn both_numbers_are_named() {
        let error = decide(101, RESERVE, &Source::Flag("--max-connections".to_owned()), Some(356));
        assert_eq!(
            error.unwrap_err(),
            "max_connections = 101 (--max-connections) needs 357 open files, but the limit is 356; \
             raise it (ulimit -n 357 or LimitNOFILE=357) or lower max_connections"
        );
    }
}
