//! The files of a recording: their names, and one of them being written.

use super::format::{self, Begins, End, EndReason, Head, Kind, MAGIC, VERSION};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use steadfast_core::time::Time;

/// How many digits the number in a file's name has at least.
const DIGITS: usize = 6;

/// The name of the segment with this number.
pub(super) fn path_of(base: &Path, number: u32) -> PathBuf {
    let mut name = base.as_os_str().to_owned();
    name.push(format!(".{number:0DIGITS$}"));
    name.into()
}

/// The number in the name of a segment of `base`.
fn number_in(base: &Path, name: &std::ffi::OsStr) -> Option<u32> {
    let rest = name.to_str()?.strip_prefix(base.file_name()?.to_str()?)?.strip_prefix('.')?;
    let is_number = rest.len() >= DIGITS && rest.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { rest.parse().ok() } else { None }
}

/// What a segment's name begins with, and its number.
pub(super) fn split(path: &Path) -> Option<(PathBuf, u32)> {
    let base = path.with_extension("");
    let number = number_in(&base, path.file_name()?)?;
    Some((base, number))
}

/// The numbers of the segments there are, in order.
pub(super) fn list(base: &Path) -> io::Result<Vec<u32>> {
    let folder = match base.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    };
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        numbers.extend(number_in(base, &entry?.file_name()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A segment being written.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    /// Where the last whole frame ends, and the number of the event after it.
    whole: (u64, u64),
    /// The same of the frame before it.
    before: (u64, u64),
}

impl Segment {
    /// Makes the file, which only its owner may read: payloads are in it.
    pub(super) fn create(base: &Path, head: &Head, state: Option<&[u8]>) -> io::Result<Self> {
        let path = path_of(base, head.number);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let began = Self::begin(file, head, state);
        if began.is_err() {
            // What is no whole segment is none. That it cannot be removed is no further trouble.
            let _ = fs::remove_file(&path);
        }
        began
    }

    fn begin(mut file: File, head: &Head, state: Option<&[u8]>) -> io::Result<Self> {
        assert_eq!(
            state.is_some(),
            head.begins == Begins::AtState,
            "a state stands where it is due"
        );
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        file.write_all(&bytes)?;
        let place = (bytes.len() as u64, head.first_event);
        let mut segment = Self { file, whole: place, before: place };
        let mut content = Vec::new();
        format::write(head, &mut content);
        segment.append(Kind::Head, &content, 0)?;
        if let Some(state) = state {
            segment.append(Kind::State, state, 0)?;
        }
        // The end must not overwrite what the segment begins with.
        segment.before = segment.whole;
        Ok(segment)
    }

    /// The number of the next event.
    pub(super) fn next_event(&self) -> u64 {
        self.whole.1
    }

    /// Appends `count` encoded events.
    pub(super) fn events(&mut self, events: &[u8], count: u64) -> io::Result<()> {
        self.append(Kind::Events, events, count)
    }

    /// Ends the segment. Where there is no room left, the end takes the place of a frame that was
    /// not wholly written, or else of the last that was.
    pub(super) fn end(mut self, at: Time, reason: &EndReason) -> io::Result<()> {
        let mut result = Ok(());
        for (offset, next_event) in [self.whole, self.before] {
            result = self.end_at(offset, &End { next_event, at, reason: reason.clone() });
            if result.is_ok() {
                return self.file.sync_data();
            }
        }
        result
    }

    fn end_at(&mut self, offset: u64, end: &End) -> io::Result<()> {
        let mut content = Vec::new();
        format::write(end, &mut content);
        let frame = format::frame(Kind::End, &content).map_err(io::Error::other)?;
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.write_all(&frame)?;
        self.file.set_len(offset + frame.len() as u64)
    }

    fn append(&mut self, kind: Kind, content: &[u8], events: u64) -> io::Result<()> {
        let frame = format::frame(kind, content).map_err(io::Error::other)?;
        self.file.write_all(&frame)?;
        let (offset, next_event) = self.whole;
        self.before = self.whole;
        self.whole = (offset + frame.len() as u64, next_event + events);
        Ok(())
    }
}
