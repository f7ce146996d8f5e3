//! The admin port: HTTP for back ends that want status codes, for operators and for monitoring.
//!
//! One thread runs it. It owns nothing: what is asked is brought to the event loop by a
//! [`Courier`], like the events of any socket, and what waits for an answer waits here.

mod api;
mod auth;
mod canary;
mod failure;
mod health;
mod metrics;
mod show;

use crate::reactor::{Busy, Courier, Request, TakeAnswer};
use crate::store::health::Health as StoreHealth;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Router, middleware};
use failure::Failure;
use health::Health;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use steadfast_core::operator::{OperatorAnswer, OperatorRequest};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// No answer takes longer: a push waits for its pong, or for its connection's end.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How the admin port is served.
#[derive(Clone, Debug)]
pub struct Options {
    /// What a request has to show, if anything.
    pub token: Option<String>,
    /// Where clients connect: there the canary does.
    pub ws: SocketAddr,
    /// How often the canary is pushed to; never when zero.
    pub canary: Duration,
    /// The longest data of a push in bytes.
    pub max_push: usize,
    /// Where the device log is.
    pub device_log: DeviceLog,
    /// The connections to Redis by what they are for, and how they are doing.
    pub redis: Vec<(String, StoreHealth)>,
}

/// Where the device log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceLog {
    /// In the gateway's own store.
    Here,
    /// In Redis, where it is drained beside the gateway.
    InRedis,
}

/// What every handler has.
#[derive(Debug)]
struct Office {
    courier: Courier,
    token: Option<String>,
    health: Arc<Health>,
    device_log: DeviceLog,
    redis: Vec<(String, StoreHealth)>,
}

/// Serves the admin port on a thread of its own, until the process ends.
///
/// # Errors
/// A thread or its runtime cannot be started.
pub fn start(listener: TcpListener, courier: Courier, options: &Options) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let health = Arc::new(Health::new(options.canary));
    let office = Office {
        courier: courier.clone(),
        token: options.token.clone(),
        health: health.clone(),
        device_log: options.device_log,
        redis: options.redis.clone(),
    };
    let router = router(Arc::new(office), options.max_push);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("admin".to_owned()).spawn(move || {
        runtime.block_on(async move {
            // It serves until the process ends; only a listener of no use ends it before.
            if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                let _ = axum::serve(listener, router).await;
            }
        });
    })?;
    if !options.canary.is_zero() {
        canary::start(options.ws, courier, health, options.canary)?;
    }
    Ok(())
}

fn router(office: Arc<Office>, max_push: usize) -> Router {
    // An escape takes up to six bytes for one.
    let body = max_push.saturating_mul(6).saturating_add(64 << 10);
    Router::new()
        .route("/push", post(api::push))
        .route("/messages/{id}", get(api::message))
        .route("/queues", get(api::queues))
        .route("/queue", get(api::queue).delete(api::purge_queue))
        .route("/dead", get(api::dead).delete(api::purge_dead))
        .route("/dead/requeue", post(api::requeue))
        .route("/connections", get(api::connections))
        .route("/device-logs", get(api::device_logs).delete(api::drop_device_logs))
        .route("/metrics", get(metrics::metrics))
        .layer(middleware::from_fn_with_state(office.clone(), auth::check))
        .route("/healthz", get(health::healthz))
        .fallback(failure::no_such_path)
        .method_not_allowed_fallback(failure::no_such_method)
        .layer(DefaultBodyLimit::max(body))
        .with_state(office)
}

impl Office {
    /// Brings a request to the event loop and waits for the answer.
    async fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(TakeAnswer<T>) -> Request,
    ) -> Result<T, Failure> {
        let (sender, receiver) = oneshot::channel();
        let take = Box::new(move |answer| {
            // Who asked may have gone.
            let _ = sender.send(answer);
        });
        self.courier.bring(request(take)).map_err(|busy| match busy {
            Busy::Full => Failure::unavailable("too many requests wait already"),
            Busy::Over => Failure::unavailable("the gateway is stopping"),
        })?;
        match timeout(ANSWER_TIMEOUT, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Failure::unavailable("the gateway is stopping")),
            Err(_) => Err(Failure::unavailable("the gateway did not answer within 30 s")),
        }
    }

    /// Asks as an operator.
    async fn operate(&self, request: OperatorRequest) -> Result<OperatorAnswer, Failure> {
        let answer = self.ask(|take| Request::Operator(request, take)).await?;
        if let OperatorAnswer::Failed(error) = answer {
            return Err(Failure::unavailable(&format!("storage: {error}")));
        }
        Ok(answer)
    }
}
