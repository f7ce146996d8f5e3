//! The words of the command line.

use super::storm;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::ops::Range;
use std::path::PathBuf;
use steadfast_sim::schedule::Tier;

const DIRECT: &str = "direct";
const TURMOIL: &str = "turmoil";

/// A command and what it needs.
pub(super) enum Chosen {
    Sweep(Seeds),
    Replay(Replay),
    Shrink { source: Source, directory: PathBuf },
    Census(Seeds),
    Saboteurs { jobs: usize, only: Option<String> },
    Regressions { directory: PathBuf },
    Storm(ArgMatches),
}

/// Which seeds, and on how many threads.
pub(super) struct Seeds {
    pub(super) tier: Tier,
    pub(super) seeds: Range<u64>,
    pub(super) jobs: usize,
    /// After how many failures the rest is left.
    pub(super) failures: usize,
}

/// What is replayed, and how much is shown.
pub(super) struct Replay {
    pub(super) source: Source,
    pub(super) trace: bool,
    pub(super) key: Option<String>,
    pub(super) json: bool,
    pub(super) sabotage: Option<String>,
}

/// Where a schedule comes from.
pub(super) enum Source {
    Seed(u64, Tier),
    File(PathBuf),
}

pub(super) fn parse() -> Chosen {
    let matches = command().get_matches();
    let (name, matches) = matches.subcommand().expect("clap requires a command");
    match name {
        "sweep" => Chosen::Sweep(seeds(matches)),
        "census" => Chosen::Census(seeds(matches)),
        "replay" => Chosen::Replay(Replay {
            source: source(matches),
            trace: matches.get_flag("trace"),
            key: matches.get_one("key").cloned(),
            json: matches.get_flag("json"),
            sabotage: matches.get_one("sabotage").cloned(),
        }),
        "shrink" => Chosen::Shrink { source: source(matches), directory: directory(matches) },
        "saboteurs" => {
            Chosen::Saboteurs { jobs: jobs(matches), only: matches.get_one("only").cloned() }
        }
        "regressions" => Chosen::Regressions { directory: directory(matches) },
        storm::NAME => Chosen::Storm(matches.clone()),
        other => unreachable!("clap knows no command {other}"),
    }
}

fn command() -> Command {
    Command::new("steadfast-sim")
        .about("Runs whole worlds from a seed and judges them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(with_seeds(
            Command::new("sweep").about("Run many seeds, each twice, and judge them"),
            "5000",
            "300",
        ))
        .subcommand(with_seeds(
            Command::new("census").about("Count what occurs, and say what never does"),
            "1000",
            "1000",
        ))
        .subcommand(replay_command())
        .subcommand(
            Command::new("shrink")
                .about("Find a small part of a schedule that fails as well, and keep it")
                .arg(source_arg())
                .arg(tier_arg())
                .arg(directory_arg()),
        )
        .subcommand(
            Command::new("saboteurs")
                .about("Break the gateway in each known way, and see that it is noticed")
                .arg(jobs_arg())
                .arg(Arg::new("only").long("only").value_name("NAME").help("This one alone")),
        )
        .subcommand(
            Command::new("regressions")
                .about("Run the schedules that failed once")
                .arg(directory_arg()),
        )
        .subcommand(storm::command())
}

fn replay_command() -> Command {
    let flag = |name, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    Command::new("replay")
        .about("Run one seed or kept schedule again")
        .arg(source_arg())
        .arg(tier_arg())
        .arg(flag("trace", "Print what happened, line by line"))
        .arg(
            Arg::new("key")
                .long("key")
                .value_name("KEY")
                .requires("trace")
                .help("Print what concerns this key alone"),
        )
        .arg(flag("json", "Print the schedule"))
        .arg(
            Arg::new("sabotage")
                .long("sabotage")
                .value_name("NAME")
                .conflicts_with("tier")
                .help("Break the gateway in this way"),
        )
}

/// `direct` and `turmoil` are how many seeds there are unless it is said.
fn with_seeds(command: Command, direct: &'static str, turmoil: &'static str) -> Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("NUMBER")
            .default_value(default)
            .value_parser(value_parser!(u64))
            .help(help)
    };
    command
        .arg(tier_arg())
        .arg(number("seeds", direct, "How many seeds").default_value_if("tier", TURMOIL, turmoil))
        .arg(number("from", "0", "The first seed"))
        .arg(number("failures", "5", "Stop after so many failures"))
        .arg(jobs_arg())
}

fn jobs_arg() -> Arg {
    Arg::new("jobs")
        .long("jobs")
        .short('j')
        .value_name("NUMBER")
        .value_parser(value_parser!(usize))
        .help("How many threads; all cores by default")
}

fn tier_arg() -> Arg {
    Arg::new("tier")
        .long("tier")
        .value_name("TIER")
        .value_parser([DIRECT, TURMOIL])
        .help("The core and an event heap, or real bytes between simulated hosts [default: direct]")
}

fn source_arg() -> Arg {
    Arg::new("source").value_name("SEED|FILE").required(true).help("A seed, or a kept schedule")
}

fn directory_arg() -> Arg {
    Arg::new("directory")
        .long("directory")
        .value_name("DIRECTORY")
        .default_value("sim/regressions")
        .value_parser(value_parser!(PathBuf))
        .help("Where schedules are kept")
}

fn number(matches: &ArgMatches, name: &str) -> u64 {
    *matches.get_one(name).expect("it has a default")
}

fn seeds(matches: &ArgMatches) -> Seeds {
    let from = number(matches, "from");
    Seeds {
        tier: tier(matches),
        seeds: from..from.saturating_add(number(matches, "seeds")),
        jobs: jobs(matches),
        failures: usize::try_from(number(matches, "failures")).unwrap_or(usize::MAX),
    }
}

fn jobs(matches: &ArgMatches) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    matches.get_one("jobs").copied().unwrap_or(cores).max(1)
}

fn source(matches: &ArgMatches) -> Source {
    let text: &String = matches.get_one("source").expect("it is required");
    let seed = text.parse().map(|seed| Source::Seed(seed, tier(matches)));
    seed.unwrap_or_else(|_| Source::File(text.into()))
}

fn tier(matches: &ArgMatches) -> Tier {
    let name: Option<&String> = matches.get_one("tier");
    if name.is_some_and(|name| name == TURMOIL) { Tier::Turmoil } else { Tier::Direct }
}

fn directory(matches: &ArgMatches) -> PathBuf {
    let path: &PathBuf = matches.get_one("directory").expect("it has a default");
    path.clone()
}
