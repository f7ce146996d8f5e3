//! The one reader of JSON: a place in a text that moves over values and checks them.

use std::borrow::Cow;

/// How deep arrays and objects may be nested: PHP's default depth of 512 less one, as measured.
const MAX_LEVELS: u16 = 511;

/// A value that was read and found valid, still as it is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dialect) enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number's text.
    Number(&'a str),
    /// A string.
    String(Text<'a>),
    /// An array's text, with its brackets.
    Array(&'a str),
    /// An object's text, with its braces.
    Object(&'a str),
}

/// A string that was read and found valid, still as it is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dialect) struct Text<'a> {
    /// What stands between the quotes.
    raw: &'a str,
    /// Whether there are escapes in it.
    escaped: bool,
}

impl<'a> Text<'a> {
    /// The string's value; borrowed when there are no escapes in it.
    pub(in crate::dialect) fn decode(self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(self.unescape()) } else { Cow::Borrowed(self.raw) }
    }

    /// Whether the string's value is `text`.
    pub(in crate::dialect) fn is(self, text: &str) -> bool {
        if self.escaped { self.unescape() == text } else { self.raw == text }
    }

    fn unescape(self) -> String {
        let mut out = String::with_capacity(self.raw.len());
        let mut cursor = Cursor::new(self.raw);
        loop {
            let start = cursor.at;
            cursor.skip_plain();
            out.push_str(&self.raw[start..cursor.at]);
            if cursor.peek().is_none() {
                return out;
            }
            cursor.at += 1;
            out.push(cursor.escape().expect("the string was checked when it was read"));
        }
    }
}

/// A place in a JSON text. Its methods move over what they read; `None` means that the text is not
/// valid there, and then the place has no meaning any more.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// How many more levels may be opened here.
    room: u16,
}

impl<'a> Cursor<'a> {
    /// The start of a text.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, room: MAX_LEVELS }
    }

    /// The next byte.
    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Moves over whitespace.
    #[inline]
    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Moves over the rest of the text, which has to be whitespace.
    pub(super) fn end(&mut self) -> Option<()> {
        self.skip_space();
        self.peek().is_none().then_some(())
    }

    /// Reads one value with all that is in it.
    pub(super) fn value(&mut self) -> Option<Value<'a>> {
        let start = self.at;
        match self.peek()? {
            b'"' => self.string().map(Value::String),
            b'{' => {
                self.object(|cursor, _| cursor.value().map(drop))?;
                Some(Value::Object(&self.text[start..self.at]))
            }
            b'[' => {
                self.array(|cursor| cursor.value().map(drop))?;
                Some(Value::Array(&self.text[start..self.at]))
            }
            b'n' => self.literal("null", Value::Null),
            b't' => self.literal("true", Value::Bool(true)),
            b'f' => self.literal("false", Value::Bool(false)),
            b'-' | b'0'..=b'9' => {
                self.number()?;
                Some(Value::Number(&self.text[start..self.at]))
            }
            _ => None,
        }
    }

    /// Reads an object; `member` is given each name and reads the value.
    #[inline]
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Text<'a>) -> Option<()>,
    ) -> Option<()> {
        self.open(b'{')?;
        if self.peek()? != b'}' {
            loop {
                let name = self.string()?;
                self.skip_space();
                self.byte(b':')?;
                self.skip_space();
                member(self, name)?;
                if !self.another(b'}')? {
                    break;
                }
            }
        }
        self.close()
    }

    /// Reads an array; `item` reads each value.
    #[inline]
    pub(super) fn array(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.open(b'[')?;
        if self.peek()? != b']' {
            loop {
                item(self)?;
                if !self.another(b']')? {
                    break;
                }
            }
        }
        self.close()
    }

    /// Reads a string.
    #[inline]
    pub(super) fn string(&mut self) -> Option<Text<'a>> {
        self.byte(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.skip_plain();
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    self.at += 1;
                    self.escape()?;
                }
                _ => return None,
            }
        }
        let raw = &self.text[start..self.at];
        self.at += 1;
        Some(Text { raw, escaped })
    }

    /// Moves over one expected byte.
    #[inline]
    fn byte(&mut self, expected: u8) -> Option<()> {
        (self.peek()? == expected).then(|| self.at += 1)
    }

    /// Moves over an opening bracket, one level down.
    #[inline]
    fn open(&mut self, bracket: u8) -> Option<()> {
        self.byte(bracket)?;
        self.room = self.room.checked_sub(1)?;
        self.skip_space();
        Some(())
    }

    /// Moves over a closing bracket that was seen, one level up.
    #[inline]
    fn close(&mut self) -> Option<()> {
        self.at += 1;
        self.room += 1;
        Some(())
    }

    /// After an item: whether a comma comes, which is moved over, or the bracket, which is not.
    #[inline]
    fn another(&mut self, bracket: u8) -> Option<bool> {
        self.skip_space();
        let next = self.peek()?;
        if next == b',' {
            self.at += 1;
            self.skip_space();
            return Some(true);
        }
        (next == bracket).then_some(false)
    }

    fn literal(&mut self, word: &str, value: Value<'a>) -> Option<Value<'a>> {
        self.text.as_bytes()[self.at..].starts_with(word.as_bytes()).then(|| {
            self.at += word.len();
            value
        })
    }

    fn number(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// Moves over one digit or more.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    /// Moves to the next quote, backslash or control character, or to the end. Takes eight bytes at
    /// a time, and from [`LONG`] bytes on as many as the processor can: bytewise, long strings cost
    /// fifteen times as much.
    #[inline]
    fn skip_plain(&mut self) {
        let bytes = self.text.as_bytes();
        let start = self.at;
        while let Some(chunk) = bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            let found = special_bytes(u64::from_le_bytes(*chunk));
            if found != 0 {
                self.at += found.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
            if self.at - start == LONG {
                let rest = &bytes[self.at..];
                let end = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                if rest[..end].iter().fold(u8::MAX, |least, byte| least.min(*byte)) >= b' ' {
                    self.at += end;
                    return;
                }
            }
        }
        while self.peek().is_some_and(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            self.at += 1;
        }
    }

    /// Reads an escape whose backslash was moved over.
    #[inline]
    fn escape(&mut self) -> Option<char> {
        let kind = self.peek()?;
        self.at += 1;
        Some(match kind {
            b'"' | b'\\' | b'/' => kind as char,
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return None,
        })
    }

    /// Reads an escape whose `\u` was moved over. A surrogate is only valid in a pair.
    fn unicode_escape(&mut self) -> Option<char> {
        let first = self.hex()?;
        let Some(high) = first.checked_sub(0xd800).filter(|high| *high < 0x400) else {
            return char::from_u32(first);
        };
        self.byte(b'\\')?;
        self.byte(b'u')?;
        let low = self.hex()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        char::from_u32(0x1_0000 + (high << 10) + low)
    }

    /// Reads four hexadecimal digits.
    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
        self.at += 4;
        digits
            .iter()
            .try_fold(0, |value, digit| Some((value << 4) | (*digit as char).to_digit(16)?))
    }
}

