//! Back ends' sockets.
//!
//! A line that has arrived is carried through whatever becomes of its connection: one that can no
//! longer be answered is still read to its end. A back end that does not read its replies is read
//! no further once [`MAX_UNREAD`] of them wait. What had been read when the machine said `Pause`
//! waits for `Resume`.
//!
//! A pusher is *live* until the machine has been told `Closed`; then it may linger, as a client
//! does, until it has read what was written to it.

use super::outbox::{Flush, Outbox};
use super::slots::Place;
use super::sockets::{Side, Sockets, token};
use crate::codec::line::{self, LineCodec};
use mio::Interest;
use mio::net::TcpStream;
use rustix::net::sockopt;
use std::io::{self, Read};
use std::net::Shutdown;
use std::time::Duration;
use steadfast_core::command::Reply;
use steadfast_core::event::{Event, PusherEvent};
use steadfast_core::id::PusherId;

/// See the module's text.
const MAX_UNREAD: usize = 1 << 20;
/// A back end is probed after so much silence,
const SILENCE: Duration = Duration::from_secs(60);
/// again after each of these,
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// and its connection ends when so many probes went unanswered.
const PROBES: u32 = 6;

/// One back end's socket.
#[derive(Debug)]
pub(super) struct Pusher {
    socket: TcpStream,
    codec: LineCodec,
    outbox: Outbox,
    /// What was read and not yet looked at when the machine said `Pause`.
    rest: Rest,
    /// How many lines have had no reply.
    unanswered: u64,
    phase: Phase,
    flags: Flags,
}

/// Bytes that were read and have to wait.
#[derive(Debug, Default)]
pub(super) struct Rest {
    bytes: Vec<u8>,
    at: usize,
}

impl Rest {
    /// What waits.
    pub(super) fn input(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Notes that all but the last `left` bytes have been looked at.
    pub(super) fn keep(&mut self, left: usize) {
        self.at = self.bytes.len() - left;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Live,
    /// A line was too long: what follows is discarded, and the end comes with the last reply.
    Refused,
    /// The machine has been told `Closed`: once everything is written, our direction ends.
    Ending,
    /// The end of the peer's direction is awaited.
    HalfClosed,
}

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    /// In the list of those to be read.
    listed: bool,
    /// In the list of those to be written.
    dirty: bool,
    /// The kernel takes no more for now.
    blocked: bool,
    /// The machine wants no more lines for now.
    paused: bool,
    /// There is something to read, but reading waits for `Resume` or the outbox.
    held: bool,
    /// The peer has ended its direction; the end may be behind unread bytes.
    hung_up: bool,
    /// The peer's direction has ended.
    eof: bool,
    /// Nothing can be written any more.
    deaf: bool,
}

fn id((slot, generation): Place) -> PusherId {
    PusherId { slot, generation }
}

fn place(pusher: PusherId) -> Place {
    (pusher.slot, pusher.generation)
}

impl Pusher {
    /// How many bytes the kernel has taken.
    pub(super) fn taken(&self) -> u64 {
        self.outbox.taken()
    }

    /// Whether the machine still knows of it.
    fn is_known(&self) -> bool {
        match self.phase {
            Phase::Live | Phase::Refused => true,
            Phase::Ending | Phase::HalfClosed => false,
        }
    }

    /// Whether lines may be cut and handed to the machine.
    fn takes_lines(&self, stopping: bool) -> bool {
        self.phase == Phase::Live && !self.flags.paused && !stopping
    }

    /// Whether reading has to wait. What is only discarded never has to.
    fn must_wait(&self, stopping: bool) -> bool {
        self.phase == Phase::Live
            && (self.flags.paused || stopping || self.outbox.len() > MAX_UNREAD)
    }
}

/// Lets the operating system probe a back end that is silent. A back end may be silent for as long as
/// it likes, but one that is gone without a word must not hold one of `max_backends` for ever.
fn keep_alive(socket: &TcpStream) -> io::Result<()> {
    sockopt::set_tcp_keepidle(socket, SILENCE)?;
    sockopt::set_tcp_keepintvl(socket, PROBE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, PROBES)?;
    Ok(sockopt::set_socket_keepalive(socket, true)?)
}

impl Sockets {
    /// Takes in a new back end.
    pub(super) fn accept_pusher(&mut self, mut socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        keep_alive(&socket)?;
        let (slot, _) = self.pushers.next_place();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(&mut socket, token(Side::Pusher, slot), interest)?;
        let place = self.pushers.insert(Pusher {
            socket,
            codec: LineCodec::new(self.max_push_line),
            outbox: Outbox::default(),
            rest: Rest::default(),
            unanswered: 0,
            phase: Phase::Live,
            flags: Flags::default(),
        });
        self.pending.push_back(Event::Pusher(id(place), PusherEvent::Opened));
        Ok(())
    }

