//! What the public port serves besides WebSockets: the JavaScript client, and a page to try it.

use std::io::Write as _;

/// One resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where it is.
    pub path: &'static str,
    /// Its media type.
    pub kind: &'static str,
    /// Itself.
    pub body: &'static str,
}

const SCRIPT: Page = Page {
    path: "/steadfast.js",
    kind: "text/javascript; charset=utf-8",
    body: include_str!("../web/steadfast.min.js"),
};

const DEMO: Page =
    Page { path: "/", kind: "text/html; charset=utf-8", body: include_str!("../web/demo.html") };

/// All that is served, with the demo or without.
#[must_use]
pub fn served(with_demo: bool) -> &'static [Page] {
    const ALL: &[Page] = &[SCRIPT, DEMO];
    if with_demo { ALL } else { &ALL[..1] }
}

impl Page {
    /// The one that a request target asks for, whatever its query.
    #[must_use]
    pub fn find(pages: &'static [Self], target: &str) -> Option<&'static Self> {
        let path = target.split('?').next().unwrap_or_default();
        pages.iter().find(|page| page.path == path)
    }

    /// Appends the answer that has it.
    pub fn put(&self, out: &mut Vec<u8>) {
        // Writing to memory does not fail.
        let _ = write!(
            out,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {}\r\nContent-Length: {}\r\n\
             Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n\r\n{}",
            self.kind,
            self.body.len(),
            self.body
        );
    }
}
