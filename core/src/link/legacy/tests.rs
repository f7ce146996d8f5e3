//! Tests of the link as a whole.

use super::*;
use proptest::prelude::*;
use std::fmt::Write as _;

/// A link with a clock.
struct Bench {
    link: Link,
    now: Time,
    commands: Vec<LinkCommand>,
}

impl Bench {
    fn new(config: LinkConfig) -> Self {
        let (link, now) = (Link::new(config, 7), Time::from_micros(1_000_000_000_000));
        Self { link, now, commands: Vec::new() }
    }

    fn digits() -> Self {
        Self::new(LinkConfig::new(Key::new("5")))
    }

    fn tell(&mut self, event: LinkEvent) -> Vec<LinkCommand> {
        self.link.handle(self.now, event, &mut self.commands);
        std::mem::take(&mut self.commands)
    }

    /// Lets the next deadline come; says how long it took.
    fn wait(&mut self) -> (Span, Vec<LinkCommand>) {
        let due = self.link.next_deadline().expect("something is due");
        let waited = due.since(self.now);
        self.now = due;
        (waited, self.tell(LinkEvent::DeadlineReached))
    }

    /// Waits for the next deadline that causes something.
    fn wait_for_commands(&mut self) -> (Span, Vec<LinkCommand>) {
        let mut total = Span::ZERO;
        loop {
            let (waited, commands) = self.wait();
            total += waited;
            if !commands.is_empty() {
                return (total, commands);
            }
        }
    }

    fn bring_to(&mut self, state: LinkState) {
        match state {
            LinkState::Disconnected => {}
            LinkState::Connecting => drop(self.tell(LinkEvent::Started)),
            LinkState::Connected => {
                self.bring_to(LinkState::Connecting);
                self.tell(LinkEvent::Opened);
            }
            LinkState::Reconnecting => {
                self.bring_to(LinkState::Connected);
                self.tell(LinkEvent::Closed);
            }
        }
        assert_eq!(self.link.state(), state);
    }
}

const STATES: [LinkState; 4] =
    [LinkState::Disconnected, LinkState::Connecting, LinkState::Connected, LinkState::Reconnecting];

fn text(text: &str) -> LinkEvent {
    LinkEvent::TextReceived(text.into())
}

fn deliver(text: &str) -> LinkCommand {
    LinkCommand::Deliver(text.into())
}

fn shown(event: &LinkEvent) -> String {
    match event {
        LinkEvent::TextReceived(text) => format!("TextReceived {text}"),
        LinkEvent::RetryAdvised(after) => format!("RetryAdvised {after}"),
        LinkEvent::Started
        | LinkEvent::Opened
        | LinkEvent::PongReceived
        | LinkEvent::Closed
        | LinkEvent::Failed
        | LinkEvent::DeadlineReached
        | LinkEvent::Stopped => format!("{event:?}"),
    }
}

fn shown_command(command: &LinkCommand) -> String {
    match command {
        LinkCommand::StateChanged { old, new } => format!("StateChanged {old} -> {new}"),
        LinkCommand::Send(text) => format!("Send {text}"),
        LinkCommand::Deliver(text) => format!("Deliver {text}"),
        LinkCommand::Connect
        | LinkCommand::Ping
        | LinkCommand::Disconnect
        | LinkCommand::GaveUp => format!("{command:?}"),
    }
}

#[test]
fn transition_table() {
    let mut table = String::new();
    for state in STATES {
        for event in [
            LinkEvent::Started,
            LinkEvent::Opened,
            text("hello"),
            LinkEvent::PongReceived,
            LinkEvent::RetryAdvised(Span::from_secs(8)),
            LinkEvent::Closed,
            LinkEvent::Failed,
            LinkEvent::DeadlineReached,
            LinkEvent::Stopped,
        ] {
            let mut bench = Bench::digits();
            bench.bring_to(state);
            if event == LinkEvent::DeadlineReached {
                bench.now = bench.link.next_deadline().unwrap_or(bench.now);
            }
            let commands: Vec<_> = bench.tell(event.clone()).iter().map(shown_command).collect();
            let commands =
                if commands.is_empty() { "nothing".to_owned() } else { commands.join(", ") };
            let _ = writeln!(table, "{state}: {} > {commands}", shown(&event));
        }
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("legacy_link_transitions", table));
}

#[test]
fn the_key_is_the_first_message() {
    let mut bench = Bench::digits();
    bench.bring_to(LinkState::Connecting);
    assert_eq!(bench.tell(LinkEvent::Opened)[1..], [LinkCommand::Send("5".into())]);
}

#[test]
fn a_digit_key_is_its_own_heartbeat_and_its_answers_are_no_messages() {
    let mut bench = Bench::digits();
    bench.bring_to(LinkState::Connected);
    assert_eq!(bench.tell(text("biubiubiu")), []);
    assert_eq!(bench.tell(text("biubiubiu")), [deliver("biubiubiu")], "a push of that text");
    for _ in 0..4 {
        let (waited, commands) = bench.wait_for_commands();
        assert_eq!(waited, Span::from_secs(5));
        assert_eq!(commands, [LinkCommand::Send("5".into())]);
        assert_eq!(bench.tell(text("biubiubiu")), []);
    }
}

