//! Where lines go: standard output, or a file that is renewed daily.
//!
//! The file in use always has the configured name. When a record of another UTC day comes, the file
//! is renamed to `NAME.YYYY-MM-DD`, after the day it is about, and a new one begun. A file left by an
//! earlier run is continued on the same day and renamed on another, and one that was moved away
//! under our feet (by logrotate, say) is begun anew within a second of the next line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use steadfast_core::time::Time;

const DAY_US: u64 = 86_400_000_000;
const MOVED_CHECK: Duration = Duration::from_secs(1);

/// Where lines go.
#[derive(Debug)]
pub(super) enum Output {
    /// Standard output.
    Stdout,
    /// A file.
    File(DailyFile),
    /// Nowhere: for measurements.
    #[cfg(test)]
    Discard,
}

/// A file that is renewed daily.
#[derive(Debug)]
pub(super) struct DailyFile {
    path: PathBuf,
    file: File,
    /// The day that the file is about, in days since the epoch; unknown while it is empty.
    day: Option<u64>,
    checked: Instant,
}

impl Output {
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        path.map_or(Ok(Self::Stdout), |path| DailyFile::open(path).map(Self::File))
    }

    /// Whether a line of this time belongs into another file than the lines before it.
    pub(super) fn turns_at(&self, time: Time) -> bool {
        match self {
            Self::Stdout => false,
            #[cfg(test)]
            Self::Discard => false,
            Self::File(file) => file.day != Some(time.as_micros() / DAY_US),
        }
    }

    /// Makes ready for lines of this time; all earlier ones have to be written.
    pub(super) fn turn(&mut self, time: Time) -> io::Result<()> {
        match self {
            Self::Stdout => Ok(()),
            #[cfg(test)]
            Self::Discard => Ok(()),
            Self::File(file) => file.turn(time.as_micros() / DAY_US),
        }
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
            Self::File(file) => file.write(lines),
            #[cfg(test)]
            Self::Discard => Ok(()),
        }
    }
}

impl DailyFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = append_to(path)?;
        let metadata = file.metadata()?;
        let day = (metadata.len() > 0).then(|| day_of(metadata.modified().ok())).flatten();
        Ok(Self { path: path.to_owned(), file, day, checked: Instant::now() })
    }

    fn turn(&mut self, day: u64) -> io::Result<()> {
        // The clock may be set back at a restart; lines of an earlier day join the later file.
        if let Some(last) = self.day.filter(|last| *last < day) {
            fs::rename(&self.path, self.dated(last))?;
            self.file = append_to(&self.path)?;
        }
        self.day = Some(day);
        Ok(())
    }

    /// The name for the file of a day that is over; never that of a file that exists.
    fn dated(&self, day: u64) -> PathBuf {
        let date = Time::from_micros(day * DAY_US).to_string();
        let date = &date[..date.find('T').expect("ISO 8601 has a T")];
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{date}"));
        let plain = PathBuf::from(&name);
        let numbered = (1..).map(|number| {
            let mut name = name.clone();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        });
        std::iter::once(plain)
            .chain(numbered)
            .find(|path| !path.exists())
            .expect("not all numbers are taken")
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.checked.elapsed() >= MOVED_CHECK {
            self.checked = Instant::now();
            if self.was_moved()? {
                self.file = append_to(&self.path)?;
            }
        }
        self.file.write_all(lines)
    }

    fn was_moved(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        Ok(match fs::metadata(&self.path) {
            Ok(there) => (there.dev(), there.ino()) != (ours.dev(), ours.ino()),
            Err(_) => true,
        })
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn day_of(modified: Option<SystemTime>) -> Option<u64> {
    let since = modified?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(since.as_secs() / 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: u64) -> Time {
        Time::from_micros(day * DAY_US + 5)
    }

    fn write(output: &mut Output, day: u64, line: &str) {
        if output.turns_at(at(day)) {
            output.turn(at(day)).unwrap();
        }
        output.write(line.as_bytes()).unwrap();
    }

    fn files(dir: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    fn expect(dir: &Path, expected: &[(&str, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        assert_eq!(files(dir), expected);
    }

    #[test]
    fn a_new_day_begins_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = Output::open(Some(&dir.path().join("sf.log"))).unwrap();
        write(&mut output, 20_000, "a\n");
        write(&mut output, 20_000, "b\n");
        write(&mut output, 20_001, "c\n");
        write(&mut output, 20_000, "late\n");
        expect(dir.path(), &[("sf.log", "c\nlate\n"), ("sf.log.2024-10-04", "a\nb\n")]);
    }

    #[test]
    fn a_file_of_today_is_continued_and_one_of_another_day_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sf.log");
        let today = day_of(Some(SystemTime::now())).unwrap();
        write(&mut Output::open(Some(&path)).unwrap(), today, "a\n");
        write(&mut Output::open(Some(&path)).unwrap(), today, "b\n");
        expect(dir.path(), &[("sf.log", "a\nb\n")]);
        let date = Time::from_micros(today * DAY_US).to_string()[..10].to_owned();
        fs::write(dir.path().join(format!("sf.log.{date}")), "older\n").unwrap();
        write(&mut Output::open(Some(&path)).unwrap(), today + 1, "c\n");
        expect(
            dir.path(),
            &[
                ("sf.log", "c\n"),
                (&format!("sf.log.{date}"), "older\n"),
                (&format!("sf.log.{date}.1"), "a\nb\n"),
            ],
        );
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sf.log");
        let mut output = Output::open(Some(&path)).unwrap();
        write(&mut output, 20_000, "a\n");
        fs::rename(&path, dir.path().join("moved")).unwrap();
        let Output::File(file) = &mut output else { panic!("a file was opened") };
        file.checked = Instant::now().checked_sub(MOVED_CHECK).unwrap();
        write(&mut output, 20_000, "b\n");
        expect(dir.path(), &[("moved", "a\n"), ("sf.log", "b\n")]);
    }
}
