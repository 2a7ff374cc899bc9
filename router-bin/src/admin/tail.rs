//! `GET /v1/logs`: the last lines, and with `tail` all that follow, one JSON object to a line.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::{Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use serde::Deserialize;

use super::{Shared, api::not_here, stopped};
use crate::logs::{Followed, Follower, KEPT_LINES, LogFilter, LogLine, Source};

/// How many lines when nobody says: Heroku's number.
const USUAL_LINES: usize = 100;

/// What is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    n: Option<usize>,
    #[serde(default)]
    tail: bool,
    dyno: Option<String>,
}

/// `GET /v1/logs?n=100&tail=true&dyno=web.1`
pub(crate) async fn logs(State(admin): Shared, Query(wanted): Query<Wanted>) -> Response {
    let Some(logs) = &admin.logs else { return not_here(admin.role, "logs of dynos") };
    let filter = LogFilter { dyno: wanted.dyno };
    let (last, follower) = logs.follow(wanted.n.unwrap_or(USUAL_LINES).min(KEPT_LINES), &filter);
    let kept = stream::iter(last).map(|line| json(&line));
    let body = if wanted.tail {
        Body::from_stream(kept.chain(follow(follower).take_until(Box::pin(stopped(admin.stop.clone())))))
    } else {
        Body::from_stream(kept)
    };
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

fn follow(follower: Follower) -> impl stream::Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(follower, |mut follower| async move {
        let line = match follower.next().await? {
            Followed::Line(line) => json(&line),
            Followed::Lost(lines) => json(&lost(lines)),
        };
        Some((line, follower))
    })
}

/// Heroku says so when `heroku logs --tail` cannot keep up.
fn lost(lines: u64) -> LogLine {
    let text =
        format!("Error L11 (Tail buffer overflow) -> {lines} lines dropped; read faster or filter with -d");
    LogLine { at: Timestamp::now(), source: Source::Heroku, dyno: "logs".to_owned(), text }
}

fn json(line: &LogLine) -> Result<Bytes, Infallible> {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    Ok(text.into())
}
