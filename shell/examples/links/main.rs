//! What clients of the link protocol cost, and how fast they come back: many of them in one process,
//! each with the machine that `steadfast listen` has, against a daemon that this program starts.
//!
//! ```text
//! cargo run --release -p steadfast-shell --example links -- acks -- target/release/steadfast serve
//! … links -- storm --loss drop|kill -- target/release/steadfast serve
//! … links -- restart --outage-ms 0 -- target/release/steadfast serve
//! ```
//!
//! What follows the last `--` is the daemon's command, as `taskset -c 0 target/release/steadfast serve
//! --store memory`; addresses, the directory of its store, and that it neither logs nor has an admin
//! port is added to it. `docs/benchmarks.md` says what the figures were.

mod backend;
mod client;
mod crowd;
mod daemon;

use backend::{Backend, flood};
use client::Kind;
use crowd::Crowd;
use daemon::Daemon;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Whatever goes wrong ends the program with one line.
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// No step takes longer than this.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many connections push at the same time.
const BACK_ENDS: u32 = 4;

/// What the command line asks for.
#[derive(Clone)]
struct Options {
    mode: String,
    clients: u32,
    window: u32,
    messages: u32,
    rounds: u32,
    rate: u32,
    outage: Duration,
    kill: bool,
    command: Vec<String>,
}

fn main() -> Outcome {
    let options = options(std::env::args().skip(1).collect())?;
    raise_open_files()?;
    match options.mode.as_str() {
        "acks" => acks(&options),
        "storm" => storm(&options),
        "restart" => restart(&options),
        other => Err(format!("{other:?} is no mode; there are acks, storm and restart").into()),
    }
}

fn options(arguments: Vec<String>) -> Outcome<Options> {
    let mut words = arguments.into_iter();
    let usage = "links acks|storm|restart [--OPTION VALUE]… -- COMMAND…";
    let mode = words.next().ok_or(usage)?;
    let (clients, rounds) = match mode.as_str() {
        "storm" => (18_000, 1),
        "restart" => (1, 20),
        _ => (1_000, 5),
    };
    let mut options = Options {
        mode,
        clients,
        window: 1_000,
        messages: 500_000,
        rounds,
        rate: 500,
        outage: Duration::ZERO,
        kill: true,
        command: Vec::new(),
    };
    while let Some(word) = words.next().filter(|word| word != "--") {
        let value = words.next().ok_or_else(|| format!("{word} has no value; {usage}"))?;
        let number = value.parse().map_err(|error| format!("{word} {value}: {error}"));
        match word.as_str() {
            "--clients" => options.clients = number?,
            "--window" => options.window = number?,
            "--messages" => options.messages = number?,
            "--rounds" => options.rounds = number?,
            "--rate" => options.rate = number?,
            "--outage-ms" => options.outage = Duration::from_millis(number?.into()),
            "--loss" if value == "kill" || value == "drop" => options.kill = value == "kill",
            _ => return Err(format!("{word} {value} is not understood; {usage}").into()),
        }
    }
    options.command = words.collect();
    if options.command.is_empty() { Err(usage.into()) } else { Ok(options) }
}

fn raise_open_files() -> Outcome {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|error| format!("open files: {error}").into())
}

