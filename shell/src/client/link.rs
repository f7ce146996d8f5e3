//! `steadfast listen --link`: the client of the link protocol over one WebSocket at a time.
//!
//! A message is acknowledged once it has been printed, so each is printed once, and one that was not
//! comes to the next listener. Long-polls, standbys and a storage that outlives the process are for
//! the clients of users; a listener is tried out, and ends.

use super::listen::{Clock, End, Form, Options, Stop};
use super::socket::{Arrival, Socket, Target};
use super::tell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use steadfast_core::dialect::link::SUBPROTOCOL;
use steadfast_core::id::Key;
use steadfast_core::link::{ChannelId, Fallback, Link, LinkCommand, LinkConfig, LinkEvent, Report};
use steadfast_core::time::{Span, Time};

/// Listens until there were enough messages, a signal comes, or the link ends.
pub(super) fn listen(
    options: &Options,
    key: Key,
    target: Target,
    clock: Clock,
    stop: Arc<Stop>,
    seed: u64,
) -> End {
    let mut config = LinkConfig::new(key, vec![options.url.as_str().into()]);
    config.fallback = Fallback::Never;
    config.delays.max_attempts = options.max_attempts;
    let mut listener = Listener {
        link: Link::new(config, seed),
        clock,
        target,
        channel: None,
        stop,
        left: options.count,
        form: options.form,
        end: None,
        events: VecDeque::new(),
    };
    listener.run()
}

/// Drives the link with a real connection.
struct Listener {
    link: Link,
    clock: Clock,
    target: Target,
    channel: Option<(ChannelId, Socket)>,
    stop: Arc<Stop>,
    left: Option<u64>,
    form: Form,
    end: Option<End>,
    /// What happened while commands were carried out.
    events: VecDeque<LinkEvent>,
}

impl Listener {
    fn run(&mut self) -> End {
        self.handle(LinkEvent::Started);
        loop {
            if self.stop.is_asked() || self.end == Some(End::Done) {
                self.handle(LinkEvent::Stopped);
                return End::Done;
            }
            if let Some(end) = self.end {
                return end;
            }
            self.wait();
        }
    }

    /// Waits for a frame, a deadline or a stop.
    fn wait(&mut self) {
        let due = self.link.next_deadline().unwrap_or(Time::NEVER);
        let left = due.since(self.clock.now()).min(Span::from_secs(3_600));
        if left == Span::ZERO {
            return self.handle(LinkEvent::DeadlineReached);
        }
        let left = Duration::from_micros(left.as_micros());
        let Some((channel, socket)) = &mut self.channel else { return thread::park_timeout(left) };
        let channel = *channel;
        match socket.receive(left) {
            Arrival::Text(text) => self.handle(LinkEvent::TextReceived(channel, text)),
            Arrival::Pong | Arrival::Ping | Arrival::Nothing => {}
            Arrival::End(why, code) => {
                self.lost(&why, code);
                self.work_off();
            }
        }
    }

    fn handle(&mut self, event: LinkEvent) {
        self.events.push_back(event);
        self.work_off();
    }

    fn work_off(&mut self) {
        while let Some(event) = self.events.pop_front() {
            let mut commands = Vec::new();
            self.link.handle(self.clock.now(), event, &mut commands);
            commands.into_iter().for_each(|command| self.carry_out(command));
        }
    }

    fn carry_out(&mut self, command: LinkCommand) {
        match command {
            LinkCommand::Open { channel, .. } => self.open(channel),
            LinkCommand::Send(_, text) => {
                let sent = self.channel.as_mut().map(|(_, socket)| socket.send(&text));
                if let Some(Err(why)) = sent {
                    self.lost(&why, None);
                }
            }
            LinkCommand::Close(_) => {
                self.stop.watch(None);
                if let Some((_, socket)) = self.channel.take() {
                    socket.close();
                }
            }
            LinkCommand::Deliver { data, .. } => {
                let is_read = self.form.print(&data, self.clock.now());
                self.left = self.left.map(|left| left.saturating_sub(1));
                if !is_read || self.left == Some(0) {
                    self.end = Some(End::Done);
                }
            }
            LinkCommand::Save(_) => {}
            LinkCommand::StateChanged { new, .. } => tell(new.name()),
            LinkCommand::Report(report) => self.report(&report),
        }
    }

    fn report(&mut self, report: &Report) {
        match report {
            Report::Welcomed { lost: true, .. } => tell("messages were lost while we were away"),
            Report::GatewayError { code, reason } => {
                tell(&format!("the gateway says: {code} {reason}"))
            }
            Report::Refused { code } => {
                tell(&format!("error: the gateway does not want this client (close code {code})"));
                self.end = Some(End::Refused);
            }
            Report::GaveUp => self.end = Some(End::GaveUp),
            Report::Welcomed { .. }
            | Report::OpsConfirmed { .. }
            | Report::OpRefused
            | Report::Suspect
            | Report::RetryIn(_) => {}
        }
    }

    fn open(&mut self, channel: ChannelId) {
        tell(&format!("connecting to {}", self.target.address));
        let opened = Socket::open(&self.target, Some(SUBPROTOCOL)).and_then(|socket| {
            let handle = socket.handle().map_err(|error| error.to_string())?;
            Ok((socket, handle))
        });
        match opened {
            Ok((socket, handle)) => {
                self.stop.watch(Some(handle));
                self.channel = Some((channel, socket));
                self.events.push_back(LinkEvent::Opened(channel));
            }
            Err(why) => {
                tell(&why);
                self.events.push_back(LinkEvent::Failed(channel));
            }
        }
    }

    fn lost(&mut self, why: &str, code: Option<u16>) {
        if self.stop.is_asked() {
            // It is the stop itself that ended the reading; the goodbye is still to be said.
            return;
        }
        let Some((channel, _)) = self.channel.take() else { return };
        self.stop.watch(None);
        tell(why);
        self.events.push_back(LinkEvent::Closed { channel, code });
    }
}
