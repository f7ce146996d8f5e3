//! Writing without reading, to see where the other side stops taking more.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What became of a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flood {
    /// The peer took no more for a while; so many bytes were written.
    Blocked(u64),
    /// The peer closed the connection; so many bytes had been written.
    Closed(u64),
    /// Everything was written.
    Written(u64),
}

/// Writes `chunk` again and again, `total` bytes at most, until the peer takes nothing for
/// `patience` or the connection is gone.
pub(crate) fn flood(socket: &TcpStream, chunk: &[u8], total: u64, patience: Duration) -> Flood {
    let mut sent: u64 = 0;
    let mut last_progress = Instant::now();
    while sent < total {
        let at = usize::try_from(sent % chunk.len() as u64).expect("less than a chunk");
        let left = usize::try_from(total - sent).unwrap_or(usize::MAX);
        let part = &chunk[at..][..left.min(chunk.len() - at)];
        match send(socket, part, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(bytes) => {
                sent += bytes as u64;
                last_progress = Instant::now();
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                let left = patience.saturating_sub(last_progress.elapsed());
                if left.is_zero() {
                    return Flood::Blocked(sent);
                }
                let limit = Timespec::try_from(left).expect("a short time");
                poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&limit)).ok();
            }
            Err(_) => return Flood::Closed(sent),
        }
    }
    Flood::Written(sent)
}

/// Whether the peer ends the connection within `limit`; what it sends before is thrown away.
pub(crate) fn is_closed_within(socket: &mut TcpStream, limit: Duration) -> bool {
    rest_until_closed(socket, limit).is_some()
}

/// All that the peer sends until it ends the connection; `None` when it does not within `limit`.
pub(crate) fn rest_until_closed(socket: &mut TcpStream, limit: Duration) -> Option<Vec<u8>> {
    use std::io::{ErrorKind, Read};
    let deadline = Instant::now() + limit;
    let mut rest = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        socket.set_read_timeout(Some(left)).expect("a socket takes a timeout");
        match socket.read(&mut buffer) {
            Ok(0) => return Some(rest),
            Ok(bytes) => rest.extend_from_slice(&buffer[..bytes]),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return Some(rest),
        }
    }
}