fn say(line: &str) -> Outcome {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// The one in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

// ---- acks

/// CPU seconds of the daemon per million messages: to clients that acknowledge, and to those of the
/// text protocol, whose WebSockets answer pings.
fn acks(options: &Options) -> Outcome {
    let (mut links, mut legacies, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let legacy = cost(options, Kind::Legacy)?;
        let link = cost(options, Kind::Link)?;
        let ratio = link.0 / legacy.0;
        say(&format!(
            "round {round}: legacy {:.2} CPU s/M at {:.0}/s, link {:.2} CPU s/M at {:.0}/s: {ratio:.2}",
            legacy.0, legacy.1, link.0, link.1
        ))?;
        links.push(link.0);
        legacies.push(legacy.0);
        ratios.push(ratio);
    }
    let (legacy, link) = (median(&legacies), median(&links));
    let ratio = median(&ratios);
    say(&format!("medians: legacy {legacy:.2}, link {link:.2} CPU s/M, ratio {ratio:.2}"))
}

/// CPU seconds of a fresh daemon per million messages, and messages a second.
fn cost(options: &Options, kind: Kind) -> Outcome<(f64, f64)> {
    let daemon = Daemon::start(&options.command)?;
    let mut crowd = Crowd::new(daemon.ws, kind, options.clients)?;
    crowd.until(PATIENCE, "all connected", Crowd::is_complete)?;
    // The warm-up reaches every client.
    let warm = options.clients.max(options.messages / 10);
    run_flood(&daemon, &mut crowd, options, 0, warm)?;
    let (cpu, began) = (daemon.cpu()?, Instant::now());
    run_flood(&daemon, &mut crowd, options, warm, options.messages)?;
    let elapsed = began.elapsed().as_secs_f64();
    // The last confirmations belong to it.
    crowd.run_for(Duration::from_millis(300))?;
    let millions = f64::from(options.messages) / 1e6;
    Ok(((daemon.cpu()? - cpu) / millions, f64::from(options.messages) / elapsed))
}

/// Pushes so many messages to all clients in turn; they have all arrived when it returns.
fn run_flood(
    daemon: &Daemon,
    crowd: &mut Crowd,
    options: &Options,
    from: u32,
    count: u32,
) -> Outcome {
    let (push, window, clients) = (daemon.push, options.window / BACK_ENDS, options.clients);
    let wanted = crowd.received + u64::from(count);
    let pushers = (0..BACK_ENDS).map(|part| {
        let numbers = (from..from + count).filter(move |n| n % clients % BACK_ENDS == part);
        let lines: Vec<_> = numbers.map(|n| (n % clients, n)).collect();
        thread::spawn(move || flood(push, &lines, window))
    });
    let pushers: Vec<_> = pushers.collect();
    crowd.until(PATIENCE, "all messages there", |crowd| crowd.received >= wanted)?;
    for pusher in pushers {
        pusher.join().map_err(|_| "a back end panicked")??;
    }
    Ok(())
}

// ---- storm

/// All clients lose the gateway at once; how long until they have all resumed.
fn storm(options: &Options) -> Outcome {
    for round in 1..=options.rounds {
        let mut daemon = Daemon::start(&options.command)?;
        let mut crowd = Crowd::new(daemon.ws, Kind::Link, options.clients)?;
        crowd.until(PATIENCE, "all connected", Crowd::is_complete)?;
        // Their delays start over.
        crowd.run_for(Duration::from_secs(6))?;
        let backend = Backend::start(daemon.push, options.clients, options.rate);
        crowd.run_for(Duration::from_secs(2))?;
        let calm = backend.take_worst();
        crowd.begin_storm();
        let began = Instant::now();
        let down = if options.kill {
            daemon.restart(options.outage)?;
            began.elapsed()
        } else {
            crowd.drop_all()?;
            Duration::ZERO
        };
        let cpu = daemon.cpu()?;
        crowd.until(PATIENCE, "all back", Crowd::is_back)?;
        let (back, cpu) = (began.elapsed(), daemon.cpu()? - cpu);
        let stormy = backend.take_worst();
        crowd.run_for(Duration::from_secs(2))?;
        let answered = backend.finish()?;
        crowd.until(PATIENCE, "all answered messages there", |crowd| crowd.has_all(&answered))?;
        let (resumed, fresh, lost) = (crowd.resumed, crowd.fresh, crowd.lost);
        say(&format!(
            "round {round}: {} clients back {:.2} s after the loss ({:.2} s after the gateway was back), \
             {resumed} resumed, {fresh} not, {lost} with `lost`; {cpu:.2} CPU s; {} pushes answered, \
             the slowest after {:.0} ms (before: {:.0} ms); each arrived once and in order",
            options.clients,
            back.as_secs_f64(),
            back.saturating_sub(down).as_secs_f64(),
            answered.len(),
            stormy.as_secs_f64() * 1e3,
            calm.as_secs_f64() * 1e3,
        ))?;
        if fresh > 0 || lost > 0 {
            return Err("not every session was resumed without loss".into());
        }
    }
    Ok(())
}

// ---- restart

/// The daemon is killed and restarted; how long after it is back the first message arrives.
fn restart(options: &Options) -> Outcome {
    let mut waits = Vec::new();
    let mut excesses = Vec::new();
    let mut daemon = Daemon::start(&options.command)?;
    let mut crowd = Crowd::new(daemon.ws, Kind::Link, options.clients)?;
    crowd.until(PATIENCE, "all connected", Crowd::is_complete)?;
    for round in 0..options.rounds {
        crowd.run_for(Duration::from_secs(6))?;
        crowd.begin_storm();
        let address = (daemon.ws, daemon.push);
        let (outage, clients) = (options.outage, options.clients);
        let (mut held, told) = (daemon, Arc::new(std::sync::Mutex::new(None)));
        let tell = Arc::clone(&told);
        let restarter = thread::spawn(move || {
            let down = held.restart(outage).map_err(|error| error.to_string())?;
            let back = Instant::now();
            *tell.lock().map_err(|_| "poisoned")? = Some(back);
            let lines: Vec<_> = (0..clients).map(|client| (client, round)).collect();
            flood(address.1, &lines, clients).map_err(|error| error.to_string())?;
            Ok::<_, String>((held, down, back))
        });
        crowd.until(PATIENCE, "a message for each", |crowd| crowd.all_have(round))?;
        let (held, down, back) = restarter.join().map_err(|_| "the restart panicked")??;
        daemon = held;
        let first = crowd.waits_since(back);
        let delays = crowd.last_delays();
        excesses.extend(first.iter().zip(&delays).map(|(wait, delay)| wait - delay));
        say(&format!(
            "round {}: down for {:.2} s, first message {:.0} ms after it was back",
            round + 1,
            down.as_secs_f64(),
            median(&first) * 1e3
        ))?;
        waits.extend(first);
    }
    let worst = |values: &[f64]| values.iter().copied().fold(f64::MIN, f64::max) * 1e3;
    say(&format!(
        "first message after {:.0} ms (median of {}), {:.0} ms at most; at most {:.0} ms more than the \
         delay that was running; {} sessions not resumed, {} with `lost`",
        median(&waits) * 1e3,
        waits.len(),
        worst(&waits),
        worst(&excesses),
        crowd.fresh,
        crowd.lost
    ))
}
