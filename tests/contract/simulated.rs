//! The scenario in the simulated world.

use super::scenario::{
    Act, BACKEND, IDLE_TIMEOUT_SECS, MAX_KEY, MAX_PUSH_LINE, PONG_TIMEOUT_SECS, Peer, Step,
    Transcript, line, peers,
};
use steadfast_core::config::Config;
use steadfast_core::time::Span;
use steadfast_sim::turmoil::{
    ClientSetup, Kind, Line, Op, OpKind, Plan, Pongs, PushLine, Setup, Speaks, Whim, tell,
};

/// What happened in each act.
pub(crate) fn play(acts: &[Act]) -> Vec<Transcript> {
    let mut plan = Plan { seed: 1, setup: setup(), ops: Vec::new(), story: true };
    let (mut now_ms, mut serial) = (0, 0);
    for act in acts {
        let at = Span::from_millis(now_ms);
        plan.ops.push(Op { at, kind: OpKind::Note(act.title.clone()) });
        plan.ops.push(Op { at, kind: operation(&act.step, &mut serial) });
        now_ms += act.takes_ms;
    }
    // A world lives until its last operation.
    let end = OpKind::Note("the end".to_owned());
    plan.ops.push(Op { at: Span::from_millis(now_ms), kind: end });
    let outcome = tell(&plan);
    assert_eq!(outcome.violation, None);
    let mut transcripts = Vec::new();
    for line in &outcome.lines {
        match (line.kind, transcripts.last_mut()) {
            (Kind::Note, _) => transcripts.push(Transcript::new()),
            (Kind::Wire, Some(transcript)) => write(transcript, line),
            (Kind::Wire | Kind::World | Kind::Record | Kind::Core, _) => {}
        }
    }
    assert_eq!(transcripts.len(), acts.len() + 1, "each act has its remark");
    transcripts.pop();
    transcripts
}

fn setup() -> Setup {
    let peers = peers();
    let names = peers.iter().map(|peer| format!("{}-network", peer.name));
    Setup {
        gateways: 1,
        lease: None,
        sites: names.collect(),
        clients: peers.iter().enumerate().map(client).collect(),
        keys: vec!["77".to_owned()],
        backends: 1,
        config: Config {
            idle_timeout: Span::from_secs(IDLE_TIMEOUT_SECS),
            pong_timeout: Span::from_secs(PONG_TIMEOUT_SECS),
            max_push_line: MAX_PUSH_LINE,
            max_key: MAX_KEY,
            ..Config::default()
        },
        buffer: 64 << 10,
        latency_ms: (20, 20),
        step_ms: 10,
        is_frail: false,
    }
}

fn client((number, peer): (usize, &Peer)) -> ClientSetup {
    ClientSetup {
        number: u32::try_from(number).expect("few"),
        name: peer.name.to_owned(),
        site: number,
        first: peer.first.clone(),
        key: None,
        gateway: 0,
        pongs: if peer.answers_pings { Pongs::Prompt } else { Pongs::Never },
        speaks: Speaks::Text,
        heartbeat: Span::from_secs(IDLE_TIMEOUT_SECS),
    }
}

fn operation(step: &Step, serial: &mut u32) -> OpKind {
    let client = |name: &str, whim| {
        let place = peers().iter().position(|peer| peer.name == name);
        OpKind::Client(place.expect("the scenario names its clients"), whim)
    };
    match step {
        Step::Connect(name) => client(name, Whim::Start),
        Step::Say(name, text) => client(name, Whim::Text((*text).to_owned())),
        Step::Malformed(name, which) => client(name, Whim::Malformed(*which)),
        Step::Leave(name) => client(name, Whim::Leave),
        Step::StayAway(name) => client(name, Whim::Quit),
        Step::Push(texts) => {
            let lines = texts.iter().map(|text| {
                *serial += 1;
                PushLine { key: 0, serial: *serial, text: (*text).to_owned() }
            });
            OpKind::Push { backend: 0, gateway: 0, lines: lines.collect() }
        }
        Step::Refused(text, replies) => {
            let bytes = text.clone().into_bytes();
            OpKind::Raw { backend: 0, gateway: 0, bytes, replies: *replies }
        }
        Step::Stop => OpKind::Stop(0),
    }
}

/// Adds what a peer sent or received. Pings and what peers do to themselves are left out.
fn write(transcript: &mut Transcript, said: &Line) {
    let peers = peers();
    let names = peers.iter().map(|peer| peer.name).chain([BACKEND]);
    let who = names.into_iter().find(|name| *name == said.who).expect("peers have names");
    let text = match said.text.as_str() {
        text if text.starts_with("← ping") => return,
        "sees the end of the stream" | "sees a reset" => "← end".to_owned(),
        // What a back end sends beside pushes is quoted.
        text if text.starts_with("→ \"") => return,
        text if text.starts_with("→ ") || text.starts_with("← ") => line(text),
        _ => return,
    };
    transcript.entry(who).or_default().push(text);
}
