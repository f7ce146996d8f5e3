//! The scripts: one for each operation, so that each is atomic.
//!
//! They are loaded once per connection and then named by their hash. A server that has lost them says
//! `NOSCRIPT`, and they are loaded again.

use redis::Script as Hashed;

/// What stands in a script for the functions that several share, and those.
const INCLUDES: [(&str, &str); 2] = [
    ("-- include claims.lua\n", include_str!("claims.lua")),
    ("-- include common.lua\n", include_str!("common.lua")),
];

/// Which clock leases are held against. The operations tell a time of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The server's, whatever the clocks of the nodes show.
    #[default]
    Server,
    /// The one the operations tell: for tests and simulations, where time is made up.
    Operations,
}

impl Clock {
    /// The functions that scripts ask for the time.
    fn script(self) -> &'static str {
        match self {
            Self::Server => {
                "local forgets, read = true, nil\nlocal function clock(told)\n  if not read then\n    \
                 local now = redis.call('TIME')\n    read = now[1] * 1000000 + now[2]\n  end\n  \
                 return read\nend\n"
            }
            Self::Operations => {
                "local forgets = false\nlocal function clock(told)\n  return tonumber(told)\nend\n"
            }
        }
    }
}

macro_rules! scripts {
    ($($name:ident: $file:literal,)*) => {
        /// Names a script.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Script {
            $(#[doc = concat!("`", $file, "`")] $name,)*
        }

        /// All scripts with their text.
        const SOURCES: &[(Script, &str)] = &[$((Script::$name, include_str!($file)),)*];
    };
}

scripts! {
    Append: "append.lua",
    Load: "load.lua",
    Remove: "remove.lua",
    Retry: "retry.lua",
    Bury: "bury.lua",
    Expire: "expire.lua",
    Renew: "renew.lua",
    Claim: "claim.lua",
    Release: "release.lua",
    DeadList: "dead_list.lua",
    DeadRequeue: "dead_requeue.lua",
    DeadPurge: "dead_purge.lua",
    QueueKeys: "queue_keys.lua",
    QueueMessages: "queue_messages.lua",
    QueuePurge: "queue_purge.lua",
    Totals: "totals.lua",
    Find: "find.lua",
    SessionPut: "session_put.lua",
    SessionGet: "session_get.lua",
    Inspect: "inspect.lua",
}

/// All scripts, ready to be loaded and called.
#[derive(Debug)]
pub struct Scripts {
    all: Vec<Loadable>,
}

#[derive(Debug)]
struct Loadable {
    text: String,
    hash: String,
}

impl Scripts {
    /// Puts the scripts together and computes their hashes.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let loadable = |(_, text): &(Script, &str)| {
            let mut text = (*text).to_owned();
            if text.contains(INCLUDES[0].0) {
                text.insert_str(0, clock.script());
            }
            for (line, shared) in INCLUDES {
                text = text.replace(line, shared);
            }
            let hash = Hashed::new(&text).get_hash().to_owned();
            Loadable { text, hash }
        };
        Self { all: SOURCES.iter().map(loadable).collect() }
    }

    /// The hash by which a script is called.
    #[must_use]
    pub fn hash(&self, script: Script) -> &str {
        &self.all[script as usize].hash
    }

    /// The script of this hash; for those who play Redis.
    #[must_use]
    pub fn by_hash(&self, hash: &str) -> Option<Script> {
        let index = self.all.iter().position(|known| known.hash == hash)?;
        Some(SOURCES[index].0)
    }

    /// The script of this text; for those who play Redis.
    #[must_use]
    pub fn by_text(&self, text: &[u8]) -> Option<Script> {
        let index = self.all.iter().position(|known| known.text.as_bytes() == text)?;
        Some(SOURCES[index].0)
    }

    /// The texts of all scripts.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|script| script.text.as_str())
    }
}

impl Default for Scripts {
    fn default() -> Self {
        Self::new(Clock::Server)
    }
}
