//! The text formats spoken over connections: text in, typed message out. No state, no clock.
//!
//! - [`push`] reads the lines of back ends.
//! - [`inbound`] tells what a client's message is, trying one dialect after the other.
//! - [`answer`] has the texts that clients are answered.
//! - [`link`] reads and writes the frames of the link protocol, for both sides.
//! - [`url`] finds a key in a request target.
//! - [`json`] reads JSON as the original did, and `php` casts its values as PHP does.
//!
//! Everything here is a pure function. What a message leads to is for the gateway; how messages are
//! framed is for the shell's codecs.

pub mod answer;
pub mod inbound;
pub mod json;
pub mod link;
mod php;
pub mod push;
pub mod url;

use crate::id::Key;
use bytestring::ByteString;

/// How the keys of devices begin. Only the device dialect binds such keys; pushes reach them by it.
pub const RESERVED_PREFIX: &str = "device:";

/// The key of the device with this id.
#[must_use]
pub fn device_key(id: &str) -> Key {
    Key::new([RESERVED_PREFIX, id].concat())
}

/// The device whose key this is, if it is that of a device.
#[must_use]
pub fn device_of(key: &Key) -> Option<ByteString> {
    let id = key.strip_prefix(RESERVED_PREFIX)?;
    Some(key.text().slice_ref(id))
}

/// Cuts space, TAB, LF, CR, NUL and VT at both ends, and nothing else: PHP's `trim`.
#[must_use]
pub fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r', '\0', '\x0b'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_characters_are_trimmed_and_no_other() {
        for (text, expect) in [
            ("", ""),
            (" \t\n\r\0\x0b", ""),
            ("\t\0\x0b 5 \n\r\0\x0b\t", "5"),
            ("a \t b", "a \t b"),
            ("\x0c5\x0c", "\x0c5\x0c"),
            ("\u{a0}5\u{a0}", "\u{a0}5\u{a0}"),
            ("\x015\x1f", "\x015\x1f"),
            ("\u{3000}5\x7f", "\u{3000}5\x7f"),
        ] {
            assert_eq!(trim(text), expect, "{text:?}");
        }
    }

    #[test]
    fn device_keys_have_the_reserved_prefix() {
        assert_eq!(&*device_key("A-1"), "device:A-1");
        assert_eq!(device_of(&device_key("A-1")).as_deref(), Some("A-1"));
        assert_eq!(device_of(&Key::new("5")), None);
    }
}
