//! What a request is told that cannot be served: a status and `{"error":…,"reason":…}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use steadfast_core::command::FailReason;

/// Why a request is not served.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    error: &'static str,
    reason: String,
}

impl Failure {
    fn new(status: StatusCode, error: &'static str, reason: &str) -> Self {
        Self { status, error, reason: reason.to_owned() }
    }

    pub(super) fn bad(reason: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    pub(super) fn unavailable(reason: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason)
    }

    pub(super) fn unauthorized() -> Self {
        let reason = "this port needs a token; send Authorization: Bearer TOKEN";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", reason)
    }

    pub(super) fn too_long(reason: &str) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_long", reason)
    }

    pub(super) fn not_json() -> Self {
        let reason = "the body has to be JSON; send Content-Type: application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", reason)
    }

    pub(super) fn unknown(reason: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown", reason)
    }

    pub(super) fn elsewhere(reason: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "elsewhere", reason)
    }

    /// A push that is not promised.
    pub(super) fn of_push(reason: FailReason) -> Self {
        let text = reason.text();
        match reason {
            FailReason::NotAnObject | FailReason::NoKey => Self::bad(text),
            FailReason::EmptyKey => Self::bad("key is empty"),
            FailReason::KeyTooLong => Self::bad("key is longer than max_key"),
            FailReason::TooLong => Self::too_long("data is longer than max_push_line"),
            FailReason::Conflict => Self::new(StatusCode::CONFLICT, "conflict", text),
            FailReason::NotStored => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not_stored",
                "not promised, though it may still arrive: push it again under the same id",
            ),
            FailReason::Stopping => Self::unavailable(text),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error": self.error, "reason": self.reason}))).into_response()
    }
}

pub(super) async fn no_such_path() -> Failure {
    Failure::unknown("there is no such path; docs/protocol.md lists them")
}

pub(super) async fn no_such_method() -> Failure {
    let reason = "the path is right, the method is not; docs/protocol.md lists them";
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method", reason)
}
