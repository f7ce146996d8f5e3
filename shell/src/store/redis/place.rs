//! Where a Redis server is to be found: at an address, where sentinels say that the master is, or
//! where a cluster says that a slot is.
//!
//! Who is asked, and for what, is in the URL; it is asked anew for every connection, so that a failover
//! needs nothing else.

use redis::{Client, RedisError, Value};
use std::fmt;
use std::time::Duration;

/// How URLs are written, for those who got one wrong.
const FORMS: &str = "write as in redis://127.0.0.1:6379/0, rediss://… for TLS, \
                     redis+sentinel://HOST:26379,HOST:26379/MASTER or redis+cluster://HOST:6379,HOST:6379";
/// The port of a sentinel that is named without.
const SENTINEL_PORT: &str = "26379";

/// Where a server is.
pub(super) struct Place {
    guide: Guide,
    /// What URLs of servers begin with: scheme, user and password.
    start: String,
    /// What they end with: perhaps a database, and options.
    end: String,
    database: Option<i64>,
}

/// Who says where the server is.
enum Guide {
    /// The URL.
    Fixed(Box<Client>),
    /// Sentinels, of the master of this name.
    Sentinels { asked: Vec<(String, Client)>, master: String },
    /// Members of a cluster, of the master that has this slot.
    Members { asked: Vec<(String, Client)>, slot: u16 },
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// Whether a URL is that of a cluster.
pub(crate) fn is_cluster(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| scheme.ends_with("+cluster"))
}

impl Place {
    /// The place that a URL tells of. Of a cluster, the master of this slot is meant. The database is
    /// another one than the URL's, if it is given.
    ///
    /// # Errors
    /// The text says what is wrong with the URL.
    pub(super) fn new(url: &str, slot: u16, database: Option<i64>) -> Result<Self, String> {
        let wrong =
            |why: &dyn fmt::Display| format!("is no URL of a Redis server ({why}); {FORMS}");
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let Some((scheme, kind)) = scheme.split_once('+').filter(|(_, kind)| *kind != "unix")
        else {
            let client = open(url, database).map_err(|error| wrong(&error))?;
            let guide = Guide::Fixed(Box::new(client));
            return Ok(Self { guide, start: String::new(), end: String::new(), database });
        };
        if !matches!(scheme, "redis" | "rediss") {
            return Err(wrong(&format_args!("{scheme} is no scheme of Redis")));
        }
        let (rest, options) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = hosts.split_at(hosts.rfind('@').map_or(0, |at| at + 1));
        let start = format!("{scheme}://{login}");
        let asked = |start: &str, port: Option<&str>| -> Result<Vec<_>, String> {
            let ask = |host: &str| {
                let address = match port {
                    Some(port) if !host.rsplit(']').next().unwrap_or(host).contains(':') => {
                        format!("{host}:{port}")
                    }
                    Some(_) | None => host.to_owned(),
                };
                let client = Client::open(format!("{start}{address}{options}"));
                Ok((address, client.map_err(|error| wrong(&error))?))
            };
            hosts.split(',').map(ask).collect()
        };
        let (guide, end) = match kind {
            "sentinel" => {
                let (master, number) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(wrong(&"it names no master, as the sentinels do"));
                }
                let asked = asked(&format!("{scheme}://"), Some(SENTINEL_PORT))?;
                let guide = Guide::Sentinels { asked, master: master.to_owned() };
                (guide, format!("/{number}{options}"))
            }
            "cluster" if !matches!(path, "" | "0") => {
                return Err(wrong(&"a cluster has no other database than 0"));
            }
            "cluster" => (Guide::Members { asked: asked(&start, None)?, slot }, options.to_owned()),
            _ => return Err(wrong(&format_args!("{kind} is neither sentinel nor cluster"))),
        };
        let place = Self { guide, start, end, database };
        place.at("127.0.0.1", 6379).map_err(|error| wrong(&error))?;
        Ok(place)
    }

    /// What is known of it before anybody is asked, without the password.
    pub(super) fn name(&self) -> String {
        let list = |asked: &[(String, Client)]| {
            asked.iter().map(|(address, _)| address.as_str()).collect::<Vec<_>>().join(",")
        };
        match &self.guide {
            Guide::Fixed(client) => name_of(client),
            Guide::Sentinels { asked, master } => format!("{master} of sentinels {}", list(asked)),
            Guide::Members { asked, slot } => format!("slot {slot} of cluster {}", list(asked)),
        }
    }

    /// The server, as the first one says that can be asked.
    ///
    /// # Errors
    /// The text says why nobody knows.
    pub(super) fn find(&self, timeout: Duration) -> Result<Client, String> {
        let (asked, question) = match &self.guide {
            Guide::Fixed(client) => return Ok((**client).clone()),
            Guide::Sentinels { asked, master } => {
                let mut question = redis::cmd("SENTINEL");
                question.arg("get-master-addr-by-name").arg(master);
                (asked, question)
            }
            Guide::Members { asked, .. } => {
                let mut question = redis::cmd("CLUSTER");
                question.arg("SLOTS");
                (asked, question)
            }
        };
        let mut whys = Vec::new();
        for (address, client) in asked {
            let answer = client.get_connection_with_timeout(timeout).and_then(|mut connection| {
                connection.set_read_timeout(Some(timeout))?;
                connection.set_write_timeout(Some(timeout))?;
                question.query::<Value>(&mut connection)
            });
            let found = match answer {
                Ok(answer) => self.read(&answer, address).ok_or("it does not know".to_owned()),
                Err(error) => Err(error.to_string().replace(['\n', '\r'], " ")),
            };
            match found {
                Ok((host, port)) => {
                    return self.at(&host, port).map_err(|error| error.to_string());
                }
                Err(why) => whys.push(format!("{address}: {why}")),
            }
        }
        Err(format!("nobody says where Redis at {} is ({})", self.name(), whys.join("; ")))
    }

    /// Host and port in what was said by the server of this address.
    fn read(&self, answer: &Value, from: &str) -> Option<(String, u16)> {
        match (&self.guide, answer) {
            (Guide::Sentinels { .. }, Value::Array(parts)) => {
                Some((text(parts.first()?)?, text(parts.get(1)?)?.parse().ok()?))
            }
            (Guide::Members { slot, .. }, Value::Array(ranges)) => {
                let has = |range: &&Value| {
                    let Value::Array(parts) = range else { return false };
                    matches!(parts[..], [Value::Int(first), Value::Int(last), ..]
                        if (first..=last).contains(&i64::from(*slot)))
                };
                let Value::Array(parts) = ranges.iter().find(has)? else { return None };
                let Some(Value::Array(master)) = parts.get(2) else { return None };
                let Some(Value::Int(port)) = master.get(1) else { return None };
                // A member that does not know its own address leaves it out.
                let own = from.rsplit_once(':').map_or(from, |(host, _)| host);
                let host = text(master.first()?).filter(|host| !host.is_empty());
                Some((host.unwrap_or_else(|| own.to_owned()), u16::try_from(*port).ok()?))
            }
            (Guide::Fixed(_) | Guide::Sentinels { .. } | Guide::Members { .. }, _) => None,
        }
    }

    fn at(&self, host: &str, port: u16) -> Result<Client, RedisError> {
        let is_bare = host.contains(':') && !host.starts_with('[');
        let host = if is_bare { format!("[{host}]") } else { host.to_owned() };
        open(&format!("{}{host}:{port}{}", self.start, self.end), self.database)
    }
}

