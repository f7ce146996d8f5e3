//! The kinds of settings, and their values between text and [`Settings`](super::Settings).

use super::field::{Field as _, Words as _};
use super::units::{parse_duration, parse_size, show_duration, show_size};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use steadfast_core::config::{BindMatch, BindPolicy, BindRule};
use steadfast_core::record::Dialect;
use steadfast_core::time::Span;

/// The word for no address.
pub(super) const OFF: &str = "off";

/// A value as it was written, before its kind is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// One text.
    One(String),
    /// A list of texts.
    Many(Vec<String>),
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(text) => f.write_str(text),
            Self::Many(texts) => f.write_str(&texts.join(",")),
        }
    }
}

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A duration within these bounds.
    Duration(Span, Span),
    /// A number of bytes within these bounds.
    Size(u64, u64),
    /// A number within these bounds.
    Count(u64, u64),
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An IP address and a port.
    Address,
    /// An IP address and a port, or `off`.
    MaybeAddress,
    /// A path; empty when unset.
    Path,
    /// Any text; empty when unset. The word says what it stands for.
    Text(&'static str),
    /// Any number from 0 to 2^64 - 1; empty when unset.
    Seed,
    /// A list of these words.
    Words(&'static [&'static str]),
    /// A list of `prefix:TEXT=POLICY` and `dialect:NAME=POLICY`.
    Rules,
}

/// A value of some kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A duration.
    Span(Span),
    /// A size, count or seed.
    Number(u64),
    /// A switch.
    Switch(bool),
    /// A word of a choice.
    Word(&'static str),
    /// An address.
    Address(SocketAddr),
    /// A path.
    Path(PathBuf),
    /// A text.
    Text(String),
    /// Words of a list.
    Words(Vec<&'static str>),
    /// Bind rules.
    Rules(Vec<BindRule>),
    /// Nothing, where that is allowed.
    Unset,
}

impl Kind {
    /// Reads a value.
    ///
    /// # Errors
    ///
    /// What is wrong and what to write instead.
    pub fn parse(self, raw: &Raw) -> Result<Value, String> {
        if let Self::Words(_) | Self::Rules = self {
            return self.parse_list(raw);
        }
        let text = match raw {
            Raw::One(text) => text.trim(),
            Raw::Many(_) => return Err("takes one value, not a list".to_owned()),
        };
        match self {
            Self::Duration(min, max) => {
                let span = parse_duration(text)?;
                within(span, min, max, show_duration).map(Value::Span)
            }
            Self::Size(min, max) => {
                within(parse_size(text)?, min, max, show_size).map(Value::Number)
            }
            Self::Count(min, max) => {
                let number = parse_number(text)
                    .ok_or_else(|| format!("is no whole number from {min} to {max}"))?;
                within(number, min, max, |number| number.to_string()).map(Value::Number)
            }
            Self::Seed if text.is_empty() => Ok(Value::Unset),
            Self::Seed => parse_number(text)
                .map(Value::Number)
                .ok_or_else(|| format!("is no whole number from 0 to {}", u64::MAX)),
            Self::Switch => match text {
                "true" => Ok(Value::Switch(true)),
                "false" => Ok(Value::Switch(false)),
                _ => Err("is neither true nor false".to_owned()),
            },
            Self::Choice(words) => word(text, words).map(Value::Word),
            Self::MaybeAddress if text == OFF => Ok(Value::Word(OFF)),
            Self::Address | Self::MaybeAddress => text.parse().map(Value::Address).map_err(|_| {
                "is no IP address with a port; write as in 127.0.0.1:5001 or [::1]:5001".to_owned()
            }),
            Self::Path if text.is_empty() => Ok(Value::Unset),
            Self::Path => Ok(Value::Path(PathBuf::from(text))),
            Self::Text(_) if text.is_empty() => Ok(Value::Unset),
            Self::Text(_) => Ok(Value::Text(text.to_owned())),
            Self::Words(_) | Self::Rules => unreachable!("lists are read above"),
        }
    }

    fn parse_list(self, raw: &Raw) -> Result<Value, String> {
        let split: Vec<String>;
        let texts = match raw {
            Raw::Many(texts) => texts,
            Raw::One(text) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                split = parts.map(str::to_owned).collect();
                &split
            }
        };
        match self {
            Self::Words(words) => {
                let listed: Result<Vec<_>, _> =
                    texts.iter().map(|text| word(text, words)).collect();
                listed.map(Value::Words)
            }
            Self::Rules => {
                let rules: Result<Vec<_>, _> = texts.iter().map(|text| parse_rule(text)).collect();
                rules.map(Value::Rules)
            }
            Self::Duration(..)
            | Self::Size(..)
            | Self::Count(..)
            | Self::Switch
            | Self::Choice(_)
            | Self::Address
            | Self::MaybeAddress
            | Self::Path
            | Self::Text(_)
            | Self::Seed => unreachable!("single values are read by parse"),
        }
    }

    /// The texts of a value of this kind, which [`parse`](Self::parse) reads again.
    #[must_use]
    pub fn show(self, value: &Value) -> Raw {
        Raw::One(match value {
            Value::Span(span) => show_duration(*span),
            Value::Number(number) => match self {
                Self::Size(..) => show_size(*number),
                Self::Count(..) | Self::Seed => number.to_string(),
                Self::Duration(..)
                | Self::Switch
                | Self::Choice(_)
                | Self::Address
                | Self::MaybeAddress
                | Self::Path
                | Self::Text(_)
                | Self::Words(_)
                | Self::Rules => unreachable!("numbers are of kind Size, Count or Seed"),
            },
            Value::Switch(on) => on.to_string(),
            Value::Word(word) => (*word).to_owned(),
            Value::Address(address) => address.to_string(),
            Value::Path(path) => path.display().to_string(),
            Value::Text(text) => text.clone(),
            Value::Words(words) => {
                return Raw::Many(words.iter().map(|word| (*word).to_owned()).collect());
            }
            Value::Rules(rules) => return Raw::Many(rules.iter().map(show_rule).collect()),
            Value::Unset => String::new(),
        })
    }

    /// What the value stands for in help texts: `DURATION`, `text|json`.
    #[must_use]
    pub fn placeholder(self) -> String {
        match self {
            Self::Duration(..) => "DURATION".to_owned(),
            Self::Size(..) => "SIZE".to_owned(),
            Self::Count(..) | Self::Seed => "NUMBER".to_owned(),
            Self::Switch => "true|false".to_owned(),
            Self::Choice(words) => words.join("|"),
            Self::Address => "ADDRESS".to_owned(),
            Self::MaybeAddress => "ADDRESS|off".to_owned(),
            Self::Path => "PATH".to_owned(),
            Self::Text(what) => what.to_owned(),
            Self::Words(_) => "NAME,…".to_owned(),
            Self::Rules => "RULE,…".to_owned(),
        }
    }

    /// The bounds in words, or nothing.
    #[must_use]
    pub fn bounds(self) -> String {
        match self {
            Self::Duration(min, max) => format!("{} to {}", show_duration(min), show_duration(max)),
            Self::Size(min, max) => format!("{} to {}", show_size(min), show_size(max)),
            Self::Count(min, max) => format!("{min} to {max}"),
            Self::Words(words) => format!("of {}", words.join(", ")),
            Self::Switch
            | Self::Choice(_)
            | Self::Address
            | Self::MaybeAddress
            | Self::Path
            | Self::Text(_)
            | Self::Seed
            | Self::Rules => String::new(),
        }
    }
}

