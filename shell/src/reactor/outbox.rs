//! Bytes on their way to one socket.
//!
//! An outbox collects what a loop turn writes to its socket and hands it over in one system call;
//! what the kernel does not take stays. An empty one owns no memory: buffers come from a pool and
//! return to it.

use std::io::{self, Write};

/// Buffers that are kept for reuse have at most this capacity.
const KEEP: usize = 16 << 10;
/// A new buffer's capacity: one small message and a ping fit.
const START: usize = 256;
/// This many buffers are kept: as many as one loop turn usually fills.
const POOLED: usize = 1024;

/// Empty buffers. The last one used is the first one reused, while it is in the cache.
#[derive(Debug, Default)]
pub(super) struct Pool {
    buffers: Vec<Vec<u8>>,
}

impl Pool {
    fn take(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_else(|| Vec::with_capacity(START))
    }

    fn give(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= KEEP && self.buffers.len() < POOLED {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}

/// What an attempt to hand bytes to the kernel came to.
#[derive(Debug)]
pub(super) enum Flush {
    /// The kernel has taken everything.
    Done,
    /// The kernel takes no more until it says so.
    Blocked,
    /// The socket failed.
    Failed(io::Error),
}

/// The bytes that one socket has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    buffer: Vec<u8>,
    /// So much of the buffer has been taken.
    taken_here: usize,
    /// So much has been taken since the connection began.
    taken: u64,
}

impl Outbox {
    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.buffer.len() - self.taken_here
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.len() == self.taken_here
    }

    /// How many bytes the kernel has taken since the connection began.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// What [`taken`](Self::taken) will be once all that waits now is gone.
    pub(super) fn end(&self) -> u64 {
        self.taken + self.len() as u64
    }

    /// The buffer to append to.
    #[inline]
    pub(super) fn buffer(&mut self, pool: &mut Pool) -> &mut Vec<u8> {
        if self.buffer.capacity() == 0 {
            self.buffer = pool.take();
        }
        &mut self.buffer
    }

    /// Gives the buffer back if nothing was appended to it after all.
    #[inline]
    pub(super) fn tidy(&mut self, pool: &mut Pool) {
        if self.is_empty() && self.buffer.capacity() != 0 {
            self.taken_here = 0;
            pool.give(std::mem::take(&mut self.buffer));
        }
    }

    /// Hands what waits to the socket in one call.
    pub(super) fn flush(&mut self, socket: &mut impl Write, pool: &mut Pool) -> Flush {
        while !self.is_empty() {
            match socket.write(&self.buffer[self.taken_here..]) {
                Ok(0) => return Flush::Failed(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    self.taken_here += bytes;
                    self.taken += bytes as u64;
                    if !self.is_empty() {
                        // A short write means that the kernel's buffer is full; epoll reports
                        // when that changes.
                        self.compact();
                        return Flush::Blocked;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flush::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Flush::Failed(error),
            }
        }
        self.tidy(pool);
        Flush::Done
    }

    /// Moves what waits to the front once most of the buffer has been taken, so that each byte is
    /// moved at most once on average.
    fn compact(&mut self) {
        if self.taken_here > self.buffer.len() / 2 {
            self.buffer.drain(..self.taken_here);
            self.taken_here = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the given number of bytes per call, then blocks.
    struct Kernel {
        takes: Vec<usize>,
        got: Vec<u8>,
    }

    impl Write for Kernel {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let Some(takes) = self.takes.pop() else {
                return Err(io::ErrorKind::WouldBlock.into());
            };
            let bytes = &bytes[..takes.min(bytes.len())];
            self.got.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_the_kernel_leaves_stays_in_order() {
        let mut pool = Pool::default();
        let mut outbox = Outbox::default();
        outbox.buffer(&mut pool).extend_from_slice(b"abcdef");
        let mut kernel = Kernel { takes: vec![100, 3, 1], got: Vec::new() };
        assert!(matches!(outbox.flush(&mut kernel, &mut pool), Flush::Blocked));
        assert_eq!((outbox.len(), outbox.taken(), outbox.end()), (5, 1, 6));
        outbox.buffer(&mut pool).extend_from_slice(b"gh");
        assert!(matches!(outbox.flush(&mut kernel, &mut pool), Flush::Blocked));
        assert_eq!((outbox.len(), outbox.taken(), outbox.end()), (4, 4, 8));
        assert!(matches!(outbox.flush(&mut kernel, &mut pool), Flush::Done));
        assert_eq!(kernel.got, b"abcdefgh");
        assert_eq!((outbox.len(), outbox.taken(), outbox.end()), (0, 8, 8));
        assert_eq!(outbox.buffer.capacity(), 0, "an empty outbox owns no memory");
        assert_eq!(pool.buffers.len(), 1);
    }
}
