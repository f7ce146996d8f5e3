//! `steadfast push`: one push over the line protocol, and its answer.

use super::{resolve, say, tell};
use serde_json::Value;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;
use steadfast_core::time::Span;

/// What to push, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The line.
    pub line: Line,
    /// The gateway's push port.
    pub addr: String,
    /// How long to wait for the connection, and again for the answer.
    pub timeout: Span,
}

/// The line that is sent.
#[derive(Clone, Debug)]
pub enum Line {
    /// Made from a key and data: a JSON object gets `uid` put in front of its members, which stay
    /// as they are; any other text becomes `Data`.
    Made {
        /// To whom.
        key: String,
        /// What.
        data: String,
    },
    /// As it is.
    Raw(String),
}

/// Pushes, prints the answer, and gives the exit code: 0 for `ok` and `queued`, else 1.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    let answer = compose(&options.line).and_then(|line| exchange(options, &line));
    match answer {
        Ok(answer) => {
            say(&answer);
            match answer.as_str() {
                "ok" | "queued" => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            }
        }
        Err(problem) => {
            tell(&format!("error: {problem}"));
            ExitCode::FAILURE
        }
    }
}

fn compose(line: &Line) -> Result<String, String> {
    match line {
        Line::Raw(line) if line.contains('\n') => {
            Err("the line contains a newline, which would end it early; send one line".to_owned())
        }
        Line::Raw(line) => Ok(line.clone()),
        Line::Made { key, data } => {
            let uid = Value::String(key.clone());
            match serde_json::from_str::<Value>(data) {
                Ok(Value::Object(members)) if members.contains_key("uid") => Err(
                    "DATA has a uid of its own; leave it out, or send the whole line with --raw"
                        .to_owned(),
                ),
                Ok(Value::Object(members)) if members.is_empty() => {
                    Ok(format!("{{\"uid\":{uid}}}"))
                }
                // Within JSON, line breaks are white space: in strings they are escaped.
                Ok(Value::Object(_)) => {
                    let members = data.trim().replace(['\n', '\r'], " ");
                    Ok(format!("{{\"uid\":{uid},{}", members[1..].trim_start()))
                }
                Ok(_) | Err(_) => {
                    Ok(format!("{{\"uid\":{uid},\"Data\":{}}}", Value::String(data.clone())))
                }
            }
        }
    }
}

fn exchange(options: &Options, line: &str) -> Result<String, String> {
    let addr = &options.addr;
    let timeout = Duration::from_micros(options.timeout.as_micros().max(1));
    let mut stream = connect(addr, timeout)?;
    let unanswered = |error: io::Error| {
        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
            let within = options.timeout;
            format!(
                "{addr} did not answer within {within}; is this the push port, and is the gateway \
                 alive? (a larger --timeout waits longer)"
            )
        } else {
            format!("the connection to {addr} failed before the answer: {error}")
        }
    };
    stream
        .set_read_timeout(Some(timeout))
        .and_then(|()| stream.set_write_timeout(Some(timeout)))
        .and_then(|()| stream.write_all(format!("{line}\n").as_bytes()))
        .map_err(unanswered)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(unanswered)?;
    match answer.strip_suffix('\n') {
        Some(answer) => Ok(answer.to_owned()),
        None => {
            Err(format!("{addr} closed the connection without an answer; is this the push port?"))
        }
    }
}

fn connect(addr: &str, timeout: Duration) -> Result<TcpStream, String> {
    let mut last = None;
    for candidate in resolve(addr)? {
        match TcpStream::connect_timeout(&candidate, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    let error = last.expect("there is at least one address");
    Err(format!(
        "cannot connect to {addr}: {error}; start the gateway with `steadfast`, or name its push \
         port with --addr"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::net::TcpListener;
    use std::thread;

    fn made(key: &str, data: &str) -> Line {
        Line::Made { key: key.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn lines_are_composed() {
        for (key, data, expected) in [
            ("5", "hello", "{\"uid\":\"5\",\"Data\":\"hello\"}"),
            ("5", "{\"FunctionType\":4}", "{\"uid\":\"5\",\"FunctionType\":4}"),
            (
                "5",
                " { \"a\" : 1.0e2,\n\"a\":\"\\n\" }",
                "{\"uid\":\"5\",\"a\" : 1.0e2, \"a\":\"\\n\" }",
            ),
            ("5", "{}", "{\"uid\":\"5\"}"),
            ("5", "7", "{\"uid\":\"5\",\"Data\":\"7\"}"),
            ("5", "[1]", "{\"uid\":\"5\",\"Data\":\"[1]\"}"),
            (
                "{\"uid\":\"1\"}",
                "获取\n",
                "{\"uid\":\"{\\\"uid\\\":\\\"1\\\"}\",\"Data\":\"获取\\n\"}",
            ),
        ] {
            let line = compose(&made(key, data)).unwrap();
            assert_eq!(line, expected);
            assert!(serde_json::from_str::<Value>(&line).unwrap().is_object());
        }
        assert!(compose(&made("5", "{\"uid\":6}")).unwrap_err().contains("--raw"));
        assert_eq!(compose(&Line::Raw("not json".to_owned())).unwrap(), "not json");
        assert!(compose(&Line::Raw("a\nb".to_owned())).is_err());
    }

    /// What a push to a server that answers so comes to.
    fn against(answer: Option<&'static str>) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            match answer {
                Some(answer) => stream.write_all(answer.as_bytes()).unwrap(),
                None => drop(stream.read(&mut [0]).unwrap()),
            }
            line
        });
        let line = Line::Raw("x".to_owned());
        let timeout = Span::from_millis(if answer.is_some() { 5_000 } else { 50 });
        let answer = exchange(&Options { line, addr, timeout }, "x");
        assert_eq!(server.join().unwrap(), "x\n");
        answer
    }

    #[test]
    fn the_answer_is_the_line_that_comes_back() {
        assert_eq!(against(Some("queued\n")), Ok("queued".to_owned()));
        assert!(against(Some("")).unwrap_err().contains("without an answer"));
        assert!(against(None).unwrap_err().contains("did not answer within 50ms"));
    }

    #[test]
    fn a_refused_connection_names_address_and_remedy() {
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let error = connect(&addr, Duration::from_secs(1)).unwrap_err();
        assert!(error.starts_with(&format!("cannot connect to {addr}: ")), "{error}");
        assert!(error.contains("--addr"), "{error}");
    }
}
