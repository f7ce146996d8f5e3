//! The types that fields of the settings have, and the values that stand for them.

use super::value::{OFF, SWITCHED, Value};
use super::{Demo, LogFormat, LogLevel, StoreKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use steadfast_core::config::{BindPolicy, BindRule, Dedup, Dialects, UrlKey, WebActivity};
use steadfast_core::record::Dialect;
use steadfast_core::time::Span;

/// A type that a field of the settings has.
pub(super) trait Field {
    /// The field's value.
    fn to_value(&self) -> Value;
    /// The field that has this value.
    fn from_value(value: &Value) -> Self;
}

/// An enum whose variants are words.
pub(super) trait Words: Copy + PartialEq + 'static {
    /// The words.
    const WORDS: &'static [&'static str];
    /// The variants, in the order of the words.
    const ALL: &'static [Self];

    /// This variant's word.
    fn word(self) -> &'static str {
        let index = Self::ALL.iter().position(|variant| *variant == self);
        Self::WORDS[index.expect("every variant is listed")]
    }
}

impl<T: Words> Field for T {
    fn to_value(&self) -> Value {
        Value::Word(self.word())
    }
    fn from_value(value: &Value) -> Self {
        let Value::Word(word) = value else { mismatch(value) };
        let index = Self::WORDS.iter().position(|known| known == word);
        Self::ALL[index.expect("the word was read with the same table")]
    }
}

impl Words for WebActivity {
    const WORDS: &'static [&'static str] = &["message", "frame"];
    const ALL: &'static [Self] = &[Self::Message, Self::Frame];
}

impl Words for Dedup {
    const WORDS: &'static [&'static str] = &["on", "off"];
    const ALL: &'static [Self] = &[Self::On, Self::Off];
}

impl Words for UrlKey {
    const WORDS: &'static [&'static str] = &["off", "path", "query"];
    const ALL: &'static [Self] = &[Self::Off, Self::Path, Self::Query];
}

impl Words for BindPolicy {
    const WORDS: &'static [&'static str] = &["newest", "all", "kick"];
    const ALL: &'static [Self] = &[Self::Newest, Self::All, Self::Kick];
}

impl Words for StoreKind {
    const WORDS: &'static [&'static str] = &["embedded", "memory"];
    const ALL: &'static [Self] = &[Self::Embedded, Self::Memory];
}

impl Words for Demo {
    const WORDS: &'static [&'static str] = &["auto", "on", "off"];
    const ALL: &'static [Self] = &[Self::Auto, Self::On, Self::Off];
}

impl Words for LogFormat {
    const WORDS: &'static [&'static str] = &["text", "json"];
    const ALL: &'static [Self] = &[Self::Text, Self::Json];
}

impl Words for LogLevel {
    const WORDS: &'static [&'static str] = &["off", "error", "warn", "info", "debug"];
    const ALL: &'static [Self] = &[Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug];
}

/// Implements [`Field`] for a type that a variant of [`Value`] holds as it is.
macro_rules! field {
    ($type:ty, $variant:ident) => {
        impl Field for $type {
            fn to_value(&self) -> Value {
                Value::$variant(self.clone())
            }
            fn from_value(value: &Value) -> Self {
                let Value::$variant(inner) = value else { mismatch(value) };
                inner.clone()
            }
        }
    };
}

field!(Span, Span);
field!(u64, Number);
field!(bool, Switch);
field!(SocketAddr, Address);
field!(Vec<BindRule>, Rules);

impl Field for u32 {
    fn to_value(&self) -> Value {
        Value::Number((*self).into())
    }
    fn from_value(value: &Value) -> Self {
        let number = u64::from_value(value);
        Self::try_from(number).expect("the table's bounds fit the field")
    }
}

impl Field for Option<SocketAddr> {
    fn to_value(&self) -> Value {
        self.map_or(Value::Word(OFF), Value::Address)
    }
    fn from_value(value: &Value) -> Self {
        if let Value::Address(address) = value { Some(*address) } else { None }
    }
}

impl Field for Option<u64> {
    fn to_value(&self) -> Value {
        self.map_or(Value::Unset, Value::Number)
    }
    fn from_value(value: &Value) -> Self {
        if let Value::Number(number) = value { Some(*number) } else { None }
    }
}

/// An empty text is none.
impl Field for String {
    fn to_value(&self) -> Value {
        if self.is_empty() { Value::Unset } else { Value::Text(self.clone()) }
    }
    fn from_value(value: &Value) -> Self {
        if let Value::Text(text) = value { text.clone() } else { Self::new() }
    }
}

/// Texts between commas.
impl Field for Vec<String> {
    fn to_value(&self) -> Value {
        if self.is_empty() { Value::Unset } else { Value::Text(self.join(",")) }
    }
    fn from_value(value: &Value) -> Self {
        let Value::Text(text) = value else { return Self::new() };
        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        texts.map(str::to_owned).collect()
    }
}

impl Field for Option<String> {
    fn to_value(&self) -> Value {
        self.clone().map_or(Value::Unset, Value::Text)
    }
    fn from_value(value: &Value) -> Self {
        if let Value::Text(text) = value { Some(text.clone()) } else { None }
    }
}

/// An empty path is none.
impl Field for PathBuf {
    fn to_value(&self) -> Value {
        if self.as_os_str().is_empty() { Value::Unset } else { Value::Path(self.clone()) }
    }
    fn from_value(value: &Value) -> Self {
        if let Value::Path(path) = value { path.clone() } else { Self::new() }
    }
}

impl Field for Option<PathBuf> {
    fn to_value(&self) -> Value {
        self.clone().map_or(Value::Unset, Value::Path)
    }
    fn from_value(value: &Value) -> Self {
        if let Value::Path(path) = value { Some(path.clone()) } else { None }
    }
}

impl Field for Dialects {
    fn to_value(&self) -> Value {
        let spoken = SWITCHED.into_iter().filter(|dialect| self.speaks(*dialect));
        Value::Words(spoken.map(Dialect::name).collect())
    }
    fn from_value(value: &Value) -> Self {
        let Value::Words(words) = value else { mismatch(value) };
        SWITCHED
            .into_iter()
            .filter(|dialect| !words.contains(&dialect.name()))
            .fold(Self::ALL, Self::without)
    }
}

/// A setting's kind and its field's type belong together; the table's tests see to it.
fn mismatch(value: &Value) -> ! {
    panic!("the table's kind gives {value:?}, which the field's type does not hold")
}
