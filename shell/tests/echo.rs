//! The WebSocket protocol over real sockets, with a machine that echoes: what a conformance suite
//! would try, kept here for every build.

mod support;

use std::io::{Read, Write};
use support::{Client, REQUEST, Server, config, echo, expect_end, frame};

fn start() -> Server {
    let mut config = config();
    config.max_message = 32 << 20;
    Server::start(&config, echo)
}

#[test]
fn messages_of_all_lengths_come_back() {
    let server = start();
    let mut client = server.client();
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 3 << 20] {
        for first in [0x81, 0x82] {
            let payload = vec![b'*'; length];
            client.send(&frame(first, &payload));
            assert!(client.frame() == (first, payload), "{length} bytes as {first:x}");
        }
    }
}

#[test]
fn a_frame_behind_the_request_is_not_lost() {
    let server = start();
    let mut client = Client { socket: server.raw_client() };
    client.send(&[REQUEST, &frame(0x81, b"early"), &frame(0x89, b"p")].concat());
    assert!(client.read_head().starts_with("HTTP/1.1 101 "));
    assert_eq!(client.frame(), (0x81, b"early".to_vec()));
    assert_eq!(client.frame(), (0x8a, b"p".to_vec()));
}

#[test]
fn bytes_may_come_one_by_one() {
    let server = start();
    let mut client = Client { socket: server.raw_client() };
    let bytes = [
        REQUEST,
        &frame(0x01, "汉".as_bytes()),
        &frame(0x89, b"mid"),
        &frame(0x80, "字".as_bytes()),
        &frame(0x88, b"\x03\xe8"),
    ];
    for byte in bytes.concat().chunks(1) {
        client.send(byte);
    }
    assert!(client.read_head().starts_with("HTTP/1.1 101 "));
    assert_eq!(client.frame(), (0x8a, b"mid".to_vec()));
    assert_eq!(client.frame(), (0x81, "汉字".as_bytes().to_vec()));
    client.expect_close(1000);
}

#[test]
fn a_breach_ends_the_connection_with_its_code() {
    let server = start();
    for (bytes, code) in [
        (vec![0x81, 0x01, b'x'], 1002),
        (frame(0xc1, b"x"), 1002),
        (frame(0x83, b"x"), 1002),
        (frame(0x80, b"x"), 1002),
        (frame(0x88, &[3]), 1002),
        (frame(0x88, &1005_u16.to_be_bytes()), 1002),
        (frame(0x81, b"\xff"), 1007),
        (frame(0x82, &[0; 100])[..20].to_vec(), 0),
        ([&[0x82, 0xff][..], &(33_u64 << 20).to_be_bytes()].concat(), 1009),
    ] {
        let mut client = server.client();
        client.send(&frame(0x81, b"before"));
        client.send(&bytes);
        assert_eq!(client.frame(), (0x81, b"before".to_vec()));
        if code == 0 {
            // Half a frame is no breach: nothing comes until the stream ends.
            client.half_close();
            expect_end(&mut client.socket);
        } else {
            client.expect_close(code);
        }
    }
}

#[test]
fn bad_text_is_refused_before_its_frame_ends() {
    let server = start();
    let mut client = server.client();
    let mut payload = vec![b'x'; 1000];
    payload[500] = 0xff;
    client.send(&frame(0x81, &payload)[..900]);
    client.expect_close(1007);
}

#[test]
fn the_close_code_of_the_client_comes_back() {
    let server = start();
    for code in [1000, 1001, 1003, 1011, 3000, 4999_u16] {
        let mut client = server.client();
        client.send(&frame(0x88, &[&code.to_be_bytes(), &b"why"[..]].concat()));
        client.expect_close(code);
    }
    let mut client = server.client();
    client.send(&frame(0x88, b""));
    assert_eq!(client.frame(), (0x88, vec![]));
    expect_end(&mut client.socket);
}

#[test]
fn a_request_that_cannot_be_upgraded_is_told_why() {
    let server = start();
    let request = String::from_utf8(REQUEST.to_vec()).unwrap();
    for (bytes, status) in [
        (b"\x16\x03\x01\x02\x00".to_vec(), 400),
        (request.replace("GET", "PUT").into_bytes(), 405),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 426),
        (request.replace(": 13", ": 7").into_bytes(), 426),
        (request.replace("Host: x", &format!("A: {}", "x".repeat(20_000))).into_bytes(), 431),
    ] {
        let mut socket = server.raw_client();
        socket.write_all(&bytes).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[test]
fn a_client_that_does_not_read_its_echoes_is_read_no_further() {
    let server = start();
    let mut client = server.client();
    let mut writer = client.socket.try_clone().unwrap();
    let message = frame(0x82, &vec![7; 1 << 20]);
    let writing = std::thread::spawn(move || {
        for _ in 0..64 {
            writer.write_all(&message).unwrap();
        }
    });
    // Reading starts once nothing more can be written: the bound is what stops the writer.
    for _ in 0..64 {
        assert!(client.frame() == (0x82, vec![7; 1 << 20]));
    }
    writing.join().unwrap();
}
