//! The files: one a day, lines appended and synced.

use super::log;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A directory of ours alone, and today's file in it.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
    today: Option<Today>,
}

#[derive(Debug)]
struct Today {
    date: Date,
    path: PathBuf,
    file: File,
    /// Where the next line goes: everything before is whole lines.
    length: u64,
}

impl Files {
    /// Takes the directory, and makes it if it is missing.
    ///
    /// # Errors
    /// It cannot be used, or another process uses it; the text says what to do.
    pub(super) fn open(directory: &Path) -> Result<Self, String> {
        let wrong = |error: &dyn std::fmt::Display| {
            format!(
                "cannot write to the directory {} (--dir): {error}; check the path and its \
                 permissions, or choose another",
                directory.display()
            )
        };
        std::fs::create_dir_all(directory).map_err(|error| wrong(&error))?;
        let lock = File::create(directory.join("lock")).map_err(|error| wrong(&error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!(
                    "another steadfast device-logs writes to the directory {} (--dir); stop it, or \
                     choose another directory",
                    directory.display()
                ));
            }
            Err(TryLockError::Error(error)) => return Err(wrong(&error)),
        }
        Ok(Self { directory: directory.to_owned(), _lock: lock, today: None })
    }

    /// Appends whole lines to today's file; they are on disk when it returns.
    ///
    /// # Errors
    /// They are not. The file ends with a whole line all the same, if that can be helped.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), String> {
        let date = Timestamp::now().to_zoned(TimeZone::UTC).date();
        self.append_on(date, lines)
    }

    fn append_on(&mut self, date: Date, lines: &[u8]) -> Result<(), String> {
        if lines.is_empty() {
            return Ok(());
        }
        let path = self.directory.join(format!("device-{date}.log"));
        self.write(date, &path, lines).map_err(|error| {
            format!(
                "cannot write to {}: {error}; no entry is lost, those not written stay where they \
                 are; free space, check permissions, or choose another --dir",
                path.display()
            )
        })
    }

    fn write(&mut self, date: Date, path: &Path, lines: &[u8]) -> io::Result<()> {
        let today = match self.today.take() {
            Some(today) if today.date == date && today.is_in_place()? => today,
            Some(_) | None => Today::open(date, path, &self.directory)?,
        };
        let today = self.today.insert(today);
        let written = today.file.write_all(lines).and_then(|()| today.file.sync_data());
        match written {
            Ok(()) => today.length += lines.len() as u64,
            Err(_) => {
                // Otherwise the next to open the file does it.
                let _ = today.file.set_len(today.length);
                self.today = None;
            }
        }
        written
    }
}

impl Today {
    fn open(date: Date, path: &Path, directory: &Path) -> io::Result<Self> {
        let is_new = !path.exists();
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        if is_new {
            // The name has to be as safe as what is written under it.
            File::open(directory)?.sync_all()?;
        }
        let length = mend(&mut file, path)?;
        Ok(Self { date, path: path.to_owned(), file, length })
    }

    /// Whether the file is still the one of its name: others may move or remove it.
    fn is_in_place(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Sees to it that the file ends with a whole line, and gives its length. What a crash left of a line
/// goes: its entry was not removed and comes again.
fn mend(file: &mut File, path: &Path) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let start = last_line(file, length)?;
    if start == length {
        return Ok(length);
    }
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    if is_whole(&tail) {
        file.write_all(b"\n")?;
        return Ok(length + 1);
    }
    file.set_len(start)?;
    log(&format!("[device logs mend] file={} bytes={}", path.display(), length - start));
    Ok(start)
}

/// Where the line at the end begins that has no end.
fn last_line(file: &mut File, length: u64) -> io::Result<u64> {
    let mut end = length;
    let mut block = [0; 4 << 10];
    while end > 0 {
        let size = end.min(block.len() as u64);
        let block = &mut block[..usize::try_from(size).unwrap_or_default()];
        file.seek(SeekFrom::Start(end - size))?;
        file.read_exact(block)?;
        if let Some(at) = memchr::memrchr(b'\n', block) {
            return Ok(end - size + at as u64 + 1);
        }
        end -= size;
    }
    Ok(0)
}

/// Whether only the line's end is missing. A number may be the beginning of a longer one.
fn is_whole(line: &[u8]) -> bool {
    matches!(line.first(), Some(b'{' | b'[' | b'"')) && crate::device_logs::lists::is_json(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn date(day: i8) -> Date {
        jiff::civil::date(2026, 11, day)
    }

    #[test]
    fn each_day_has_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = Files::open(&directory.path().join("a/b")).unwrap();
        let read = |day: i8| {
            let name = format!("a/b/device-2026-11-0{day}.log");
            fs::read_to_string(directory.path().join(name)).unwrap()
        };
        files.append_on(date(1), b"1\n").unwrap();
        files.append_on(date(1), b"2\n3\n").unwrap();
        files.append_on(date(2), b"4\n").unwrap();
        assert_eq!((&*read(1), &*read(2)), ("1\n2\n3\n", "4\n"));
    }

    #[test]
    fn one_process_at_a_time_has_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::open(directory.path()).unwrap();
        let refused = Files::open(directory.path()).unwrap_err();
        assert!(refused.contains("another steadfast device-logs"), "{refused}");
        drop(files);
        Files::open(directory.path()).unwrap();
    }

    #[test]
    fn what_a_crash_left_of_a_line_goes() {
        let long = format!("{{\"a\":\"{}", "x".repeat(9_000));
        let whole = format!("{long}\"}}");
        for (before, after) in [
            ("", "new\n"),
            ("1\n", "1\nnew\n"),
            ("1\n2", "1\nnew\n"),
            ("1\n{\"a\":", "1\nnew\n"),
            ("{\"a\":1}", "{\"a\":1}\nnew\n"),
            (&*format!("1\n{long}"), "1\nnew\n"),
            (&*format!("1\n{whole}"), &*format!("1\n{whole}\nnew\n")),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("device-2026-11-01.log");
            fs::write(&path, before).unwrap();
            let mut files = Files::open(directory.path()).unwrap();
            files.append_on(date(1), b"new\n").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after, "{before}");
        }
    }

    #[test]
    fn a_file_that_is_moved_away_is_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("device-2026-11-01.log");
        let mut files = Files::open(directory.path()).unwrap();
        files.append_on(date(1), b"1\n").unwrap();
        fs::rename(&path, directory.path().join("old")).unwrap();
        files.append_on(date(1), b"2\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "2\n");
        fs::remove_file(&path).unwrap();
        files.append_on(date(1), b"3\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "3\n");
    }

    #[test]
    fn what_cannot_be_written_is_told_in_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = Files::open(directory.path()).unwrap();
        fs::create_dir(directory.path().join("device-2026-11-01.log")).unwrap();
        let told = files.append_on(date(1), b"1\n").unwrap_err();
        assert!(told.contains("device-2026-11-01.log: Is a directory"), "{told}");
        assert!(!told.contains('\n'), "{told}");
    }
}
