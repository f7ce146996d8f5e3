//! Who may use the admin port: everybody who reaches it, or who shows its token.

use super::Office;
use super::failure::Failure;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;

pub(super) async fn check(
    State(office): State<Arc<Office>>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    if let Some(token) = &office.token {
        let shown = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
        let shown = shown.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
        if !same(shown, token.as_bytes()) {
            return Err(Failure::unauthorized());
        }
    }
    Ok(next.run(request).await)
}

/// Compares without telling by the time taken where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}
