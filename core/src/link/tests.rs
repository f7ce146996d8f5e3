//! Tests of the link as a whole: stories with snapshots, the transition table, and what must hold
//! whatever happens.

mod bench;
mod properties;

use super::*;
use crate::time::Span;
use bench::{Bench, config, message, welcome};

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

const STATES: [LinkState; 5] = [
    LinkState::Disconnected,
    LinkState::Connecting,
    LinkState::Connected,
    LinkState::Reconnecting,
    LinkState::Fallback,
];

#[test]
fn transition_table() {
    let mut table = String::new();
    for state in STATES {
        for event in [
            "start",
            "open",
            "fail",
            "text {\"type\":\"welcome\",\"session\":\"s\",\"resumed\":false,\"lost\":false,\"applied\":0,\"context\":{},\"heartbeat_ms\":15000}",
            "text {\"type\":\"message\",\"id\":\"1\",\"data\":\"x\",\"tries\":0}",
            "text {\"type\":\"error\",\"code\":1011,\"reason\":\"broken\"}",
            "text nonsense",
            "close",
            "close 1008",
            "close 4007",
            "op {}",
            "online",
            "offline",
            "deadline",
            "stop",
        ] {
            let mut bench = Bench::in_state(state);
            bench.take_lines();
            bench.play(event);
            let lines = bench.take_lines();
            let commands = lines.iter().skip(1).map(|line| line.trim_start_matches(['<', ' ']));
            let commands = commands.collect::<Vec<_>>().join(", ");
            let outcome = if commands.is_empty() { "nothing" } else { &commands };
            let event = event.chars().take(32).collect::<String>();
            table.push_str(&format!("{state}: {event} > {outcome}\n"));
        }
    }
    snapshot("link_transitions", &table);
}

#[test]
fn link_resumes_and_drops_what_comes_twice() {
    let mut bench = Bench::new(config());
    bench.play("start; open; welcome s1 new; message 1-1; message 1-2; op {\"a\":1}");
    bench.play("close; op {\"b\":2}; deadline; open; welcome s1 resumed 1");
    bench.play("message 1-2; message 1-3; op_ack 2; after 5; stop");
    snapshot("link_resumes_and_drops_what_comes_twice", &bench.story());
}

#[test]
fn link_starts_over_with_a_fresh_session() {
    let mut bench = Bench::new(config());
    bench.tell(LinkEvent::Restored(Saved {
        session: Some("old".into()),
        seen: vec!["1-1".into(), "1-2".into()],
        last_op: 7,
        ops: vec![Op { n: 7, patch: "{\"a\":1}".into() }],
    }));
    bench.play("start; open; welcome s2 new; message 1-2; op {}; close 4007; deadline; open");
    snapshot("link_starts_over_with_a_fresh_session", &bench.story());
}

#[test]
fn link_falls_back_and_returns() {
    let mut bench = Bench::new(config());
    bench.play("start; fail; deadline; fail; deadline; open; welcome s1 new; message 1-1; after 5");
    bench.play("spare fail; deadline; spare open; message 1-2; spare welcome s1 resumed 0");
    bench.play("message 1-2; after 5; close");
    snapshot("link_falls_back_and_returns", &bench.story());
}

#[test]
fn link_takes_its_standby() {
    let mut bench = Bench::new(LinkConfig { standby: Standby::Warm, ..config() });
    bench.play("start; open; welcome s1 new a b; after 5; spare open; spare close; deadline");
    bench.play("spare open; close; welcome s1 resumed 0; after 5");
    snapshot("link_takes_its_standby", &bench.story());
}

#[test]
fn link_notices_a_dead_connection() {
    let mut bench = Bench::new(config());
    bench.play("start; open; welcome s1 new; after 15; text {\"type\":\"heartbeat_ack\"}");
    bench.play("after 45; deadline; open; welcome s1 resumed 0; offline; deadline; online");
    snapshot("link_notices_a_dead_connection", &bench.story());
}

#[test]
fn the_delays_start_over_only_after_a_stable_connection() {
    let mut bench = Bench::new(LinkConfig { fallback: Fallback::Never, ..config() });
    bench.play("start; open; welcome s1 new");
    let mut delays = Vec::new();
    for stood in [Span::from_millis(4_999); 7].into_iter().chain([Span::from_secs(5)]) {
        bench.wait(stood);
        let lost_at = bench.now;
        bench.play("close");
        bench.play_until("connecting");
        delays.push(bench.now.since(lost_at));
        bench.play("open; welcome s1 resumed 0");
    }
    assert!(delays[5] >= Span::from_secs(21), "{delays:?}");
    assert!(delays[7] <= Span::from_millis(1_300), "{delays:?}");
}

#[test]
fn failures_in_a_row_open_the_circuit_breaker() {
    let delays = Delays { max: Span::from_secs(1), ..Delays::default() };
    let mut bench = Bench::new(LinkConfig { fallback: Fallback::Never, delays, ..config() });
    bench.play("start");
    let mut waits = Vec::new();
    for _ in 0..7 {
        let failed_at = bench.now;
        bench.play("fail; deadline");
        assert_eq!(bench.link.state(), LinkState::Connecting);
        waits.push(bench.now.since(failed_at).as_millis() >= 30_000);
    }
    assert_eq!(waits, [false, false, false, false, true, true, true]);
}

