//! Rounds of kills: the gateway is started, put under load, and ended with SIGKILL.

use super::judge::{Order, Totals, judge};
use super::world::{Habit, NO_DEATH, REMOVING, WINDOW, World};
use crate::support::daemon::{Daemon, Process};
use crate::support::pause;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const PUBLISHERS: usize = 3;
/// A pong confirms a window at most, and is taken as long as fewer removals than the limit are
/// unanswered; what is written by then is another window.
pub(crate) const MOST_REPEATED: usize = 2 * WINDOW + REMOVING;
/// Who connects. Some keys differ in a blank or a zero only.
const CLIENTS: [(&str, Habit); 18] = [
    ("1001", Habit::Steady),
    (r#"{"uid":"12","FunctionType":4}"#, Habit::Steady),
    ("1002", Habit::Roaming),
    ("1003", Habit::Mute),
    ("01001", Habit::Steady),
    (r#"{"uid":"12", "FunctionType":4}"#, Habit::Roaming),
    ("plain text, 中文", Habit::Steady),
    ("1004", Habit::Absent),
    ("1005", Habit::Steady),
    ("1006", Habit::Roaming),
    (r#"{"FunctionType":4,"uid":"12"}"#, Habit::Mute),
    ("1007", Habit::Steady),
    ("10070", Habit::Roaming),
    (r#"{"uid":"13","FunctionType":4}"#, Habit::Absent),
    ("1008", Habit::Steady),
    (r#"{"uid":"12"}"#, Habit::Steady),
    ("1009", Habit::Roaming),
    ("2", Habit::Steady),
];

/// What to do.
pub(crate) struct Plan<'a> {
    pub(crate) seed: u64,
    pub(crate) rounds: u32,
    /// Where the gateway keeps its messages.
    pub(crate) store: &'a [&'a str],
    /// Two addresses that nobody else uses.
    pub(crate) addresses: (SocketAddr, SocketAddr),
    /// As long as something arrives in this time, the rest is waited for.
    pub(crate) patience: Duration,
}

/// What came out.
pub(crate) struct Outcome {
    pub(crate) findings: Vec<String>,
    pub(crate) totals: Totals,
    pub(crate) starts: Starts,
}

/// How the starts went.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    /// Starts that were killed before the gateway was ready, or soon after the process began.
    pub(crate) cut_short: u32,
    pub(crate) slowest: Duration,
    pub(crate) total: Duration,
}

/// Does what is planned and judges.
pub(crate) fn run(plan: &Plan<'_>) -> Outcome {
    let fixed = [
        "--log-level=warn".to_owned(),
        "--pong-timeout=1s".to_owned(),
        format!("--window-messages={WINDOW}"),
        format!("--max-removing={REMOVING}"),
    ];
    let mut flags: Vec<&str> = fixed.iter().map(String::as_str).collect();
    flags.extend(NO_DEATH);
    flags.extend(plan.store);
    let world = World::new(&[plan.addresses], plan.seed, &CLIENTS, PUBLISHERS);
    let patience = plan.patience;
    let mut starts = Starts::default();
    let mut remarks = Vec::new();
    std::thread::scope(|scope| {
        let everybody = world.start(scope, PUBLISHERS);
        kill_rounds(plan, &flags, &world, &mut starts);
        let daemon = start(plan, &flags, &mut starts);
        if !world.drain(patience) {
            remarks.push(format!("nothing arrived for {patience:?}; {}", daemon.output()));
        }
        drop(everybody);
        remarks.extend(check_empty(plan, &flags, &world, daemon));
    });
    let (violations, facts) = world.end();
    let verdict = judge(&facts, MOST_REPEATED, Order::Common);
    remarks.extend(violations);
    remarks.extend(verdict.findings);
    Outcome { findings: remarks, totals: verdict.totals, starts }
}

fn kill_rounds(plan: &Plan<'_>, flags: &[&str], world: &World, starts: &mut Starts) {
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    for round in 1..=plan.rounds {
        if rng.random_bool(0.15) {
            let (ws, push) = (plan.addresses.0.to_string(), plan.addresses.1.to_string());
            let base = ["serve", "--ws", &ws, "--push", &push];
            let process = Process::spawn(&[&base, flags].concat());
            pause(Duration::from_millis(rng.random_range(0..60)));
            drop(process);
            starts.cut_short += 1;
        }
        let mut daemon = start(plan, flags, starts);
        pause(Duration::from_millis(match rng.random_range(0..100) {
            0..10 => rng.random_range(0..10),
            // Long enough for a client that answers no ping to be found out.
            10..12 => rng.random_range(3_500..5_000),
            _ => rng.random_range(20..400),
        }));
        daemon.kill();
        if round % 50 == 0 || round == plan.rounds {
            let answered = world.ledger.count(super::ledger::Outcome::is_promise);
            let missing = world.ledger.missing(|_| true);
            eprintln!("round {round}: {answered} promised, {missing} of them on their way");
        }
    }
}

fn start(plan: &Plan<'_>, flags: &[&str], starts: &mut Starts) -> Daemon {
    let begun = Instant::now();
    let daemon = Daemon::start_at(plan.addresses.0, plan.addresses.1, flags);
    starts.slowest = starts.slowest.max(begun.elapsed());
    starts.total += begun.elapsed();
    daemon
}

/// What is confirmed stays confirmed: when nothing is left, nothing comes back after a stop in good
/// order.
fn check_empty(
    plan: &Plan<'_>,
    flags: &[&str],
    world: &World,
    mut daemon: Daemon,
) -> Option<String> {
    if !world.wait_empty(plan.patience) {
        return Some("messages are sent again and again".to_owned());
    }
    daemon.sigterm();
    if daemon.wait(plan.patience).is_none() {
        return Some(format!("does not stop: {}", daemon.output()));
    }
    drop(daemon);
    let _daemon = Daemon::start_at(plan.addresses.0, plan.addresses.1, flags);
    let comes_back = |key| world.visit_once(key) != Some(0);
    let key = (0..CLIENTS.len()).find(|&key| comes_back(key))?;
    Some(format!("after a stop, {} is sent confirmed messages again", CLIENTS[key].0))
}
