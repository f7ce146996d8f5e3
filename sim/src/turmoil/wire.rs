//! One end of a simulated TCP stream, as the hosts see it.
//!
//! It adds what turmoil leaves out: a buffer counted in bytes, so that a peer which does not read
//! blocks its writer, and writes that arrive in pieces.

use super::tally::Tally;
use crate::schedule::Delivered;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::TcpStream;

/// How many bytes of a chopped write go out one by one; the rest follows in one segment. A longer
/// tail of single bytes costs turmoil quadratic time and shows nothing new.
const CHOPPED: usize = 24;

/// The bytes under way on each direction of each stream of a world.
#[derive(Clone, Debug)]
pub(super) struct Meters {
    directions: Rc<RefCell<Directions>>,
    /// How many bytes one direction holds before its writer has to wait.
    buffer: usize,
    /// What is wrong with the way from one host to another.
    troubles: Rc<RefCell<BTreeMap<(IpAddr, IpAddr), Delivered>>>,
    /// While a machine loses its power, nobody learns that its sockets are gone.
    pub(super) power_cut: Rc<Cell<bool>>,
    delivered: Tally,
}

/// By sender and receiver.
type Directions = BTreeMap<(SocketAddr, SocketAddr), Rc<Meter>>;

#[derive(Debug, Default)]
struct Meter {
    held: Cell<usize>,
    abandoned: Cell<bool>,
    writer: RefCell<Option<Waker>>,
}

impl Meter {
    fn wake_writer(&self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }
}

impl Meters {
    pub(super) fn new(buffer: usize, delivered: Tally) -> Self {
        let power_cut = Rc::new(Cell::new(false));
        let troubles = Rc::default();
        Self { directions: Rc::default(), buffer, troubles, power_cut, delivered }
    }

    /// The same for streams that hold much more: those between gateways and their store.
    pub(super) fn roomy(&self) -> Self {
        Self { buffer: 1 << 20, ..self.clone() }
    }

    /// What is sent from one host to another suffers this fault from now on, or none.
    pub(super) fn set_trouble(&self, from: IpAddr, to: IpAddr, fault: Option<Delivered>) {
        let mut troubles = self.troubles.borrow_mut();
        match fault {
            Some(fault) => troubles.insert((from, to), fault),
            None => troubles.remove(&(from, to)),
        };
    }

    fn trouble(&self, from: IpAddr, to: IpAddr) -> Option<Delivered> {
        self.troubles.borrow().get(&(from, to)).copied()
    }

    fn meter(&self, from: SocketAddr, to: SocketAddr) -> Rc<Meter> {
        Rc::clone(self.directions.borrow_mut().entry((from, to)).or_default())
    }
}

/// How a host's writes leave it.
#[derive(Clone, Debug, Default)]
pub(super) struct Chop(Rc<Cell<bool>>);

impl Chop {
    pub(super) fn set(&self, on: bool) {
        self.0.set(on);
    }
}

/// One end of a stream.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    incoming: Rc<Meter>,
    outgoing: Rc<Meter>,
    meters: Meters,
    chop: Chop,
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    /// Whether our direction has been ended.
    ended: bool,
}

impl Wire {
    /// Wraps a connected stream.
    ///
    /// # Errors
    /// The stream has no addresses.
    pub(super) fn new(stream: TcpStream, meters: &Meters, chop: &Chop) -> io::Result<Self> {
        let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
        Ok(Self {
            incoming: meters.meter(peer, local),
            outgoing: meters.meter(local, peer),
            stream,
            meters: meters.clone(),
            chop: chop.clone(),
            local,
            peer,
            ended: false,
        })
    }

    /// Reads what has arrived; 0 is the end of the stream.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(buffer);
        match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
            Poll::Ready(Ok(())) => {
                let bytes = read.filled().len();
                self.incoming.held.set(self.incoming.held.get().saturating_sub(bytes));
                self.incoming.wake_writer();
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Whether bytes have arrived, without taking them.
    pub(super) fn poll_arrived(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut byte = [0];
        let mut read = ReadBuf::new(&mut byte);
        match self.stream.poll_peek(cx, &mut read) {
            Poll::Ready(Ok(bytes)) => Poll::Ready(bytes > 0),
            Poll::Ready(Err(_)) => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Writes as much as there is room for, and says how much that was.
    pub(super) fn write(&mut self, cx: &Context<'_>, mut bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while !bytes.is_empty() {
            let room = if self.outgoing.abandoned.get() {
                bytes.len()
            } else {
                self.meters.buffer.saturating_sub(self.outgoing.held.get())
            };
            if room == 0 {
                self.meters.delivered.count(Delivered::ReadSlowly);
                *self.outgoing.writer.borrow_mut() = Some(cx.waker().clone());
                break;
            }
            let mut size = room.min(bytes.len());
            if self.chop.0.get() && written < CHOPPED && size > 1 {
                self.meters.delivered.count(Delivered::Chopped);
                size = 1;
            }
            match self.stream.try_write(&bytes[..size]) {
                Ok(size) => {
                    if let Some(fault) = self.meters.trouble(self.local.ip(), self.peer.ip()) {
                        self.meters.delivered.count(fault);
                    }
                    self.outgoing.held.set(self.outgoing.held.get() + size);
                    bytes = &bytes[size..];
                    written += size;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    *self.outgoing.writer.borrow_mut() = Some(cx.waker().clone());
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Ends our direction of the stream.
    pub(super) fn end(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.ended = true;
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if !self.meters.power_cut.get() {
            self.incoming.abandoned.set(true);
            self.incoming.wake_writer();
        }
    }
}
