//! Sockets that are no client's.

#![allow(clippy::wildcard_enum_match_arm, reason = "each match picks out what it is about")]

use super::{Happening, Run};
use crate::schedule::{Delivered, Intrusion};
use steadfast_core::event::{CloseCause, ConnEvent, Protocol};

impl Run<'_> {
    /// A socket is opened, and this is what comes of it.
    pub(super) fn intrude(&mut self, intrusion: Intrusion) {
        if !self.host.is_open() {
            return;
        }
        let id = self.sockets.open(None);
        self.note(0, Happening::ToGateway(id, ConnEvent::Accepted));
        let upgraded = || ConnEvent::Upgraded { target: "/".into(), protocol: Protocol::Legacy };
        match intrusion {
            Intrusion::Silence => {}
            Intrusion::HalfUpgrade => {
                self.deliver(Delivered::UpgradeFailed);
                self.close_stranger(id, 500_000, CloseCause::Eof);
            }
            Intrusion::BadUpgrade => {
                self.deliver(Delivered::UpgradeFailed);
                let reason = "no Upgrade header".to_owned();
                self.close_stranger(id, 1_000, CloseCause::BadUpgrade { status: 400, reason });
            }
            Intrusion::BadFrame => {
                self.deliver(Delivered::FrameMalformed);
                self.note(1_000, Happening::ToGateway(id, upgraded()));
                let reason = "an unmasked frame".to_owned();
                let cause = CloseCause::ProtocolError { code: 1_002, reason };
                self.close_stranger(id, 2_000, cause);
            }
            Intrusion::NoKey => self.note(1_000, Happening::ToGateway(id, upgraded())),
            Intrusion::LongKey | Intrusion::ReservedKey => {
                self.note(1_000, Happening::ToGateway(id, upgraded()));
                let key = match intrusion {
                    Intrusion::LongKey => "k".repeat(300),
                    _ => "device:d1".to_owned(),
                };
                let text = ConnEvent::TextReceived(key.into());
                self.note(2_000, Happening::ToGateway(id, text));
            }
            Intrusion::Monitor => {
                self.note(1_000, Happening::ToGateway(id, upgraded()));
                for beat in 1..5 {
                    let text = ConnEvent::TextReceived(r#"{"type":"heartbeat"}"#.into());
                    self.note(beat * 3_000_000, Happening::ToGateway(id, text));
                }
                self.close_stranger(id, 13_000_000, CloseCause::PeerClosed(None));
            }
        }
    }
}
