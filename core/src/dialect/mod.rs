//! The text formats spoken over connections: text in, typed message out. No state, no clock.

/// Cuts space, TAB, LF, CR, NUL and VT at both ends, and nothing else: PHP's `trim`.
#[must_use]
pub fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r', '\0', '\x0b'])
}
