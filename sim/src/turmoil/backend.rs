//! A simulated back end: pushes lines without waiting for replies, and reads the replies.
//!
//! It holds one connection to each gateway, opens a lost one anew, and gives up one on which a
//! reply is overdue.

use super::client::Surroundings;
use super::plan::PushLine;
use super::wire::Wire;
use super::{PUSH_PORT, since_start};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use steadfast_core::time::{Span, Time};
use tokio::time::{Instant, Sleep, sleep_until};
use turmoil::net::TcpStream;

/// How long a back end waits for a reply before it opens a new connection.
const PATIENCE: Span = Span::from_secs(12);
/// How long it waits before it connects again.
const PAUSE: Span = Span::from_millis(500);

/// What a back end is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BackendOp {
    /// Send these lines to this gateway, in one write.
    Push { gateway: usize, lines: Vec<PushLine> },
    /// Send these bytes, which are no push.
    Raw { gateway: usize, bytes: Vec<u8>, replies: usize },
    /// End the connection to this gateway; its lines are carried through all the same.
    HangUp { gateway: usize },
}

/// What is known of a back end outside of it.
#[derive(Debug)]
pub(super) struct BackendHost {
    pub(super) name: String,
    pub(super) around: Surroundings,
    inbox: RefCell<VecDeque<BackendOp>>,
    waker: RefCell<Option<Waker>>,
}

impl BackendHost {
    pub(super) fn new(name: &str, around: Surroundings) -> Self {
        let name = name.to_owned();
        Self { name, around, inbox: RefCell::default(), waker: RefCell::default() }
    }

