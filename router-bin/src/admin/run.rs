//! `POST /v1/run`: a one-off dyno. What it writes follows as one JSON object to a line, and last how it ended. Whoever goes
//! away before that hangs up, and the dyno ends.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use busbar_registry::DynoName;
use bytes::Bytes;
use dyno_runtime::{ConfigVars, OneOff, Size, Source, Speaker, Started, Tail};
use futures_util::stream;

use super::{
    Shared,
    api::{RunEvent, RunRequest, not_here, refuse},
};
use crate::{dynos::Dynos, logs::LogLine};

/// `POST /v1/run`
pub(crate) async fn run(State(admin): Shared, Json(request): Json<RunRequest>) -> Response {
    let Some(dynos) = &admin.dynos else {
        return not_here(admin.role, "dynos of its own to run a command beside");
    };
    let size = match request.size.map(|size| size.parse::<Size>()).transpose() {
        Ok(size) => size,
        Err(error) => return refuse(StatusCode::UNPROCESSABLE_ENTITY, "invalid_params", error.to_string()),
    };
    let environment: ConfigVars = request.env.into_iter().collect();
    let order = OneOff { command: request.command, size, environment };
    // Before it starts, so that its first line is there.
    let tail = dynos.logs(0).map(|(_, tail)| tail);
    let Started { dyno, ended } = match dynos.run(order).await {
        Ok(started) => started,
        Err(refused) => {
            return refuse(StatusCode::UNPROCESSABLE_ENTITY, "invalid_params", refused.to_string());
        }
    };
    let first = json(&RunEvent::Dyno(dyno.to_string()));
    let body = match tail.filter(|_| !request.detach) {
        None => Body::from(first),
        Some(tail) => {
            let attached =
                Attached { dynos: Arc::clone(dynos), dyno, tail, ended: Some(ended), first: Some(first) };
            Body::from_stream(stream::unfold(attached, |mut attached| async move {
                attached.next().await.map(|line| (Ok::<_, Infallible>(line), attached))
            }))
        }
    };
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// Somebody who hears a one-off dyno. Dropped before its end, it hangs up.
struct Attached {
    dynos: Arc<dyn Dynos>,
    dyno: DynoName,
    tail: Tail,
    ended: Option<tokio::sync::oneshot::Receiver<Option<dyno_runtime::Exit>>>,
    first: Option<Bytes>,
}

impl Attached {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            // Its last words come before its end.
            let ended = self.ended.as_mut()?;
            let line = tokio::select! {
                biased;
                line = self.tail.next() => line?,
                exit = ended => {
                    self.ended = None;
                    return Some(json(&RunEvent::Exit(exit.ok().flatten())));
                }
            };
            let own = matches!(&line.speaker, Speaker::Dyno(dyno) if *dyno == self.dyno);
            let lost = line.speaker == Speaker::Api && line.source == Source::Heroku;
            if own || lost {
                return Some(json(&RunEvent::Line(LogLine::from(&line))));
            }
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if self.ended.is_some() {
            let (dynos, dyno) = (Arc::clone(&self.dynos), self.dyno.clone());
            tokio::spawn(async move { dynos.hang_up(dyno).await });
        }
    }
}

fn json(event: &RunEvent) -> Bytes {
    let mut text = serde_json::to_vec(event).unwrap_or_default();
    text.push(b'\n');
    text.into()
}
