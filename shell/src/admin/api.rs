//! The paths for back ends and operators.

use super::failure::Failure;
use super::{DeviceLog, Office, show};
use crate::config::units::parse_duration;
use crate::reactor::Request;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use steadfast_core::command::Reply;
use steadfast_core::event::PushRequest;
use steadfast_core::id::{Key, MessageId};
use steadfast_core::operator::{Fate, OperatorAnswer, OperatorRequest};
use steadfast_core::record::DeathReason;
use steadfast_core::store::{DeadCursor, DeadFilter, DeadLetter, Target};
use steadfast_core::time::{Span, Time};

/// Lists have so many entries unless more are asked for, and never more than the latter.
const PAGE: u32 = 100;
const PAGE_AT_MOST: u32 = 1_000;

type Told = Result<Json<Value>, Failure>;
type Asked<T> = Result<Query<T>, QueryRejection>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Push {
    key: String,
    data: Value,
    id: Option<String>,
    ttl: Option<Value>,
}

pub(super) async fn push(
    State(office): State<Arc<Office>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let push: Push = read(&headers, body)?;
    let data = push.data.as_str().map_or_else(|| push.data.to_string(), str::to_owned);
    let ttl = push.ttl.as_ref().map(read_ttl).transpose()?;
    let request = PushRequest {
        key: push.key.into(),
        data: data.into(),
        idempotency: push.id.map(Into::into),
        ttl,
    };
    let (status, state, id) = match office.ask(|take| Request::Push(request, take)).await? {
        Reply::Ok(id) => (StatusCode::OK, "written", id),
        Reply::Queued(id) => (StatusCode::ACCEPTED, "queued", id),
        Reply::Fail(reason) => return Err(Failure::of_push(reason)),
    };
    Ok((status, Json(json!({"status": state, "id": id.to_string()}))))
}

