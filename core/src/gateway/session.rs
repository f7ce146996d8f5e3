//! Sessions of link clients: how they are resumed, changed and kept.
//!
//! A client is welcomed once the store has said how many messages of its key have died, what the
//! session was, and that the session is kept. From then on the connection has the session; the store
//! follows. Ops are acknowledged when it has.

use super::Gateway;
use crate::command::{Close, LinkClose};
use crate::config::Detail;
use crate::connection::{Connection, Phase};
use crate::dialect::json::merge_patch;
use crate::dialect::link::{GatewayFrame, Hello, Welcome};
use crate::dialect::{self, RESERVED_PREFIX};
use crate::id::{ConnId, Key};
use crate::operations::{LinkAsked, Pending};
use crate::record::{ConnRecord, Dialect, LinkRecord, SessionOrigin};
use crate::session::{Greeting, Keeping, Live, Stage};
use crate::store::{Answer, Op, Session, SessionOp};
use bytestring::ByteString;
use rand::Rng;

/// No session id of ours is longer.
const MAX_SESSION_ID: usize = 64;

/// A session in use is kept anew after this part of `session_keep`, so that it does not expire.
const REFRESHES: u64 = 4;

impl Gateway {
    /// A client says which key it is for.
    pub(super) fn on_hello(&mut self, id: ConnId, hello: &Hello<'_>) {
        let text = dialect::trim(&hello.key);
        let refusal = if text.is_empty() {
            Close::Link(LinkClose::BadFrame)
        } else if text.len() > self.config.max_key as usize {
            Close::KeyTooLong
        } else if text.starts_with(RESERVED_PREFIX) && self.config.dialects.speaks(Dialect::Device)
        {
            Close::KeyReserved
        } else {
            let asked = hello.session.as_deref().map(ByteString::from);
            return self.greet(id, Key::new(text), asked);
        };
        let bytes = text.len() as u64;
        self.record_conn(id, ConnRecord::BindRefused { close: refusal, bytes });
        self.close(id, refusal);
    }

    /// Asks the store for what `welcome` has to say.
    fn greet(&mut self, id: ConnId, key: Key, asked: Option<ByteString>) {
        let deaths = Op::Load { key: key.clone(), max_messages: 0, max_bytes: 0 };
        let wanted = asked.clone().filter(|session| session.len() <= MAX_SESSION_ID);
        if let Some(session) = &wanted {
            if self.is_stale(id, &key, session) {
                return self.close(id, Close::Link(LinkClose::SessionUnavailable));
            }
            self.freeze_session(id, &key, session);
        }
        let awaited = 1 + u8::from(wanted.is_some());
        let greeting = Greeting { key, asked, found: None, deaths: 0, awaited };
        self.set_stage(id, Stage::Greeting(greeting));
        self.issue(Pending::Link { conn: id, asked: LinkAsked::Deaths }, deaths);
        if let Some(session) = wanted {
            let get = Op::Session(SessionOp::Get { id: session, now: self.now });
            self.issue(Pending::Link { conn: id, asked: LinkAsked::Session }, get);
        }
    }

    /// Whether the session is in use on a connection that was opened later. Its client has given this
    /// one up, whose `hello` was long under way; or it falls back on one that stood by, and will do
    /// better with a new one.
    fn is_stale(&self, id: ConnId, key: &Key, session: &str) -> bool {
        let opened_at = |id| self.conn(id).map(|conn| conn.opened_at);
        let own = opened_at(id);
        self.holders(id, key, session).into_iter().any(|other| opened_at(other) > own)
    }

    /// Lets no other connection of the key change a session any more. Such a connection is closed
    /// once this one is bound, so that its messages move without a failed try.
    fn freeze_session(&mut self, by: ConnId, key: &Key, session: &str) {
        for other in self.holders(by, key, session) {
            let link = self.conn_mut(other).and_then(|conn| conn.link.as_mut());
            if let Some(live) = link.and_then(|link| link.live_mut()) {
                live.moved = true;
            }
        }
    }

    /// The other connections of the key that are bound with this session.
    fn holders(&self, but: ConnId, key: &Key, session: &str) -> Vec<ConnId> {
        let Some(slot) = self.registry.find(key) else { return Vec::new() };
        let holds = |id: &ConnId| {
            let link = self.conn(*id).and_then(|conn| conn.link.as_ref());
            let live = link.and_then(|link| link.live());
            *id != but && live.is_some_and(|live| *live.session.id == *session)
        };
        self.registry.get(slot).conns.iter().copied().filter(holds).collect()
    }