fn within<T: PartialOrd + Copy>(
    value: T,
    min: T,
    max: T,
    show: impl Fn(T) -> String,
) -> Result<T, String> {
    if value < min {
        Err(format!("is too small; it has to be at least {}", show(min)))
    } else if value > max {
        Err(format!("is too large; it may be at most {}", show(max)))
    } else {
        Ok(value)
    }
}

fn parse_number(text: &str) -> Option<u64> {
    let digits = text.replace('_', "");
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn word(text: &str, words: &'static [&'static str]) -> Result<&'static str, String> {
    words.iter().copied().find(|word| *word == text.trim()).ok_or_else(|| {
        let hint = super::suggest::hint(
            super::suggest::nearest(text, words.iter().copied()).map(str::to_owned),
        );
        format!("has {text:?}, which is none of {}{hint}", words.join(", "))
    })
}

fn parse_rule(text: &str) -> Result<BindRule, String> {
    let wanted = "write prefix:TEXT=POLICY or dialect:NAME=POLICY, as in prefix:desk-=kick";
    let wrong = || format!("has the rule {text:?}; {wanted}");
    let (matches, policy) = text.rsplit_once('=').ok_or_else(wrong)?;
    let policy = BindPolicy::from_value(&Value::Word(word(policy, BindPolicy::WORDS)?));
    let matches = match matches.split_once(':').ok_or_else(wrong)? {
        ("prefix", prefix) if !prefix.is_empty() => BindMatch::Prefix(prefix.to_owned()),
        ("dialect", name) => {
            let name = word(name, BINDING_DIALECTS)?;
            let dialect = BOUND_BY.into_iter().find(|dialect| dialect.name() == name);
            BindMatch::Dialect(dialect.expect("both tables name the same dialects"))
        }
        _ => return Err(wrong()),
    };
    Ok(BindRule { matches, policy })
}

fn show_rule(rule: &BindRule) -> String {
    let policy = rule.policy.word();
    match &rule.matches {
        BindMatch::Prefix(prefix) => format!("prefix:{prefix}={policy}"),
        BindMatch::Dialect(dialect) => format!("dialect:{}={policy}", dialect.name()),
    }
}

/// The dialects that can be switched off.
pub(super) const DIALECTS: &[&str] = &["web", "office", "device", "monitor"];

/// The same, in the same order.
pub(super) const SWITCHED: [Dialect; 4] =
    [Dialect::Web, Dialect::Office, Dialect::Device, Dialect::Monitor];

/// The dialects that bind keys, which monitors never do.
const BINDING_DIALECTS: &[&str] = &["web", "office", "device", "other", "link"];

const BOUND_BY: [Dialect; 5] =
    [Dialect::Web, Dialect::Office, Dialect::Device, Dialect::Other, Dialect::Link];
