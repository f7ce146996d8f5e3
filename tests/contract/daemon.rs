//! The scenario with the real daemon, over real sockets.

use super::scenario::{
    Act, BACKEND, IDLE_TIMEOUT_SECS, MAX_KEY, MAX_PUSH_LINE, PONG_TIMEOUT_SECS, Peer, Step,
    Transcript, line, peers,
};
use super::support::daemon::Daemon;
use super::support::poll_until;
use super::support::push_client::{PushClient, PushEvent};
use super::support::ws_client::{Open, Pongs, WsClient, WsEvent};
use std::time::Duration;
use steadfast_sim::turmoil::malformed;

/// How long is waited for what the simulation has shown.
const LIMIT: Duration = Duration::from_secs(10);

/// What happened in each act. What is waited for after each act is as much as happened in the
/// simulation.
pub(crate) fn play(acts: &[Act], simulated: &[Transcript]) -> Vec<Transcript> {
    let flags = [
        format!("--idle-timeout={IDLE_TIMEOUT_SECS}s"),
        format!("--pong-timeout={PONG_TIMEOUT_SECS}s"),
        format!("--max-push-line={MAX_PUSH_LINE}"),
        format!("--max-key={MAX_KEY}"),
    ];
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let mut world = World::new(Daemon::start(&flags));
    let transcripts = acts.iter().zip(simulated).map(|(act, simulated)| {
        let mut transcript = Transcript::new();
        world.perform(&act.step, &mut transcript);
        world.collect(simulated, &mut transcript);
        world.await_confirms(&transcript);
        transcript
    });
    transcripts.collect()
}

struct World {
    daemon: Daemon,
    clients: Vec<Client>,
    backend: Option<PushClient>,
    /// How many of the back end's events are in the transcript.
    noted: usize,
}

struct Client {
    peer: Peer,
    connection: Option<WsClient>,
    noted: usize,
}

impl World {
    fn new(daemon: Daemon) -> Self {
        let client = |peer| Client { peer, connection: None, noted: 0 };
        let clients = peers().into_iter().map(client).collect();
        Self { daemon, clients, backend: None, noted: 0 }
    }

    fn client(&mut self, name: &str) -> &mut Client {
        let client = self.clients.iter_mut().find(|client| client.peer.name == name);
        client.expect("the scenario names its clients")
    }

    fn perform(&mut self, step: &Step, transcript: &mut Transcript) {
        let mut sent = |who, text: &str| {
            transcript.entry(who).or_default().push(line(&format!("→ {text}")));
        };
        match step {
            Step::Connect(name) => {
                let ws = self.daemon.ws;
                let client = self.client(name);
                let never = !client.peer.answers_pings;
                let pongs = if never { Pongs::Never } else { Pongs::Prompt };
                let open = WsClient::open(ws, &Open { pongs, ..Open::default() });
                let connection = open.expect("the gateway accepts");
                connection.send_text(client.peer.first.as_bytes());
                sent(name, &client.peer.first);
                (client.connection, client.noted) = (Some(connection), 0);
            }
            Step::Say(name, text) => {
                self.client(name).connected().send_text(text.as_bytes());
                sent(name, text);
            }
            Step::Malformed(name, which) => {
                self.client(name).connected().send_raw(malformed(*which));
                sent(name, "a malformed frame");
            }
            Step::Leave(name) => {
                let client = self.client(name);
                let mut connection = client.connection.take().expect("it is connected");
                connection.close(1_000, LIMIT);
            }
            Step::StayAway(name) => self.client(name).connection = None,
            Step::Push(lines) => {
                for text in lines {
                    sent(BACKEND, text);
                }
                self.send(format!("{}\n", lines.join("\n")).as_bytes());
            }
            Step::Refused(text, _) => self.send(text.as_bytes()),
            Step::Stop => self.daemon.sigterm(),
        }
    }

    /// Sends on the back end's connection; on a new one when there is none, or it has ended.
    fn send(&mut self, bytes: &[u8]) {
        let ended = |client: &PushClient| {
            matches!(client.events().last(), Some((_, PushEvent::Closed { .. })))
        };
        if self.backend.as_ref().is_none_or(ended) {
            let client = PushClient::open(self.daemon.push).expect("the gateway accepts");
            (self.backend, self.noted) = (Some(client), 0);
        }
        self.backend.as_ref().expect("it is there now").send(bytes);
    }

    /// Notes what has been received, once it is as much as in the simulation.
    fn collect(&mut self, simulated: &Transcript, transcript: &mut Transcript) {
        let expected = |who| {
            let lines = simulated.get(who).into_iter().flatten();
            lines.filter(|line| line.starts_with("← ")).count()
        };
        for client in &mut self.clients {
            let Some(connection) = &client.connection else { continue };
            let until = client.noted + expected(client.peer.name);
            poll_until(LIMIT, || connection.events().len() >= until);
            let events = connection.events().split_off(client.noted);
            client.noted += events.len();
            note(transcript, client.peer.name, events.iter().map(|(_, event)| received(event)));
        }
        if let Some(backend) = &self.backend {
            let until = self.noted + expected(BACKEND);
            poll_until(LIMIT, || backend.events().len() >= until);
            let events = backend.events().split_off(self.noted);
            self.noted += events.len();
            note(transcript, BACKEND, events.iter().map(|(_, event)| replied(event)));
        }
    }

    /// Waits until all that clients have received is about to be confirmed.
    fn await_confirms(&self, transcript: &Transcript) {
        for client in self.clients.iter().filter(|client| client.peer.answers_pings) {
            let lines = transcript.get(client.peer.name).into_iter().flatten();
            let pushed = lines.filter(|line| line.contains("\"Data\"")).count() > 0;
            if let Some(connection) = client.connection.as_ref().filter(|_| pushed) {
                let answered = poll_until(LIMIT, || connection.has_answered_a_ping());
                assert!(answered, "{} was sent no ping", client.peer.name);
            }
        }
    }
}

impl Client {
    fn connected(&self) -> &WsClient {
        self.connection.as_ref().expect("it is connected")
    }
}

fn note(transcript: &mut Transcript, who: &'static str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        transcript.entry(who).or_default().extend(lines);
    }
}

fn received(event: &WsEvent) -> String {
    match event {
        WsEvent::Text(text) => line(&format!("← {}", String::from_utf8_lossy(text))),
        WsEvent::Closed { code: 1006, .. } => "← end".to_owned(),
        WsEvent::Closed { code, reason, .. } => line(&format!("← close {code} {reason}")),
        WsEvent::Binary(_)
        | WsEvent::Pong(_)
        | WsEvent::HandshakeFailed(_)
        | WsEvent::Violation(_) => format!("← {event:?}"),
    }
}

fn replied(event: &PushEvent) -> String {
    match event {
        PushEvent::Reply(text) => line(&format!("← {}", String::from_utf8_lossy(text))),
        PushEvent::Closed { unfinished: 0 } => "← end".to_owned(),
        PushEvent::Closed { unfinished } => format!("← end after {unfinished} bytes of a line"),
    }
}
