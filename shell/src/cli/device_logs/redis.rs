//! The lists of a Redis server that a URL names.

use crate::device_logs::PATIENCE;
use crate::device_logs::lists::{Dial, Lists, TIMEOUT};
use crate::store::redis::{DEVICE_DATABASE, names_database};
use redis::{Client, Connection, RedisError, RedisResult};

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    client: Client,
    name: String,
}

impl Server {
    /// The server with this URL.
    ///
    /// # Errors
    /// It is none.
    fn new(url: &str) -> Result<Self, String> {
        let wrong = |error: RedisError| {
            format!(
                "the URL in --redis is not that of a Redis server ({error}); write it as in \
                 redis://:PASSWORD@127.0.0.1:6379/{DEVICE_DATABASE}"
            )
        };
        let mut client = Client::open(url).map_err(wrong)?;
        if !names_database(url) {
            let info = client.get_connection_info().clone();
            let settings = info.redis_settings().clone().set_db(DEVICE_DATABASE);
            client = Client::open(info.set_redis_settings(settings)).map_err(wrong)?;
        }
        let info = client.get_connection_info();
        let name = format!("{}/{}", info.addr(), info.redis_settings().db());
        Ok(Self { client, name })
    }
}

impl Dial for Server {
    type Connection = Connection;

    fn name(&self) -> &str {
        &self.name
    }

    fn dial(&self) -> RedisResult<Connection> {
        let connection = self.client.get_connection_with_timeout(TIMEOUT)?;
        connection.set_read_timeout(Some(TIMEOUT + PATIENCE))?;
        connection.set_write_timeout(Some(TIMEOUT))?;
        Ok(connection)
    }
}

/// The lists of the server with this URL, for the consumer of this name.
///
/// # Errors
/// The URL or the name is none.
pub(super) fn lists(url: &str, consumer: &str) -> Result<Lists<Server>, String> {
    Lists::new(Server::new(url)?, consumer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device_logs::Source as _;

    #[test]
    fn the_database_is_15_unless_the_url_names_one() {
        for (url, server) in [
            ("redis://127.0.0.1:6379", "127.0.0.1:6379/15 name=main"),
            ("redis://:p@127.0.0.1:6379/", "127.0.0.1:6379/15 name=main"),
            ("redis://127.0.0.1:6379/0", "127.0.0.1:6379/0 name=main"),
            ("redis://127.0.0.1:6379/3", "127.0.0.1:6379/3 name=main"),
            ("redis+unix:///run/s", "/run/s/15 name=main"),
            ("redis+unix:///run/s?db=2", "/run/s/2 name=main"),
        ] {
            assert_eq!(lists(url, "main").map(|it| it.name()).unwrap(), server, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_and_no_name_is_refused() {
        for (url, name, told) in [
            ("localhost:6379", "main", "the URL in --redis is not that of a Redis server"),
            ("redis://127.0.0.1", "a b", "the consumer's name (--name) has spaces"),
        ] {
            let refused = lists(url, name).map(|_| ()).unwrap_err();
            assert!(refused.contains(told) && !refused.contains('\n'), "{refused}");
        }
    }
}
