//! Keys in request targets: `/ws/<key>` or `?key=<key>`, percent-encoded. Off by default, because
//! the original ignores the URL.

use super::trim;
use crate::config::UrlKey;

/// The key in a request target (`/path?query`), trimmed. `None` where the mode expects none, where
/// none is, and where it is empty, not well percent-encoded or not UTF-8.
///
/// A path key ends at the `?`, and its own slashes have to be encoded. A query key is the first
/// `key=`; a `+` stands for itself.
#[must_use]
pub fn key(target: &str, mode: UrlKey) -> Option<String> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let encoded = match mode {
        UrlKey::Off => None,
        UrlKey::Path => path.strip_prefix("/ws/").filter(|rest| !rest.contains('/')),
        UrlKey::Query => query.split('&').find_map(|part| part.strip_prefix("key=")),
    }?;
    let decoded = decode(encoded)?;
    let key = trim(&decoded);
    (!key.is_empty()).then(|| key.to_owned())
}

fn decode(encoded: &str) -> Option<String> {
    let mut parts = encoded.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.as_bytes().split_first_chunk::<2>()?;
        let [high, low] = digits.map(|digit| (digit as char).to_digit(16));
        bytes.push((high? << 4 | low?) as u8);
        bytes.extend_from_slice(rest);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(target: &str, mode: UrlKey, expect: Option<&str>) {
        assert_eq!(key(target, mode).as_deref(), expect, "{target} {mode:?}");
    }

    #[test]
    fn off_means_off() {
        check("/ws/5?key=5", UrlKey::Off, None);
    }

    #[test]
    fn path_keys() {
        for (target, expect) in [
            ("/ws/5", Some("5")),
            ("/ws/5?key=6", Some("5")),
            ("/ws/%7B%22uid%22%3a%2212%22%7d", Some(r#"{"uid":"12"}"#)),
            ("/ws/%E6%B1%89", Some("汉")),
            ("/ws/汉", Some("汉")),
            ("/ws/a%2Fb", Some("a/b")),
            ("/ws/a+b", Some("a+b")),
            ("/ws/%20%005%0a", Some("5")),
            ("/ws/%2541", Some("%41")),
            ("/ws/", None),
            ("/ws/%20", None),
            ("/ws", None),
            ("/", None),
            ("", None),
            ("/WS/5", None),
            ("/x/ws/5", None),
            ("/ws/5/", None),
            ("/ws/a/b", None),
            ("/ws/%", None),
            ("/ws/5%4", None),
            ("/ws/%4g", None),
            ("/ws/%+4", None),
            ("/ws/%汉", None),
            ("/ws/%ff", None),
            ("/ws/%E6%B1", None),
        ] {
            check(target, UrlKey::Path, expect);
        }
    }

    #[test]
    fn query_keys() {
        for (target, expect) in [
            ("/?key=5", Some("5")),
            ("/ws/7?a=b&key=5&key=6", Some("5")),
            ("?key=a=b", Some("a=b")),
            ("/?key=%26%3D%3F", Some("&=?")),
            ("/?key=a?b", Some("a?b")),
            ("/?key=", None),
            ("/?key", None),
            ("/?Key=5", None),
            ("/?mykey=5", None),
            ("/?key=%f", None),
            ("/key=5", None),
        ] {
            check(target, UrlKey::Query, expect);
        }
    }

    proptest! {
        #[test]
        fn encoded_keys_come_back(text in "\\PC{1,20}") {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let expect = Some(trim(&text)).filter(|key| !key.is_empty()).map(str::to_owned);
            prop_assert_eq!(key(&format!("/ws/{encoded}"), UrlKey::Path), expect);
        }
    }
}
