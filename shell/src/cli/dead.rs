//! `steadfast dead`: the dead letters of a running daemon, listed, shown, requeued, purged.

use super::args::not_empty;
use super::operator::{
    Answer, Method, Operator, asked, asked_list, common_args, list_args, yes_arg,
};
use super::table::{Side, Table, age, text, time};
use super::{complain, say, tell};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;
use std::fmt::Write as _;
use std::process::ExitCode;

/// What a dead letter can be chosen by.
const FILTER: [&str; 4] = ["key", "reason", "older_than", "id"];

const EXAMPLES: &str = "\
Examples:
  steadfast dead list
  steadfast dead list --reason ttl --older-than 1h
  steadfast dead show 1-42
  steadfast dead requeue --key 5            deliver what died for the key 5 after all
  steadfast dead purge --older-than 30d --yes

A running daemon is asked, through its admin port. Exit code 0 when it was done, 1 when not.";

/// The words of `steadfast dead`.
pub(super) fn command() -> Command {
    let with = |name: &'static str, about: &'static str| {
        Command::new(name).about(about).args(common_args())
    };
    Command::new("dead")
        .about("See, requeue or purge messages that could not be delivered")
        .after_help(EXAMPLES)
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            with("list", "List dead letters, in order of death")
                .args(filter_args())
                .args(list_args())
                .after_help("Example:\n  steadfast dead list --key 5 --limit 10"),
        )
        .subcommand(
            with("show", "Show a dead letter with its payload and its history")
                .arg(Arg::new("id").value_name("ID").required(true).help("As in the list: 1-42"))
                .after_help("Example:\n  steadfast dead show 1-42"),
        )
        .subcommand(
            with("requeue", "Let dead letters wait again, at their old places")
                .args(filter_args())
                .arg(all_arg())
                .after_help(
                    "Examples:\n  steadfast dead requeue --key 5\n  steadfast dead requeue --id \
                     1-42\n\nThey get a new ttl and new tries, and keep their order and their \
                     history.",
                ),
        )
        .subcommand(
            with("purge", "Drop dead letters for good")
                .args(filter_args())
                .arg(all_arg())
                .arg(yes_arg())
                .after_help(
                    "Example:\n  steadfast dead purge --reason ttl --older-than 7d --yes\n\n\
                     `steadfast dead list` with the same flags shows what this drops.",
                ),
        )
}

fn filter_args() -> [Arg; 4] {
    [
        Arg::new("key")
            .long("key")
            .value_name("KEY")
            .value_parser(not_empty)
            .help("Only those for this key"),
        Arg::new("reason")
            .long("reason")
            .value_name("REASON")
            .value_parser(PossibleValuesParser::new(["tries", "ttl", "limit"]))
            .help("Only those that died of this"),
        Arg::new("older_than")
            .long("older-than")
            .value_name("DURATION")
            .value_parser(|text: &str| {
                crate::config::units::parse_duration(text).map(|_| text.to_owned())
            })
            .help("Only those that died longer ago than this, as in 90s, 10m, 1h or 7d"),
        Arg::new("id").long("id").value_name("ID").help("Only this one, as in 1-42"),
    ]
}

fn all_arg() -> Arg {
    Arg::new("all")
        .long("all")
        .action(ArgAction::SetTrue)
        .conflicts_with_all(FILTER)
        .help("Every dead letter there is")
}

/// Runs `steadfast dead`.
pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let done = match matches.subcommand() {
        Some(("list", matches)) => list(matches),
        Some(("show", matches)) => show(matches),
        Some(("requeue", matches)) => change(matches, Method::Post, "/dead/requeue", "requeued"),
        Some(("purge", matches)) => purge(matches),
        Some((name, _)) => unreachable!("{name} is no declared command"),
        None => unreachable!("a command is required"),
    };
    done.map_or_else(|problem| complain([problem]), |()| ExitCode::SUCCESS)
}

