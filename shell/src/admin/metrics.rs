//! `/metrics` in Prometheus' text format. The names are listed in `docs/operations.md`.

use super::failure::Failure;
use super::{Office, health};
use crate::reactor::{BOUNDS, Durations, Figures, Links, Request};
use crate::store::health::State;
use axum::extract;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use std::fmt::Write as _;
use std::sync::Arc;
use steadfast_core::operator::{Counts, OperatorAnswer, OperatorRequest};

pub(super) async fn metrics(
    extract::State(office): extract::State<Arc<Office>>,
) -> Result<impl IntoResponse, Failure> {
    let figures = office.ask(Request::Figures).await?;
    let OperatorAnswer::Counts(counts) = office.operate(OperatorRequest::Count).await? else {
        return Err(Failure::unavailable("the gateway gave an answer to another question"));
    };
    // A store in trouble leaves these out: the others still matter.
    let stored = match office.operate(OperatorRequest::CountStored).await {
        Ok(OperatorAnswer::Totals { waiting, dead }) => Some((waiting, dead)),
        Ok(_) | Err(_) => None,
    };
    let mut page = Page::default();
    page.gateway(&counts, &figures);
    page.pushes(&figures);
    page.links(&counts, &figures.links);
    page.delivery(&counts, &figures, stored);
    page.devices(&figures);
    page.store(&figures);
    page.durations("steadfast_turn_seconds", "Turns of the event loop", &figures.turn_times);
    if !office.redis.is_empty() {
        page.sharing(&figures);
        let states: Vec<_> =
            office.redis.iter().map(|(name, health)| (name.as_str(), health.look())).collect();
        page.redis(&states);
    }
    let is_healthy = health::troubles(&office, &figures).is_empty();
    page.gauge("steadfast_healthy", "Whether /healthz is green", u64::from(is_healthy));
    if let Some(took) = office.health.took() {
        page.head("steadfast_canary_seconds", "gauge", "The canary's last way");
        let _ = writeln!(page.0, "steadfast_canary_seconds {}", took.as_secs_f64());
    }
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.0))
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn gateway(&mut self, counts: &Counts, figures: &Figures) {
        self.gauge("steadfast_connections", "Open client connections", counts.connections);
        self.gauge("steadfast_keys", "Keys in memory", counts.keys);
        self.counter("steadfast_connections_total", "Connections accepted", figures.accepted);
        let closed = &figures.closed;
        self.family(
            "steadfast_connections_closed_total",
            "Connections that ended, by who ended them",
            "by",
            &[
                ("client", closed.by_client),
                ("overdue", closed.overdue),
                ("gateway", closed.by_gateway),
                ("broken", closed.broken),
            ],
        );
        self.counter("steadfast_binds_total", "Connections that came to a key", figures.bound);
        self.counter("steadfast_takeovers_total", "Keys taken over", figures.taken_over);
        self.counter("steadfast_messages_in_total", "Messages of clients", figures.messages_in);
        self.counter("steadfast_messages_out_total", "Messages to clients", figures.messages_out);
        self.counter("steadfast_bytes_out_total", "Bytes of those", figures.bytes_out);
        self.counter("steadfast_stalls_total", "Deadlines over 1 s late", figures.stalls);
    }

    fn pushes(&mut self, figures: &Figures) {
        self.family(
            "steadfast_pushes_total",
            "Pushes, by their answer",
            "answer",
            &[
                ("ok", figures.pushes_ok),
                ("queued", figures.pushes_queued),
                ("fail", figures.pushes_failed),
            ],
        );
        self.counter("steadfast_pushes_merged_total", "Merged pushes", figures.pushes_merged);
        self.counter(
            "steadfast_pushes_duplicate_total",
            "Pushes under a known id",
            figures.pushes_duplicate,
        );
        self.counter("steadfast_pushes_refused_total", "Refused pushes", figures.pushes_refused);
        self.counter("steadfast_pushers_paused_total", "Paused back ends", figures.pushers_paused);
    }

    fn links(&mut self, counts: &Counts, links: &Links) {
        self.family(
            "steadfast_link_sessions_total",
            "Link clients welcomed: a first session, their own resumed, or one in place of an expired one",
            "origin",
            &[("fresh", links.fresh), ("resumed", links.resumed), ("replaced", links.replaced)],
        );
        self.counter("steadfast_link_lost_total", "Welcomes that said `lost`", links.lost);
        let acks = counts.acknowledged;
        self.counter("steadfast_link_acks_total", "Acknowledged messages", acks);
        self.counter(
            "steadfast_link_ack_timeouts_total",
            "Connections closed for want of an acknowledgement",
            links.ack_overdue,
        );
        self.counter(
            "steadfast_link_bad_frames_total",
            "Those closed for no frame",
            links.bad_frames,
        );
        self.gauge("steadfast_poll_sessions", "Open long-poll sessions", links.polls_open);
        self.counter("steadfast_poll_requests_total", "Their requests", links.poll_requests);
    }

    fn delivery(&mut self, counts: &Counts, figures: &Figures, stored: Option<(u64, u64)>) {
        self.counter("steadfast_confirmed_total", "Confirmed messages", counts.confirmed);
        self.counter(
            "steadfast_delivered_later_total",
            "Messages written after they had waited",
            figures.delivered_later,
        );
        self.counter("steadfast_tries_failed_total", "Failed tries", figures.tries_failed);
        let [tries, ttl, limit] = figures.died;
        self.family(
            "steadfast_deaths_total",
            "Messages set aside, by reason",
            "reason",
            &[("tries", tries), ("ttl", ttl), ("limit", limit)],
        );
        self.counter("steadfast_dead_withdrawn_total", "Confirmed after death", figures.withdrawn);
        self.counter("steadfast_dead_requeued_total", "Requeued dead letters", figures.requeued);
        self.counter("steadfast_dead_purged_total", "Purged dead letters", figures.dead_purged);
        self.counter(
            "steadfast_dead_dropped_total",
            "Dead letters dropped for age or number",
            figures.dead_dropped,
        );
        self.counter("steadfast_queue_purged_total", "Purged messages", figures.queue_purged);
        if let Some((waiting, dead)) = stored {
            self.gauge("steadfast_stored_messages", "Messages in the store", waiting);
            self.gauge("steadfast_dead_letters", "Dead letters in the store", dead);
        }
    }

    fn devices(&mut self, figures: &Figures) {
        self.family(
            "steadfast_device_logs_total",
            "Uploads of devices, by what became of them",
            "result",
            &[("kept", figures.device_logs_kept), ("failed", figures.device_logs_failed)],
        );
        self.counter(
            "steadfast_device_logs_taken_total",
            "Those taken through the admin port",
            figures.device_logs_taken,
        );
    }

    fn store(&mut self, figures: &Figures) {
        self.counter("steadfast_store_answers_total", "Answered operations", figures.store_answers);
        self.counter("steadfast_store_failures_total", "Failed ones", figures.store_failures);
        self.counter("steadfast_store_timeouts_total", "Ones too late", figures.store_timeouts);
        self.counter("steadfast_store_retries_total", "Ones tried again", figures.store_retries);
        self.durations(
            "steadfast_store_seconds",
            "Storage operations: a sample, one a turn",
            &figures.store_times,
        );
    }

    /// What there is only where several gateways may share a store.
    fn sharing(&mut self, figures: &Figures) {
        self.gauge(
            "steadfast_lease_held",
            "Whether the lease holds",
            u64::from(figures.holds_lease == Some(true)),
        );
        self.counter("steadfast_leases_lost_total", "Leases lost", figures.leases_lost);
        self.counter(
            "steadfast_takeovers_elsewhere_total",
            "Keys that other gateways took",
            figures.taken_elsewhere,
        );
        self.counter("steadfast_notices_total", "What other gateways told", figures.notices);
    }

    fn redis(&mut self, states: &[(&str, State)]) {
        let mut show = |name, kind, help, value: fn(&State) -> u64| {
            let values: Vec<_> = states.iter().map(|(it, state)| (*it, value(state))).collect();
            self.labelled(name, kind, help, "use", &values);
        };
        show("steadfast_redis_up", "gauge", "Whether the connection works", |state| {
            u64::from(state.failing.is_none())
        });
        show("steadfast_redis_waiting", "gauge", "Operations not answered yet", |state| {
            state.queued as u64
        });
        show("steadfast_redis_round_trips_total", "counter", "Pipelines answered", |state| {
            state.batches
        });
        show("steadfast_redis_operations_total", "counter", "Operations in those", |state| {
            state.operations
        });
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}.\n# TYPE {name} {kind}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "gauge", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn family(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        self.labelled(name, "counter", help, label, values);
    }

    fn labelled(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        values: &[(&str, u64)],
    ) {
        self.head(name, kind, help);
        for (word, value) in values {
            let _ = writeln!(self.0, "{name}{{{label}=\"{word}\"}} {value}");
        }
    }

    fn durations(&mut self, name: &str, help: &str, durations: &Durations) {
        self.head(name, "histogram", help);
        let mut count = 0;
        for (bound, class) in BOUNDS.iter().zip(durations.classes) {
            count += class;
            let seconds = *bound as f64 / 1e6;
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{seconds}\"}} {count}");
        }
        count += durations.classes[BOUNDS.len()];
        let sum = durations.sum_micros as f64 / 1e6;
        let _ = writeln!(self.0, "{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(self.0, "{name}_sum {sum}\n{name}_count {count}");
    }
}
