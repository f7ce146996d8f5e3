//! UTF-8 checked while it arrives.
//!
//! A text message has to be refused as soon as a byte of it cannot be UTF-8 any more, even when the
//! rest of its frame is still on the way; the standard library only checks whole slices.

/// How far a text has been checked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8Check {
    /// The first bytes of a character that is not complete yet.
    begun: [u8; 4],
    /// How many of them there are.
    len: u8,
}

impl Utf8Check {
    /// Goes on with the next bytes; false when the text cannot become UTF-8 any more.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> bool {
        while self.len > 0 {
            let Some((first, rest)) = bytes.split_first() else { return true };
            self.begun[usize::from(self.len)] = *first;
            self.len += 1;
            bytes = rest;
            match std::str::from_utf8(&self.begun[..usize::from(self.len)]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        let Err(error) = std::str::from_utf8(bytes) else { return true };
        let begun = &bytes[error.valid_up_to()..];
        if error.error_len().is_some() {
            return false;
        }
        self.begun[..begun.len()].copy_from_slice(begun);
        self.len = begun.len() as u8;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_impossible_byte_is_found_at_once() {
        for (bytes, valid) in [
            (&b"\xf4\x8f"[..], true),
            (b"\xf4\x90", false),
            (b"\xed\xa0", false),
            (b"\xe0\x80", false),
            (b"\xc0", false),
            (b"\xf5", false),
            (b"abc\x80", false),
            ("汉字".as_bytes(), true),
        ] {
            assert_eq!(Utf8Check::default().push(bytes), valid, "{bytes:x?} whole");
            let mut check = Utf8Check::default();
            let mut bytewise = bytes.chunks(1).map(|byte| check.push(byte));
            assert_eq!(bytewise.all(|so_far| so_far), valid, "{bytes:x?} byte by byte");
        }
    }

    proptest! {
        #[test]
        fn splitting_changes_nothing(text in ".{0,40}", garble in any::<Option<(u8, u8)>>(), step in 1_usize..7) {
            let mut bytes = text.into_bytes();
            if let (Some((at, byte)), false) = (garble, bytes.is_empty()) {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            let whole = Utf8Check::default().push(&bytes);
            let mut check = Utf8Check::default();
            prop_assert_eq!(bytes.chunks(step).all(|part| check.push(part)), whole);
            if std::str::from_utf8(&bytes).is_ok() {
                prop_assert!(whole);
                prop_assert_eq!(check.len, 0);
            }
        }
    }
}
