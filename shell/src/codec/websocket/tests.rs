use super::*;
use proptest::prelude::*;

const MAX: usize = 1000;
const MASK: [u8; 4] = [0x1f, 0, 0xa5, 0x77];

/// A client's frame, however wrong.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The events of `bytes` in these parts, and what was written in answer.
fn run<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<ConnEvent>, Vec<u8>) {
    let mut workspace = Workspace::new(MAX);
    let mut codec = WebSocketCodec::default();
    let (mut events, mut out) = (Vec::new(), Vec::new());
    for mut part in parts {
        while let Some(event) = codec.next(&mut workspace, &mut part, &mut out) {
            events.push(event);
        }
        assert!(part.is_empty(), "everything is taken");
    }
    (events, out)
}

/// The same for the whole and for many ways to split it.
fn run_all_splits(bytes: &[u8]) -> (Vec<ConnEvent>, Vec<u8>) {
    let whole = run([bytes].into_iter());
    for step in [1, 2, 3, 5, 8, 13, 100, 900] {
        assert_eq!(run(bytes.chunks(step)), whole, "in steps of {step}");
    }
    whole
}

fn text(text: &str) -> ConnEvent {
    ConnEvent::TextReceived(text.into())
}

fn refused(code: u16) -> impl Fn(&ConnEvent) -> bool {
    move |event| matches!(event, ConnEvent::Closed(CloseCause::ProtocolError { code: got, .. }) if *got == code)
}

#[test]
fn messages_and_control_frames_are_told_in_order() {
    let bytes = [
        client_frame(0x81, "汉".as_bytes()),
        client_frame(0x82, &[0xff; 300]),
        client_frame(0x01, b"\xe6\xb1"),
        client_frame(0x89, b"mid"),
        client_frame(0x00, b""),
        client_frame(0x8a, &7_u64.to_be_bytes()),
        client_frame(0x80, b"\x89!"),
        client_frame(0x8a, b"seven"),
        client_frame(0x81, b""),
        client_frame(0x88, b"\x0f\xa1bye"),
        client_frame(0x81, b"never"),
    ]
    .concat();
    let (events, out) = run_all_splits(&bytes);
    let expected = [
        text("汉"),
        ConnEvent::BinaryReceived(Bytes::from(vec![0xff; 300])),
        ConnEvent::PingReceived(Bytes::from_static(b"mid")),
        ConnEvent::PongReceived(Some(7)),
        text("汉!"),
        ConnEvent::PongReceived(None),
        text(""),
        ConnEvent::Closed(CloseCause::PeerClosed(Some(4001))),
    ];
    assert_eq!(events, expected);
    assert_eq!(out, b"\x88\x02\x0f\xa1");
}

#[test]
fn every_ping_of_one_segment_is_told() {
    let bytes = [client_frame(0x89, b"a"), client_frame(0x89, b"b"), client_frame(0x89, b"")];
    let (events, out) = run_all_splits(&bytes.concat());
    let pings = [&b"a"[..], b"b", b""].map(|payload| ConnEvent::PingReceived(payload.into()));
    assert_eq!((events.as_slice(), out.as_slice()), (&pings[..], &b""[..]));
}

#[test]
fn a_breach_is_answered_with_its_code_and_ends_everything() {
    let unmasked = vec![0x81, 0x01, b'x'];
    for (what, frames, code) in [
        ("unmasked", vec![unmasked], 1002),
        ("reserved bit", vec![client_frame(0xc1, b"x")], 1002),
        ("reserved opcode", vec![client_frame(0x83, b"x")], 1002),
        ("reserved control opcode", vec![client_frame(0x8b, b"")], 1002),
        ("fragmented ping", vec![client_frame(0x09, b"")], 1002),
        ("long ping", vec![client_frame(0x89, &[0; 126])], 1002),
        ("stray continuation", vec![client_frame(0x80, b"x")], 1002),
        ("text in text", vec![client_frame(0x01, b"x"), client_frame(0x81, b"x")], 1002),
        ("half a close code", vec![client_frame(0x88, b"\x03")], 1002),
        ("close reason", vec![client_frame(0x88, b"\x03\xe8\xff")], 1007),
        ("text", vec![client_frame(0x81, b"\xff")], 1007),
        ("text cut short", vec![client_frame(0x81, b"\xe6\xb1")], 1007),
        (
            "text cut short in fragments",
            vec![client_frame(0x01, b"\xe6"), client_frame(0x80, b"\xb1")],
            1007,
        ),
        ("surrogate", vec![client_frame(0x01, b"\xed"), client_frame(0x00, b"\xa0")], 1007),
        ("long message", vec![client_frame(0x82, &[0; MAX + 1])], 1009),
        (
            "long message in fragments",
            vec![client_frame(0x02, &[0; MAX]), client_frame(0x80, &[0; 1])],
            1009,
        ),
    ] {
        let mut bytes = frames.concat();
        bytes.extend(client_frame(0x81, b"never"));
        let (events, out) = run_all_splits(&bytes);
        assert_eq!(events.len(), 1, "{what}: {events:?}");
        assert!(refused(code)(&events[0]), "{what}: {events:?}");
        assert_eq!(out[0], 0x88, "{what}");
        assert_eq!(out[2..4], code.to_be_bytes(), "{what}");
        assert_eq!(out.len(), 2 + usize::from(out[1]), "{what}: nothing after the close frame");
    }
}

