//! Stories from whole worlds, as their timelines: who saw what, and what the gateway says of it.
//!
//! Each is read without knowing the code. The gateway's own lines begin with a tag in brackets, as
//! in its log.

use crate::story::{GATEWAY, Story};
use steadfast_core::time::Span;
use steadfast_sim::schedule::Trouble;
use steadfast_sim::turmoil::{Host, OpKind, Whim};

const PHONE: Host = Host::Site(0);

#[test]
fn push_while_offline() {
    let mut story = Story::new("world_push_while_offline");
    let phone = story.client("phone", "alice");
    story.note("Nobody is there. The messages are on disk, so the answer is `queued`.");
    story.push(&["one", "two"]);
    story.wait(2_000).note("The client comes, and names its key.").whim(phone, Whim::Start);
    story.wait(1_000).note("Now it is there: `ok`.").push(&["three"]);
    story.tell(500);
}

#[test]
fn half_open_socket() {
    let mut story = Story::new("world_half_open_socket");
    story.config().pong_timeout = Span::from_secs(3);
    let phone = story.client("phone", "alice");
    story.whim(phone, Whim::Start).wait(1_000);
    story.note("The phone's battery is empty. No packet tells the gateway.");
    story.whim(phone, Whim::Vanish).wait(500);
    story.note("The message is written to a dead socket, but it is also on disk.").push(&["one"]);
    story.wait(4_000).note("The pong did not come. The next connection gets the message.");
    story.whim(phone, Whim::Start);
    story.tell(1_000);
}

#[test]
fn partition_with_a_takeover() {
    let mut story = Story::new("world_partition_with_a_takeover");
    let phone = story.client("phone", "alice");
    let laptop = story.client("laptop", "alice");
    story.whim(phone, Whim::Start).wait(1_000).op(OpKind::Cut(PHONE, GATEWAY)).wait(200);
    story.note("Written to a network that swallows it.").push(&["one", "two"]).wait(500);
    story.note("The same user on another device: everything unconfirmed moves there at once.");
    story.whim(laptop, Whim::Start).wait(1_000);
    story.note("The old network works again, and the old connection ends. The newer one stays.");
    story.op(OpKind::Mend(PHONE, GATEWAY)).whim(phone, Whim::Quit).wait(500).push(&["three"]);
    story.tell(500);
}

#[test]
fn stale_close_after_a_new_bind() {
    let mut story = Story::new("world_stale_close_after_a_new_bind");
    let phone = story.client("phone", "alice");
    let laptop = story.client("laptop", "alice");
    story.whim(phone, Whim::Start).wait(500).whim(laptop, Whim::Start).wait(500);
    story.note("The older connection closes. The key belongs to the newer one, and stays there.");
    story.whim(phone, Whim::Leave).wait(500).push(&["one"]).wait(500);
    story.note("With the newer one gone too, nobody is there.");
    story.whim(laptop, Whim::Leave).wait(500).push(&["two"]);
    story.tell(500);
}

#[test]
fn crash_between_write_and_store() {
    let mut story = Story::new("world_crash_between_write_and_store");
    let phone = story.client("phone", "alice");
    story.whim(phone, Whim::Start).wait(500).op(OpKind::Disk(0, Some(Trouble::Stalled)));
    story.note("The disk hangs: the message is written to the phone, and nothing is answered yet.");
    story.push(&["one"]).wait(50);
    story.note(
        "A crash loses what was not synced. No answer came: the push may have arrived or not.",
    );
    story.op(OpKind::Crash(0)).op(OpKind::Disk(0, None)).wait(500);
    story.op(OpKind::Restart { host: GATEWAY, set_back: Span::ZERO }).wait(500);
    story.note("So the back end pushes again, and now it is promised.").push(&["one again"]);
    story.tell(2_000);
}

#[test]
fn crash_keeps_what_was_promised() {
    let mut story = Story::new("world_crash_keeps_what_was_promised");
    let phone = story.client("phone", "alice");
    story.push(&["one", "two"]).wait(500);
    story.note("Both were answered `queued`. The gateway's machine loses its power.");
    story.op(OpKind::Vanish(GATEWAY)).wait(1_000);
    story.op(OpKind::Restart { host: GATEWAY, set_back: Span::ZERO }).wait(500);
    story.whim(phone, Whim::Start);
    story.tell(1_000);
}

#[test]
fn five_tries_and_a_dead_letter() {
    let mut story = Story::new("world_five_tries_and_a_dead_letter");
    story.config().pong_timeout = Span::from_secs(1);
    story.config().retry_interval = Span::from_millis(500);
    let phone = story.client("phone", "alice");
    story.note("A client that takes messages and then confirms nothing.");
    story.whim(phone, Whim::Start).wait(500);
    story.whim(phone, Whim::IgnorePings(Span::from_secs(60))).push(&["one"]).wait(16_000);
    story.note(
        "Five tries: a dead letter, for an operator to see. The next connection gets nothing.",
    );
    story.tell(5_000);
}

#[test]
fn slow_reader() {
    let mut story = Story::new("world_slow_reader");
    story.buffer(400);
    story.config().window_messages = 2;
    let phone = story.client("phone", "alice");
    story.whim(phone, Whim::Start).wait(500).whim(phone, Whim::StopReading);
    story.note("Two messages fit into its window. The others wait on disk, in order.");
    story.push(&["one", "two", "three", "four", "five"]).wait(3_000);
    story.note("Nothing was dropped.").whim(phone, Whim::Read);
    story.tell(1_000);
}

