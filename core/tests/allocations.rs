//! Pushing to a live connection allocates nothing in core once it is warm: the payload is shared
//! from the line to the frame and the store, and everything else is reused.
//!
//! What the caller does (reading the line, answering for the store) is not counted; neither are
//! the tests of other threads.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;
use steadfast_core::command::{Command, Reply};
use steadfast_core::config::Config;
use steadfast_core::event::{ConnEvent, Event, Protocol, PusherEvent};
use steadfast_core::gateway::Gateway;
use steadfast_core::id::{ConnId, PusherId};
use steadfast_core::store::{Answer, Appended, DeadAnswer, Loaded, Op};
use steadfast_core::time::{Span, Time};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, which counts the allocations of each thread.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain number that
// needs neither memory nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(memory, layout, size) }
    }
}

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

const PUSHER: PusherId = PusherId { slot: 0, generation: 0 };

/// How a back end pushes and how the clients live.
#[derive(Clone, Copy, Debug)]
struct Rhythm {
    clients: u32,
    /// Pushes in a row before the store and the clients answer.
    burst: u32,
    /// Between two bursts.
    pause: Span,
    /// Between two heartbeats of a client.
    heartbeat: Span,
}

/// A gateway between clients that confirm what they get and a store that keeps nothing.
struct Stage {
    rhythm: Rhythm,
    gateway: Gateway,
    now: Time,
    heartbeat_at: Time,
    commands: Vec<Command>,
    answers: VecDeque<Event>,
    /// What is received shares one buffer, so that a share of it needs no memory.
    buffer: BytesMut,
    position: u64,
    sent: u32,
    replied: u32,
    allocations: u64,
}

impl Stage {
    fn new(rhythm: Rhythm) -> Self {
        let now = Time::from_micros(1_800_000_000_000_000);
        let mut stage = Self {
            rhythm,
            gateway: Gateway::new(Config::default(), 1, 7),
            now,
            heartbeat_at: now + rhythm.heartbeat,
            commands: Vec::new(),
            answers: VecDeque::new(),
            buffer: BytesMut::new(),
            position: 0,
            sent: 0,
            replied: 0,
            allocations: 0,
        };
        stage.tell(Event::Pusher(PUSHER, PusherEvent::Opened));
        for slot in 0..rhythm.clients {
            let id = ConnId { slot, generation: 0 };
            stage.tell(Event::Connection(id, ConnEvent::Accepted));
            stage.tell(Event::Connection(
                id,
                ConnEvent::Upgraded { target: "/".into(), protocol: Protocol::Legacy },
            ));
            stage.tell_heartbeat(slot);
        }
        stage
    }

    fn tell_heartbeat(&mut self, slot: u32) {
        let id = ConnId { slot, generation: 0 };
        let key = self.bytes(&slot.to_string());
        let key = ByteString::try_from(key).expect("digits are UTF-8");
        self.tell(Event::Connection(id, ConnEvent::TextReceived(key)));
        self.settle();
    }

    /// A part of the shared buffer that says `text`.
    fn bytes(&mut self, text: &str) -> Bytes {
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.split().freeze()
    }

    /// Tells one event and gathers what the store and the clients have to say to it.
    fn tell(&mut self, event: Event) {
        let before = ALLOCATIONS.get();
        self.gateway.handle(self.now, event, &mut self.commands);
        self.allocations += ALLOCATIONS.get() - before;
        for command in self.commands.drain(..) {
            match command {
                Command::Send { .. } => self.sent += 1,
                Command::Reply { reply, .. } => {
                    assert!(matches!(reply, Reply::Ok(_)), "{reply:?}");
                    self.replied += 1;
                }
                Command::Ping { conn, counter } => {
                    let pong = ConnEvent::PongReceived(Some(counter));
                    self.answers.push_back(Event::Connection(conn, pong));
                }
                Command::ReportDrained { conn } => {
                    self.answers.push_back(Event::Connection(conn, ConnEvent::Drained));
                }
                Command::Store { op, request } => {
                    self.position += 1;
                    let answer = answer(request, self.position);
                    self.answers.push_back(Event::Answered(op, answer));
                }
                Command::Record(_) => {}
                Command::Close { .. }
                | Command::Pong { .. }
                | Command::Answer { .. }
                | Command::Pause { .. }
                | Command::Resume { .. }
                | Command::Finish { .. } => panic!("a steady stream causes no {command:?}"),
            }
        }
    }