#[test]
fn close_codes_are_those_that_may_be_sent() {
    for code in 0..=5000_u16 {
        let bytes = client_frame(0x88, &code.to_be_bytes());
        let (events, out) = run([&bytes[..]].into_iter());
        let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        if allowed {
            let closed = ConnEvent::Closed(CloseCause::PeerClosed(Some(code)));
            assert_eq!(events, [closed]);
            assert_eq!(out[2..], code.to_be_bytes());
        } else {
            assert!(refused(1002)(&events[0]), "{code}: {events:?}");
            assert_eq!(out[2..4], 1002_u16.to_be_bytes());
        }
    }
    let (events, out) = run_all_splits(&client_frame(0x88, b""));
    assert_eq!(events, [ConnEvent::Closed(CloseCause::PeerClosed(None))]);
    assert_eq!(out, b"\x88\x00");
}

#[test]
fn bad_text_is_refused_before_its_frame_is_complete() {
    for prefix in [vec![], client_frame(0x01, b"\xe6")] {
        let bad: &[u8] = if prefix.is_empty() { b"ok\xff" } else { b"\xff" };
        let mut payload = bad.to_vec();
        payload.resize(500, b'x');
        let first = if prefix.is_empty() { 0x81 } else { 0x80 };
        let frame = client_frame(first, &payload);
        let begun = [prefix, frame[..frame.len() - 500 + bad.len()].to_vec()].concat();
        let (events, _) = run(begun.chunks(1));
        assert!(events.iter().all(refused(1007)), "{events:?}");
        assert_eq!(events.len(), 1);
    }
}

#[test]
fn an_announced_length_takes_no_memory() {
    let mut codec = WebSocketCodec::default();
    let mut workspace = Workspace::new(1 << 30);
    let mut frame = vec![0x82, 0xff];
    frame.extend_from_slice(&(1_u64 << 30).to_be_bytes());
    frame.extend_from_slice(&MASK);
    let mut out = Vec::new();
    assert_eq!(codec.next(&mut workspace, &mut &frame[..], &mut out), None);
    assert!(codec.partial.as_ref().unwrap().bytes.capacity() < 100);
}

#[test]
fn between_messages_a_connection_owns_nothing() {
    let mut codec = WebSocketCodec::default();
    let mut workspace = Workspace::new(1 << 20);
    let mut out = Vec::new();
    let frames =
        [client_frame(0x81, &[b'x'; 70_000]), client_frame(0x01, b"x"), client_frame(0x80, b"x")];
    let bytes = frames.concat();
    let mut received = 0;
    for mut part in bytes.chunks(999) {
        while codec.next(&mut workspace, &mut part, &mut out).is_some() {
            received += 1;
        }
    }
    assert_eq!(received, 2);
    assert!(codec.partial.is_none());
    assert!(codec.message.is_none());
    assert!(size_of::<WebSocketCodec>() <= 24);
}

/// Frames as a client may send them, mostly right.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        "[a-z汉é]{0,40}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..40),
        (0_usize..400).prop_map(|length| vec![b'x'; length]),
    ];
    let first = prop_oneof![
        8 => proptest::sample::select(vec![0x81_u8, 0x82, 0x89, 0x8a, 0x01, 0x02, 0x00, 0x80]),
        1 => any::<u8>(),
    ];
    let frame = (first, payload).prop_map(|(first, payload)| client_frame(first, &payload));
    proptest::collection::vec(frame, 0..12).prop_map(|frames| frames.concat())
}

