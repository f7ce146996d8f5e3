//! A small client of each kind, so that trying the gateway out needs no other tool.
//!
//! [`listen`] is what a web page is, [`push`] what a back end is. Both are plain blocking programs.

mod link;
pub mod listen;
pub mod push;
pub(crate) mod socket;

use std::io::{self, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};

/// Writes a line to standard output at once; says whether somebody still reads it.
fn say(line: &str) -> bool {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_ok()
}

/// Writes a line to standard error, if anybody is there.
fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The addresses behind `host:port`.
fn resolve(name: &str) -> Result<Vec<SocketAddr>, String> {
    let wanted = "write host:port, as in 127.0.0.1:5001 (clients) or 127.0.0.1:5002 (pushes)";
    let found: Vec<_> = name
        .to_socket_addrs()
        .map_err(|error| format!("cannot find {name}: {error}; {wanted}"))?
        .collect();
    if found.is_empty() { Err(format!("cannot find {name}; {wanted}")) } else { Ok(found) }
}