#[test]
fn any_other_key_pings() {
    let mut bench = Bench::new(LinkConfig::new(Key::new("{\"uid\":\"1\",\"FunctionType\":4}")));
    bench.bring_to(LinkState::Connected);
    let echo = "{\"uid\":\"1\",\"FunctionType\":4}";
    assert_eq!(bench.tell(text(echo)), [], "the gateway's echo of the key");
    assert_eq!(bench.tell(text(echo)), [deliver(echo)]);
    for _ in 0..4 {
        let (waited, commands) = bench.wait_for_commands();
        assert_eq!(waited, Span::from_secs(5));
        assert_eq!(commands, [LinkCommand::Ping]);
        assert_eq!(bench.tell(LinkEvent::PongReceived), []);
    }
}

#[test]
fn two_missed_answers_lead_to_a_reconnect() {
    for (key, heartbeat, until_dead) in
        [("5", LinkCommand::Send("5".into()), 1), ("abc", LinkCommand::Ping, 2)]
    {
        let mut bench = Bench::new(LinkConfig::new(Key::new(key)));
        bench.bring_to(LinkState::Connected);
        for _ in 0..until_dead {
            assert_eq!(bench.wait_for_commands().1, std::slice::from_ref(&heartbeat), "{key}");
        }
        let (_, commands) = bench.wait_for_commands();
        let (old, new) = (LinkState::Connected, LinkState::Reconnecting);
        assert_eq!(
            commands,
            [LinkCommand::Disconnect, LinkCommand::StateChanged { old, new }],
            "{key}"
        );
    }
}

#[test]
fn messages_count_as_life_while_answers_are_queued_behind_them() {
    let mut bench = Bench::digits();
    bench.bring_to(LinkState::Connected);
    for _ in 0..10 {
        assert_eq!(bench.tell(text("backlog")), [deliver("backlog")]);
        assert_eq!(bench.wait_for_commands().1, [LinkCommand::Send("5".into())]);
    }
}

#[test]
fn delays_start_over_only_after_a_stable_connection() {
    let mut bench = Bench::digits();
    bench.bring_to(LinkState::Connected);
    let delay_after = |bench: &mut Bench, stood: Span| {
        bench.now += stood;
        bench.tell(LinkEvent::DeadlineReached);
        bench.tell(LinkEvent::Closed);
        let (delay, _) = bench.wait();
        bench.tell(LinkEvent::Opened);
        delay
    };
    let short = Span::from_millis(4_999);
    let mut delays = Vec::new();
    for _ in 0..8 {
        delays.push(delay_after(&mut bench, short));
    }
    assert!(delays[7] >= Span::from_secs(21), "{delays:?}");
    let after_stable = delay_after(&mut bench, Span::from_secs(5));
    assert!(after_stable <= Span::from_millis(1_300), "{after_stable}");
}

#[test]
fn it_gives_up_after_max_attempts_and_can_be_started_again() {
    let config = LinkConfig { max_attempts: Some(3), ..LinkConfig::new(Key::new("5")) };
    let mut bench = Bench::new(config);
    for _ in 0..2 {
        bench.tell(LinkEvent::Started);
        for _ in 0..3 {
            bench.tell(LinkEvent::Failed);
            assert!(bench.wait().1.contains(&LinkCommand::Connect));
        }
        assert_eq!(bench.tell(LinkEvent::Failed)[1..], [LinkCommand::GaveUp]);
        assert_eq!(bench.link.state(), LinkState::Disconnected);
        assert_eq!(bench.link.next_deadline(), None);
    }
}

#[test]
fn an_attempt_that_hangs_is_given_up() {
    let mut bench = Bench::digits();
    bench.bring_to(LinkState::Connecting);
    let (waited, commands) = bench.wait();
    assert_eq!(waited, Span::from_secs(10));
    assert_eq!(commands[0], LinkCommand::Disconnect);
    assert_eq!(bench.link.state(), LinkState::Reconnecting);
}

#[test]
fn the_gateways_slot_is_the_next_delay_once() {
    let mut bench = Bench::digits();
    bench.bring_to(LinkState::Connected);
    assert_eq!(bench.tell(LinkEvent::RetryAdvised(Span::from_secs(20))), []);
    bench.now += Span::from_secs(2);
    bench.tell(LinkEvent::Closed);
    let (waited, commands) = bench.wait();
    assert_eq!(waited, Span::from_secs(18), "it counts from the advice, and has no jitter");
    assert!(commands.contains(&LinkCommand::Connect));
    bench.tell(LinkEvent::Failed);
    let (waited, _) = bench.wait();
    let second = Span::from_millis(1_400)..=Span::from_millis(2_600);
    assert!(second.contains(&waited), "the attempt in the slot was a retry: {waited}");
}