#[test]
fn hold_and_release() {
    let mut story = Story::new("world_hold_and_release");
    let phone = story.client("phone", "alice");
    story.whim(phone, Whim::Start).wait(500).op(OpKind::Hold(PHONE, GATEWAY));
    story.note("The network holds everything back for three seconds: shorter than any deadline.");
    story.push(&["one"]).wait(1_000).push(&["two"]).wait(2_000);
    story.note("It goes on as if nothing had been.").op(OpKind::Mend(PHONE, GATEWAY));
    story.tell(500);
}

#[test]
fn chopped_bytes() {
    let mut story = Story::new("world_chopped_bytes");
    let phone = story.client("phone", "alice");
    story.note("Everybody's writes arrive byte by byte, and nothing else is different.");
    story.op(OpKind::Chop(GATEWAY, true)).op(OpKind::Chop(PHONE, true));
    story.op(OpKind::Chop(Host::Backend(0), true));
    story.whim(phone, Whim::Start).wait(1_000).push(&["one", "two"]);
    story.tell(500);
}

#[test]
fn malformed_lines() {
    let mut story = Story::new("world_malformed_lines");
    let _ = story.client("phone", "alice");
    story.note("Each line that is no push gets its `fail`, and the connection goes on.");
    story.raw(b"hello\n", 1).raw(b"{\"Data\":1}\n{\"uid\":\" \"}\n", 2).wait(500);
    story.push(&["one"]).wait(500);
    story.note("The classic mistake: no line end. It is discarded, and said.");
    story.raw(b"{\"uid\":\"alice\",\"Data\":2}", 0);
    story.op(OpKind::HangUp { backend: 0, gateway: 0 });
    story.tell(500);
}

#[test]
fn malformed_frames() {
    let mut story = Story::new("world_malformed_frames");
    let phone = story.client("phone", "alice");
    story.whim(phone, Whim::Start).wait(500).push(&["one"]).wait(10);
    story.note("A frame without a mask breaks the protocol: 1002, and the end of this connection.");
    story.whim(phone, Whim::Malformed(0)).wait(2_500);
    story.note("The client came back by itself, and nothing was lost.");
    story.tell(500);
}

#[test]
fn connect_storm() {
    let mut story = Story::new("world_connect_storm");
    let names = ["ann", "bob", "cem", "dee", "eva"];
    let clients: Vec<_> = names.iter().map(|name| story.client(name, name)).collect();
    for client in &clients {
        story.whim(*client, Whim::Start);
    }
    story.wait(1_000).note("The gateway crashes, and starts again at once.");
    story.op(OpKind::Crash(0)).wait(50);
    story.op(OpKind::Restart { host: GATEWAY, set_back: Span::ZERO });
    story.note("Nobody comes at once: everyone waits at least a second, and each a little longer.");
    story.tell(2_500);
}

#[test]
fn clock_leap_over_a_restart() {
    let mut story = Story::new("world_clock_leap_over_a_restart");
    let phone = story.client("phone", "alice");
    story.push(&["one"]).wait(500).op(OpKind::Crash(0)).wait(500);
    story.note(
        "While it is down, its clock is set back by an hour: the message is from the future.",
    );
    let set_back = Span::from_secs(3_600);
    story.op(OpKind::Restart { host: GATEWAY, set_back }).wait(500).whim(phone, Whim::Start);
    story
        .wait(1_000)
        .note("Then its clock leaps forward by ten seconds. No client is closed for it.");
    story.op(OpKind::Leap(0, Span::from_secs(10))).wait(500).push(&["two"]);
    story.tell(500);
}

#[test]
fn poison_message() {
    let mut story = Story::new("world_poison_message");
    story.config().retry_max = 3;
    story.config().retry_interval = Span::from_millis(500);
    let phone = story.client("phone", "alice");
    story.whim(phone, Whim::Start).wait(500);
    story
        .note("The first message kills the client's program. Both were written: both are charged.");
    story.push_poison().push(&["two"]).wait(500);
    story.note("From now on one message is tried alone, so that only the poison is charged.");
    story.tell(10_000);
}

#[test]
fn stalled_process() {
    let mut story = Story::new("world_stalled_process");
    story.config().idle_timeout = Span::from_secs(8);
    let phone = story.client("phone", "alice");
    story.whim(phone, Whim::Start).wait(1_000);
    story.note("The gateway's process stands still for longer than it lets clients be silent.");
    story.op(OpKind::Stall(0, Span::from_secs(9))).wait(500).push(&["one"]).wait(9_000);
    story.note("It reads before it looks at its deadlines, and counts the time as lost.");
    story.tell(3_000);
}

#[test]
fn disk_full() {
    let mut story = Story::new("world_disk_full");
    let phone = story.client("phone", "alice");
    story.op(OpKind::Disk(0, Some(Trouble::ReadOnly)));
    story.note("Nobody is there, and nothing can be stored: `fail`.").push(&["one"]).wait(500);
    story.whim(phone, Whim::Start).wait(500);
    story.note("The client is there: its pong confirms the message, so the answer is `ok`.");
    story.push(&["two"]).wait(500).op(OpKind::Disk(0, None));
    story.tell(1_000);
}

#[test]
fn never_answers_pings() {
    let mut story = Story::new("world_never_answers_pings");
    story.config().pong_timeout = Span::from_secs(2);
    let phone = story.client("phone", "alice");
    story.mute(phone);
    story.note("A stack that never answers pings. Its messages are safe until that is known.");
    story.whim(phone, Whim::Start).wait(500).push(&["one"]).wait(500);
    story.whim(phone, Whim::Say).wait(2_000).whim(phone, Whim::Say).wait(2_000);
    story.whim(phone, Whim::Say).wait(2_000).whim(phone, Whim::Say).push(&["two"]);
    story.tell(2_000);
}
