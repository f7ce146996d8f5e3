//! The words of the command line. The flags of settings are made from their table.

use crate::client;
use crate::config::table::{SETTINGS, Setting};
use crate::config::value::Kind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::process::ExitCode;
use steadfast_core::event::Protocol;

const EXAMPLES: &str = "\
Examples:
  steadfast                                    serve with the defaults
  steadfast --ws 0.0.0.0:8080 --log-level debug
  steadfast serve --config /etc/steadfast.toml
  steadfast check --config /etc/steadfast.toml --print
  steadfast listen 5                           be the client with key 5
  steadfast push 5 hello                       push a message to it
  steadfast replay rec --key 5                 what happened to it, from a recording
  steadfast dead list                          what could not be delivered
  steadfast queue show 5                       what waits for it
  steadfast device-logs --dir /var/log/devices write what devices logged to files

Every setting can also stand in the configuration file (idle_timeout = \"12s\") or in the
environment (STEADFAST_IDLE_TIMEOUT=12s). A flag wins over the environment, the environment over
the file.";

/// Settings shown by `-h`; `--help` shows all.
const COMMON: [&str; 6] = ["ws", "push", "log_level", "log_format", "log_file", "idle_timeout"];

/// The whole command line.
pub(super) fn command() -> Command {
    let root = Command::new("steadfast")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A WebSocket push gateway that loses nothing it accepted")
        .after_help(EXAMPLES)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true);
    with_settings(root)
        .subcommand(
            with_settings(Command::new("serve"))
                .about("Serve clients and back ends (also without the word)")
                .after_help("Example:\n  steadfast serve --config /etc/steadfast.toml"),
        )
        .subcommand(
            with_settings(Command::new("check"))
                .about("Say what is wrong with a configuration")
                .after_help(
                    "Examples:\n  steadfast check --config /etc/steadfast.toml\n  \
                     steadfast check --print > steadfast.toml",
                )
                .arg(
                    Arg::new("print")
                        .long("print")
                        .action(ArgAction::SetTrue)
                        .help("Print the settings in force and where each comes from, as TOML"),
                ),
        )
        .subcommand(listen_command())
        .subcommand(push_command())
        .subcommand(super::replay::command())
        .subcommand(super::dead::command())
        .subcommand(super::queue::command())
        .subcommand(super::device_logs::command())
}

fn with_settings(command: Command) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(std::path::PathBuf))
        .help("Read settings from this TOML file [env: STEADFAST_CONFIG]");
    command.arg(config).args(SETTINGS.iter().map(setting_flag))
}

fn setting_flag(setting: &'static Setting) -> Arg {
    let default = setting.default_text();
    let help = if default.is_empty() {
        setting.meaning.to_owned()
    } else {
        format!("{} [default: {default}]", setting.meaning)
    };
    let arg = Arg::new(setting.name)
        .long(setting.flag())
        .value_name(setting.kind.placeholder())
        .help(help)
        .help_heading(setting.section.title())
        .hide_short_help(!COMMON.contains(&setting.name))
        .allow_hyphen_values(true);
    match setting.kind {
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::Words(_) | Kind::Rules => arg.action(ArgAction::Append),
        Kind::Duration(..)
        | Kind::Size(..)
        | Kind::Count(..)
        | Kind::Choice(_)
        | Kind::Address
        | Kind::MaybeAddress
        | Kind::Path
        | Kind::Text(_)
        | Kind::Seed => arg,
    }
}

