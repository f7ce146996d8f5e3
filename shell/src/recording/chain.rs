//! The segments of a recording, read back: which there are, whether they belong together, and their
//! frames.

use super::format::{
    Begins, End, Entry, FRAME_HEAD, Head, Kind, MAGIC, PREAMBLE, PROGRAM, VERSION, read_entry,
};
use super::segment;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};
use steadfast_core::time::Time;

/// The segments of a recording, in order and without a gap.
#[derive(Debug)]
pub struct Chain {
    segments: Vec<Link>,
}

/// One segment of a chain.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) path: PathBuf,
    /// `None` when the process ended before it was written.
    pub(super) head: Option<Head>,
    bytes: u64,
}

impl Chain {
    /// The chain of all segments of `file`, or of those from one of them on when it is named.
    ///
    /// # Errors
    /// There are none, one cannot be read, or one is missing or does not belong to the others.
    pub fn open(file: &Path) -> Result<Self, String> {
        let mut base = file.to_owned();
        let mut numbers = list(&base)?;
        if numbers.is_empty()
            && let Some((of, first)) = segment::split(file)
        {
            numbers = list(&of)?;
            numbers.retain(|number| *number >= first);
            base = of;
            if numbers.first() != Some(&first) {
                numbers.clear();
            }
        }
        if numbers.is_empty() {
            return Err(format!(
                "there is no recording {}: neither {} nor another segment of it exists",
                file.display(),
                segment::path_of(&base, 1).display()
            ));
        }
        let mut segments: Vec<Link> = Vec::new();
        for (index, number) in numbers.iter().enumerate() {
            let path = segment::path_of(&base, *number);
            if index > 0 && numbers[index - 1] + 1 != *number {
                let missing = segment::path_of(&base, numbers[index - 1] + 1);
                return Err(format!("{} is missing; {REMEDY}", missing.display()));
            }
            let link = Link::open(path, *number)?;
            if let Some(last) = segments.last() {
                last.check_next(&link)?;
            }
            segments.push(link);
        }
        Ok(Self { segments })
    }

    /// Leaves out the segments that end before `from`.
    pub fn begin_at(&mut self, from: Time) {
        let begun = |link: &Link| link.head.as_ref().is_some_and(|head| head.at <= from);
        let first = self.segments.iter().rposition(begun).unwrap_or(0);
        self.segments.drain(..first);
    }

    /// When its first segment was begun.
    #[must_use]
    pub fn begun_at(&self) -> Option<Time> {
        self.segments.first()?.head.as_ref().map(|head| head.at)
    }

    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|link| link.bytes).sum()
    }

    pub(super) fn segments(&self) -> &[Link] {
        &self.segments
    }

    /// Whether the segment at this place is the last of its run: a crash may have torn its end.
    pub(super) fn is_last_of_run(&self, index: usize) -> bool {
        let next = self.segments.get(index + 1);
        let begins_run = |head: &Head| head.begins == Begins::AtStart;
        next.is_none_or(|next| next.head.as_ref().is_some_and(begins_run))
    }
}

/// What to do about a gap.
const REMEDY: &str = "restore it, or name the first segment after the gap instead of the recording";

fn list(base: &Path) -> Result<Vec<u32>, String> {
    segment::list(base)
        .map_err(|error| format!("cannot look for segments of {}: {error}", base.display()))
}

impl Link {
    fn open(path: PathBuf, number: u32) -> Result<Self, String> {
        let (mut reader, bytes) = Reader::open(&path)?;
        let head = match reader.frame()? {
            Frame::Whole(Kind::Head, content) => Some(reader.decode::<Head>(&content)?),
            Frame::Whole(..) => return Err(reader.damaged("does not begin with its head")),
            Frame::Torn(_) | Frame::None => None,
        };
        if let Some(head) = head.as_ref().filter(|head| head.program != PROGRAM) {
            return Err(format!(
                "{} was recorded by steadfast {}, and this is {PROGRAM}; replay it with that version",
                path.display(),
                head.program
            ));
        }
        if let Some(head) = head.as_ref().filter(|head| head.number != number) {
            return Err(format!(
                "{} was written as segment {}: it was renamed, and is out of its order; {REMEDY}",
                path.display(),
                head.number
            ));
        }
        Ok(Self { path, head, bytes })
    }

    fn check_next(&self, next: &Self) -> Result<(), String> {
        let (before, after) = (self.path.display(), next.path.display());
        match (&self.head, &next.head) {
            (_, Some(next)) if next.begins == Begins::AtStart => Ok(()),
            (Some(_), None) => Ok(()),
            (Some(head), Some(next)) if head.run == next.run => Ok(()),
            (Some(_), Some(_)) => Err(format!(
                "{after} does not go on {before}: they are of different runs of the daemon; {REMEDY}"
            )),
            (None, _) => Err(format!("{before} is torn in its beginning; {REMEDY}")),
        }
    }
}

/// A segment being read.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    input: BufReader<File>,
    offset: u64,
    left: u64,
}

