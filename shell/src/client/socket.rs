//! One blocking WebSocket connection of the listening client.

use super::resolve;
use bytestring::ByteString;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;
use tungstenite::http::Uri;
use tungstenite::protocol::Role;
use tungstenite::{Bytes, ClientRequestBuilder, Error, HandshakeError, Message, WebSocket};

/// Connecting and upgrading take at most this long each.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Writing blocks for at most this long before the connection counts as dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// An open connection.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: WebSocket<TcpStream>,
}

/// What came.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A text message, or a binary one that is text.
    Text(ByteString),
    /// A pong.
    Pong,
    /// A ping, which is answered already.
    Ping,
    /// Nothing yet, or nothing of interest.
    Nothing,
    /// The connection's end: why, and the close code if a close frame came.
    End(String, Option<u16>),
}

/// Where a URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    uri: Uri,
    /// Host and port.
    pub(crate) address: String,
}

impl Target {
    /// Understands a URL.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let wanted = "write as in ws://127.0.0.1:5001/";
        let uri: Uri =
            url.parse().map_err(|error| format!("{url:?} is no URL: {error}; {wanted}"))?;
        match uri.scheme_str() {
            Some("ws") => {}
            Some("wss") => {
                return Err(format!("{url:?} needs TLS, which is not supported yet; {wanted}"));
            }
            Some(_) | None => return Err(format!("{url:?} does not begin with ws://; {wanted}")),
        }
        let host = uri.host().ok_or_else(|| format!("{url:?} names no host; {wanted}"))?;
        let address = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        Ok(Self { uri, address })
    }
}

impl Socket {
    /// Connects and upgrades; to the subprotocol, if one is asked for.
    pub(crate) fn open(target: &Target, subprotocol: Option<&str>) -> Result<Self, String> {
        let refused = |error: io::Error| format!("cannot connect to {}: {error}", target.address);
        let mut result = Err(io::Error::other("no address"));
        for candidate in resolve(&target.address)? {
            result = TcpStream::connect_timeout(&candidate, OPEN_TIMEOUT);
            if result.is_ok() {
                break;
            }
        }
        let stream = result.map_err(refused)?;
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(OPEN_TIMEOUT)))
            .and_then(|()| stream.set_write_timeout(Some(WRITE_TIMEOUT)))
            .map_err(refused)?;
        let mut request = ClientRequestBuilder::new(target.uri.clone());
        if let Some(name) = subprotocol {
            request = request.with_sub_protocol(name);
        }
        match tungstenite::client(request, stream) {
            Ok((inner, _)) => Ok(Self { inner }),
            Err(HandshakeError::Interrupted(_)) => {
                Err(format!("{} did not answer the upgrade in time", target.address))
            }
            Err(HandshakeError::Failure(error)) => Err(format!(
                "{} did not upgrade to WebSocket: {error}; is this the WebSocket port?",
                target.address
            )),
        }
    }

    /// A second handle of the TCP stream, to end the connection from another thread.
    pub(crate) fn handle(&self) -> io::Result<TcpStream> {
        self.inner.get_ref().try_clone()
    }

    /// Waits for what comes next, at most this long.
    pub(crate) fn receive(&mut self, within: Duration) -> Arrival {
        // A timeout of zero would mean none at all.
        let within = within.max(Duration::from_millis(1));
        if let Err(error) = self.inner.get_ref().set_read_timeout(Some(within)) {
            return Arrival::End(error.to_string(), None);
        }
        match self.inner.read() {
            Ok(Message::Text(text)) => Arrival::Text(text.as_str().into()),
            Ok(Message::Binary(bytes)) => match ByteString::try_from(bytes) {
                Ok(text) => Arrival::Text(text),
                Err(_) => Arrival::Nothing,
            },
            Ok(Message::Pong(_)) => Arrival::Pong,
            Ok(Message::Ping(_)) => match self.inner.flush() {
                Ok(()) => Arrival::Ping,
                Err(error) => Arrival::End(error.to_string(), None),
            },
            Ok(Message::Frame(_)) => Arrival::Nothing,
            Ok(Message::Close(None)) => Arrival::End("closed by the gateway".to_owned(), None),
            Ok(Message::Close(Some(frame))) => {
                let why = format!("closed by the gateway: {} {}", frame.code, frame.reason);
                Arrival::End(why, Some(frame.code.into()))
            }
            Err(Error::Io(error)) if is_passing(&error) => Arrival::Nothing,
            Err(error) => Arrival::End(error.to_string(), None),
        }
    }

    /// Sends a text message.
    pub(crate) fn send(&mut self, text: &ByteString) -> Result<(), String> {
        self.inner.send(Message::text(text.to_string())).map_err(|error| error.to_string())
    }

    /// Sends a ping.
    pub(crate) fn ping(&mut self) -> Result<(), String> {
        self.inner.send(Message::Ping(Bytes::new())).map_err(|error| error.to_string())
    }

    /// Says goodbye as far as that is still possible.
    pub(crate) fn close(self) {
        // A stop ends the reading half first, after which this WebSocket would send no more; every
        // frame before was written whole, so a fresh one can.
        let stream = self.inner.into_inner();
        let mut goodbye = WebSocket::from_raw_socket(stream, Role::Client, None);
        if goodbye.close(None).and_then(|()| goodbye.flush()).is_ok() {
            let _ = goodbye.get_ref().shutdown(Shutdown::Write);
        }
    }
}

/// Whether the connection is as good as before: a read with a timeout ends with `Interrupted` too
/// when the process gets a signal.
fn is_passing(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_understood() {
        for (url, expected) in [
            ("ws://127.0.0.1:5001/", Ok("127.0.0.1:5001")),
            ("ws://example.org/ws/5?x=1", Ok("example.org:80")),
            ("ws://[::1]:5001", Ok("[::1]:5001")),
            ("wss://example.org/", Err("needs TLS")),
            ("http://example.org/", Err("does not begin with ws://")),
            ("127.0.0.1:5001", Err("write as in ws://")),
            ("ws://", Err("write as in ws://")),
        ] {
            match (Target::parse(url), expected) {
                (Ok(target), Ok(address)) => assert_eq!(target.address, address),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (result, _) => panic!("{url}: {result:?}"),
            }
        }
    }
}
