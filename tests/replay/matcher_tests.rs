//! That the matcher can say no.

use super::*;
use crate::replay::text::Names;
use crate::support::push_client::PushEvent;
use crate::support::ws_client::{Side, WsEvent};
use serde_json::{Value, json};

/// Texts of connection `a`, 100 ms apart; the only step was completed at 50 ms.
fn texts(texts: &[&str]) -> Run {
    let moment = |(index, text): (usize, &&str)| Moment {
        at: Duration::from_millis(100 * (index as u64 + 1)),
        seen: Seen::Ws(WsEvent::Text(text.as_bytes().to_vec())),
    };
    let seen = texts.iter().enumerate().map(moment).collect();
    let streams = BTreeMap::from([(Stream::Client("a".to_owned()), seen)]);
    Run { streams, finished: vec![Some(Duration::from_millis(50))] }
}

/// The expectation, with a plain string standing for a text on connection `a`.
fn expecting(list: &[Value]) -> Expectation {
    fn full(value: &Value) -> Value {
        match value {
            Value::String(text) => json!({"conn": "a", "recv": text}),
            Value::Array(list) => list.iter().map(full).collect(),
            Value::Object(members) if !members.contains_key("conn") => {
                members.iter().map(|(name, value)| (name.clone(), full(value))).collect()
            }
            Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }
    let list: Vec<_> = list.iter().map(full).collect();
    Expectation::read(&list, &Names::fresh()).unwrap()
}

/// Checks the verdict: `None` for a match, else the item and the event it fails at.
fn check(expected: &[Value], seen: &[&str], verdict: Option<(usize, usize)>) {
    let result = judge(&expecting(expected), &texts(seen));
    let failed_at = result.err().map(|mismatches| (mismatches[0].item, mismatches[0].event));
    assert_eq!(failed_at, verdict, "{expected:?} against {seen:?}");
}

#[test]
fn plain_events_match_in_order_completely_and_byte_for_byte() {
    let expected = [json!("1"), json!("2"), json!("3")];
    check(&expected, &["1", "2", "3"], None);
    check(&expected, &["1", "3", "2"], Some((1, 1)));
    check(&expected, &["1", "2"], Some((2, 2)));
    check(&expected, &["1", "2", "3", "3"], Some((3, 3)));
    check(&expected, &["1", "2 ", "3"], Some((1, 1)));
    check(&expected, &[], Some((0, 0)));
    check(&[], &["1"], Some((0, 0)));
    check(&[], &[], None);
}

#[test]
fn an_optional_event_is_there_or_not() {
    let expected = [json!({"optional": "x"}), json!("1"), json!({"optional": "x"})];
    check(&expected, &["1"], None);
    check(&expected, &["x", "1"], None);
    check(&expected, &["x", "1", "x"], None);
    check(&expected, &["x", "x", "1"], Some((1, 1)));
    check(&expected, &["1", "y"], Some((3, 1)));
    // Taking the optional event greedily would hide this match.
    check(&[json!({"optional": "x"}), json!("x")], &["x"], None);
}

#[test]
fn an_unordered_group_takes_each_member_once() {
    let expected = [json!("0"), json!({"unordered": ["1", "2", "2"]}), json!("3")];
    check(&expected, &["0", "2", "1", "2", "3"], None);
    check(&expected, &["0", "1", "2", "2", "3"], None);
    check(&expected, &["0", "1", "1", "2", "3"], Some((1, 1)));
    check(&expected, &["0", "1", "2", "3"], Some((1, 1)));
}

#[test]
fn a_repeating_group_keeps_the_order_of_first_occurrences() {
    let expected =
        [json!({"at_least_once": ["1", "2"], "once": ["x"], "maybe": ["y"]}), json!("z")];
    for seen in [
        &["1", "2", "x", "z"][..],
        &["x", "1", "1", "2", "1", "2", "z"],
        &["y", "1", "y", "x", "2", "y", "z"],
    ] {
        check(&expected, seen, None);
    }
    check(&expected, &["2", "1", "x", "z"], Some((0, 0)));
    check(&expected, &["1", "2", "z"], Some((0, 0)));
    check(&expected, &["1", "x", "z"], Some((0, 0)));
    check(&expected, &["1", "x", "2", "x", "z"], Some((1, 3)));
    check(&expected, &["1", "x", "2", "w", "z"], Some((1, 3)));
}

#[test]
fn json_matches_by_value_only_where_the_case_says_so() {
    let by_value = [json!({"conn": "a", "recv": r#"{"a":1,"b":"é"}"#, "match": "json"})];
    check(&by_value, &[r#"{"b":"\u00e9","a":1.0}"#], None);
    check(&by_value, &[r#"{"b":"é"}"#], Some((0, 0)));
    check(&by_value, &["not JSON"], Some((0, 0)));
    check(&[json!(r#"{"a":1}"#)], &[r#"{"a":1.0}"#], Some((0, 0)));
}

#[test]
fn an_event_has_to_come_within_its_window() {
    // The text comes 50 ms after the step.
    for (earliest, latest, verdict) in
        [(40, 60, None), (60, 90, Some((0, 0))), (10, 40, Some((0, 0)))]
    {
        let window = json!({"after_step": 0, "min_ms": earliest, "max_ms": latest});
        check(&[json!({"conn": "a", "recv": "1", "window": window})], &["1"], verdict);
    }
    let window = json!({"after_step": 1, "min_ms": 0, "max_ms": 1_000_000});
    check(&[json!({"conn": "a", "recv": "1", "window": window})], &["1"], Some((0, 0)));
}

#[test]
fn streams_are_independent_and_none_is_overlooked() {
    let reply = |line: &str| Moment {
        at: Duration::ZERO,
        seen: Seen::Push(PushEvent::Reply(line.as_bytes().to_vec())),
    };
    let mut run = texts(&["1"]);
    run.streams.insert(Stream::Pusher("p".to_owned()), vec![reply("ok")]);
    let either = json!({"push_reply": {"any_of": ["ok", "queued"]}});
    let one = json!({"conn": "a", "recv": "1"});
    let judge_all =
        |list: &[Value]| judge(&Expectation::read(list, &Names::fresh()).unwrap(), &run);
    assert!(judge_all(&[either.clone(), one.clone()]).is_ok());
    assert!(judge_all(&[one.clone(), either.clone()]).is_ok());
    assert!(judge_all(&[one.clone(), json!({"push_reply": "queued"})]).is_err());
    assert_eq!(judge_all(std::slice::from_ref(&one)).unwrap_err().len(), 1);
    let elsewhere = json!({"push_reply": "ok", "via": "q"});
    assert_eq!(judge_all(&[one, elsewhere]).unwrap_err().len(), 2);
}

#[test]
fn closes_pongs_and_refusals_are_told_apart() {
    let closed = |by| Seen::Ws(WsEvent::Closed { by, code: 1001, reason: String::new() });
    let pattern = |event: Value| {
        let mut expectation = Expectation::read(&[event], &Names::fresh()).unwrap();
        let (_, mut items) = expectation.streams.pop_first().unwrap();
        match items.pop() {
            Some(Item::One(want)) => want.pattern,
            _ => panic!("not a single event"),
        }
    };
    let by_server = pattern(json!({"conn": "a", "closed": {"by": "server", "code": 1006}}));
    assert!(by_server.matches(&closed(Side::Server)));
    assert!(!by_server.matches(&closed(Side::Client)));
    let refused = pattern(json!({"conn": "a", "handshake_failed": "HTTP 400"}));
    assert!(refused.matches(&Seen::Ws(WsEvent::HandshakeFailed("HTTP 503".to_owned()))));
    assert!(!refused.matches(&closed(Side::Server)));
    let pong = pattern(json!({"conn": "a", "pong": "p"}));
    assert!(pong.matches(&Seen::Ws(WsEvent::Pong(b"p".to_vec()))));
    assert!(!pong.matches(&Seen::Ws(WsEvent::Text(b"p".to_vec()))));
    let push_closed = pattern(json!({"push_closed": true}));
    assert!(push_closed.matches(&Seen::Push(PushEvent::Closed { unfinished: 0 })));
    assert!(!push_closed.matches(&Seen::Push(PushEvent::Closed { unfinished: 2 })));
}
