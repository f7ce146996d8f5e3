//! Stops one thread of a process, as a disk that does not answer does.
//!
//! A signal stops all threads. A tracer may stop any single one, needs no root for a child process,
//! and nothing in the daemon has to know of it. The thread goes on when the tracer lets go of it or
//! ends.

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::fs;

/// A thread that stands still as long as this lives. To be dropped by the thread that made it.
pub(crate) struct Stalled {
    thread: Pid,
}

impl Stalled {
    /// Stops the thread of this name.
    pub(crate) fn new(process: rustix::process::Pid, name: &str) -> Self {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("the process runs");
        let tasks = tasks.map(|task| task.expect("tasks can be listed").path());
        let is_named = |task: &std::path::PathBuf| {
            fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name)
        };
        let mut found = tasks.filter(is_named);
        let task = found.next().unwrap_or_else(|| panic!("no thread is called {name}"));
        assert_eq!(found.next(), None, "two threads are called {name}");
        let id = task.file_name().and_then(|id| id.to_str()).and_then(|id| id.parse().ok());
        let thread = Pid::from_raw(id.expect("tasks are called by their ids"));
        ptrace::seize(thread, ptrace::Options::empty()).expect("a parent may trace its child");
        ptrace::interrupt(thread).expect("the thread is traced");
        waitpid(thread, Some(WaitPidFlag::__WALL)).expect("the thread stops");
        Self { thread }
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        ptrace::detach(self.thread, None).ok();
    }
}
