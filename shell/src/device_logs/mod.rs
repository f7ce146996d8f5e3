//! The consumer of the device log: takes what devices logged from where it waits, and passes it on.
//!
//! Entries are given to a [`Sink`], and only when they are safe there they are removed from their
//! [`Source`]. Whatever ends the consumer in between leaves entries that are not removed; they are
//! taken again, so each is passed on at least once. No sockets and no disk: what they are for
//! `steadfast device-logs` stands beside its command line, and simulated worlds have their own.

pub mod lists;

use std::time::Duration;

/// How long a source may wait for something to take: so late a stop is noticed.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Where entries come from.
pub trait Source {
    /// What it is, for people.
    fn name(&self) -> String;

    /// Takes some entries, oldest first; waits for the first for up to [`PATIENCE`], or gives nothing
    /// at once. What was taken before and is not confirmed is given again.
    ///
    /// # Errors
    /// It gave nothing; what it has is not touched.
    fn take(&mut self) -> Result<Taken, Trouble>;

    /// Removes what was taken last: it is safe now.
    ///
    /// # Errors
    /// Some of it may be removed; the rest is given again.
    fn confirm(&mut self) -> Result<(), Trouble>;

    /// How long to leave it alone when it had nothing.
    fn pause(&self) -> Duration;
}

/// Where lines go.
pub trait Sink {
    /// Appends whole lines: they are safe when it returns.
    ///
    /// # Errors
    /// They are not, for this reason.
    fn append(&mut self, lines: &[u8]) -> Result<(), String>;
}

/// Entries that were taken.
#[derive(Debug, Default)]
pub struct Taken {
    /// A line for each that is to be written.
    pub lines: Vec<u8>,
    /// How many lines.
    pub count: u64,
    /// How many entries are no JSON.
    pub rejected: u64,
    /// What people should know.
    pub notes: Vec<String>,
}

/// Why a source did not do what it was asked.
#[derive(Debug)]
pub enum Trouble {
    /// It may be over soon.
    Passing(String),
    /// It stays until somebody does something about it.
    Lasting(String),
}

/// What was passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// How many entries.
    pub entries: u64,
    /// How many were rejected.
    pub rejected: u64,
}

/// Takes some entries all the way.
///
/// # Errors
/// What the source or the sink says. Nothing is lost; some entries may be passed on again.
pub fn pass_on(
    source: &mut dyn Source,
    sink: &mut dyn Sink,
    tell: impl FnMut(&str),
) -> Result<Passed, Trouble> {
    let Taken { lines, count, rejected, notes } = source.take()?;
    sink.append(&lines).map_err(Trouble::Lasting)?;
    notes.iter().map(String::as_str).for_each(tell);
    if count + rejected > 0 {
        source.confirm()?;
    }
    Ok(Passed { entries: count, rejected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::VecDeque;

    /// A list, a disk, and so many moments until the power fails.
    struct Machine {
        list: VecDeque<String>,
        under_way: Vec<String>,
        file: Vec<String>,
        /// How many lines of the file are on disk.
        synced: usize,
        moments: u32,
    }

    impl Machine {
        fn new(moments: u32) -> Self {
            let list = (0..7).map(|number| number.to_string()).collect();
            Self { list, under_way: Vec::new(), file: Vec::new(), synced: 0, moments }
        }

        fn passes(&mut self) -> Result<(), String> {
            let left = self.moments.checked_sub(1).ok_or("the power failed")?;
            self.moments = left;
            Ok(())
        }
    }

    struct List<'a>(&'a RefCell<Machine>);

    impl Source for List<'_> {
        fn name(&self) -> String {
            "a list".to_owned()
        }

        fn take(&mut self) -> Result<Taken, Trouble> {
            let mut machine = self.0.borrow_mut();
            machine.passes().map_err(Trouble::Lasting)?;
            if machine.under_way.is_empty() {
                let count = machine.list.len().min(3);
                machine.under_way = machine.list.drain(..count).collect();
            }
            let lines = machine.under_way.join("\n").into_bytes();
            Ok(Taken { lines, count: machine.under_way.len() as u64, ..Taken::default() })
        }

        fn confirm(&mut self) -> Result<(), Trouble> {
            let mut machine = self.0.borrow_mut();
            machine.passes().map_err(Trouble::Lasting)?;
            machine.under_way.clear();
            Ok(())
        }

        fn pause(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[derive(Clone, Copy)]
    enum Syncs {
        BeforeItReturns,
        /// When something is appended behind it: what was appended may be removed by then.
        Later,
    }

    struct Disk<'a>(&'a RefCell<Machine>, Syncs);

    impl Sink for Disk<'_> {
        fn append(&mut self, lines: &[u8]) -> Result<(), String> {
            let mut machine = self.0.borrow_mut();
            if let Syncs::Later = self.1 {
                machine.passes()?;
                machine.synced = machine.file.len();
            }
            machine.passes()?;
            let lines = std::str::from_utf8(lines).expect("lines are text").lines();
            machine.file.extend(lines.map(str::to_owned));
            if let Syncs::BeforeItReturns = self.1 {
                machine.passes()?;
                machine.synced = machine.file.len();
            }
            Ok(())
        }
    }

    /// Takes until there is nothing left, or the power fails.
    fn consume(machine: &RefCell<Machine>, syncs: Syncs) {
        let (mut source, mut files) = (List(machine), Disk(machine, syncs));
        while pass_on(&mut source, &mut files, |_| ()).is_ok_and(|passed| passed.entries > 0) {}
    }

    /// How many entries are in no file after a failure at some moment and another run.
    fn lost(syncs: Syncs) -> usize {
        let losses = (0..20).map(|moments| {
            let machine = RefCell::new(Machine::new(moments));
            consume(&machine, syncs);
            let synced = machine.borrow().synced;
            machine.borrow_mut().file.truncate(synced);
            machine.borrow_mut().moments = u32::MAX;
            consume(&machine, syncs);
            let machine = machine.into_inner();
            let entries = (0..7).map(|number| number.to_string());
            entries.filter(|entry| !machine.file.contains(entry)).count()
        });
        losses.sum()
    }

    #[test]
    fn whenever_the_power_fails_nothing_is_lost() {
        assert_eq!(lost(Syncs::BeforeItReturns), 0);
    }

    /// The test above notices a consumer that removes entries before they are synced.
    #[test]
    fn an_entry_that_is_removed_before_its_sync_is_missed() {
        assert!(lost(Syncs::Later) > 0);
    }
}