/// Address and database of a server, without the password.
pub(super) fn name_of(client: &Client) -> String {
    let info = client.get_connection_info();
    format!("{}/{}", info.addr(), info.redis_settings().db())
}

fn open(url: &str, database: Option<i64>) -> Result<Client, RedisError> {
    let client = Client::open(url)?;
    let Some(database) = database else { return Ok(client) };
    let info = client.get_connection_info().clone();
    let settings = info.redis_settings().clone().set_db(database);
    Client::open(info.set_redis_settings(settings))
}

fn text(value: &Value) -> Option<String> {
    let Value::BulkString(bytes) = value else { return None };
    String::from_utf8(bytes.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a URL: the name, or what is wrong.
    fn check(url: &str, expect: &str) {
        let name = match Place::new(url, 5, None) {
            Ok(place) => place.name(),
            Err(why) => why,
        };
        assert!(name.starts_with(expect), "{url}: {name}");
        assert!(!name.contains("secret"), "{name}");
    }

    #[test]
    fn urls_tell_whom_to_ask() {
        check("redis://:secret@host:1/2", "host:1/2");
        check("rediss://host", "host:6379/0");
        check("redis+unix:///run/redis.sock", "/run/redis.sock/0");
        check("redis+sentinel://me:secret@a,b:1/main/3", "main of sentinels a:26379,b:1");
        check("rediss+sentinel://[::1],[::2]:1/main", "main of sentinels [::1]:26379,[::2]:1");
        check("redis+cluster://me:secret@a:1,b:2", "slot 5 of cluster a:1,b:2");
        check("redis+cluster://a:1/2", "is no URL of a Redis server (a cluster has no other");
        check("redis+sentinel://a:1", "is no URL of a Redis server (it names no master");
        check("redis+what://a:1", "is no URL of a Redis server (what is neither");
        check("http+cluster://a:1", "is no URL of a Redis server (http is no scheme");
        check("a:1", "is no URL of a Redis server (");
    }

    #[test]
    fn what_guides_say_leads_to_a_server() {
        let found = |url: &str, answer: &str| {
            let place = Place::new(url, 5_000, None).unwrap();
            let answer = redis::parse_redis_value(answer.as_bytes()).unwrap();
            let (host, port) = place.read(&answer, "seed:7")?;
            let client = place.at(&host, port).unwrap();
            let login = client.get_connection_info().redis_settings().password().map(str::to_owned);
            Some((name_of(&client), login.unwrap_or_default()))
        };
        let sentinel = "redis+sentinel://:secret@a,b/main/3";
        let master = "*2\r\n$3\r\n::2\r\n$4\r\n6380\r\n";
        assert_eq!(found(sentinel, master), Some(("::2:6380/3".into(), "secret".into())));
        assert_eq!(found(sentinel, "*-1\r\n"), None);
        let range = |first: u16, last: u16, host: &str, port: u16| {
            format!("*3\r\n:{first}\r\n:{last}\r\n*2\r\n${}\r\n{host}\r\n:{port}\r\n", host.len())
        };
        let cluster = "redis+cluster://:secret@a";
        let both = format!("*2\r\n{}{}", range(0, 4_999, "x", 1), range(5_000, 16_383, "y", 2));
        assert_eq!(found(cluster, &both), Some(("y:2/0".into(), "secret".into())));
        let own = format!("*1\r\n{}", range(0, 16_383, "", 2));
        assert_eq!(found(cluster, &own), Some(("seed:2/0".into(), "secret".into())));
        assert_eq!(found(cluster, &format!("*1\r\n{}", range(0, 4_999, "x", 1))), None);
    }
}
