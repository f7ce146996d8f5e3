//! The `tracing` subscriber that turns events into lines, straight into the output's buffer.

use super::line::{Clock, Escape, Short, cut, write_escaped};
use crate::config::{LogFormat, LogLevel};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

/// Formats every event of this project into lines; others are left alone.
#[derive(Clone, Debug)]
pub struct LineSubscriber {
    /// The log thread alone locks it, so the lock is never waited for.
    lines: Arc<Mutex<Lines>>,
    level: LevelFilter,
}

/// Lines that are not written yet.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) buffer: Vec<u8>,
    clock: Clock,
    format: LogFormat,
    content_max: usize,
}

impl LineSubscriber {
    /// Formats events of this level and above.
    #[must_use]
    pub fn new(format: LogFormat, level: LogLevel, content_max: usize) -> Self {
        let lines = Lines { buffer: Vec::new(), clock: Clock::new(), format, content_max };
        let level = match level {
            LogLevel::Off => LevelFilter::OFF,
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
        };
        Self { lines: Arc::new(Mutex::new(lines)), level }
    }

    /// The lines so far. Lines are whole whenever nobody holds them.
    pub(super) fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for LineSubscriber {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && *metadata.level() <= self.level
            && metadata.target().starts_with("steadfast::")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let mut lines = self.lines();
        let lines = &mut *lines;
        match lines.format {
            LogFormat::Text => event.record(&mut TextLine { lines }),
            LogFormat::Json => {
                lines.buffer.extend_from_slice(b"{\"level\":\"");
                lines.buffer.extend_from_slice(level_name(*event.metadata().level()).as_bytes());
                lines.buffer.push(b'"');
                event.record(&mut JsonLine { lines });
                lines.buffer.push(b'}');
            }
        }
        lines.buffer.push(b'\n');
    }

    // Spans are of no use to a log of single facts.
    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// `2026-11-21T01:20:00.123Z [push prepare] connId=p0.0 uid=5 content=… id=1-7`
struct TextLine<'a> {
    lines: &'a mut Lines,
}

impl TextLine<'_> {
    fn name(&mut self, field: &Field) {
        self.lines.buffer.push(b' ');
        self.lines.buffer.extend_from_slice(field.name().as_bytes());
        self.lines.buffer.push(b'=');
    }
}

impl Visit for TextLine<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "time" {
            return self.lines.clock.write(value, &mut self.lines.buffer);
        }
        self.name(field);
        self.lines.buffer.extend_from_slice(Short::number(value).as_str().as_bytes());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "tag" => {
                self.lines.buffer.push(b' ');
                self.lines.buffer.extend_from_slice(value.as_bytes());
            }
            "connId" | "id" | "first" | "last" => {
                self.name(field);
                self.lines.buffer.extend_from_slice(value.as_bytes());
            }
            "uid" | "similar" => {
                self.name(field);
                write_escaped(value.as_bytes(), Escape::Text, &mut self.lines.buffer);
            }
            _ => {
                self.name(field);
                let quote = value.is_empty() || value.contains([' ', '"', '=']);
                let escape = if quote { Escape::Quoted } else { Escape::Text };
                let mark: &[u8] = if quote { b"\"" } else { b"" };
                self.lines.buffer.extend_from_slice(mark);
                write_escaped(value.as_bytes(), escape, &mut self.lines.buffer);
                self.lines.buffer.extend_from_slice(mark);
            }
        }
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.name(field);
        let end = cut(value, self.lines.content_max);
        write_escaped(&value[..end], Escape::Text, &mut self.lines.buffer);
        if end < value.len() {
            self.lines.buffer.extend_from_slice("…(".as_bytes());
            let length = Short::number(value.len() as u64);
            self.lines.buffer.extend_from_slice(length.as_str().as_bytes());
            self.lines.buffer.extend_from_slice(b" bytes)");
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// `{"level":"info","time":"2026-…","tag":"push prepare","connId":"p0.0",…}`
struct JsonLine<'a> {
    lines: &'a mut Lines,
}

impl JsonLine<'_> {
    fn name(&mut self, name: &str) {
        self.lines.buffer.extend_from_slice(b",\"");
        self.lines.buffer.extend_from_slice(name.as_bytes());
        self.lines.buffer.extend_from_slice(b"\":");
    }

    fn string(&mut self, value: &[u8]) {
        self.lines.buffer.push(b'"');
        write_escaped(value, Escape::Json, &mut self.lines.buffer);
        self.lines.buffer.push(b'"');
    }
}

impl Visit for JsonLine<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field.name());
        if field.name() == "time" {
            self.lines.buffer.push(b'"');
            self.lines.clock.write(value, &mut self.lines.buffer);
            self.lines.buffer.push(b'"');
        } else {
            self.lines.buffer.extend_from_slice(Short::number(value).as_str().as_bytes());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field.name());
        // Brackets mark the tag among other text; here it has a name.
        let value = match field.name() {
            "tag" => value.trim_matches(['[', ']']),
            _ => value,
        };
        self.string(value.as_bytes());
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.name(field.name());
        let end = cut(value, self.lines.content_max);
        self.string(&value[..end]);
        if end < value.len() {
            self.name("content_bytes");
            let length = Short::number(value.len() as u64);
            self.lines.buffer.extend_from_slice(length.as_str().as_bytes());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field.name());
        self.string(format!("{value:?}").as_bytes());
    }
}
