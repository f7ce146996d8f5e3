//! One TCP socket and the thread that reads it.
//!
//! The thread can be muted: from the return of [`Pump::mute`] on, not a byte is read and so
//! nothing is answered, while the kernel still accepts data. That is what a vanished peer looks
//! like from the other side.

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv, sockopt};
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A write that makes no progress for this long fails instead of hanging the test.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// What becomes of the bytes that are read. Runs on the reading thread.
pub(crate) trait Sink: Send + 'static {
    /// Some bytes came; an answer may be written to `pump` at once.
    fn received(&mut self, bytes: &[u8], out: &Out<'_>);
    /// The peer ended the stream, or it failed. Not called when this side closes.
    fn ended(&mut self);
}

/// The writing half, as a [`Sink`] sees it.
pub(crate) struct Out<'a> {
    shared: &'a Shared,
}

/// A socket that is being read.
pub(crate) struct Pump {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    socket: TcpStream,
    writing: Mutex<()>,
    reading: Mutex<()>,
    resumed: Condvar,
    is_muted: AtomicBool,
    is_stopped: AtomicBool,
    wake: OwnedFd,
}

/// Connects; `rcvbuf` is set before, so that it shapes the announced window.
pub(crate) fn connect(addr: SocketAddr, rcvbuf: Option<usize>) -> io::Result<TcpStream> {
    let socket = if let Some(bytes) = rcvbuf {
        let fd = rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            None,
        )?;
        sockopt::set_socket_recv_buffer_size(&fd, bytes)?;
        rustix::net::connect(&fd, &addr)?;
        TcpStream::from(fd)
    } else {
        TcpStream::connect_timeout(&addr, Duration::from_secs(5))?
    };
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
    Ok(socket)
}

impl Out<'_> {
    /// Writes everything. An error is left to the reading side to notice.
    pub(crate) fn write(&self, bytes: &[u8]) -> bool {
        self.shared.write(&[bytes], Duration::ZERO)
    }
}

impl Pump {
    /// Starts reading; `early` is what the caller has read already.
    pub(crate) fn start(socket: TcpStream, early: Vec<u8>, sink: impl Sink) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            socket,
            writing: Mutex::new(()),
            reading: Mutex::new(()),
            resumed: Condvar::new(),
            is_muted: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC)?,
        });
        let reader = Arc::clone(&shared);
        let thread = std::thread::Builder::new().spawn(move || reader.read_on(&early, sink))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Writes everything; `false` when the peer no longer takes it.
    pub(crate) fn write(&self, bytes: &[u8]) -> bool {
        self.shared.write(&[bytes], Duration::ZERO)
    }

    /// Writes the parts one by one with a pause between, nothing else in the middle.
    pub(crate) fn write_parts(&self, parts: &[&[u8]], pause: Duration) -> bool {
        self.shared.write(parts, pause)
    }

    /// Stops reading. Nothing is read or answered from the return of this on.
    pub(crate) fn mute(&self) {
        self.shared.is_muted.store(true, Ordering::SeqCst);
        drop(self.shared.reading.lock().expect("the reader did not panic"));
    }

    pub(crate) fn unmute(&self) {
        let reading = self.shared.reading.lock().expect("the reader did not panic");
        self.shared.is_muted.store(false, Ordering::SeqCst);
        drop(reading);
        self.shared.resumed.notify_all();
    }

    /// Sends FIN and goes on reading.
    pub(crate) fn half_close(&self) {
        self.shared.socket.shutdown(Shutdown::Write).ok();
    }

    /// Closes with FIN.
    pub(crate) fn close(mut self) {
        self.stop();
    }

    /// Closes with RST.
    pub(crate) fn abort(mut self) {
        sockopt::set_socket_linger(&self.shared.socket, Some(Duration::ZERO)).ok();
        self.stop();
    }

    fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        drop(self.shared.reading.lock());
        self.shared.resumed.notify_all();
        rustix::io::write(&self.shared.wake, &1_u64.to_ne_bytes()).ok();
        let joined = thread.join();
        assert!(joined.is_ok() || std::thread::panicking(), "the reading thread panicked");
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn write(&self, parts: &[&[u8]], pause: Duration) -> bool {
        let writing = self.writing.lock().expect("no writer panicked");
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                super::pause(pause);
            }
            if (&self.socket).write_all(part).is_err() {
                return false;
            }
        }
        drop(writing);
        true
    }

    fn read_on(&self, early: &[u8], mut sink: impl Sink) {
        let out = Out { shared: self };
        if !early.is_empty() {
            sink.received(early, &out);
        }
        let mut buffer = vec![0; 64 << 10];
        loop {
            let reading = self.reading.lock().expect("the test did not panic here");
            let reading = self.resumed.wait_while(reading, |()| {
                self.is_muted.load(Ordering::SeqCst) && !self.is_stopped.load(Ordering::SeqCst)
            });
            if self.is_stopped.load(Ordering::SeqCst) {
                return;
            }
            match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return sink.ended(),
                Ok((bytes, _)) => {
                    sink.received(&buffer[..bytes], &out);
                    continue;
                }
                Err(Errno::AGAIN | Errno::INTR) => drop(reading),
                Err(_) => return sink.ended(),
            }
            let mut fds =
                [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&self.wake, PollFlags::IN)];
            poll(&mut fds, None).ok();
        }
    }
}
