//! `steadfast serve`: the daemon, from its settings to its end.

use super::{complain, inputs, limits, say, signals, tell};
use crate::admin;
use crate::codec::redis::scripts::Clock;
use crate::config::{Loaded, Settings, StoreKind};
use crate::logs::{LogOptions, Logs};
use crate::pages;
use crate::reactor::{Courier, Reactor, ReactorConfig};
use crate::recording::format::Origin;
use crate::recording::{self, Recorder, Recording};
use crate::store::Backend;
use crate::store::embedded::Embedded;
use crate::store::health::Health;
use crate::store::memory::Memory;
use crate::store::redis::{self, Redis};
use clap::ArgMatches;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use steadfast_core::config::Sharing;

/// A volatile store has no earlier runs, so message ids may begin anew with each.
const VOLATILE_INCARNATION: u32 = 1;

/// Runs `steadfast serve`.
pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let mut loaded = match inputs::load(matches) {
        Ok(loaded) => loaded,
        Err(problems) => return complain(problems),
    };
    match limits::fit(&mut loaded) {
        Ok(warning) => warning.into_iter().for_each(|text| warn(&text)),
        Err(problem) => return complain([problem]),
    }
    warn_about_claims(&loaded);
    match serve(&loaded.settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => complain([problem]),
    }
}

/// Wires the gateway to its sockets, its store and its log, and runs until it is told to stop.
fn serve(settings: &Settings) -> Result<(), String> {
    let logs = Logs::start(&LogOptions::of(settings)).map_err(|error| {
        let file = settings.log_file.as_deref().unwrap_or(Path::new("standard output"));
        format!(
            "cannot write the log to {} (log_file): {error}; check the path and its permissions",
            file.display()
        )
    })?;
    let seed = settings.seed.map_or_else(os_seed, Ok).map_err(|error| {
        format!("cannot draw a seed from the operating system: {error}; set seed")
    })?;
    signals::survive_file_limit().map_err(|error| format!("cannot handle signals: {error}"))?;
    let result = with_store(settings, seed, &logs);
    logs.finish(Duration::from_secs(5));
    result
}

/// Opens the store and runs the gateway on it.
fn with_store(settings: &Settings, seed: u64, logs: &Logs) -> Result<(), String> {
    if let Some(url) = &settings.redis {
        let store = open_redis(settings, url, logs)?;
        let (incarnation, redis) = (store.incarnation(), store.healths());
        return run_gateway(settings, incarnation, seed, store, redis, logs);
    }
    let redis = Vec::new();
    match settings.store {
        StoreKind::Embedded => {
            let store = Embedded::open(&settings.data)?;
            let incarnation = store.incarnation();
            run_gateway(settings, incarnation, seed, store, redis, logs)
        }
        StoreKind::Memory => {
            let store = Memory::new(seed);
            run_gateway(settings, VOLATILE_INCARNATION, seed, store, redis, logs)
        }
    }
}

/// Connects to Redis, or goes on trying.
fn open_redis(settings: &Settings, url: &str, logs: &Logs) -> Result<Redis, String> {
    let options = redis::Options {
        url: url.to_owned(),
        prefix: settings.redis_prefix.clone(),
        device_url: settings.redis_devices.clone(),
        wait_replicas: settings.redis_wait_replicas,
        timeout: Duration::from_micros(settings.core.store_timeout.as_micros()),
        node: node_name(),
        clock: Clock::Server,
    };
    let drawn = os_seed().and_then(|number| Ok((number as u32, os_seed()?)));
    let drawn = drawn.map_err(|error| {
        format!("cannot draw a number from the operating system: {error}; use store = embedded")
    })?;
    Redis::open(&options, || Box::new(logs.journal()), || drawn)
}