    /// Tells all answers, and what follows from them.
    fn settle(&mut self) {
        while let Some(event) = self.answers.pop_front() {
            self.tell(event);
        }
    }

    /// Pushes `count` messages of about 120 bytes, one client after the other.
    fn push(&mut self, count: u32) {
        for number in 0..count {
            let key = number % self.rhythm.clients;
            let line = self.bytes(&format!(r#"{{"uid":"{key}","Data":"{}"}}"#, "x".repeat(100)));
            self.tell(Event::Pusher(PUSHER, PusherEvent::LineReceived(line)));
            if (number + 1) % self.rhythm.burst == 0 {
                self.settle();
                self.pass_time();
            }
        }
        self.settle();
    }

    fn pass_time(&mut self) {
        self.now += self.rhythm.pause;
        while self.gateway.next_deadline().is_some_and(|(at, _)| at <= self.now) {
            self.tell(Event::DeadlineReached);
            self.settle();
        }
        if self.heartbeat_at <= self.now {
            self.heartbeat_at = self.now + self.rhythm.heartbeat;
            for slot in 0..self.rhythm.clients {
                self.tell_heartbeat(slot);
            }
        }
    }
}

/// What a store says that takes everything and never has anything to give.
fn answer(request: Op, position: u64) -> Answer {
    match request {
        Op::Append(_) => Answer::Appended(Appended::Stored { position, evicted: Vec::new() }),
        Op::Remove { ids, .. } => Answer::Removed { ids, withdrawn: 0 },
        Op::Load { .. } => Answer::Loaded(Loaded { messages: Vec::new(), tail: None, deaths: 0 }),
        Op::Expire { .. } => Answer::Expired(Vec::new()),
        Op::Dead(_) => Answer::Dead(DeadAnswer::Purged(0)),
        Op::Retry { .. }
        | Op::Bury { .. }
        | Op::Queue(_)
        | Op::Find { .. }
        | Op::Claim(_)
        | Op::Session(_)
        | Op::Device(_) => {
            panic!("a steady stream causes no {request:?}")
        }
    }
}

#[test]
fn steady_pushes_allocate_nothing() {
    const WARM_UP: u32 = 10_000;
    const COUNTED: u32 = 10_000;
    let heartbeat = Span::from_secs(5);
    for rhythm in [
        Rhythm { clients: 1, burst: 1, pause: Span::from_micros(100), heartbeat },
        Rhythm { clients: 1, burst: 1, pause: Span::from_millis(60), heartbeat },
        Rhythm { clients: 1, burst: 50, pause: Span::from_millis(10), heartbeat },
        Rhythm { clients: 500, burst: 100, pause: Span::from_millis(5), heartbeat },
    ] {
        let mut stage = Stage::new(rhythm);
        stage.push(WARM_UP);
        (stage.allocations, stage.replied) = (0, 0);
        let sent = stage.sent;
        stage.push(COUNTED);
        assert_eq!(stage.replied, COUNTED, "{rhythm:?}");
        assert!(stage.sent - sent >= COUNTED, "{rhythm:?}");
        assert_eq!(stage.allocations, 0, "{rhythm:?}");
    }
}

#[test]
fn allocations_are_counted() {
    let before = ALLOCATIONS.get();
    let kept: Vec<u8> = Vec::with_capacity(100);
    assert_eq!(ALLOCATIONS.get() - before, 1, "of {}", kept.capacity());
    let mut stage = Stage::new(Rhythm {
        clients: 1,
        burst: 1,
        pause: Span::ZERO,
        heartbeat: Span::from_secs(5),
    });
    stage.push(1);
    assert!(stage.allocations > 0, "a cold gateway has to allocate");
}
