//! What happens, for both worlds.

use std::collections::BTreeMap;

/// What each peer sent (`→`) and received (`←`) in one act.
pub(crate) type Transcript = BTreeMap<&'static str, Vec<String>>;

/// The back end's name.
pub(crate) const BACKEND: &str = "backend";

/// The limits that both worlds are set to.
pub(crate) const MAX_PUSH_LINE: u64 = 2_000;
pub(crate) const MAX_KEY: u32 = 100;
pub(crate) const PONG_TIMEOUT_SECS: u64 = 3;
/// Longer than the scenario: heartbeats are only sent where it says so.
pub(crate) const IDLE_TIMEOUT_SECS: u64 = 600;

/// A client.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Its first message.
    pub(crate) first: String,
    pub(crate) answers_pings: bool,
}

/// All clients.
pub(crate) fn peers() -> Vec<Peer> {
    let peer = |name, first: &str| Peer { name, first: first.to_owned(), answers_pings: true };
    vec![
        peer("phone", "77"),
        peer("laptop", "77"),
        peer("add-in", r#"{"uid":"7","FunctionType":4}"#),
        peer("device", r#"{"deviceId":"d1"}"#),
        peer("longkey", &"k".repeat(MAX_KEY as usize + 1)),
        peer("impostor", "device:d1"),
        Peer { answers_pings: false, ..peer("half-open", "99") },
        peer("heir", "99"),
    ]
}

/// One thing that somebody does.
pub(crate) enum Step {
    /// The client connects and sends its first message.
    Connect(&'static str),
    /// The client sends a message.
    Say(&'static str, &'static str),
    /// The client sends a frame that breaks the protocol.
    Malformed(&'static str, u8),
    /// The client sends a close frame and goes.
    Leave(&'static str),
    /// The client, whose connection is gone, does not come back.
    StayAway(&'static str),
    /// The back end pushes these lines in one write.
    Push(Vec<&'static str>),
    /// The back end sends lines that are no push, which get so many replies.
    Refused(String, usize),
    /// The gateway is asked to stop.
    Stop,
}

/// A step, and what it is called.
pub(crate) struct Act {
    pub(crate) title: String,
    pub(crate) step: Step,
    /// How long the simulated world has for it.
    pub(crate) takes_ms: u64,
}

impl Act {
    pub(crate) fn new(title: impl Into<String>, step: Step) -> Self {
        // Shorter than any client takes to come back by itself.
        Self { title: title.into(), step, takes_ms: 800 }
    }
}

/// The scenario.
pub(crate) fn acts() -> Vec<Act> {
    let mut acts = delivery();
    acts.extend(refusals());
    for which in 0..8 {
        acts.push(Act::new("the laptop connects", Step::Connect("laptop")));
        let title = format!("its frame {which} is malformed");
        acts.push(Act::new(title, Step::Malformed("laptop", which)));
        acts.push(Act::new("it stays away", Step::StayAway("laptop")));
    }
    acts.extend(endings());
    acts
}

fn delivery() -> Vec<Act> {
    let twice = r#"{"uid":"77","Data":"six"}"#;
    vec![
        Act::new("a push for nobody", Step::Push(vec![r#"{"uid":"77","Data":"zero"}"#])),
        Act::new("the phone connects", Step::Connect("phone")),
        Act::new("a push for it", Step::Push(vec![r#"{"uid":"77","Data":"one"}"#])),
        Act::new("its heartbeat", Step::Say("phone", "77")),
        Act::new("its other messages", Step::Say("phone", "hello")),
        Act::new(
            "two pushes in one write, one to be rebuilt",
            Step::Push(vec![
                r#"{"uid":"77","Data":"two"}"#,
                r#"{"uid":"77","FunctionType":1,"ratio":50,"msg":"!","code":3,"Data":"three"}"#,
            ]),
        ),
        Act::new("a key that is a number", Step::Push(vec![r#"{"uid":77,"Data":"four"}"#])),
        Act::new("the laptop takes the key", Step::Connect("laptop")),
        Act::new("the newest has it", Step::Push(vec![r#"{"uid":"77","Data":"five"}"#])),
        Act::new("the laptop leaves", Step::Leave("laptop")),
        Act::new("the phone stood by", Step::Push(vec![r#"{"uid":"77","Data":"again"}"#])),
        Act::new("the phone leaves", Step::Leave("phone")),
        // Pushes are not merged while a removal is under way: with this answer all are done.
        Act::new("a push for somebody else", Step::Push(vec![r#"{"uid":"88","Data":"other"}"#])),
        Act::new("equal pushes are merged", Step::Push(vec![twice, twice])),
        Act::new("the phone comes back", Step::Connect("phone")),
        Act::new("an add-in connects", Step::Connect("add-in")),
        Act::new("its heartbeat", Step::Say("add-in", r#"{"uid":"7","FunctionType":4}"#)),
        Act::new(
            "a push for it",
            Step::Push(vec![r#"{"uid":"{\"uid\":\"7\",\"FunctionType\":4}","Data":1}"#]),
        ),
        Act::new("a device connects", Step::Connect("device")),
        Act::new("a push for it", Step::Push(vec![r#"{"uid":"device:d1","Data":2}"#])),
    ]
}

fn refusals() -> Vec<Act> {
    let lines = "hello\n{\"Data\":1}\n{\"uid\":\" \"}\n{\"uid\":1.5}\n{\"uid\":null}\n";
    let too_long = format!("{}\n", "x".repeat(MAX_PUSH_LINE as usize + 1));
    let long_key = format!("{{\"uid\":\"{}\"}}\n", "k".repeat(MAX_KEY as usize + 1));
    vec![
        Act::new("lines that are no push", Step::Refused(lines.to_owned(), 5)),
        Act::new("a push to a key that is too long", Step::Refused(long_key, 1)),
        Act::new("a line that is too long", Step::Refused(too_long, 0)),
        Act::new("the next connection", Step::Push(vec![r#"{"uid":"77","Data":"seven"}"#])),
        Act::new("a client's key that is too long", Step::Connect("longkey")),
        Act::new("it stays away", Step::StayAway("longkey")),
        Act::new("a key that only devices have", Step::Connect("impostor")),
        Act::new("it stays away", Step::StayAway("impostor")),
    ]
}

fn endings() -> Vec<Act> {
    let overdue = Step::Push(vec![r#"{"uid":"99","Data":"eight"}"#]);
    vec![
        Act::new("a client that answers no ping connects", Step::Connect("half-open")),
        // Until a little after its pong is overdue.
        Act { takes_ms: PONG_TIMEOUT_SECS * 1_000, ..Act::new("a push for it", overdue) },
        Act::new("it stays away", Step::StayAway("half-open")),
        Act::new("another one gets the message", Step::Connect("heir")),
        Act::new("the gateway stops", Step::Stop),
    ]
}

/// A line of a transcript: long ones are cut.
pub(crate) fn line(text: &str) -> String {
    let shown: String = text.chars().take(120).collect();
    if shown.len() < text.len() { format!("{shown}… ({} bytes)", text.len()) } else { shown }
}