    /// Notes what epoll says about a back end.
    pub(super) fn pusher_ready(
        &mut self,
        slot: usize,
        readable: bool,
        writable: bool,
        hung_up: bool,
    ) {
        let Some((generation, pusher)) = self.pushers.in_slot(slot) else { return };
        pusher.flags.hung_up |= hung_up;
        let unblocked = writable && pusher.flags.blocked;
        if unblocked {
            pusher.flags.blocked = false;
        }
        let place = (slot as u32, generation);
        if readable {
            self.list_pusher(place);
        }
        if unblocked {
            self.pusher_dirty(place);
        }
    }

    /// Takes what waited for `Resume`, if the pusher may be read again.
    pub(super) fn take_rest(&mut self, place: Place) -> Option<Rest> {
        let stopping = self.stopping;
        let pusher = self.pushers.get_mut(place)?;
        if pusher.rest.input().is_empty() || !pusher.takes_lines(stopping) {
            return None;
        }
        Some(std::mem::take(&mut pusher.rest))
    }

    /// Keeps what could not be looked at because the machine said `Pause` in its middle.
    pub(super) fn put_rest(&mut self, place: Place, rest: Rest) {
        if let Some(pusher) = self.pushers.get_mut(place)
            && pusher.phase == Phase::Live
            && !rest.input().is_empty()
        {
            pusher.flags.held = true;
            pusher.rest = rest;
        }
    }

    /// The same for what has just been read.
    pub(super) fn keep_input(&mut self, place: Place, input: &[u8]) {
        if !input.is_empty() {
            self.put_rest(place, Rest { bytes: input.to_vec(), at: 0 });
        }
    }

