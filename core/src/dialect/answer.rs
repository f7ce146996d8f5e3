//! The texts that clients are answered.

use crate::time::Time;
use bytestring::ByteString;

/// To the heartbeat of a web page.
pub const WEB: &str = "biubiubiu";

/// To every message of a device.
pub const DEVICE: &str = "server receive a message!";

/// To the heartbeat of a web page: [`WEB`].
#[must_use]
pub fn web() -> ByteString {
    ByteString::from_static(WEB)
}

/// To every message of a device: [`DEVICE`].
#[must_use]
pub fn device() -> ByteString {
    ByteString::from_static(DEVICE)
}

/// To a device whose log entry is safe.
#[must_use]
pub fn log_upload_response() -> ByteString {
    ByteString::from_static("log_upload_response")
}

/// To a monitor's heartbeat: the time in UTC, ISO 8601.
#[must_use]
pub fn heartbeat_ack(now: Time) -> ByteString {
    stamped("heartbeat_ack", now)
}

/// To a monitor's ping: the time in UTC, ISO 8601.
#[must_use]
pub fn pong(now: Time) -> ByteString {
    stamped("pong", now)
}

fn stamped(kind: &str, now: Time) -> ByteString {
    format!(r#"{{"type":"{kind}","timestamp":"{now}"}}"#).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_read_as_documented() {
        let now = Time::from_micros(1_795_224_000_123_456);
        for (answer, expect) in [
            (web(), "biubiubiu"),
            (device(), "server receive a message!"),
            (log_upload_response(), "log_upload_response"),
            (
                heartbeat_ack(now),
                r#"{"type":"heartbeat_ack","timestamp":"2026-11-21T01:20:00.123Z"}"#,
            ),
            (pong(now), r#"{"type":"pong","timestamp":"2026-11-21T01:20:00.123Z"}"#),
        ] {
            assert_eq!(answer, expect);
        }
    }
}
