//! Names for things: connections, pushers, storage operations, messages, keys.
//!
//! An id that points into a table carries the generation of its slot, so that an id kept too long
//! by the outside names nothing instead of naming a stranger.

use bytestring::ByteString;
use std::fmt;
use std::ops::Deref;

/// Declares an id made of a table slot and the slot's generation.
macro_rules! slot_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name {
            /// Index into the table.
            pub slot: u32,
            /// How often the slot had been used before.
            pub generation: u32,
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}.{}"), self.slot, self.generation)
            }
        }
    };
}

slot_id! {
    /// One client socket, named by the caller when it is accepted.
    ConnId, "c"
}
slot_id! {
    /// One back-end connection (or one HTTP request), named by the caller when it is opened.
    PusherId, "p"
}
slot_id! {
    /// One storage operation under way, named by the core.
    OpId, "o"
}

/// One question of an operator's, named by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q{}", self.0)
    }
}

/// A message, named before it is stored. Never derived from time: unique because the store hands
/// each run of a node an incarnation of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MessageId {
    /// Which run of which node accepted the message.
    pub incarnation: u32,
    /// The how-manieth message of that run it is.
    pub counter: u64,
}

impl MessageId {
    /// The id that is written so; `None` when it is none of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (incarnation, counter) = text.split_once('-')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(incarnation) || !digits(counter) {
            return None;
        }
        Some(Self { incarnation: incarnation.parse().ok()?, counter: counter.parse().ok()? })
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.incarnation, self.counter)
    }
}

/// The exact text by which a client is addressed: its first message, trimmed, never parsed or
/// normalised. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Key(ByteString);

impl Key {
    /// The key that is this text.
    #[must_use]
    pub fn new(text: impl Into<ByteString>) -> Self {
        Self(text.into())
    }

    /// Whether the key is made of ASCII digits only, as those of web pages are.
    #[must_use]
    pub fn is_digits(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte.is_ascii_digit())
    }

    /// The key's text, sharing its memory.
    #[must_use]
    pub fn text(&self) -> &ByteString {
        &self.0
    }
}

impl Deref for Key {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
