//! Runs a recording through the core once more, and compares.

use super::chain::{Chain, Frame, Link, Reader};
use super::format::{Begins, Digest, EndReason, Entry, Head, Kind};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use steadfast_core::command::Command;
use steadfast_core::event::Event;
use steadfast_core::gateway::Gateway;
use steadfast_core::id::Key;
use steadfast_core::time::Time;

/// What a replay comes by.
#[derive(Debug)]
pub enum Sight<'a> {
    /// A run of the daemon begins.
    RunBegins(&'a Path, &'a Head),
    /// The replay takes up a run from its state at the beginning of this segment.
    RunTakenUp(&'a Path, &'a Head),
    /// An event.
    Moment(&'a Moment<'a>),
    /// How a run ended, as far as it is known.
    RunEnds(&'a Path, &'a Ending),
}

/// One event and what it caused.
#[derive(Debug)]
pub struct Moment<'a> {
    /// When it was.
    pub at: Time,
    /// What the gateway was told.
    pub event: &'a Event,
    /// The key that the event was about, as far as the gateway knew before it.
    pub concerned: Option<Key>,
    /// What the gateway ordered.
    pub commands: &'a [Command],
    /// The gateway afterwards.
    pub gateway: &'a Gateway,
    /// How many bytes of the chain have been read.
    pub progress: u64,
}

/// How the recording of a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The gateway was stopped.
    Stopped(Time),
    /// The recording could not be kept up.
    Failed(Time, String),
    /// There is no end: the process was killed, or is still running.
    Open,
    /// So many bytes at the end are no whole frame: the process or the machine went down.
    Torn(u64),
}

/// Why a replay ended early.
#[derive(Debug)]
pub enum Problem {
    /// The recording cannot be used; the text says why and what to do.
    Refused(String),
    /// The core did not do what it had done.
    Differs(Box<Difference>),
}

/// Where a replay differs from what was recorded.
#[derive(Debug)]
pub struct Difference {
    /// In which segment.
    pub segment: PathBuf,
    /// At which event, counted from 1 through the whole run; in its state before the event when there
    /// is no event.
    pub number: u64,
    /// When.
    pub at: Time,
    /// What was told, and what the recording knows of the commands then; nothing when it is the
    /// gateway's state that differs.
    pub event: Option<(Event, Digest)>,
    /// What came of it now.
    pub commands: Vec<Command>,
}

/// Shows the whole chain to `look`, until that breaks off or something is wrong.
///
/// # Errors
/// The chain is damaged or has a gap, or the core did other things than it had done.
pub fn play(
    chain: &Chain,
    look: &mut dyn FnMut(Sight<'_>) -> ControlFlow<()>,
) -> Result<(), Problem> {
    let mut player = Player { look, run: None, scratch: Vec::new(), commands: Vec::new(), done: 0 };
    for (index, link) in chain.segments().iter().enumerate() {
        let played = player.segment(link, chain.is_last_of_run(index));
        if played?.is_break() {
            return Ok(());
        }
    }
    Ok(())
}

struct Player<'a> {
    look: &'a mut dyn FnMut(Sight<'_>) -> ControlFlow<()>,
    run: Option<Run>,
    scratch: Vec<u8>,
    commands: Vec<Command>,
    /// Bytes of the segments that are done.
    done: u64,
}

/// A run of the daemon, as far as it was replayed.
struct Run {
    gateway: Gateway,
    next_event: u64,
    /// The time of the last event of the segment; the epoch before its first.
    last: Time,
}

type Played = Result<ControlFlow<()>, Problem>;

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self::Refused(text)
    }
}

