//! Tests of the settings as a whole.

use super::*;
use std::ffi::OsString;
use steadfast_core::config::{BindMatch, BindPolicy, BindRule};
use value::{Kind, Raw, Value};

fn file(text: &str) -> Inputs {
    Inputs { file: Some((PathBuf::from("sf.toml"), text.to_owned())), ..Inputs::default() }
}

fn environment(pairs: &[(&str, &str)]) -> Inputs {
    let pairs = pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Inputs { environment: pairs.collect(), ..Inputs::default() }
}

fn flag(name: &'static str, value: &str) -> Flag {
    Flag { name, values: vec![value.to_owned()] }
}

fn problems(inputs: &Inputs) -> Vec<String> {
    Loaded::load(inputs).unwrap_err().iter().map(ToString::to_string).collect()
}

/// A value of the setting's kind that is not its default.
fn other_value(setting: &table::Setting) -> Value {
    let rules = vec![
        BindRule { matches: BindMatch::Prefix("a,b=\"c".to_owned()), policy: BindPolicy::Kick },
        BindRule {
            matches: BindMatch::Dialect(steadfast_core::record::Dialect::Other),
            policy: BindPolicy::All,
        },
    ];
    match setting.kind {
        Kind::Duration(min, max) => {
            let default = (setting.get)(&Settings::default());
            if default == Value::Span(min) { Value::Span(max) } else { Value::Span(min) }
        }
        Kind::Size(_, max) | Kind::Count(_, max) => Value::Number(max),
        Kind::Switch => Value::Switch(true),
        Kind::Choice(words) => Value::Word(words[words.len() - 1]),
        Kind::Address | Kind::MaybeAddress => Value::Address("[::1]:7".parse().unwrap()),
        Kind::Path => Value::Path(PathBuf::from("a \"b\"\\c.log")),
        Kind::Text(_) => Value::Text("redis://a:b@c/1".to_owned()),
        Kind::Seed => Value::Number(u64::MAX),
        Kind::Words(words) => Value::Words(vec![words[1]]),
        Kind::Rules => Value::Rules(rules),
    }
}

#[test]
fn nothing_given_is_the_default() {
    assert_eq!(Loaded::load(&Inputs::default()).unwrap().settings, Settings::default());
}

#[test]
fn every_setting_can_be_read_back_from_its_field() {
    for setting in SETTINGS {
        let mut settings = Settings::default();
        let value = other_value(setting);
        assert_ne!((setting.get)(&settings), value, "{}", setting.name);
        (setting.set)(&mut settings, &value);
        assert_eq!((setting.get)(&settings), value, "{}", setting.name);
        assert_eq!(setting.kind.parse(&setting.kind.show(&value)), Ok(value), "{}", setting.name);
        let default = setting.default_text();
        if !default.is_empty() {
            assert!(setting.kind.parse(&Raw::One(default)).is_ok(), "{}", setting.name);
        }
    }
}

#[test]
fn what_is_printed_is_read_again() {
    let mut loaded = Loaded::load(&Inputs::default()).unwrap();
    for setting in SETTINGS {
        (setting.set)(&mut loaded.settings, &other_value(setting));
    }
    // Values that contradict each other in the mixture above.
    loaded.settings.ws = "[::1]:8".parse().unwrap();
    loaded.settings.core.max_key = 1;
    loaded.settings.store = Settings::default().store;
    let printed = show::effective_toml(&loaded);
    let again = Loaded::load(&file(&printed)).unwrap();
    assert_eq!(again.settings, loaded.settings, "{printed}");
    assert_eq!(
        Loaded::load(&file(&show::effective_toml(&Loaded::load(&Inputs::default()).unwrap())))
            .unwrap()
            .settings,
        Settings::default()
    );
}

#[test]
fn every_field_of_the_core_is_in_the_table() {
    let fields = format!("{:#?}", Config::default());
    let names = fields
        .lines()
        .filter(|line| line.starts_with("    ") && !line.starts_with("     "))
        .filter_map(|line| line.trim().split_once(':'))
        .map(|(name, _)| name)
        // They follow from `log_level`, and from `redis` and `redis_lease`.
        .filter(|name| !["detail", "sharing"].contains(name));
    let mut count = 0;
    for name in names {
        assert!(table::index_of(name).is_some(), "{name} is not in the table");
        count += 1;
    }
    assert!(count > 20, "the names of the fields were found");
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let mut inputs = environment(&[("STEADFAST_TTL", "20s"), ("STEADFAST_RETRY_MAX", "7")]);
    inputs.file = Some(("sf.toml".into(), "ttl = '10s'\nretry_max = 6\nmax_key = 100".into()));
    inputs.flags = vec![flag("ttl", "30s")];
    let loaded = Loaded::load(&inputs).unwrap();
    assert_eq!(loaded.settings.core.ttl, Span::from_secs(30));
    assert_eq!(loaded.settings.core.retry_max, 7);
    assert_eq!(loaded.settings.core.max_key, 100);
    assert_eq!(loaded.source("ttl").to_string(), "--ttl");
    assert_eq!(loaded.source("retry_max").to_string(), "STEADFAST_RETRY_MAX");
    assert_eq!(loaded.source("max_key").to_string(), "sf.toml:3");
    assert_eq!(loaded.source("ws").to_string(), "default");
}