    /// The store has answered what a connection asked for.
    pub(super) fn on_link_answer(&mut self, id: ConnId, asked: LinkAsked, answer: Answer) {
        let now = self.now;
        let Some(link) = self.conn_mut(id).and_then(|conn| conn.link.as_mut()) else { return };
        match (&mut link.stage, asked, answer) {
            (Stage::Greeting(greeting), LinkAsked::Deaths, Answer::Loaded(loaded)) => {
                greeting.deaths = loaded.deaths;
                greeting.awaited -= 1;
            }
            (Stage::Greeting(greeting), LinkAsked::Session, Answer::SessionFound(found)) => {
                let valid = |it: &Session| it.key == greeting.key && it.expires_at > now;
                greeting.found = found.filter(valid);
                greeting.awaited -= 1;
            }
            (Stage::Welcoming(..) | Stage::Live(_), LinkAsked::Keep, Answer::SessionKept) => {
                return self.on_session_kept(id);
            }
            (_, asked, answer) => panic!("the store answered {asked:?} with {answer:?}"),
        }
        if matches!(&link.stage, Stage::Greeting(greeting) if greeting.awaited == 0) {
            self.prepare_welcome(id);
        }
        self.arm(id);
    }

    /// Everything is known: the session is kept, and then the client is welcomed.
    fn prepare_welcome(&mut self, id: ConnId) {
        let Stage::Greeting(greeting) = self.set_stage(id, Stage::Silent) else {
            unreachable!("only a greeting leads to a welcome")
        };
        let Greeting { key, asked, found, deaths, awaited: _ } = greeting;
        let (session, origin) = match (found, asked) {
            (Some(session), _) => (session, SessionOrigin::Resumed),
            (None, asked) => {
                let origin =
                    if asked.is_some() { SessionOrigin::Replaced } else { SessionOrigin::Fresh };
                (self.new_session(key, deaths), origin)
            }
        };
        let stored = session.applied;
        let (keeping, kept_at, moved) = (Keeping::Changed, self.now, false);
        let live = Live { session, deaths, stored, kept_at, keeping, moved };
        self.set_stage(id, Stage::Welcoming(live, origin));
        self.keep_session(id);
    }

    fn new_session(&mut self, key: Key, deaths: u64) -> Session {
        let name = (u128::from(self.rng.next_u64()) << 64) | u128::from(self.rng.next_u64());
        Session {
            id: format!("{name:032x}").into(),
            key,
            context: ByteString::from_static("{}"),
            applied: 0,
            deaths_seen: deaths,
            expires_at: self.now,
        }
    }

    /// Gives the session to the store, or will once that has answered.
    fn keep_session(&mut self, id: ConnId) {
        let (now, expires_at) = (self.now, self.now + self.config.session_keep);
        let live = self.session_of(id).expect("the caller has a session");
        match live.keeping {
            Keeping::Asked(_) | Keeping::AskedAndChanged(_) => return live.change(),
            Keeping::Kept | Keeping::Changed => {}
        }
        live.session.expires_at = expires_at;
        live.kept_at = now;
        live.keeping = Keeping::Asked(live.session.applied);
        let put = Op::Session(SessionOp::Put { session: live.session.clone(), now });
        self.issue(Pending::Link { conn: id, asked: LinkAsked::Keep }, put);
    }

    /// The session that a connection has or is about to have.
    fn session_of(&mut self, id: ConnId) -> Option<&mut Live> {
        match &mut self.conn_mut(id)?.link.as_mut()?.stage {
            Stage::Welcoming(live, _) | Stage::Live(live) => Some(live),
            Stage::Silent | Stage::Greeting(_) => None,
        }
    }

    fn on_session_kept(&mut self, id: ConnId) {
        let live = self.session_of(id).expect("the session that is kept");
        let (applied, keeping) = match live.keeping {
            Keeping::Asked(applied) => (applied, Keeping::Kept),
            Keeping::AskedAndChanged(applied) => (applied, Keeping::Changed),
            Keeping::Kept | Keeping::Changed => unreachable!("the store was asked"),
        };
        live.keeping = keeping;
        let (newly, moved) = (applied > live.stored, live.moved);
        live.stored = applied;
        if matches!(self.conn(id).and_then(Connection::stage), Some(Stage::Welcoming(..))) {
            return self.welcome(id);
        }
        if newly {
            if self.records(Detail::Everything) {
                self.record_link(id, LinkRecord::OpsStored { applied });
            }
            self.send_frame(id, &GatewayFrame::OpAck { n: applied });
        }
        // What changed since would be stored behind what another connection has asked for.
        if keeping == Keeping::Changed && !moved {
            self.keep_session(id);
        }
    }

