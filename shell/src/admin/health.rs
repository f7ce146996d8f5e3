//! Whether all is well: the canary comes back, and the store does what it is told.

use super::Office;
use crate::reactor::{Figures, Request};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For so long after a failure the store counts as in trouble.
const TROUBLE_LASTS: Duration = Duration::from_secs(15);
/// So many intervals the canary may be late, besides its own time limit.
const INTERVALS: u32 = 2;

/// What is known of the canary.
#[derive(Debug)]
pub(super) struct Health {
    interval: Duration,
    canary: Mutex<Canary>,
}

#[derive(Debug)]
struct Canary {
    /// When it last came back, and how long it took.
    back: Option<(Instant, Duration)>,
    /// Why it did not, the last time.
    failure: Option<String>,
}

impl Health {
    /// A canary that has not come back yet, or that is not sent when the interval is zero.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, canary: Mutex::new(Canary { back: None, failure: None }) }
    }

    pub(super) fn came_back(&self, took: Duration) {
        let canary = Canary { back: Some((Instant::now(), took)), failure: None };
        *self.canary.lock().unwrap_or_else(PoisonError::into_inner) = canary;
    }

    pub(super) fn failed(&self, why: &str) {
        let mut canary = self.canary.lock().unwrap_or_else(PoisonError::into_inner);
        canary.failure = Some(why.to_owned());
    }

    /// How long the canary took the last time.
    pub(super) fn took(&self) -> Option<Duration> {
        let canary = self.canary.lock().unwrap_or_else(PoisonError::into_inner);
        canary.back.map(|(_, took)| took)
    }

    /// What is wrong with the canary, if anything is.
    fn canary_trouble(&self) -> Option<String> {
        if self.interval.is_zero() {
            return None;
        }
        let canary = self.canary.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &canary.failure {
            return Some(format!("canary: {why}"));
        }
        let Some((at, _)) = canary.back else {
            return Some("canary: it has not come back yet since the start".to_owned());
        };
        let late = at.elapsed() > self.interval * INTERVALS + super::canary::TIMEOUT;
        late.then(|| format!("canary: it came back last {} s ago", at.elapsed().as_secs()))
    }
}

/// What is wrong with the store, if anything is.
fn store_trouble(figures: &Figures) -> Option<String> {
    let (at, error) = figures.store_trouble.as_ref()?;
    (at.elapsed() < TROUBLE_LASTS).then(|| format!("storage: {error}"))
}

/// All that is wrong, a line each.
pub(super) fn troubles(office: &Office, figures: &Figures) -> Vec<String> {
    let mut troubles: Vec<_> = office.health.canary_trouble().into_iter().collect();
    for (purpose, health) in &office.redis {
        let failing = health.look().failing;
        troubles.extend(failing.map(|it| format!("redis ({purpose}): {}", it.why)));
    }
    if figures.holds_lease == Some(false) {
        troubles.push("lease: it is lost, and nothing is written to connections".to_owned());
    }
    troubles.extend(store_trouble(figures));
    troubles
}

pub(super) async fn healthz(State(office): State<Arc<Office>>) -> (StatusCode, Json<Value>) {
    let reasons = match office.ask(Request::Figures).await {
        Ok(figures) => troubles(&office, &figures),
        Err(_) => vec!["the event loop does not answer".to_owned()],
    };
    if reasons.is_empty() {
        return (StatusCode::OK, Json(json!({"status": "ok"})));
    }
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "failing", "reasons": reasons})))
}
