//! `steadfast queue`: what waits for whom in a running daemon.

use super::args::not_empty;
use super::dead::{more, print};
use super::operator::{Method, Operator, asked, asked_list, common_args, list_args, yes_arg};
use super::table::{Side, Table, age, text, time};
use super::{complain, say, tell};
use clap::{Arg, ArgMatches, Command};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  steadfast queue list                      who has messages waiting
  steadfast queue list --prefix device:
  steadfast queue show 5                    what waits for the key 5
  steadfast queue purge 5 --id 1-42 --yes   drop one of them

A running daemon is asked, through its admin port. Exit code 0 when it was done, 1 when not.";

/// The words of `steadfast queue`.
pub(super) fn command() -> Command {
    let with = |name: &'static str, about: &'static str| {
        Command::new(name).about(about).args(common_args())
    };
    let key = || {
        let key = Arg::new("key").value_name("KEY").required(true);
        key.value_parser(not_empty).help("Whose queue")
    };
    Command::new("queue")
        .about("See or purge messages that wait")
        .after_help(EXAMPLES)
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            with("list", "List the keys with messages, in order of key")
                .arg(
                    Arg::new("prefix")
                        .long("prefix")
                        .value_name("TEXT")
                        .help("Only keys that begin with this"),
                )
                .args(list_args())
                .after_help("Example:\n  steadfast queue list --limit 1000"),
        )
        .subcommand(
            with("show", "Show the messages of a key, in order")
                .arg(key())
                .args(list_args())
                .after_help(
                    "Example:\n  steadfast queue show 5\n\nwaiting: not written to a connection \
                     yet; written: not confirmed yet.",
                ),
        )
        .subcommand(
            with("purge", "Drop for good what waits for a key")
                .arg(key())
                .arg(Arg::new("id").long("id").value_name("ID").help("Only this one, as in 1-42"))
                .arg(yes_arg())
                .after_help(
                    "Example:\n  steadfast queue purge 5 --yes\n\nWhat is written and not \
                     confirmed stays.",
                ),
        )
}

/// Runs `steadfast queue`.
pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let done = match matches.subcommand() {
        Some(("list", matches)) => list(matches),
        Some(("show", matches)) => show(matches),
        Some(("purge", matches)) => purge(matches),
        Some((name, _)) => unreachable!("{name} is no declared command"),
        None => unreachable!("a command is required"),
    };
    done.map_or_else(|problem| complain([problem]), |()| ExitCode::SUCCESS)
}

fn list(matches: &ArgMatches) -> Result<(), String> {
    let operator = Operator::of(matches)?;
    if matches.get_flag("json") {
        print(&operator.ask(Method::Get, "/queues", &asked_list(matches, &["prefix"]))?);
        return Ok(());
    }
    let (queues, next) = operator.list("/queues", "queues", matches, &["prefix"])?;
    if queues.is_empty() {
        tell("no messages wait");
        return Ok(());
    }
    let mut table = Table::new([
        ("KEY", Side::Left),
        ("MESSAGES", Side::Right),
        ("BYTES", Side::Right),
        ("OLDEST", Side::Left),
        ("AGE", Side::Right),
    ]);
    for queue in &queues {
        table.add([
            text(&queue["key"]),
            text(&queue["messages"]),
            text(&queue["bytes"]),
            time(&queue["oldest"]),
            age(&queue["oldest"]),
        ]);
    }
    say(&table.show());
    more(next.as_deref());
    Ok(())
}

fn show(matches: &ArgMatches) -> Result<(), String> {
    let operator = Operator::of(matches)?;
    if matches.get_flag("json") {
        print(&operator.ask(Method::Get, "/queue", &asked_list(matches, &["key"]))?);
        return Ok(());
    }
    let (messages, next) = operator.list("/queue", "messages", matches, &["key"])?;
    if messages.is_empty() {
        tell("no messages wait for this key");
        return Ok(());
    }
    let mut table = Table::new([
        ("ID", Side::Left),
        ("STATE", Side::Left),
        ("TRIES", Side::Right),
        ("ACCEPTED", Side::Left),
        ("AGE", Side::Right),
        ("EXPIRES", Side::Left),
        ("PAYLOAD", Side::Left),
    ]);
    for message in &messages {
        table.add([
            text(&message["id"]),
            text(&message["state"]),
            text(&message["tries"]),
            time(&message["accepted_at"]),
            age(&message["accepted_at"]),
            time(&message["expires_at"]),
            text(&message["data"]),
        ]);
    }
    say(&table.show());
    more(next.as_deref());
    Ok(())
}

fn purge(matches: &ArgMatches) -> Result<(), String> {
    if !matches.get_flag("yes") {
        return Err("purged messages are gone for good; look at them with steadfast queue show, \
                    then add --yes"
            .to_owned());
    }
    let question = asked(matches, &["key", "id"]);
    let answer = Operator::of(matches)?.ask(Method::Delete, "/queue", &question)?;
    if matches.get_flag("json") {
        print(&answer);
    } else {
        say(&format!("purged {} message(s)\n", answer.json["purged"]));
    }
    Ok(())
}