/// The stream of an independent peer.
struct Peer<'a> {
    input: &'a [u8],
    out: &'a mut Vec<u8>,
}

impl Read for Peer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Memory { input: self.input }
            .read(buffer)
            .inspect(|&bytes| self.input = &self.input[bytes..])
    }
}

impl Write for Peer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite alone makes of a client's messages: an independent peer writes them.
fn by_peer(messages: &[Message]) -> Vec<u8> {
    let mut context = WebSocketContext::new(Role::Client, None);
    let mut bytes = Vec::new();
    for message in messages {
        let mut memory = Peer { input: &[], out: &mut bytes };
        context.write(&mut memory, message.clone()).unwrap();
        context.flush(&mut memory).unwrap();
    }
    bytes
}

proptest! {
    #[test]
    fn splitting_changes_nothing(
        bytes in frames(),
        garble in any::<Option<(u16, u8)>>(),
        sizes in proptest::collection::vec(1_usize..50, 1..20),
    ) {
        let mut bytes = bytes;
        if let (Some((at, byte)), false) = (garble, bytes.is_empty()) {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        let whole = run([&bytes[..]].into_iter());
        prop_assert_eq!(&run(bytes.chunks(1)), &whole);
        let mut rest = &bytes[..];
        let mut parts = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (part, after) = rest.split_at((*size).min(rest.len()));
            parts.push(part);
            rest = after;
        }
        prop_assert_eq!(&run(parts.into_iter()), &whole);
    }

    #[test]
    fn an_independent_client_is_understood(
        texts in proptest::collection::vec(".{0,300}", 0..8),
        binary in proptest::collection::vec(any::<u8>(), 0..900),
        step in 1_usize..40,
    ) {
        let texts: Vec<_> = texts.into_iter().filter(|text| text.len() <= MAX).collect();
        let mut messages: Vec<_> = texts.iter().map(|text| Message::text(text.clone())).collect();
        messages.push(Message::binary(binary.clone()));
        messages.push(Message::Ping(Bytes::from_static(b"12345678")));
        let mut expected: Vec<_> = texts.iter().map(|content| text(content)).collect();
        expected.push(ConnEvent::BinaryReceived(binary.into()));
        expected.push(ConnEvent::PingReceived(Bytes::from_static(b"12345678")));
        let bytes = by_peer(&messages);
        prop_assert_eq!(&run(bytes.chunks(step)).0, &expected);
    }

    #[test]
    fn an_independent_client_understands(
        content in ".{0,200}",
        length in prop_oneof![0_usize..300, 65_500_usize..65_600],
        counter in any::<u64>(),
    ) {
        use steadfast_core::command::FrameKind;
        let binary = vec![7; length];
        let mut written = Vec::new();
        frame::put_message(&mut written, FrameKind::Text, content.as_bytes());
        frame::put_message(&mut written, FrameKind::Binary, &binary);
        frame::put_ping(&mut written, counter);
        frame::put_pong(&mut written, b"mid");
        frame::put_close(&mut written, Some(4001), "bye");
        let mut context = WebSocketContext::new(Role::Client, None);
        let mut answers = Vec::new();
        let mut memory = Peer { input: &written, out: &mut answers };
        prop_assert_eq!(context.read(&mut memory).unwrap(), Message::text(content));
        prop_assert_eq!(context.read(&mut memory).unwrap(), Message::binary(binary));
        let ping = Message::Ping(Bytes::copy_from_slice(&counter.to_be_bytes()));
        prop_assert_eq!(context.read(&mut memory).unwrap(), ping);
        let pong = Message::Pong(Bytes::from_static(b"mid"));
        prop_assert_eq!(context.read(&mut memory).unwrap(), pong);
        let Message::Close(Some(close)) = context.read(&mut memory).unwrap() else {
            panic!("a close frame follows");
        };
        prop_assert_eq!((u16::from(close.code), close.reason.as_str()), (4001, "bye"));
        let (events, _) = run([&answers[..]].into_iter());
        prop_assert_eq!(&events[0], &ConnEvent::PongReceived(Some(counter)));
    }
}
