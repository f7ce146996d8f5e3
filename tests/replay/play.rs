//! Does the steps of a case and gathers what was seen.

use super::Stream;
use super::case::Case;
use super::expect::Seen;
use super::matcher::{Moment, Run};
use super::step::{ClientStep, PusherStep, Report, Step};
use crate::support::frames;
use crate::support::pause;
use crate::support::push_client::PushClient;
use crate::support::ws_client::{Side, WsClient, WsEvent};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a push step waits for its replies, and a close for the server's close frame.
const REPLY_LIMIT: Duration = Duration::from_secs(5);
const CLOSE_LIMIT: Duration = Duration::from_secs(3);
const FENCE_LIMIT: Duration = Duration::from_secs(3);
/// What a fence leaves to the server after its pong.
const FENCE_PAUSE: Duration = Duration::from_millis(50);

/// Where the server under test listens.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    pub(crate) ws: SocketAddr,
    pub(crate) push: SocketAddr,
}

/// Does all steps, listens on for as long as the case says, and returns what was seen.
pub(crate) fn play(case: &Case, server: Server) -> Result<Run, String> {
    let mut stage =
        Stage { server, clients: BTreeMap::new(), pushers: BTreeMap::new(), reports: Vec::new() };
    let start = Instant::now();
    let mut finished = Vec::new();
    for placed in &case.steps {
        stage.act(&placed.step).map_err(|why| format!("step {}: {why}", placed.index))?;
        finished.resize(placed.index + 1, None);
        finished[placed.index] = Some(start.elapsed());
    }
    pause(case.settle);
    Ok(Run { streams: stage.streams(start), finished })
}

struct Stage {
    server: Server,
    clients: BTreeMap<String, WsClient>,
    pushers: BTreeMap<String, PushClient>,
    /// Closes by the client that count as events, the last on their connections.
    reports: Vec<(String, Instant, WsEvent)>,
}

impl Stage {
    fn act(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Wait(time) => pause(*time),
            Step::AlignSecond(offset) => pause(time_until(*offset)),
            Step::Client { conn, act: ClientStep::Open(how) } => {
                let client = WsClient::open(self.server.ws, how)
                    .map_err(|error| format!("cannot connect {conn}: {error}"))?;
                if self.clients.insert(conn.clone(), client).is_some() {
                    return Err(format!("{conn} is opened twice"));
                }
            }
            Step::Client { conn, act } => {
                let client =
                    self.clients.get_mut(conn).ok_or(format!("{conn} was never opened"))?;
                if let Some(event) = act_as_client(client, act) {
                    self.reports.push((conn.clone(), Instant::now(), event));
                }
            }
            Step::Pusher { via, act } => {
                if !self.pushers.contains_key(via) {
                    let pusher = PushClient::open(self.server.push)
                        .map_err(|error| format!("cannot connect {via}: {error}"))?;
                    self.pushers.insert(via.clone(), pusher);
                }
                act_as_pusher(self.pushers.get_mut(via).expect("just inserted"), act);
            }
        }
        Ok(())
    }

    fn streams(&self, start: Instant) -> BTreeMap<Stream, Vec<Moment>> {
        let moment = |at: Instant, seen| Moment { at: at.saturating_duration_since(start), seen };
        let mut streams: BTreeMap<Stream, Vec<Moment>> = BTreeMap::new();
        for (name, client) in &self.clients {
            let seen = client.events().into_iter().map(|(at, event)| moment(at, Seen::Ws(event)));
            streams.insert(Stream::Client(name.clone()), seen.collect());
        }
        for (name, pusher) in &self.pushers {
            let seen = pusher.events().into_iter().map(|(at, event)| moment(at, Seen::Push(event)));
            streams.insert(Stream::Pusher(name.clone()), seen.collect());
        }
        for (name, at, event) in &self.reports {
            let stream = streams.entry(Stream::Client(name.clone())).or_default();
            stream.push(moment(*at, Seen::Ws(event.clone())));
        }
        streams
    }
}

/// Does one step; the event that it is in itself, if any.
fn act_as_client(client: &mut WsClient, act: &ClientStep) -> Option<WsEvent> {
    match act {
        ClientStep::Open(_) => unreachable!("opening makes the client"),
        ClientStep::Frame { shape, payload, split: None } => {
            client.send_frame(*shape, payload);
        }
        ClientStep::Frame { shape, payload, split: Some(pause) } => {
            client.send_split(&frames::encode(*shape, payload), *pause);
        }
        ClientStep::Raw(bytes) => {
            client.send_raw(bytes);
        }
        ClientStep::Fence => {
            client.fence(FENCE_LIMIT);
            pause(FENCE_PAUSE);
        }
        ClientStep::Close { code, report } => {
            let code = client.close(*code, CLOSE_LIMIT);
            let event = WsEvent::Closed { by: Side::Client, code, reason: String::new() };
            return (*report == Report::Yes).then_some(event);
        }
        ClientStep::Drop => client.drop_connection(),
        ClientStep::Abort => client.abort(),
        ClientStep::Mute => client.mute(),
        ClientStep::Unmute => client.unmute(),
        ClientStep::AwaitData { count, limit } => {
            client.wait_data(*count, *limit);
        }
        ClientStep::AwaitPongs { count, limit } => {
            client.wait_pongs(*count, *limit);
        }
        ClientStep::AwaitClosed { limit } => {
            client.wait_closed(*limit);
        }
    }
    None
}

fn act_as_pusher(pusher: &mut PushClient, act: &PusherStep) {
    match act {
        PusherStep::Send { bytes, replies } => {
            let before = pusher.reply_count();
            pusher.send(bytes);
            pusher.wait_replies(before + replies, REPLY_LIMIT);
        }
        PusherStep::Close => pusher.close(),
        PusherStep::HalfClose => pusher.half_close(),
        PusherStep::AwaitReplies { count, limit } => {
            pusher.wait_replies(*count, *limit);
        }
    }
}

/// The time until the wall clock is next so far into a second.
fn time_until(offset: Duration) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    let second = Duration::from_secs(1);
    let into = Duration::from_nanos(u64::from(now.subsec_nanos()));
    if into <= offset { offset - into } else { second + offset - into }
}