fn listen_command() -> Command {
    Command::new("listen")
        .about("Be a client: print what is pushed to a key, a line each")
        .after_help(
            "Examples:\n  steadfast listen 5\n  steadfast listen '{\"uid\":\"12\",\
             \"FunctionType\":4}' --count 1\n\nMessages go to standard output, what becomes of the \
             connection to standard error.\nCtrl-C ends with exit code 0.",
        )
        .arg(key_arg("The key to listen as: the client's first message"))
        .arg(
            Arg::new("url")
                .long("url")
                .value_name("URL")
                .default_value("ws://127.0.0.1:5001/")
                .help("Where the gateway is"),
        )
        .arg(
            Arg::new("count")
                .long("count")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("End after this many messages"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print a JSON object a line: {\"time\":…,\"data\":…}"),
        )
        .arg(
            Arg::new("max_attempts")
                .long("max-attempts")
                .value_name("N")
                .value_parser(value_parser!(u32).range(1..))
                .help("Give up after this many further attempts in a row [default: never]"),
        )
        .arg(
            Arg::new("link").long("link").action(ArgAction::SetTrue).help(
                "Speak the link protocol: each message once, acknowledged when it is printed",
            ),
        )
}

fn push_command() -> Command {
    Command::new("push")
        .about("Be a back end: push one message to a key and print the answer")
        .after_help(
            "Examples:\n  steadfast push 5 hello                sends {\"uid\":\"5\",\"Data\":\
             \"hello\"}\n  steadfast push 5 '{\"FunctionType\":4}'  sends {\"uid\":\"5\",\
             \"FunctionType\":4}\n  steadfast push --raw '{\"uid\":5}'     sends the line as it \
             is\n\nExit code 0 when the answer is ok or queued, 1 when it is fail or none came.",
        )
        .arg(
            key_arg("The key to push to; not with --raw")
                .required(false)
                .required_unless_present("raw")
                .conflicts_with("raw"),
        )
        .arg(
            Arg::new("data")
                .value_name("DATA")
                .required_unless_present("raw")
                .conflicts_with("raw")
                .help("A JSON object joins uid in the line; any other text stands under Data"),
        )
        .arg(Arg::new("raw").long("raw").value_name("LINE").help("Send this line as it is"))
        .arg(
            Arg::new("addr")
                .long("addr")
                .value_name("ADDRESS")
                .default_value("127.0.0.1:5002")
                .help("The gateway's push port"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("DURATION")
                .default_value("10s")
                .value_parser(crate::config::units::parse_duration)
                .help("How long to wait for the connection and for the answer"),
        )
}

/// Takes a text that may not be empty.
///
/// # Errors
/// It is empty. What clap has for this says that it is missing.
pub(super) fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        Err("it is empty; give at least one character")
    } else {
        Ok(text.to_owned())
    }
}

fn key_arg(help: &'static str) -> Arg {
    Arg::new("key").value_name("KEY").required(true).value_parser(not_empty).help(help)
}

/// Runs `steadfast listen`.
pub(super) fn listen(matches: &ArgMatches) -> ExitCode {
    client::listen::run(&client::listen::Options {
        key: text(matches, "key"),
        url: text(matches, "url"),
        count: matches.get_one("count").copied(),
        form: if matches.get_flag("json") {
            client::listen::Form::Json
        } else {
            client::listen::Form::Plain
        },
        max_attempts: matches.get_one("max_attempts").copied(),
        protocol: if matches.get_flag("link") { Protocol::Link } else { Protocol::Legacy },
    })
}

/// Runs `steadfast push`.
pub(super) fn push(matches: &ArgMatches) -> ExitCode {
    let line = match matches.get_one::<String>("raw") {
        Some(line) => client::push::Line::Raw(line.clone()),
        None => client::push::Line::Made { key: text(matches, "key"), data: text(matches, "data") },
    };
    let timeout: &steadfast_core::time::Span =
        matches.get_one("timeout").expect("the argument has a default");
    client::push::run(&client::push::Options {
        line,
        addr: text(matches, "addr"),
        timeout: *timeout,
    })
}

fn text(matches: &ArgMatches, name: &str) -> String {
    matches.get_one::<String>(name).expect("the argument is required or has a default").clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_setting_is_a_flag_of_serve_and_check() {
        for command in ["serve", "check"] {
            for setting in SETTINGS {
                let flag = format!("--{}=x", setting.flag());
                let matches = super::command().try_get_matches_from(["steadfast", command, &flag]);
                assert!(matches.is_ok(), "{command} {flag}");
            }
        }
    }
}