    /// Welcomes a client, and binds its connection: messages follow.
    fn welcome(&mut self, id: ConnId) {
        if let Some(Stage::Welcoming(live, _)) = self.conn(id).and_then(Connection::stage)
            && self.is_stale(id, &live.session.key, &live.session.id)
        {
            return self.close(id, Close::Link(LinkClose::SessionUnavailable));
        }
        let Stage::Welcoming(live, origin) = self.set_stage(id, Stage::Silent) else {
            unreachable!("checked by the caller")
        };
        let Session { id: session, key, context, applied, deaths_seen, expires_at: _ } =
            live.session.clone();
        let missed = live.deaths.saturating_sub(deaths_seen);
        let heartbeat_ms = self.config.link_heartbeat.as_millis();
        let endpoints = self.config.endpoints.clone();
        self.set_stage(id, Stage::Live(live));
        let welcome = Welcome {
            session: (*session).into(),
            resumed: origin == SessionOrigin::Resumed,
            lost: missed > 0,
            applied,
            context: (*context).into(),
            heartbeat_ms,
            endpoints: endpoints.iter().map(|endpoint| endpoint.as_str().into()).collect(),
        };
        self.send_frame(id, &GatewayFrame::Welcome(welcome));
        let record = LinkRecord::Welcomed { session: session.clone(), origin, missed };
        self.record_conn(id, ConnRecord::Link { key: Some(key.clone()), record });
        self.bind(id, key.clone(), Dialect::Link, None);
        for other in self.holders(id, &key, &session) {
            self.close(other, Close::Link(LinkClose::SessionMoved));
        }
        self.arm(id);
    }

    /// A client changes its session's context.
    pub(super) fn on_op(&mut self, id: ConnId, n: u64, patch: &str) {
        let max_context = self.config.max_context as usize;
        let live = self.session_of(id).expect("checked by the caller");
        if live.moved {
            return self.close(id, Close::Link(LinkClose::SessionMoved));
        }
        if n <= live.stored {
            return self.send_frame(id, &GatewayFrame::OpAck { n });
        }
        if n <= live.session.applied {
            // Its acknowledgement comes when it is stored.
            return;
        }
        if n != live.session.applied + 1 {
            return self.close(id, Close::Link(LinkClose::OpOutOfOrder));
        }
        let merged = merge_patch(&live.session.context, patch);
        let merged = merged.expect("the context and the patch were read before");
        if merged.len() > max_context {
            return self.close(id, Close::Link(LinkClose::ContextTooLarge));
        }
        live.session.context = merged.into();
        live.session.applied = n;
        live.change();
    }

    /// After a frame: the client has had `welcome`, and what has changed is given to the store. So
    /// is, from time to time, what has not, since a session that is not kept expires.
    pub(super) fn tend_session(&mut self, id: ConnId) {
        let (now, refresh) = (self.now, self.config.session_keep.divided_by(REFRESHES));
        let link = self.conn_mut(id).and_then(|conn| conn.link.as_mut());
        let Some(live) = link.and_then(|link| link.live_mut()) else { return };
        if live.moved {
            return;
        }
        live.told();
        match live.keeping {
            Keeping::Changed => self.keep_session(id),
            Keeping::Kept if now >= live.kept_at + refresh => self.keep_session(id),
            Keeping::Kept | Keeping::Asked(_) | Keeping::AskedAndChanged(_) => {}
        }
    }

    /// The store has not answered what a connection asked for. Unstored ops end the connection, and
    /// the client sends them again; a refresh has time.
    pub(super) fn on_link_failed(&mut self, id: ConnId, asked: LinkAsked) {
        let Some(link) = self.conn_mut(id).and_then(|conn| conn.link.as_mut()) else { return };
        let has_time = match (&mut link.stage, asked) {
            (Stage::Live(live), LinkAsked::Keep) => {
                live.keeping = Keeping::Changed;
                live.session.applied == live.stored
            }
            _ => false,
        };
        if !has_time {
            self.close(id, Close::Link(LinkClose::SessionUnavailable));
        }
    }

    /// Puts a connection into a stage and gives the one before.
    fn set_stage(&mut self, id: ConnId, stage: Stage) -> Stage {
        let conn = self.conn_mut(id).expect("the connection is open");
        debug_assert!(!matches!(conn.phase, Phase::Closing(..)), "nothing happens to it any more");
        let link = conn.link.as_mut().expect("a connection of the link protocol");
        std::mem::replace(&mut link.stage, stage)
    }
}
