//! What must hold whatever happens.

use super::super::*;
use super::bench::{message, welcome};
use crate::id::Key;
use crate::time::Span;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What happens to a link; channels are those that are open, by their place.
#[derive(Clone, Debug)]
enum Happening {
    Started,
    Stopped,
    Opened(usize),
    Failed(usize),
    Welcome(usize, bool),
    Message(usize, u8),
    Text(usize, &'static str),
    Closed(usize, Option<u16>),
    Op,
    Hint(Hint),
    Deadline,
}

fn happening() -> impl Strategy<Value = Happening> {
    let channel = 0..2_usize;
    let code = prop_oneof![
        8 => Just(None),
        2 => Just(Some(1012)),
        1 => Just(Some(4007)),
        1 => Just(Some(1008)),
    ];
    let text = prop_oneof![
        Just("{\"type\":\"pong\"}"),
        Just("{\"type\":\"heartbeat_ack\"}"),
        Just("{\"type\":\"op_ack\",\"n\":2}"),
        Just("{\"type\":\"retry\",\"after_ms\":7000}"),
        Just("{\"type\":\"error\",\"code\":4003,\"reason\":\"ack overdue\"}"),
        Just("nonsense"),
    ];
    let hint =
        prop_oneof![Just(Hint::Online), Just(Hint::Offline), Just(Hint::Visible), Just(Hint::Woke)];
    prop_oneof![
        2 => Just(Happening::Started),
        1 => Just(Happening::Stopped),
        8 => channel.clone().prop_map(Happening::Opened),
        6 => channel.clone().prop_map(Happening::Failed),
        8 => (channel.clone(), any::<bool>()).prop_map(|(at, is)| Happening::Welcome(at, is)),
        6 => (channel.clone(), 0..20_u8).prop_map(|(at, id)| Happening::Message(at, id)),
        3 => (channel.clone(), text).prop_map(|(at, text)| Happening::Text(at, text)),
        4 => (channel, code).prop_map(|(at, code)| Happening::Closed(at, code)),
        2 => Just(Happening::Op),
        2 => hint.prop_map(Happening::Hint),
        12 => Just(Happening::Deadline),
    ]
}

fn steps() -> impl Strategy<Value = Vec<(Happening, u64)>> {
    let wait_ms = prop_oneof![6 => 0..3_000_u64, 1 => 0..60_000_u64];
    prop::collection::vec((happening(), wait_ms), 1..200)
}

fn config(endpoints: usize, standby: bool) -> LinkConfig {
    let urls = ["a", "b"].iter().take(endpoints).map(|url| ByteString::from(*url)).collect();
    let standby = if standby { Standby::Warm } else { Standby::Off };
    LinkConfig { standby, ..LinkConfig::new(Key::new("5"), urls) }
}

/// The world's side of a link: which channels are open, and what may be told of them.
struct World {
    link: Link,
    now: Time,
    open: BTreeMap<ChannelId, (ByteString, Transport)>,
    delivered: BTreeSet<ByteString>,
    lost_at: Option<Time>,
    commands: Vec<(Time, LinkCommand)>,
}

impl World {
    fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            link: Link::new(config, seed),
            now: Time::from_micros(1_000_000_000_000),
            open: BTreeMap::new(),
            delivered: BTreeSet::new(),
            lost_at: None,
            commands: Vec::new(),
        }
    }

    fn event(&mut self, happening: Happening) -> Option<LinkEvent> {
        let channel = |at: usize| self.open.keys().nth(at).copied();
        let text = |at, text: String| Some(LinkEvent::TextReceived(channel(at)?, text.into()));
        match happening {
            Happening::Started => Some(LinkEvent::Started),
            Happening::Stopped => Some(LinkEvent::Stopped),
            Happening::Opened(at) => Some(LinkEvent::Opened(channel(at)?)),
            Happening::Welcome(at, resumed) => text(at, welcome("s", resumed, 1, &[])),
            Happening::Message(at, id) => text(at, message(&format!("1-{id}"))),
            Happening::Text(at, words) => text(at, words.to_owned()),
            Happening::Op => Some(LinkEvent::OpRequested("{}".into())),
            Happening::Hint(hint) => Some(LinkEvent::Hinted(hint)),
            Happening::Deadline => {
                self.now = self.now.max(self.link.next_deadline()?);
                Some(LinkEvent::DeadlineReached)
            }
            Happening::Failed(at) => {
                let channel = channel(at)?;
                self.open.remove(&channel);
                Some(LinkEvent::Failed(channel))
            }
            Happening::Closed(at, code) => {
                let channel = channel(at)?;
                self.open.remove(&channel);
                Some(LinkEvent::Closed { channel, code })
            }
        }
    }

    fn play(&mut self, happening: Happening) -> Result<(), TestCaseError> {
        let Some(event) = self.event(happening) else { return Ok(()) };
        let was_started = event == LinkEvent::Started;
        let mut commands = Vec::new();
        self.link.handle(self.now, event, &mut commands);
        for command in commands {
            self.judge(&command, was_started)?;
            self.commands.push((self.now, command));
        }
        let is_at_rest = self.link.state() == LinkState::Disconnected;
        prop_assert!(self.link.next_deadline().is_some() || is_at_rest);
        prop_assert!(!is_at_rest || self.open.is_empty(), "nothing is left open");
        Ok(())
    }

    fn judge(&mut self, command: &LinkCommand, was_started: bool) -> Result<(), TestCaseError> {
        match command {
            LinkCommand::Open { channel, url, by } => {
                let is_new = !self.open.values().any(|open| *open == (url.clone(), *by));
                prop_assert!(is_new, "never two channels of a kind to one endpoint");
                self.open.insert(*channel, (url.clone(), *by));
                prop_assert!(self.open.len() <= 2);
                let is_main = self.link.channel() == Some(*channel);
                if let Some(at) = self.lost_at.filter(|_| is_main && !was_started) {
                    prop_assert!(self.now.since(at) >= Span::from_secs(1), "no retry so soon");
                }
            }
            LinkCommand::Send(channel, _) => prop_assert!(self.open.contains_key(channel)),
            LinkCommand::Close(channel) => drop(self.open.remove(channel)),
            LinkCommand::Deliver { id, .. } => {
                prop_assert!(self.delivered.insert(id.clone()), "{} came twice", id);
                prop_assert!(self.link.state().is_live());
            }
            LinkCommand::StateChanged { new, .. } => {
                if matches!(new, LinkState::Reconnecting | LinkState::Disconnected) {
                    self.lost_at = Some(self.now);
                }
            }
            LinkCommand::Save(_) => {}
            LinkCommand::Report(report) => {
                prop_assert_ne!(report, &Report::GaveUp, "attempts are unlimited");
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn each_message_once_and_no_retry_too_soon(
        steps in steps(), endpoints in 1..=2_usize, standby: bool, seed: u64,
    ) {
        let mut world = World::new(config(endpoints, standby), seed);
        for (happening, wait_ms) in steps {
            world.now += Span::from_millis(wait_ms);
            world.play(happening)?;
        }
        let figures = world.link.statistics(world.now);
        let under_way =
            figures.reconnects_total - figures.reconnects_successful - figures.reconnects_failed;
        prop_assert!(under_way <= 1, "{:?}", figures);
        prop_assert!((0.0..=100.0).contains(&figures.availability_percent));
    }

    #[test]
    fn the_same_seed_gives_the_same_commands(steps in steps(), seed: u64) {
        let run = || {
            let mut world = World::new(config(2, true), seed);
            for (happening, wait_ms) in steps.clone() {
                world.now += Span::from_millis(wait_ms);
                world.play(happening).expect("judged by the other test");
            }
            (world.commands, world.link.next_deadline())
        };
        prop_assert_eq!(run(), run());
    }
}
