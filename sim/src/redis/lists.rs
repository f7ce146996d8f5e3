//! What the consumer of the device log asks: lists, a set, and who is connected.

use super::reply::Reply;
use super::server::Server;
use std::collections::VecDeque;

impl Server {
    /// Carries out a command of these, at once: nobody waits in Redis here. Whether it is one.
    pub(super) fn list_command(&mut self, words: &[Vec<u8>], reply: &mut Reply) -> bool {
        let [name, args @ ..] = words else { return false };
        let lists = &mut self.kept.lists;
        match (name.as_slice(), args) {
            (b"RPOPLPUSH", [from, to]) | (b"BRPOPLPUSH", [from, to, _]) => {
                let oldest = lists.get_mut(from).and_then(VecDeque::pop_back);
                reply.maybe(oldest.as_ref());
                if let Some(entry) = oldest {
                    lists.entry(to.clone()).or_default().push_front(entry);
                }
            }
            (b"LRANGE", [list, first, last]) => {
                assert_eq!(last, b"-1", "lists are looked at from their ends");
                let most = number(first).unsigned_abs();
                let entries = lists.get(list).into_iter().flatten();
                let skipped = entries.clone().count().saturating_sub(most);
                reply.array(entries.clone().count() - skipped);
                entries.skip(skipped).for_each(|entry| reply.bulk(entry));
            }
            (b"LREM", [list, count, entry]) => {
                assert_eq!(count, b"-1", "one entry is removed, the oldest");
                let found = lists.get_mut(list).and_then(|list| {
                    let at = list.iter().rposition(|other| other == entry)?;
                    list.remove(at)
                });
                reply.int(u64::from(found.is_some()));
            }
            (b"LLEN", [list]) => reply.int(lists.get(list).map_or(0, VecDeque::len) as u64),
            (b"SADD", [set, member]) => {
                let place = (set.clone(), member.clone());
                let before = self.kept.hashes.insert(place, Vec::new());
                reply.int(u64::from(before.is_none()));
            }
            (b"SMEMBERS", [set]) => {
                let members = self.kept.hashes.keys().filter(|(other, _)| other == set);
                reply.array(members.clone().count());
                members.for_each(|(_, member)| reply.bulk(member));
            }
            // There is one consumer, and nobody asks for any other connection.
            (b"CLIENT", [what]) if what == b"LIST" => reply.bulk(""),
            (b"CLIENT", [what, _]) if what == b"SETNAME" => reply.simple("OK"),
            _ => return false,
        }
        true
    }
}

fn number(word: &[u8]) -> isize {
    let text = std::str::from_utf8(word).ok();
    text.and_then(|text| text.parse().ok()).expect("a number")
}
