//! `GET /v1/logs`: the last lines, and with `tail` all that follow, one JSON object to a line.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::{Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use dyno_runtime::Tail;
use futures_util::stream::{self, StreamExt as _};
use serde::Deserialize;

use super::{Shared, api::not_here, stopped};
use crate::logs::{KEPT_LINES, LogFilter, LogLine};

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
    let Some((kept, tail)) = admin.dynos.as_ref().and_then(|dynos| dynos.logs(KEPT_LINES)) else {
        return not_here(admin.role, "logs of dynos");
    };
    let filter = LogFilter { dyno: wanted.dyno };
    let mut last: Vec<_> = kept.into_iter().filter(|line| filter.wants(line)).collect();
    last.drain(..last.len().saturating_sub(wanted.n.unwrap_or(USUAL_LINES)));
    let last = stream::iter(last).map(|line| Ok::<_, Infallible>(json(&line)));
    let body = if wanted.tail {
        let stop = Box::pin(stopped(admin.stop.clone()));
        Body::from_stream(last.chain(follow(tail, filter).take_until(stop).map(Ok)))
    } else {
        Body::from_stream(last)
    };
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

fn follow(tail: Tail, filter: LogFilter) -> impl stream::Stream<Item = Bytes> {
    stream::unfold((tail, filter), |(mut tail, filter)| async move {
        loop {
            let line = tail.next().await?;
            if filter.wants(&line) {
                return Some((json(&line), (tail, filter)));
            }
        }
    })
}

fn json(line: &dyno_runtime::LogLine) -> Bytes {
    let mut text = serde_json::to_vec(&LogLine::from(line)).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

#[cfg(test)]
mod tests {
    use dyno_runtime::{
        LogLine, Speaker,
        logs::{Logs, TAIL},
    };

    use super::*;

    #[tokio::test]
    async fn whoever_follows_one_dyno_is_told_of_lost_lines_too() {
        let logs = Logs::default();
        let (_, tail) = logs.last(0);
        for n in 0..TAIL + 7 {
            logs.push(LogLine::heroku(Speaker::Dyno("worker.1".parse().unwrap()), n.to_string()));
        }
        drop(logs);
        let followed = follow(tail, LogFilter { dyno: Some("web.1".to_owned()) });
        let lines: Vec<Bytes> = followed.collect().await;
        let lines: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
        assert!(lines.len() == 1 && lines[0].contains("dropped 7 messages"), "{lines:?}");
    }
}