fn list(matches: &ArgMatches) -> Result<(), String> {
    let operator = Operator::of(matches)?;
    if matches.get_flag("json") {
        print(&operator.ask(Method::Get, "/dead", &asked_list(matches, &FILTER))?);
        return Ok(());
    }
    let (letters, next) = operator.list("/dead", "dead", matches, &FILTER)?;
    if letters.is_empty() {
        tell("no dead letters");
        return Ok(());
    }
    let mut table = Table::new([
        ("ID", Side::Left),
        ("KEY", Side::Left),
        ("REASON", Side::Left),
        ("DIED", Side::Left),
        ("AGE", Side::Right),
        ("TRIES", Side::Right),
        ("PAYLOAD", Side::Left),
    ]);
    for letter in &letters {
        table.add([
            text(&letter["id"]),
            text(&letter["key"]),
            text(&letter["reason"]),
            time(&letter["died_at"]),
            age(&letter["died_at"]),
            text(&letter["tries"]),
            text(&letter["data"]),
        ]);
    }
    say(&table.show());
    more(next.as_deref());
    Ok(())
}

fn show(matches: &ArgMatches) -> Result<(), String> {
    let operator = Operator::of(matches)?;
    let answer = operator.ask(Method::Get, "/dead", &asked(matches, &["id"]))?;
    let Some(letter) = answer.json["dead"].as_array().and_then(|letters| letters.first()) else {
        let id = matches.get_one::<String>("id").expect("the argument is required");
        return Err(format!(
            "there is no dead letter {id}; it may have been requeued, confirmed late, purged or \
             dropped for its age (steadfast dead list shows what there is)"
        ));
    };
    if matches.get_flag("json") {
        print(&answer);
    } else {
        say(&portrait(letter));
    }
    Ok(())
}

/// A letter in full.
fn portrait(letter: &Value) -> String {
    let mut shown = String::new();
    let mut line = |name: &str, value: &str| {
        // A string takes everything.
        let _ = writeln!(shown, "{name:<9} {value}");
    };
    let since = |field: &Value| format!("{} ({} ago)", time(field), age(field));
    line("id", &text(&letter["id"]));
    line("key", &text(&letter["key"]));
    line("reason", &text(&letter["reason"]));
    line("accepted", &since(&letter["accepted_at"]));
    line("died", &since(&letter["died_at"]));
    line("expires", &time(&letter["expires_at"]));
    line("tries", &text(&letter["tries"]));
    for death in letter["history"].as_array().into_iter().flatten() {
        let before = format!("died {}, {}", time(&death["died_at"]), text(&death["reason"]));
        line("before", &before);
    }
    line("payload", &text(&letter["data"]));
    shown
}

fn purge(matches: &ArgMatches) -> Result<(), String> {
    if !matches.get_flag("yes") && chosen(matches) {
        return Err(
            "purged dead letters are gone for good; look at them with steadfast dead list, \
                    then add --yes"
                .to_owned(),
        );
    }
    change(matches, Method::Delete, "/dead", "purged")
}

fn chosen(matches: &ArgMatches) -> bool {
    matches.get_flag("all") || !asked(matches, &FILTER).is_empty()
}

/// Requeues or purges what is chosen.
fn change(matches: &ArgMatches, method: Method, path: &str, done: &str) -> Result<(), String> {
    if !chosen(matches) {
        return Err("this means every dead letter; choose with --key, --reason, --older-than or \
                    --id, or say --all"
            .to_owned());
    }
    let mut question = asked(matches, &FILTER);
    if matches.get_flag("all") {
        question.insert("all".to_owned(), true.into());
    }
    let answer = Operator::of(matches)?.ask(method, path, &question)?;
    if matches.get_flag("json") {
        print(&answer);
    } else {
        say(&format!("{done} {} dead letter(s)\n", answer.json[done]));
    }
    Ok(())
}

/// Prints what the daemon said.
pub(super) fn print(answer: &Answer) {
    say(&format!("{}\n", answer.text));
}

/// Says that a list has not shown all, and how to go on.
pub(super) fn more(next: Option<&str>) {
    if let Some(next) = next {
        tell(&format!("there may be more: --after {}", shell_word(next)));
    }
}

/// As a shell takes it for one word.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