#[test]
fn it_gives_up_after_max_attempts_and_can_be_started_again() {
    let delays = Delays { max_attempts: Some(3), ..Delays::default() };
    let mut bench = Bench::new(LinkConfig { delays, ..config() });
    for _ in 0..2 {
        bench.play("start; fail; deadline; fail; deadline; fail; deadline");
        assert_eq!(bench.link.state(), LinkState::Connecting);
        bench.play("fail");
        assert_eq!(bench.take_lines().last().map(|line| &**line), Some("  < GaveUp"));
        assert_eq!(
            (bench.link.state(), bench.link.next_deadline()),
            (LinkState::Disconnected, None)
        );
    }
    let figures = bench.link.statistics(bench.now);
    assert_eq!((figures.reconnects_total, figures.reconnects_failed), (6, 6));
}

#[test]
fn the_gateways_slot_is_the_next_delay_once_and_hints_do_not_change_it() {
    let mut bench = Bench::new(config());
    bench.play("start; open; welcome s1 new; text {\"type\":\"retry\",\"after_ms\":20000}");
    bench.wait(Span::from_secs(2));
    let lost_at = bench.now;
    bench.play("close 1012; online; visible; deadline");
    assert_eq!(bench.now.since(lost_at), Span::from_secs(18));
    let lost_at = bench.now;
    bench.play("fail; deadline");
    let second = Span::from_millis(1_400)..=Span::from_millis(2_600);
    assert!(second.contains(&bench.now.since(lost_at)), "the attempt in the slot was a retry");
}

#[test]
fn a_hint_leads_to_one_attempt_not_sooner_than_the_least_delay() {
    let mut bench = Bench::new(LinkConfig { fallback: Fallback::Never, ..config() });
    bench.play("start; fail; deadline; fail; deadline; fail");
    let lost_at = bench.now;
    bench.wait(Span::from_millis(300));
    bench.play("visible; online; deadline");
    assert_eq!(bench.now.since(lost_at), Span::from_secs(1));
    assert_eq!(bench.link.state(), LinkState::Connecting);
    let lost_at = bench.now;
    bench.play("fail; deadline");
    assert!(bench.now.since(lost_at) >= Span::from_millis(5_600), "then the delays go on");
}

#[test]
fn sleep_makes_a_connection_doubtful_and_no_heartbeat_missed() {
    let mut bench = Bench::new(config());
    bench.play("start; open; welcome s1 new; after 15");
    bench.now += Span::from_secs(3_600);
    bench.take_lines();
    bench.play("deadline");
    let lines = bench.take_lines().join("\n");
    assert!(lines.contains("{\"type\":\"ping\"}") && !lines.contains("Suspect"), "{lines}");
    bench.play("text {\"type\":\"pong\"}; after 20");
    assert_eq!(bench.link.state(), LinkState::Connected);
}

#[test]
fn statistics_add_up() {
    let mut bench = Bench::new(config());
    bench.wait(Span::from_secs(1));
    bench.play("start; open; welcome s1 new");
    bench.wait(Span::from_secs(14));
    bench.play("close");
    bench.play_until("connecting");
    bench.play("fail");
    bench.play_until("connecting");
    let down = bench.now.since(bench.link.statistics(bench.now).last_disconnected_at.unwrap());
    bench.play("open; welcome s1 resumed 0; message 1-1; message 1-1");
    let figures = bench.link.statistics(bench.now);
    assert_eq!(
        (figures.reconnects_total, figures.reconnects_successful, figures.reconnects_failed),
        (2, 1, 1)
    );
    assert_eq!((figures.messages, figures.duplicates), (1, 1));
    assert_eq!((figures.downtime, figures.last_connected_at), (down, Some(bench.now)));
    assert!((70.0..90.0).contains(&figures.availability_percent), "{figures:?}");
}

#[test]
fn too_many_ops_are_refused() {
    let mut bench = Bench::new(LinkConfig { ops_max: 1, ..config() });
    bench.play("op 1; op 2");
    assert_eq!(bench.take_lines()[1..], ["  < save op 1 1", "0.000 > op 2", "  < OpRefused"]);
}

#[test]
fn what_is_told_of_a_closed_channel_means_nothing() {
    let mut bench = Bench::new(config());
    bench.play("start; open; welcome s1 new");
    let gone = bench.link.channel().unwrap();
    bench.play("close; deadline; open");
    bench.take_lines();
    for event in [
        LinkEvent::Opened(gone),
        LinkEvent::Failed(gone),
        LinkEvent::Closed { channel: gone, code: Some(1008) },
        LinkEvent::TextReceived(gone, welcome("s1", true, 0, &[]).into()),
        LinkEvent::TextReceived(gone, message("1-1").into()),
    ] {
        assert_eq!(bench.tell(event), []);
    }
}