/// What comes next in a segment.
#[derive(Debug)]
pub(super) enum Frame {
    /// A whole frame.
    Whole(Kind, Vec<u8>),
    /// The beginning of a frame, of so many bytes, and then the file ends.
    Torn(u64),
    /// The end of the file.
    None,
}

impl Reader {
    /// Opens a segment; tells its length.
    pub(super) fn open(path: &Path) -> Result<(Self, u64), String> {
        let cannot = |error| format!("cannot read {}: {error}", path.display());
        let file = File::open(path).map_err(cannot)?;
        let bytes = file.metadata().map_err(cannot)?.len();
        let mut reader =
            Self { path: path.to_owned(), input: BufReader::new(file), offset: 0, left: bytes };
        let preamble = reader.bytes(bytes.min(PREAMBLE as u64))?;
        let magic = &preamble[..preamble.len().min(MAGIC.len())];
        if magic != &MAGIC[..magic.len()] {
            return Err(format!("{} is no recording", path.display()));
        }
        if let Some(version) = preamble[magic.len()..].first_chunk() {
            let version = u16::from_le_bytes(*version);
            if version != VERSION {
                return Err(format!(
                    "{} has format version {version}, and this program reads {VERSION}; replay it \
                     with the version of steadfast that recorded it",
                    path.display()
                ));
            }
        }
        Ok((reader, bytes))
    }

    /// How many bytes have been read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the next frame.
    pub(super) fn frame(&mut self) -> Result<Frame, String> {
        if self.left < FRAME_HEAD as u64 {
            return Ok(if self.left == 0 { Frame::None } else { Frame::Torn(self.left) });
        }
        let left = self.left;
        let head = self.bytes(FRAME_HEAD as u64)?;
        let word = |at: usize| {
            let bytes = head[at..].first_chunk().expect("a head has three words");
            u32::from_le_bytes(*bytes)
        };
        let (length, body_sum, head_sum) = (u64::from(word(0)), word(4), word(8));
        if crc32fast::hash(&head[..8]) != head_sum {
            // After a power cut a file may be longer than what was written to it.
            if head.iter().all(|byte| *byte == 0) && self.rest_is_zero()? {
                return Ok(Frame::Torn(left));
            }
            return Err(self.damaged("has a wrong checksum before the end"));
        }
        if length > self.left {
            return Ok(Frame::Torn(left));
        }
        let mut body = self.bytes(length)?;
        if crc32fast::hash(&body) != body_sum {
            return Err(self.damaged("has a wrong checksum before the end"));
        }
        let kind = body.first().copied().and_then(Kind::from_byte);
        let Some(kind) = kind else { return Err(self.damaged("has a frame of no known kind")) };
        body.remove(0);
        Ok(Frame::Whole(kind, body))
    }

    /// The value that a frame holds.
    pub(super) fn decode<T: DeserializeOwned>(&self, content: &[u8]) -> Result<T, String> {
        postcard::from_bytes(content).map_err(|error| self.undecodable(error))
    }

    /// The entries that a frame holds.
    pub(super) fn entries<'a>(
        &'a self,
        mut content: &'a [u8],
        mut last: Time,
    ) -> impl Iterator<Item = Result<Entry, String>> + 'a {
        std::iter::from_fn(move || {
            if content.is_empty() {
                return None;
            }
            let entry = read_entry(&mut content, last);
            if let Ok(entry) = &entry {
                last = entry.at;
            }
            Some(entry.map_err(|error| self.undecodable(error)))
        })
    }

    /// Reads the end, after which there must be nothing.
    pub(super) fn end(&mut self, content: &[u8]) -> Result<End, String> {
        let end = self.decode(content)?;
        if self.left > 0 {
            return Err(self.damaged("goes on behind its end"));
        }
        Ok(end)
    }

    /// Says what is wrong, and where.
    pub(super) fn damaged(&self, what: &str) -> String {
        format!(
            "{} is damaged: it {what} (at byte {}); restore it from a copy",
            self.path.display(),
            self.offset
        )
    }

    fn undecodable(&self, error: postcard::Error) -> String {
        format!(
            "{} cannot be understood (before byte {}): {error}; replay it with the version of \
             steadfast that recorded it",
            self.path.display(),
            self.offset
        )
    }

    fn bytes(&mut self, count: u64) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; usize::try_from(count).expect("a frame fits into memory")];
        let read = self.input.read_exact(&mut bytes);
        read.map_err(|error| format!("cannot read {}: {error}", self.path.display()))?;
        self.offset += count;
        self.left -= count;
        Ok(bytes)
    }

    fn rest_is_zero(&mut self) -> Result<bool, String> {
        let rest =
            io::Read::bytes(&mut self.input).take(usize::try_from(self.left).unwrap_or(usize::MAX));
        for byte in rest {
            match byte {
                Ok(0) => {}
                Ok(_) => return Ok(false),
                Err(error) => return Err(format!("cannot read {}: {error}", self.path.display())),
            }
        }
        self.left = 0;
        Ok(true)
    }
}