    /// Reads a listed back end once. Returns how many bytes are in `buffer`.
    pub(super) fn receive_pusher(&mut self, place: Place, buffer: &mut [u8]) -> Option<usize> {
        let stopping = self.stopping;
        let pusher = self.pushers.get_mut(place)?;
        pusher.flags.listed = false;
        if pusher.flags.eof {
            return None;
        }
        if pusher.must_wait(stopping) || !pusher.rest.input().is_empty() {
            pusher.flags.held = true;
            return None;
        }
        match pusher.socket.read(buffer) {
            Ok(0) => {
                self.pusher_eof(place);
                None
            }
            Ok(bytes) => {
                if bytes == buffer.len() || pusher.flags.hung_up {
                    self.list_pusher(place);
                }
                Some(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.list_pusher(place);
                None
            }
            Err(_) => {
                self.drop_pusher(place);
                None
            }
        }
    }

    /// The next event in what was read from the back end; `None` too when it may not be looked at.
    pub(super) fn next_pusher_event(&mut self, place: Place, input: &mut &[u8]) -> Option<Event> {
        let stopping = self.stopping;
        let pusher = self.pushers.get_mut(place)?;
        if !pusher.takes_lines(stopping) {
            return None;
        }
        let event = pusher.codec.next(input)?;
        if matches!(event, PusherEvent::LineTooLong { .. }) {
            pusher.phase = Phase::Refused;
            self.end_if_answered(place);
        } else {
            pusher.unanswered += 1;
        }
        Some(Event::Pusher(id(place), event))
    }

    /// Appends the reply to the oldest unanswered line.
    #[inline]
    pub(super) fn reply(&mut self, pusher_id: PusherId, reply: Reply) {
        let place = place(pusher_id);
        let stopping = self.stopping;
        let Some(pusher) = self.pushers.get_mut(place) else { return };
        if !pusher.is_known() || pusher.unanswered == 0 {
            // The line that was too long is counted as none: it is not answered.
            return;
        }
        pusher.unanswered -= 1;
        let may_end = pusher.unanswered == 0 && (stopping || pusher.phase == Phase::Refused);
        if !pusher.flags.deaf {
            line::put_reply(pusher.outbox.buffer(&mut self.pool), reply);
            self.pusher_dirty(place);
        }
        if may_end {
            self.end_pusher(place);
        }
    }

    /// Reads no more from the back end until [`resume`](Self::resume).
    pub(super) fn pause(&mut self, pusher: PusherId) {
        if let Some(pusher) = self.pushers.get_mut(place(pusher)) {
            pusher.flags.paused = true;
        }
    }

    /// Reads from the back end again.
    pub(super) fn resume(&mut self, pusher: PusherId) {
        let place = place(pusher);
        if let Some(pusher) = self.pushers.get_mut(place) {
            pusher.flags.paused = false;
            if pusher.flags.held {
                self.list_pusher(place);
            }
        }
    }

    /// Closes at the machine's command, once everything is written.
    pub(super) fn finish(&mut self, pusher: PusherId) {
        self.end_pusher(place(pusher));
    }

    /// Ends every back end that has all its replies, and the others when they have.
    pub(super) fn stop_pushers(&mut self) {
        self.stopping = true;
        for place in self.pushers.places() {
            self.end_if_answered(place);
        }
    }

    /// Ends a back end that is not read any more and has all its replies.
    pub(super) fn end_if_answered(&mut self, place: Place) {
        let stopping = self.stopping;
        if let Some(pusher) = self.pushers.get_mut(place)
            && pusher.unanswered == 0
            && (stopping || pusher.phase == Phase::Refused)
        {
            self.end_pusher(place);
        }
    }

    fn end_pusher(&mut self, place: Place) {
        let Some(pusher) = self.pushers.get_mut(place) else { return };
        if !pusher.is_known() {
            return;
        }
        pusher.phase = Phase::Ending;
        pusher.rest = Rest::default();
        let taken = pusher.taken();
        let held = std::mem::take(&mut pusher.flags.held);
        self.pending.push_back(Event::Pusher(id(place), PusherEvent::Closed));
        self.linger(Side::Pusher, place, taken);
        self.pusher_dirty(place);
        if held {
            self.list_pusher(place);
        }
    }

    /// The socket is gone.
    fn drop_pusher(&mut self, place: Place) {
        if let Some(pusher) = self.pushers.remove(place)
            && pusher.is_known()
        {
            self.pending.push_back(Event::Pusher(id(place), PusherEvent::Closed));
        }
    }

    /// The back end sends no more; it may still read.
    fn pusher_eof(&mut self, place: Place) {
        let Some(pusher) = self.pushers.get_mut(place) else { return };
        pusher.flags.eof = true;
        match pusher.phase {
            Phase::Live => {
                let unfinished = pusher.codec.unfinished();
                let finished = PusherEvent::Finished { unfinished };
                let deaf = pusher.flags.deaf;
                self.pending.push_back(Event::Pusher(id(place), finished));
                if deaf {
                    self.drop_pusher(place);
                }
            }
            Phase::Refused if pusher.flags.deaf => self.drop_pusher(place),
            Phase::Refused => {}
            Phase::Ending => self.pusher_dirty(place),
            Phase::HalfClosed => drop(self.pushers.remove(place)),
        }
    }

    fn list_pusher(&mut self, place: Place) {
        if let Some(pusher) = self.pushers.get_mut(place)
            && !pusher.flags.listed
        {
            pusher.flags.listed = true;
            pusher.flags.held = false;
            self.readable_pushers.push(place);
        }
    }

    #[inline]
    fn pusher_dirty(&mut self, place: Place) {
        if let Some(pusher) = self.pushers.get_mut(place)
            && !pusher.flags.dirty
            && !pusher.flags.blocked
        {
            pusher.flags.dirty = true;
            self.dirty_pushers.push(place);
        }
    }

    /// Writes what waits, in one call.
    pub(super) fn flush_pusher(&mut self, place: Place) {
        let stopping = self.stopping;
        let Some(pusher) = self.pushers.get_mut(place) else { return };
        pusher.flags.dirty = false;
        let flush = pusher.outbox.flush(&mut pusher.socket, &mut self.pool);
        if matches!(flush, Flush::Failed(_)) {
            return self.pusher_deaf(place);
        }
        pusher.flags.blocked = matches!(flush, Flush::Blocked);
        if pusher.flags.held && !pusher.must_wait(stopping) {
            self.list_pusher(place);
        }
        let Some(pusher) = self.pushers.get_mut(place) else { return };
        if pusher.phase == Phase::Ending && pusher.outbox.is_empty() {
            pusher.phase = Phase::HalfClosed;
            if pusher.flags.eof || pusher.socket.shutdown(Shutdown::Write).is_err() {
                self.pushers.remove(place);
            }
        }
    }

    /// Nothing can be written any more: what the back end had sent before is still read.
    fn pusher_deaf(&mut self, place: Place) {
        let Some(pusher) = self.pushers.get_mut(place) else { return };
        if !pusher.is_known() || pusher.flags.eof {
            return self.drop_pusher(place);
        }
        pusher.flags.deaf = true;
        pusher.outbox = Outbox::default();
        self.list_pusher(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_back_end_is_probed() -> io::Result<()> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let _back_end = std::net::TcpStream::connect(listener.local_addr()?)?;
        let (socket, _) = listener.accept()?;
        let socket = TcpStream::from_std(socket);
        keep_alive(&socket)?;
        assert!(sockopt::socket_keepalive(&socket)?);
        assert_eq!(sockopt::tcp_keepidle(&socket)?, SILENCE);
        assert_eq!(sockopt::tcp_keepintvl(&socket)?, PROBE_INTERVAL);
        assert_eq!(sockopt::tcp_keepcnt(&socket)?, PROBES);
        Ok(())
    }
}
