//! SIGTERM and SIGINT: the first asks for a stop, the second ends the process at once. SIGXFSZ: nothing.

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

/// Calls `stop` on the first signal, from a thread of its own. The second signal ends the process
/// from within its handler, however stuck the rest may be, with 128 + the signal's number.
///
/// # Errors
///
/// When the operating system refuses the handlers or the thread.
pub(crate) fn on_first(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let signalled = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // In this order: the first signal finds the flag down and raises it.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&signalled))?;
        flag::register(signal, Arc::clone(&signalled))?;
    }
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            stop();
        }
    })?;
    Ok(())
}

/// Lets a write beyond the limit on file sizes (`ulimit -f`) fail like one to a full disk, where it
/// would end the process.
///
/// # Errors
///
/// When the operating system refuses the handler.
pub(crate) fn survive_file_limit() -> io::Result<()> {
    // What matters is that there is a handler; the flag is read by nobody.
    flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    Ok(())
}
