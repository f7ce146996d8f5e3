//! What people read when a case fails.

use super::case::Case;
use super::expect::{Expectation, Item, Pattern, Seen, Want};
use super::matcher::{Mismatch, Moment, Run};
use crate::support::push_client::PushEvent;
use crate::support::ws_client::{Side, WsEvent};
use std::fmt::Write;

/// Longest text shown of one event.
const SHOWN: usize = 400;
/// How many lines are shown around a mismatch.
const AROUND: usize = 6;

/// The whole story of a failed case.
pub(crate) fn failure(case: &Case, run: &Run, verdicts: &[Vec<Mismatch>]) -> String {
    let mut text = head(case);
    for (index, (expectation, mismatches)) in case.accepted.iter().zip(verdicts).enumerate() {
        if verdicts.len() > 1 {
            writeln!(text, "  alternative {} of {}:", index + 1, verdicts.len()).ok();
        }
        for mismatch in mismatches {
            describe(&mut text, expectation, run, mismatch);
        }
    }
    text
}

/// The story of a case that could not be played to its end.
pub(crate) fn breakdown(case: &Case, why: &str) -> String {
    format!("{}  {why}\n", head(case))
}

fn head(case: &Case) -> String {
    format!(
        "FAILED {name}\n  {why}\n  alone: VECTOR={name} cargo test --test vectors\n",
        name = case.name,
        why = case.why,
    )
}

fn describe(text: &mut String, expectation: &Expectation, run: &Run, mismatch: &Mismatch) {
    let items = expectation.streams.get(&mismatch.stream).map_or(&[][..], Vec::as_slice);
    let seen = run.streams.get(&mismatch.stream).map_or(&[][..], Vec::as_slice);
    writeln!(text, "  {}:", mismatch.stream).ok();
    let expected: Vec<_> = items.iter().map(|item| show_item(item, run)).collect();
    let seen: Vec<_> = seen.iter().map(show_moment).collect();
    list(text, "expected", &expected, mismatch.item);
    list(text, "seen", &seen, mismatch.event);
}

/// The lines around the place, which is marked.
fn list(text: &mut String, title: &str, lines: &[String], place: usize) {
    writeln!(text, "    {title} ({} in all):", lines.len()).ok();
    let start = place.saturating_sub(AROUND);
    if start > 0 {
        writeln!(text, "         … {start} before").ok();
    }
    for (index, line) in lines.iter().enumerate().skip(start).take(2 * AROUND) {
        let mark = if index == place { "-->" } else { "   " };
        writeln!(text, "      {mark} {line}").ok();
    }
    if place >= lines.len() {
        writeln!(text, "      --> (nothing more)").ok();
    } else if start + 2 * AROUND < lines.len() {
        writeln!(text, "         … {} more", lines.len() - start - 2 * AROUND).ok();
    }
}

fn show_item(item: &Item, run: &Run) -> String {
    let all = |wants: &[Want]| {
        let wants: Vec<_> = wants.iter().map(|want| show_want(want, run)).collect();
        format!("[{}]", wants.join(", "))
    };
    match item {
        Item::One(want) => show_want(want, run),
        Item::Optional(want) => format!("perhaps {}", show_want(want, run)),
        Item::Unordered(wants) => format!("in any order {}", all(wants)),
        Item::Repeating(group) => format!(
            "at least once in this order {}, once {}, any number of {}",
            all(&group.at_least_once),
            all(&group.once),
            all(&group.maybe)
        ),
    }
}

fn show_want(want: &Want, run: &Run) -> String {
    let pattern = match &want.pattern {
        Pattern::Text(text) => format!("text {}", cut(text)),
        Pattern::Json(text) => format!("text equal as JSON to {}", cut(text)),
        Pattern::Binary(bytes) => format!("binary {}", cut(bytes)),
        Pattern::Pong(bytes) => format!("pong {}", cut(bytes)),
        Pattern::Closed(Side::Server) => "closed by the server".to_owned(),
        Pattern::Closed(Side::Client) => "closed by the client".to_owned(),
        Pattern::HandshakeFailed => "handshake refused".to_owned(),
        Pattern::Reply(lines) => format!("reply {}", lines.join(" or ")),
        Pattern::PushClosed => "closed by the server".to_owned(),
    };
    let Some(window) = &want.window else { return pattern };
    let step = run.finished.get(window.after_step).copied().flatten().unwrap_or_default();
    let (earliest, latest) = (step + window.earliest, step + window.latest);
    format!("{pattern} between {} and {} ms", earliest.as_millis(), latest.as_millis())
}

fn show_moment(moment: &Moment) -> String {
    let event = match &moment.seen {
        Seen::Ws(WsEvent::Text(text)) => format!("text {}", cut(text)),
        Seen::Ws(WsEvent::Binary(bytes)) => format!("binary {}", cut(bytes)),
        Seen::Ws(WsEvent::Pong(bytes)) => format!("pong {}", cut(bytes)),
        Seen::Ws(WsEvent::Closed { by, code, reason }) => {
            format!("closed by {by:?} with {code} {reason}")
        }
        Seen::Ws(WsEvent::HandshakeFailed(answer)) => format!("handshake refused: {answer:?}"),
        Seen::Ws(WsEvent::Violation(what)) => format!("the server broke the protocol: {what}"),
        Seen::Push(PushEvent::Reply(line)) => format!("reply {}", cut(line)),
        Seen::Push(PushEvent::Closed { unfinished }) => {
            format!("closed by the server, {unfinished} bytes into a line")
        }
    };
    format!("{:>6} ms {event}", moment.at.as_millis())
}

/// The beginning of a payload, readable, with its length when it is cut.
fn cut(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
    if bytes.len() <= SHOWN {
        return format!("{text:?}");
    }
    format!("{text:?}… ({} bytes)", bytes.len())
}