#[test]
fn lists_can_be_written_in_every_source() {
    let expected = vec![
        BindRule { matches: BindMatch::Prefix("desk-".to_owned()), policy: BindPolicy::Kick },
        BindRule {
            matches: BindMatch::Dialect(steadfast_core::record::Dialect::Web),
            policy: BindPolicy::All,
        },
    ];
    let flags = ["prefix:desk-=kick", "dialect:web=all"].map(str::to_owned).to_vec();
    for inputs in [
        file("bind_rules = ['prefix:desk-=kick', 'dialect:web=all']"),
        file(
            "[[bind_rules]]\nprefix = 'desk-'\npolicy = 'kick'\n\
             [[bind_rules]]\ndialect = 'web'\npolicy = 'all'",
        ),
        environment(&[("STEADFAST_BIND_RULES", "prefix:desk-=kick, dialect:web=all")]),
        environment(&[("STEADFAST_BIND_RULES", "[\"prefix:desk-=kick\", \"dialect:web=all\"]")]),
        Inputs { flags: vec![Flag { name: "bind_rules", values: flags }], ..Inputs::default() },
    ] {
        assert_eq!(Loaded::load(&inputs).unwrap().settings.core.bind_rules, expected);
    }
    let dialects = Loaded::load(&environment(&[("STEADFAST_DIALECTS", "web,monitor")])).unwrap();
    assert!(dialects.settings.core.dialects.speaks(steadfast_core::record::Dialect::Monitor));
    assert!(!dialects.settings.core.dialects.speaks(steadfast_core::record::Dialect::Office));
}

#[test]
fn every_problem_names_thing_value_source_and_remedy() {
    for (inputs, expected) in [
        (
            file("\nidel_timeout = '12s'"),
            "idel_timeout (sf.toml:2): there is no such setting; did you mean idle_timeout?",
        ),
        (
            file("idle_timeout = 12"),
            "idle_timeout = \"12\" (sf.toml:1): has no unit; did you mean 12s? write a number and \
             a unit (d, h, m, s, ms, us), as in 12s, 50ms or 1h",
        ),
        (
            file("idle_timeout = '10ms'"),
            "idle_timeout = \"10ms\" (sf.toml:1): is too small; it has to be at least 1s",
        ),
        (
            file("retry_max = 0"),
            "retry_max = \"0\" (sf.toml:1): is too small; it has to be at least 1",
        ),
        (
            environment(&[("STEADFAST_TLL", "1h")]),
            "STEADFAST_TLL = \"1h\" (environment): there is no such setting; did you mean \
             STEADFAST_TTL?",
        ),
        (
            environment(&[("STEADFAST_URL_KEY", "pth")]),
            "url_key = \"pth\" (STEADFAST_URL_KEY): has \"pth\", which is none of off, path, \
             query; did you mean path?",
        ),
        (
            Inputs { flags: vec![flag("ws", "5001")], ..Inputs::default() },
            "ws = \"5001\" (--ws): is no IP address with a port; write as in 127.0.0.1:5001 or \
             [::1]:5001",
        ),
        (
            file("bind_rules = ['desk-=kick']"),
            "bind_rules = \"desk-=kick\" (sf.toml:1): has the rule \"desk-=kick\"; write \
             prefix:TEXT=POLICY or dialect:NAME=POLICY, as in prefix:desk-=kick",
        ),
        (
            file("window_messages = 3000"),
            "window_messages = \"3000\" (sf.toml:1): is above mailbox_limit = 2000: a connection \
             that closes would put back more than may wait; raise mailbox_limit or lower \
             window_messages",
        ),
        (
            file("push = '0.0.0.0:5002'"),
            "push = \"0.0.0.0:5002\" (sf.toml:1): other machines would reach the push port, and \
             anyone there could push to any client; use 127.0.0.1, or set push_allow_remote = \
             true if a firewall guards it",
        ),
        (
            file("ws = '0.0.0.0:5002'"),
            "ws = \"0.0.0.0:5002\" (sf.toml:1): is the same port as push (127.0.0.1:5002); use \
             different ports",
        ),
        (file("[server]\nws = 1"), "server (sf.toml:1): there is no such setting"),
        (file("ttl = ['1h']"), "ttl = \"1h\" (sf.toml:1): takes one value, not a list"),
        (
            file("max_key = '1GiB'"),
            "max_key = \"1GiB\" (sf.toml:1): is too large; it may be at most 1MiB",
        ),
    ] {
        assert_eq!(problems(&inputs), [expected]);
    }
}

#[test]
fn the_push_port_may_be_opened_in_as_many_words() {
    let open = file("push = '0.0.0.0:5002'\npush_allow_remote = true");
    assert!(Loaded::load(&open).is_ok());
    assert!(Loaded::load(&file("push = '[::1]:5002'")).is_ok());
    assert!(Loaded::load(&file("push = '127.8.8.8:0'\nws = '127.8.8.8:0'")).is_ok());
}

#[test]
fn all_problems_are_told_at_once() {
    let mut inputs = environment(&[("STEADFAST_TTL", "soon"), ("STEADFAST_NOPE", "")]);
    inputs.file = Some(("sf.toml".into(), "retry_max = 0\nretry_max2 = 1\n= 5".into()));
    inputs.flags = vec![flag("max_key", "big")];
    let problems = problems(&inputs);
    assert_eq!(problems.len(), 6, "{problems:#?}");
}

/// Compares the settings in `docs/operations.md` with the table. With `UPDATE_DOCS=1` in the
/// environment it writes them instead.
#[test]
fn the_documentation_has_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
    let text = std::fs::read_to_string(path).unwrap();
    let begin = text.find("<!-- settings").unwrap();
    let begin = begin + text[begin..].find('\n').unwrap() + 1;
    let end = text.find("<!-- end of settings -->").unwrap();
    let table = show::markdown_table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{}{table}{}", &text[..begin], &text[end..])).unwrap();
    } else {
        assert_eq!(text[begin..end], table, "run this test with UPDATE_DOCS=1");
    }
}