    pub(super) fn order(&self, op: BackendOp) {
        self.inbox.borrow_mut().push_back(op);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Runs the back end.
pub(super) async fn work(host: Rc<BackendHost>) -> turmoil::Result {
    let gateways = host.around.gateways.len();
    let mut worker = Worker {
        lines: (0..gateways).map(Connection::new).collect(),
        host,
        alarm: Box::pin(sleep_until(Instant::now())),
    };
    poll_fn(|cx| worker.turn(cx)).await
}

struct Worker {
    host: Rc<BackendHost>,
    lines: Vec<Connection>,
    alarm: Pin<Box<Sleep>>,
}

enum State {
    /// Not connected; connects at this time if there is something to send.
    Idle(Time),
    Connecting(Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>),
    Open(Box<Wire>),
}

/// One connection to one gateway.
struct Connection {
    gateway: usize,
    state: State,
    /// The how-manieth connection of the world it is.
    number: u64,
    /// What is sent once there is a connection.
    queue: VecDeque<BackendOp>,
    outbox: Vec<u8>,
    inbox: Vec<u8>,
    /// The keys of the lines whose replies are awaited, and since when the next one is.
    awaited: VecDeque<Option<usize>>,
    since: Time,
    hanging_up: bool,
}

impl Drop for Worker {
    fn drop(&mut self) {
        for line in &self.lines {
            self.host.around.ends.lost(line.number);
        }
    }
}

fn now() -> Time {
    Time::EPOCH + since_start()
}

impl Worker {
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<turmoil::Result> {
        *self.host.waker.borrow_mut() = Some(cx.waker().clone());
        let orders = std::mem::take(&mut *self.host.inbox.borrow_mut());
        for order in orders {
            let (BackendOp::Push { gateway, .. }
            | BackendOp::Raw { gateway, .. }
            | BackendOp::HangUp { gateway }) = &order;
            self.lines[*gateway].queue.push_back(order);
        }
        let host = Rc::clone(&self.host);
        for line in &mut self.lines {
            line.turn(cx, &host);
        }
        let due = self.lines.iter().filter_map(Connection::next_deadline).min();
        if let Some(due) = due {
            let wait = due.since(now()).as_micros().max(1_000);
            self.alarm.as_mut().reset(Instant::now() + Duration::from_micros(wait));
            if self.alarm.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}

impl Connection {
    fn new(gateway: usize) -> Self {
        Self {
            gateway,
            state: State::Idle(Time::EPOCH),
            number: 0,
            queue: VecDeque::new(),
            outbox: Vec::new(),
            inbox: Vec::new(),
            awaited: VecDeque::new(),
            since: Time::EPOCH,
            hanging_up: false,
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        match &self.state {
            State::Idle(at) => (!self.queue.is_empty()).then_some(*at),
            State::Connecting(_) => None,
            State::Open(_) => (!self.awaited.is_empty()).then(|| self.since + PATIENCE),
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>, host: &BackendHost) {
        if let State::Idle(at) = self.state
            && at <= now()
            && !self.queue.is_empty()
        {
            let gateway = host.around.gateways[self.gateway].clone();
            self.state = State::Connecting(Box::pin(TcpStream::connect((gateway, PUSH_PORT))));
        }
        if let State::Connecting(connecting) = &mut self.state
            && let Poll::Ready(connected) = connecting.as_mut().poll(cx)
        {
            let around = &host.around;
            let wire = connected.and_then(|tcp| Wire::new(tcp, &around.meters, &around.chop));
            match wire {
                Ok(wire) => {
                    self.number = around.ends.new_connection();
                    self.state = State::Open(Box::new(wire));
                }
                Err(_) => self.state = State::Idle(now() + PAUSE),
            }
            if matches!(self.state, State::Idle(_)) {
                cx.waker().wake_by_ref();
            }
        }
        if matches!(self.state, State::Open(_)) {
            self.send(host);
            self.exchange(cx, host);
            if !self.awaited.is_empty() && now() >= self.since + PATIENCE {
                self.lose(host, "waits no longer for a reply");
            }
        }
    }

    /// Moves what is queued to the outbox.
    fn send(&mut self, host: &BackendHost) {
        while !self.hanging_up
            && let Some(op) = self.queue.pop_front()
        {
            if self.awaited.is_empty() {
                self.since = now();
            }
            match op {
                BackendOp::Push { lines, .. } => {
                    for line in lines {
                        self.outbox.extend_from_slice(line.text.as_bytes());
                        self.outbox.push(b'\n');
                        self.say(host, Some(line.key), format!("→ {}", line.text));
                        self.awaited.push_back(Some(line.key));
                        host.around.ends.pushed(self.number, self.gateway, line);
                    }
                }
                BackendOp::Raw { bytes, replies, .. } => {
                    self.say(host, None, format!("→ {:?}", String::from_utf8_lossy(&bytes)));
                    self.outbox.extend_from_slice(&bytes);
                    for _ in 0..replies {
                        host.around.ends.pushed_nonsense(self.number);
                    }
                    self.awaited.extend(std::iter::repeat_n(None, replies));
                }
                BackendOp::HangUp { .. } => self.hanging_up = true,
            }
        }
    }

    fn exchange(&mut self, cx: &mut Context<'_>, host: &BackendHost) {
        let State::Open(wire) = &mut self.state else { return };
        match wire.write(cx, &self.outbox) {
            Ok(written) => drop(self.outbox.drain(..written)),
            Err(_) => return self.lose(host, "cannot write"),
        }
        if self.hanging_up && self.outbox.is_empty() {
            self.hanging_up = false;
            return self.lose(host, "hangs up");
        }
        let mut buffer = [0; 1 << 10];
        loop {
            let State::Open(wire) = &mut self.state else { return };
            match wire.poll_read(cx, &mut buffer) {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) => return self.lose(host, "sees the end of the stream"),
                Poll::Ready(Err(_)) => return self.lose(host, "sees a reset"),
                Poll::Ready(Ok(size)) => {
                    self.inbox.extend_from_slice(&buffer[..size]);
                    self.replies(host);
                }
            }
        }
    }

    fn replies(&mut self, host: &BackendHost) {
        while let Some(end) = self.inbox.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.inbox.drain(..=end).collect();
            let reply = String::from_utf8_lossy(&line[..end]).into_owned();
            let key = self.awaited.pop_front().flatten();
            self.say(host, key, format!("← {reply}"));
            host.around.ends.replied(self.number, &reply);
            self.since = now();
        }
    }

    fn lose(&mut self, host: &BackendHost, what: &str) {
        self.say(host, None, what.to_owned());
        host.around.ends.lost(self.number);
        self.state = State::Idle(now() + PAUSE);
        self.outbox.clear();
        self.inbox.clear();
        self.awaited.clear();
    }

    fn say(&self, host: &BackendHost, key: Option<usize>, what: String) {
        host.around.timeline.say_of(since_start(), &host.name, key, what);
    }
}