/// Reads a text that is one JSON object and gives each of its members in order, duplicates
/// included. `None` when the text is anything else; `member` may have been called by then.
#[inline]
pub(in crate::dialect) fn members<'a>(
    text: &'a str,
    mut member: impl FnMut(Text<'a>, Value<'a>),
) -> Option<()> {
    let mut cursor = Cursor::new(text);
    cursor.skip_space();
    cursor.object(|cursor, name| {
        member(name, cursor.value()?);
        Some(())
    })?;
    cursor.end()
}

/// Reads a text that is one JSON array of objects and gives the text of each. `None` when the text is
/// anything else; `item` may have been called by then.
pub(in crate::dialect) fn objects<'a>(text: &'a str, mut item: impl FnMut(&'a str)) -> Option<()> {
    let mut cursor = Cursor::new(text);
    cursor.skip_space();
    cursor.array(|cursor| {
        let Value::Object(text) = cursor.value()? else { return None };
        item(text);
        Some(())
    })?;
    cursor.end()
}

/// Reads a text that is one JSON array of strings and gives each of them. `None` when the text is
/// anything else.
pub(in crate::dialect) fn strings<'a>(text: &'a str, mut item: impl FnMut(Text<'a>)) -> Option<()> {
    let mut cursor = Cursor::new(text);
    cursor.array(|cursor| {
        item(cursor.string()?);
        Some(())
    })?;
    cursor.end()
}

/// From so many bytes on a string is searched with wide instructions.
const LONG: usize = 24;

/// Sets the high bit of each byte that is a quote, a backslash or a control character. Bytes above
/// the lowest one found may be marked wrongly (borrows run upward), which does no harm.
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let quotes = zeros(word ^ (ONES * b'"' as u64));
    let backslashes = zeros(word ^ (ONES * b'\\' as u64));
    let controls = word.wrapping_sub(ONES * b' ' as u64) & !word;
    (quotes | backslashes | controls) & (ONES * 0x80)
}

#[cfg(test)]
mod tests;