#[test]
fn a_slot_keeps_to_the_links_own_bounds() {
    let wait_after = |advised: Span, stood: Span| {
        let mut bench = Bench::digits();
        bench.bring_to(LinkState::Connected);
        bench.tell(LinkEvent::RetryAdvised(advised));
        bench.now += stood;
        bench.tell(LinkEvent::Closed);
        bench.wait().0
    };
    let (second, hour) = (Span::from_secs(1), Span::from_secs(3600));
    assert_eq!(wait_after(Span::from_millis(10), Span::ZERO), second, "the least delay");
    assert_eq!(wait_after(Span::from_secs(7 * 24 * 3600), Span::ZERO), hour, "the longest slot");
    let passed = wait_after(Span::from_secs(3), Span::from_secs(3));
    assert!((second..=Span::from_millis(1_300)).contains(&passed), "a slot that has passed");
}

#[test]
fn advice_without_a_connection_is_none() {
    for state in [LinkState::Disconnected, LinkState::Connecting, LinkState::Reconnecting] {
        let mut bench = Bench::digits();
        bench.bring_to(state);
        let before = bench.link.next_deadline();
        assert_eq!(bench.tell(LinkEvent::RetryAdvised(Span::from_secs(20))), []);
        assert_eq!(bench.link.next_deadline(), before);
        bench.tell(LinkEvent::Failed);
        assert_ne!(bench.link.next_deadline(), Some(bench.now + Span::from_secs(20)), "{state}");
    }
}

fn any_event() -> impl Strategy<Value = LinkEvent> {
    prop_oneof![
        1 => Just(LinkEvent::Started),
        3 => Just(LinkEvent::Opened),
        1 => Just(text("hello")),
        1 => Just(text("biubiubiu")),
        1 => Just(LinkEvent::PongReceived),
        1 => (0_u64..100_000).prop_map(|ms| LinkEvent::RetryAdvised(Span::from_millis(ms))),
        3 => Just(LinkEvent::Closed),
        3 => Just(LinkEvent::Failed),
        5 => Just(LinkEvent::DeadlineReached),
        1 => Just(LinkEvent::Stopped),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_retry_comes_sooner_than_its_delay(
        steps in prop::collection::vec((any_event(), 0_u64..40_000), 1..200),
        seed: u64,
    ) {
        let mut link = Link::new(LinkConfig::new(Key::new("5")), seed);
        let mut now = Time::from_micros(1);
        let mut lost_at = None;
        let mut is_open = false;
        for (event, wait_ms) in steps {
            now += Span::from_millis(wait_ms);
            let started = event == LinkEvent::Started;
            let mut commands = Vec::new();
            link.handle(now, event, &mut commands);
            for command in commands {
                match command {
                    LinkCommand::Connect => {
                        prop_assert!(!is_open, "at most one connection");
                        is_open = true;
                        if let Some(at) = lost_at && !started {
                            prop_assert!(now.since(at) >= Span::from_secs(1));
                        }
                    }
                    LinkCommand::StateChanged { new, .. } => {
                        let gone = matches!(new, LinkState::Reconnecting | LinkState::Disconnected);
                        if gone {
                            lost_at = Some(now);
                            is_open = false;
                        }
                    }
                    LinkCommand::Send(_) | LinkCommand::Ping | LinkCommand::Deliver(_) => {
                        prop_assert_eq!(link.state(), LinkState::Connected);
                    }
                    LinkCommand::Disconnect => prop_assert!(is_open),
                    LinkCommand::GaveUp => prop_assert!(false, "attempts are unlimited"),
                }
            }
            prop_assert!(
                link.next_deadline().is_some() || link.state() == LinkState::Disconnected
            );
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_commands(
        steps in prop::collection::vec((any_event(), 0_u64..40_000), 1..100),
        seed: u64,
    ) {
        let run = || {
            let mut link = Link::new(LinkConfig::new(Key::new("5")), seed);
            let (mut now, mut commands) = (Time::from_micros(1), Vec::new());
            let mut deadlines = Vec::new();
            for (event, wait_ms) in steps.clone() {
                now += Span::from_millis(wait_ms);
                link.handle(now, event, &mut commands);
                deadlines.push(link.next_deadline());
            }
            (commands, deadlines)
        };
        prop_assert_eq!(run(), run());
    }
}

#[test]
fn first_delays_are_spread_evenly_over_what_the_least_one_leaves() {
    let mut thirds = [0; 3];
    for seed in 0..3_000 {
        let mut bench = Bench::digits();
        bench.link = Link::new(LinkConfig::new(Key::new("5")), seed);
        bench.bring_to(LinkState::Reconnecting);
        let beyond_ms = bench.wait().0.as_millis() - 1_000;
        thirds[usize::try_from(beyond_ms / 100).unwrap().min(2)] += 1;
    }
    assert!(thirds.iter().all(|count| (900..1_100).contains(count)), "{thirds:?}");
}