impl Player<'_> {
    fn segment(&mut self, link: &Link, is_last: bool) -> Played {
        let (mut reader, bytes) = Reader::open(&link.path)?;
        let Some(head) = &link.head else {
            return Ok((self.look)(Sight::RunEnds(&link.path, &Ending::Torn(bytes))));
        };
        reader.frame()?;
        let torn = match head.begins {
            Begins::AtStart => {
                let gateway = head.origin.gateway();
                self.run = Some(Run { gateway, next_event: head.first_event, last: Time::EPOCH });
                if (self.look)(Sight::RunBegins(&link.path, head)).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                None
            }
            Begins::AtState => match reader.frame()? {
                Frame::Whole(Kind::State, state) => {
                    if self.state(&reader, link, head, &state)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    None
                }
                Frame::Whole(..) => return Err(reader.damaged("lacks the gateway's state").into()),
                Frame::Torn(bytes) => Some(bytes),
                Frame::None => Some(0),
            },
        };
        let played = match torn {
            None => self.frames(reader, link, is_last)?,
            Some(bytes) if is_last => (self.look)(Sight::RunEnds(&link.path, &Ending::Torn(bytes))),
            Some(_) => return Err(reader.damaged("is torn").into()),
        };
        self.done += bytes;
        Ok(played)
    }

    /// Takes the state that a segment begins with: as what the gateway has to be by now, or, where the
    /// chain begins, as what it is.
    fn state(&mut self, reader: &Reader, link: &Link, head: &Head, state: &[u8]) -> Played {
        let Some(run) = &mut self.run else {
            let gateway = reader.decode(state)?;
            self.run = Some(Run { gateway, next_event: head.first_event, last: Time::EPOCH });
            return Ok((self.look)(Sight::RunTakenUp(&link.path, head)));
        };
        if run.next_event != head.first_event {
            return Err(Problem::Refused(format!(
                "{} begins with event {}, and the segment before it ends before event {}: events are \
                 missing; restore it, or name {} instead of the recording",
                link.path.display(),
                head.first_event,
                run.next_event,
                link.path.display()
            )));
        }
        self.scratch.clear();
        super::format::write(&run.gateway, &mut self.scratch);
        if self.scratch != state {
            return Err(Problem::Differs(Box::new(Difference {
                segment: link.path.clone(),
                number: head.first_event,
                at: head.at,
                event: None,
                commands: Vec::new(),
            })));
        }
        run.last = Time::EPOCH;
        Ok(ControlFlow::Continue(()))
    }

    fn frames(&mut self, mut reader: Reader, link: &Link, is_last: bool) -> Played {
        let ending = loop {
            match reader.frame()? {
                Frame::Whole(Kind::Events, content) => {
                    let last = self.run.as_ref().expect("a segment is of a run").last;
                    for entry in reader.entries(&content, last) {
                        if self.event(link, &entry?, reader.offset())?.is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                }
                Frame::Whole(Kind::End, content) => {
                    let end = reader.end(&content)?;
                    let run = self.run.as_ref().expect("a segment is of a run");
                    if end.next_event != run.next_event {
                        return Err(reader.damaged("lacks events before its end").into());
                    }
                    break match end.reason {
                        EndReason::Full if is_last => {
                            return Err(Problem::Refused(format!(
                                "the segment after {} is missing: it ends because it was full; \
                                 restore it",
                                link.path.display()
                            )));
                        }
                        EndReason::Full => return Ok(ControlFlow::Continue(())),
                        EndReason::Stopped => Ending::Stopped(end.at),
                        EndReason::Failed(reason) => Ending::Failed(end.at, reason),
                    };
                }
                Frame::Whole(Kind::Head | Kind::State, _) => {
                    return Err(reader.damaged("has a second beginning").into());
                }
                // The next segment tells whether anything is missing.
                Frame::None if !is_last => return Ok(ControlFlow::Continue(())),
                Frame::None => break Ending::Open,
                Frame::Torn(bytes) if is_last => break Ending::Torn(bytes),
                Frame::Torn(_) => return Err(reader.damaged("is torn").into()),
            }
        };
        Ok((self.look)(Sight::RunEnds(&link.path, &ending)))
    }

    fn event(&mut self, link: &Link, entry: &Entry, offset: u64) -> Played {
        let run = self.run.as_mut().expect("a segment is of a run");
        let (at, event) = (entry.at, &entry.event);
        let concerned = run.gateway.key_concerned(event);
        self.commands.clear();
        run.gateway.handle(at, event.clone(), &mut self.commands);
        let number = run.next_event;
        run.next_event += 1;
        run.last = at;
        if Digest::of(&self.commands, &mut self.scratch) != entry.digest {
            return Err(Problem::Differs(Box::new(Difference {
                segment: link.path.clone(),
                number,
                at,
                event: Some((event.clone(), entry.digest)),
                commands: std::mem::take(&mut self.commands),
            })));
        }
        let (commands, gateway) = (&self.commands[..], &run.gateway);
        let progress = self.done + offset;
        let moment = Moment { at, event, concerned, commands, gateway, progress };
        Ok((self.look)(Sight::Moment(&moment)))
    }
}