/// Listens, announces the real addresses, and returns after a stop.
fn run_gateway(
    settings: &Settings,
    incarnation: u32,
    seed: u64,
    store: impl Backend,
    redis: Vec<(String, Health)>,
    logs: &Logs,
) -> Result<(), String> {
    let mut core = settings.core.clone();
    core.detail = settings.log_level.detail();
    if settings.redis.is_some() {
        let (node, lease) = (node_name().into(), settings.redis_lease);
        core.sharing = Some(Sharing { node, lease });
    }
    let origin = Origin { config: core, incarnation, seed };
    let gateway = Recorder::off(origin.gateway());
    let mut config = ReactorConfig::new(settings.ws, Some(settings.push));
    config.max_message = usize::try_from(settings.core.max_message).unwrap_or(usize::MAX);
    config.max_push_line = usize::try_from(settings.core.max_push_line).unwrap_or(usize::MAX);
    config.poll_wait = Duration::from_micros(settings.poll_wait.as_micros());
    config.poll_origins.clone_from(&settings.poll_origins);
    config.max_backends = settings.max_backends as usize;
    config.pages = pages::served(settings.serves_demo());
    config.shutdown_timeout = Duration::from_micros(settings.shutdown_timeout.as_micros());
    let mut reactor = Reactor::bind(&config, gateway, store, logs.journal())
        .map_err(|error| error.to_string())?;
    let recording = start_recording(settings, origin, logs)?;
    if let Some(recording) = &recording {
        recording.attach(reactor.machine_mut());
    }
    let handle = reactor.handle();
    signals::on_first(move || handle.shutdown())
        .map_err(|error| format!("cannot handle signals: {error}"))?;
    let addresses = reactor.local_addrs();
    let admin = start_admin(settings, reactor.courier(), addresses.ws, redis)?;
    announce(addresses.ws, addresses.push.expect("the push port was asked for"), admin);
    let result = reactor.run().map_err(|error| format!("the event loop failed: {error}"));
    drop(reactor);
    if let Some(recording) = recording {
        recording.finish(Duration::from_secs(5));
    }
    result
}

/// Begins to record, if that is asked for.
fn start_recording(
    settings: &Settings,
    origin: Origin,
    logs: &Logs,
) -> Result<Option<Recording>, String> {
    let Some(file) = settings.record.clone() else { return Ok(None) };
    let options =
        recording::Options { file, segment: settings.record_segment, keep: settings.record_keep };
    let run = os_seed().map_err(|error| {
        format!("cannot draw a number from the operating system: {error}; record nothing")
    })?;
    let recording = Recording::start(&options, run, origin, logs.journal());
    recording.map(Some).map_err(|error| {
        format!("cannot record: {error} (record); check the path and its permissions")
    })
}

/// The one line that says that clients and back ends can connect.
fn announce(ws: SocketAddr, push: SocketAddr, admin: Option<SocketAddr>) {
    let admin = admin.map(|admin| format!(" admin={admin}")).unwrap_or_default();
    say(&format!("steadfast ready ws={ws} push={push}{admin}\n"));
}

/// Serves the admin port, if there is to be one; gives its real address.
fn start_admin(
    settings: &Settings,
    courier: Courier,
    ws: SocketAddr,
    redis: Vec<(String, Health)>,
) -> Result<Option<SocketAddr>, String> {
    let Some(address) = settings.admin else { return Ok(None) };
    let token = settings.admin_token_file.as_deref().map(read_token).transpose()?;
    let canary = Duration::from_micros(settings.canary.as_micros());
    let max_push = usize::try_from(settings.core.max_push_line).unwrap_or(usize::MAX);
    let device_log = match settings.redis {
        Some(_) => admin::DeviceLog::InRedis,
        None => admin::DeviceLog::Here,
    };
    let options = admin::Options { token, ws, canary, max_push, device_log, redis };
    let started = TcpListener::bind(address).and_then(|listener| {
        let address = listener.local_addr()?;
        admin::start(listener, courier, &options)?;
        Ok(address)
    });
    started.map(Some).map_err(|error| {
        format!("cannot listen on {address} (admin): {error}; free it, choose another, or set off")
    })
}

/// The host's name, by which people tell nodes apart.
fn node_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// The token in a file, without the spaces around it.
fn read_token(file: &Path) -> Result<String, String> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        format!("cannot read {name} (admin_token_file): {error}; check the path and permissions")
    })?;
    let token = text.trim();
    if token.is_empty() {
        return Err(format!("{name} (admin_token_file) is empty; write the token into it"));
    }
    Ok(token.to_owned())
}

/// Says what an operator should know, but what is no error.
fn warn(text: &str) {
    tell(&format!("warning: {text}"));
}

/// Nothing proves yet that a client may use the key it names.
fn warn_about_claims(loaded: &Loaded) {
    if !loaded.settings.ws.ip().is_loopback() {
        warn(&format!(
            "any client that reaches ws = {} may claim any key: there is no authentication yet; \
             keep it on a trusted network",
            loaded.settings.ws
        ));
    }
    if loaded.settings.push_allow_remote && !loaded.settings.push.ip().is_loopback() {
        warn(&format!(
            "anyone who reaches push = {} may push to any client (push_allow_remote = true)",
            loaded.settings.push
        ));
    }
}

/// Eight bytes of the operating system's randomness.
fn os_seed() -> io::Result<u64> {
    use std::io::Read as _;
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