/// Seconds as a number, or a duration as in the settings.
fn read_ttl(value: &Value) -> Result<Span, Failure> {
    let span = match value {
        Value::String(text) => parse_duration(text).ok(),
        Value::Number(number) => number.as_u64().map(Span::from_secs),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let span = span.filter(|span| *span > Span::ZERO && *span <= Span::from_secs(365 * 86_400));
    span.ok_or_else(|| {
        Failure::bad("ttl is no duration from 1 ms to a year; write seconds (60) or \"10m\"")
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfKey {
    key: String,
}

pub(super) async fn message(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
    query: Asked<OfKey>,
) -> Told {
    let key = Key::new(given(query)?.key);
    let by_id = parse_id(&id).map(Target::Id);
    for target in by_id.into_iter().chain([Target::Name(id.clone().into())]) {
        let request = OperatorRequest::FindMessage { key: key.clone(), target };
        let OperatorAnswer::Found(fate) = office.operate(request).await? else {
            return Err(unexpected());
        };
        if let Some(shown) = show::fate(&key, &fate) {
            return Ok(Json(shown));
        }
        debug_assert_eq!(*fate, Fate::Unknown, "everything else is shown");
    }
    Err(Failure::unknown(&format!(
        "nothing is known of {id} for this key: confirmed or dropped long ago, or never pushed"
    )))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QueuesAsked {
    #[serde(default)]
    prefix: String,
    after: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn queues(State(office): State<Arc<Office>>, query: Asked<QueuesAsked>) -> Told {
    let QueuesAsked { prefix, after, limit } = given(query)?;
    let limit = page(limit);
    let request =
        OperatorRequest::ListQueues { prefix: prefix.into(), after: after.map(Key::new), limit };
    let OperatorAnswer::Queues(queues) = office.operate(request).await? else {
        return Err(unexpected());
    };
    let next = queues.last().filter(|_| queues.len() == limit as usize).map(|it| &*it.key);
    let shown: Vec<_> = queues.iter().map(show::queue).collect();
    Ok(Json(json!({"queues": shown, "next": next})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QueueAsked {
    key: String,
    after: Option<u64>,
    limit: Option<u32>,
}

pub(super) async fn queue(State(office): State<Arc<Office>>, query: Asked<QueueAsked>) -> Told {
    let QueueAsked { key, after, limit } = given(query)?;
    let request = OperatorRequest::ShowQueue { key: Key::new(key), after, limit: page(limit) };
    let OperatorAnswer::Queue(messages) = office.operate(request).await? else {
        return Err(unexpected());
    };
    // A page can be short for its bytes: it is the last when it is empty.
    let next = messages.last().map(|(message, _)| message.position);
    let shown: Vec<_> = messages.iter().map(|(it, stage)| show::message(it, *stage)).collect();
    Ok(Json(json!({"messages": shown, "next": next})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PurgeAsked {
    key: String,
    id: Option<String>,
}

pub(super) async fn purge_queue(
    State(office): State<Arc<Office>>,
    query: Asked<PurgeAsked>,
) -> Told {
    let PurgeAsked { key, id } = given(query)?;
    let ids = id.as_deref().map(need_id).transpose()?;
    let key = Key::new(key);
    let mut purged = 0;
    loop {
        let ids = ids.into_iter().collect();
        let request = OperatorRequest::PurgeQueue { key: key.clone(), ids, limit: PAGE_AT_MOST };
        let count = dropped(office.operate(request).await?)?;
        purged += count;
        if count < u64::from(PAGE_AT_MOST) {
            return Ok(Json(json!({"purged": purged})));
        }
    }
}

/// Which dead letters.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadAsked {
    key: Option<String>,
    reason: Option<String>,
    older_than: Option<String>,
    id: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
    /// Has to be said where nothing else is.
    #[serde(default)]
    all: bool,
}

impl DeadAsked {
    fn filter(&self) -> Result<DeadFilter, Failure> {
        let reason = match self.reason.as_deref() {
            None => None,
            Some(name) => Some(reason_of(name).ok_or_else(|| {
                Failure::bad(&format!("reason {name:?} is none of tries, ttl, limit"))
            })?),
        };
        let older = self.older_than.as_deref().map(parse_duration).transpose();
        let older = older.map_err(|error| Failure::bad(&format!("older_than {error}")))?;
        Ok(DeadFilter {
            key: self.key.clone().map(Key::new),
            reason,
            until: older.map(|age| now() - age),
            id: self.id.as_deref().map(need_id).transpose()?,
        })
    }

    /// The filter, which must not be empty by accident.
    fn deliberate(&self) -> Result<DeadFilter, Failure> {
        let filter = self.filter()?;
        if filter == DeadFilter::default() && !self.all {
            let reason = "this means every dead letter; name key, reason, older_than or id, or \
                          say all=true";
            return Err(Failure::bad(reason));
        }
        Ok(filter)
    }
}

pub(super) async fn dead(State(office): State<Arc<Office>>, query: Asked<DeadAsked>) -> Told {
    let asked = given(query)?;
    let limit = page(asked.limit);
    let after = asked.after.as_deref().map(parse_cursor).transpose()?;
    let letters = list_dead(&office, asked.filter()?, after, limit).await?;
    let next = letters.last().filter(|_| letters.len() == limit as usize).map(show_cursor);
    let shown: Vec<_> = letters.iter().map(show::letter).collect();
    Ok(Json(json!({"dead": shown, "next": next})))
}

pub(super) async fn purge_dead(State(office): State<Arc<Office>>, query: Asked<DeadAsked>) -> Told {
    let filter = given(query)?.deliberate()?;
    let mut purged = 0;
    loop {
        let request = OperatorRequest::PurgeDead { filter: filter.clone(), limit: PAGE_AT_MOST };
        let count = dropped(office.operate(request).await?)?;
        purged += count;
        if count < u64::from(PAGE_AT_MOST) {
            return Ok(Json(json!({"purged": purged})));
        }
    }
}

/// Requeues page by page: dead letters that die meanwhile are behind the last page's end.
pub(super) async fn requeue(
    State(office): State<Arc<Office>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Told {
    let mut filter = read::<DeadAsked>(&headers, body)?.deliberate()?;
    filter.until = filter.until.or_else(|| Some(now()));
    let (mut requeued, mut after) = (0, None);
    loop {
        let letters = list_dead(&office, filter.clone(), after, PAGE).await?;
        let Some(last) = letters.last() else {
            return Ok(Json(json!({"requeued": requeued})));
        };
        after = Some(DeadCursor { at: last.at, id: last.message.id });
        let mut by_key: BTreeMap<Key, Vec<MessageId>> = BTreeMap::new();
        for letter in letters {
            by_key.entry(letter.key).or_default().push(letter.message.id);
        }
        for (key, ids) in by_key {
            let request = OperatorRequest::RequeueDead { key, ids };
            let OperatorAnswer::Requeued(ids) = office.operate(request).await? else {
                return Err(unexpected());
            };
            requeued += ids.len();
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectionsAsked {
    key: Option<String>,
    after: Option<u32>,
    limit: Option<u32>,
}

pub(super) async fn connections(
    State(office): State<Arc<Office>>,
    query: Asked<ConnectionsAsked>,
) -> Told {
    let ConnectionsAsked { key, after, limit } = given(query)?;
    let limit = page(limit);
    let key = key.map(Key::new);
    let request = OperatorRequest::ListConnections { key, after, limit };
    let OperatorAnswer::Connections(views) = office.operate(request).await? else {
        return Err(unexpected());
    };
    let next = views.last().filter(|_| views.len() == limit as usize).map(|view| view.id.slot);
    let shown: Vec<_> = views.iter().map(show::connection).collect();
    Ok(Json(json!({"connections": shown, "next": next})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceLogsAsked {
    after: Option<u64>,
    limit: Option<u32>,
}

pub(super) async fn device_logs(
    State(office): State<Arc<Office>>,
    query: Asked<DeviceLogsAsked>,
) -> Told {
    let DeviceLogsAsked { after, limit } = given(query)?;
    need_device_log(&office)?;
    let request = OperatorRequest::ReadDeviceLog { after, limit: page(limit) };
    let OperatorAnswer::DeviceLog(entries) = office.operate(request).await? else {
        return Err(unexpected());
    };
    // A page can be short for its bytes: it is the last when it is empty.
    let next = entries.last().map(|entry| entry.number);
    let shown: Vec<_> = entries.iter().map(show::device_entry).collect();
    Ok(Json(json!({"entries": shown, "next": next})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DropAsked {
    through: u64,
}

pub(super) async fn drop_device_logs(
    State(office): State<Arc<Office>>,
    query: Asked<DropAsked>,
) -> Told {
    let DropAsked { through } = given(query)?;
    need_device_log(&office)?;
    let mut count = 0;
    loop {
        let request = OperatorRequest::DropDeviceLog { through, limit: PAGE_AT_MOST };
        let page = dropped(office.operate(request).await?)?;
        count += page;
        if page < u64::from(PAGE_AT_MOST) {
            return Ok(Json(json!({"dropped": count})));
        }
    }
}

fn need_device_log(office: &Office) -> Result<(), Failure> {
    match office.device_log {
        DeviceLog::Here => Ok(()),
        DeviceLog::InRedis => Err(Failure::elsewhere(
            "the device log is in Redis; drain it there, as with steadfast device-logs --redis URL",
        )),
    }
}

async fn list_dead(
    office: &Office,
    filter: DeadFilter,
    after: Option<DeadCursor>,
    limit: u32,
) -> Result<Vec<DeadLetter>, Failure> {
    let request = OperatorRequest::ListDead { filter, after, limit };
    let OperatorAnswer::Dead(letters) = office.operate(request).await? else {
        return Err(unexpected());
    };
    Ok(letters)
}

fn dropped(answer: OperatorAnswer) -> Result<u64, Failure> {
    if let OperatorAnswer::Dropped(count) = answer { Ok(count) } else { Err(unexpected()) }
}

fn unexpected() -> Failure {
    Failure::unavailable("the gateway gave an answer to another question")
}

/// Reads a JSON body. Only what is declared JSON is read: a web page elsewhere cannot send that
/// without being asked for leave.
fn read<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<T, Failure> {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !declared.is_some_and(|value| value.starts_with("application/json")) {
        return Err(Failure::not_json());
    }
    let body = body.map_err(|error| {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Failure::too_long("the body is longer than any push may be (max_push_line)")
        } else {
            Failure::bad(&error.body_text())
        }
    })?;
    serde_json::from_slice(&body).map_err(|error| Failure::bad(&format!("the body: {error}")))
}

fn given<T>(query: Asked<T>) -> Result<T, Failure> {
    let Query(asked) = query.map_err(|error| Failure::bad(&error.body_text()))?;
    Ok(asked)
}

fn page(limit: Option<u32>) -> u32 {
    limit.unwrap_or(PAGE).clamp(1, PAGE_AT_MOST)
}

fn reason_of(name: &str) -> Option<DeathReason> {
    let all = [DeathReason::Tries, DeathReason::Ttl, DeathReason::Limit];
    all.into_iter().find(|reason| reason.name() == name)
}

fn parse_id(text: &str) -> Option<MessageId> {
    let (incarnation, counter) = text.split_once('-')?;
    Some(MessageId { incarnation: incarnation.parse().ok()?, counter: counter.parse().ok()? })
}

fn need_id(text: &str) -> Result<MessageId, Failure> {
    parse_id(text)
        .ok_or_else(|| Failure::bad(&format!("{text:?} is no message id; they look like 1-42")))
}

fn show_cursor(letter: &DeadLetter) -> String {
    format!("{}/{}", letter.at.as_micros(), letter.message.id)
}

fn parse_cursor(text: &str) -> Result<DeadCursor, Failure> {
    let parts = text.split_once('/');
    let read = parts.and_then(|(at, id)| {
        Some(DeadCursor { at: Time::from_micros(at.parse().ok()?), id: parse_id(id)? })
    });
    read.ok_or_else(|| Failure::bad("after is not what an earlier answer gave as next"))
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
