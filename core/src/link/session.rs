//! What passes over a channel: the greeting, messages and their acknowledgement, ops.

use super::{Link, LinkCommand, LinkState, Op, Phase, Pulse, Report, Save, Saved};
use crate::dialect::link::{ClientFrame, GatewayFrame, Hello, Welcome};
use crate::time::{Span, Time};
use bytestring::ByteString;
use std::borrow::Cow;

/// The shortest interval between heartbeats that a gateway may ask for.
const HEARTBEAT_LEAST: Span = Span::from_secs(1);

impl Link {
    pub(super) fn restored(&mut self, saved: Saved) {
        if self.state != LinkState::Disconnected {
            return;
        }
        self.session = saved.session;
        for id in saved.seen {
            self.seen.note(id);
        }
        self.ops.restore(saved.last_op, saved.ops);
    }

    /// The text of a `hello`.
    pub(super) fn hello(&self) -> ByteString {
        let borrowed = |text: &ByteString| Cow::Owned(text.to_string());
        let hello = Hello {
            key: borrowed(self.config.key.text()),
            token: self.config.token.as_ref().map(borrowed),
            session: self.session.as_ref().map(borrowed),
            last: self.seen.last().map(borrowed),
        };
        ClientFrame::Hello(hello).encode().into()
    }

    /// A frame came on the main channel.
    pub(super) fn text_received(&mut self, now: Time, text: &str, commands: &mut Vec<LinkCommand>) {
        self.quality.received(text.encode_utf16().count());
        if let Some(pulse) = &mut self.pulse {
            pulse.heard(now);
        }
        let is_welcomed = self.main.as_ref().is_some_and(|main| main.phase == Phase::Welcomed);
        match GatewayFrame::parse(text) {
            Ok(GatewayFrame::Welcome(welcome)) if !is_welcomed => {
                self.welcomed(now, &welcome, commands);
            }
            Ok(GatewayFrame::Retry { after_ms }) => {
                self.retry_advised(now, Span::from_millis(after_ms));
            }
            Ok(GatewayFrame::Error { code, reason }) => {
                let reason = reason.into_owned().into();
                commands.push(LinkCommand::Report(Report::GatewayError { code, reason }));
                if let Some(main) = &self.main {
                    commands.push(LinkCommand::Close(main.id));
                }
                self.closed(now, Some(code), commands);
            }
            Ok(GatewayFrame::Message { id, data, tries }) if is_welcomed => {
                self.message(id.into_owned().into(), data.into_owned().into(), tries, commands);
            }
            Ok(GatewayFrame::HeartbeatAck { .. }) => {
                if let Some(pulse) = &mut self.pulse {
                    pulse.answered(now, &mut self.quality);
                }
            }
            Ok(GatewayFrame::OpAck { n }) if is_welcomed => self.ops_done(n, commands),
            Ok(GatewayFrame::Pong) => {}
            // What is no frame, or not in its place, cannot be done: the connection is of no use.
            Ok(
                GatewayFrame::Welcome(_)
                | GatewayFrame::Message { .. }
                | GatewayFrame::OpAck { .. },
            )
            | Err(_) => self.abandon(now, commands),
        }
    }

    pub(super) fn op_requested(&mut self, patch: ByteString, commands: &mut Vec<LinkCommand>) {
        let Some(op) = self.ops.add(patch) else {
            return commands.push(LinkCommand::Report(Report::OpRefused));
        };
        commands.push(LinkCommand::Save(Save::Op(op.clone())));
        if self.state.is_live() {
            self.send_op(&op, commands);
        }
    }

    /// Goes on with another session, or with none yet.
    pub(super) fn begin_session(
        &mut self,
        id: Option<ByteString>,
        commands: &mut Vec<LinkCommand>,
    ) {
        self.session.clone_from(&id);
        commands.push(LinkCommand::Save(Save::Session(id)));
        self.ops.renumber();
        let waiting = self.ops.waiting().cloned();
        commands.extend(waiting.map(|op| LinkCommand::Save(Save::Op(op))));
    }

    fn welcomed(&mut self, now: Time, welcome: &Welcome<'_>, commands: &mut Vec<LinkCommand>) {
        if welcome.resumed {
            self.ops_done(welcome.applied, commands);
        } else {
            self.begin_session(Some(welcome.session.to_string().into()), commands);
        }
        self.attempt_succeeded(now, commands);
        let main = self.main.as_ref().expect("the main channel was welcomed");
        if !welcome.endpoints.is_empty() {
            let urls: Vec<_> = welcome.endpoints.iter().map(|url| url.to_string().into()).collect();
            self.route.replace(&urls, &main.url);
        }
        if self.state == LinkState::Connected {
            let wanted = Span::from_millis(welcome.heartbeat_ms).max(HEARTBEAT_LEAST);
            let interval = self.config.heartbeat_interval.min(wanted);
            self.pulse = Some(Pulse::new(&self.config, interval, now));
        }
        commands.push(LinkCommand::Report(Report::Welcomed {
            resumed: welcome.resumed,
            lost: welcome.lost,
            context: welcome.context.to_string().into(),
        }));
        let waiting: Vec<_> = self.ops.waiting().cloned().collect();
        waiting.iter().for_each(|op| self.send_op(op, commands));
    }

    fn message(
        &mut self,
        id: ByteString,
        data: ByteString,
        tries: u32,
        commands: &mut Vec<LinkCommand>,
    ) {
        if self.seen.note(id.clone()) {
            self.tally.messages += 1;
            commands.push(LinkCommand::Save(Save::Seen(id.clone())));
            commands.push(LinkCommand::Deliver { id: id.clone(), data, tries });
        } else {
            self.tally.duplicates += 1;
        }
        self.send(&ClientFrame::Ack { id: Cow::Borrowed(&id) }, commands);
    }

    fn ops_done(&mut self, through: u64, commands: &mut Vec<LinkCommand>) {
        if let Some(through) = self.ops.confirm(through) {
            commands.push(LinkCommand::Save(Save::OpsDone { through }));
            commands.push(LinkCommand::Report(Report::OpsConfirmed { through }));
        }
    }

    fn send_op(&self, op: &Op, commands: &mut Vec<LinkCommand>) {
        self.send(&ClientFrame::Op { n: op.n, patch: Cow::Borrowed(&op.patch) }, commands);
    }
}
