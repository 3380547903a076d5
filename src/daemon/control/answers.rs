//! What the control socket answers to each request.

use std::convert::Infallible;
use std::sync::Arc;

use actix::prelude::Addr;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use jiff::Timestamp;
use lockstone_proto::ids::JobId;
use lockstone_proto::job::JobKind;
use tokio::sync::broadcast::error::RecvError;

use crate::agent::state::job_records::{self, JobRecord};
use crate::daemon::Daemon;
use crate::daemon::orders::Order;
use crate::daemon::queue::{Cancel, Jobs, Queue, Submit, TakeTurn, Ticket};
use crate::documents::control::{DaemonDocument, JobDocument, JobOrderDocument, RefusalDocument};
use crate::failure::{Exit, Failure};

/// What an answer needs.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) daemon: Arc<Daemon>,
    pub(super) queue: Addr<Queue>,
}

/// A failure as an answer.
pub(super) struct Refused(Failure);

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Refused {
        Refused(failure)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Refused(failure) = self;
        let status = match failure.exit {
            Exit::Usage => StatusCode::BAD_REQUEST,
            Exit::Refused => StatusCode::FORBIDDEN,
            Exit::Busy => StatusCode::CONFLICT,
            Exit::NotRegistered => StatusCode::PRECONDITION_FAILED,
            _ if failure.code == "no-such-job" => StatusCode::NOT_FOUND,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let document = RefusalDocument {
            code: failure.code.to_owned(),
            message: failure.message,
            hint: failure.hint,
            at: Timestamp::now(),
        };
        (status, Json(document)).into_response()
    }
}

/// The queue does not answer any more.
fn stopping() -> Failure {
    Failure::failed("stopping", "the agent is stopping", "ask again when it has started")
}

pub(super) async fn status(State(api): State<Api>) -> Result<Json<DaemonDocument>, Refused> {
    let jobs = api.queue.send(Jobs).await.map_err(|_| stopping())?;
    let running = api.daemon.live.now().map(|running| running.job);
    Ok(Json(DaemonDocument {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        process: std::process::id(),
        running,
        waiting: jobs.into_iter().filter(|job| Some(*job) != running).collect(),
    }))
}

pub(super) async fn jobs(State(api): State<Api>) -> Result<Json<Vec<JobRecord>>, Refused> {
    let state = api.daemon.state.clone();
    let read = tokio::task::spawn_blocking(move || job_records::all(&state)).await;
    let jobs = read.map_err(anyhow::Error::from).and_then(|jobs| jobs);
    Ok(Json(jobs.map_err(Failure::from)?))
}

pub(super) async fn job(State(api): State<Api>, Path(job): Path<String>) -> Result<Json<JobRecord>, Refused> {
    Ok(Json(job_records::find(&api.daemon.state, &job)?))
}

pub(super) async fn submit(State(api): State<Api>, Json(order): Json<JobOrderDocument>) -> Result<Response, Refused> {
    if order.kind != JobKind::Backup {
        let message = format!("the agent does not start a {}", order.kind);
        return Err(Failure::usage(message, "run the command itself").into());
    }
    let submitted = api.queue.send(Submit(Order::OnDemand)).await.map_err(|_| stopping())?;
    Ok((StatusCode::ACCEPTED, Json(JobDocument { job: submitted? })).into_response())
}

pub(super) async fn cancel(State(api): State<Api>, Path(job): Path<JobId>) -> Result<Json<JobDocument>, Refused> {
    let found = api.queue.send(Cancel(job)).await.map_err(|_| stopping())?;
    if !found {
        let message = format!("job {job} neither runs nor waits in the agent");
        return Err(Failure::failed("no-such-job", message, "see `lockstone jobs list`").into());
    }
    Ok(Json(JobDocument { job }))
}

pub(super) async fn reload(State(api): State<Api>) -> StatusCode {
    api.daemon.environment.reload.ask();
    StatusCode::NO_CONTENT
}

pub(super) async fn events(State(api): State<Api>) -> Sse<impl Stream<Item = Result<SseEvent, Infallible>>> {
    let followed = api.daemon.events.follow();
    let stream = futures::stream::unfold(followed, |mut followed| async move {
        loop {
            match followed.recv().await {
                Ok(event) => {
                    let said = SseEvent::default().json_data(&event).unwrap_or_default();
                    return Some((Ok(said), followed));
                }
                Err(RecvError::Lagged(lost)) => tracing::debug!(lost, "a follower of the events was too slow"),
                Err(RecvError::Closed) => return None,
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

/// Where a command that wants a turn stands.
enum Turn {
    Arrived(Ticket),
    Waits(Ticket),
    Has(Ticket),
}

pub(super) async fn turn(
    State(api): State<Api>,
) -> Result<Sse<impl Stream<Item = Result<SseEvent, Infallible>>>, Refused> {
    let ticket = api.queue.send(TakeTurn).await.ok().flatten().ok_or_else(stopping)?;
    let stream = futures::stream::unfold(Turn::Arrived(ticket), |turn| async move {
        match turn {
            Turn::Arrived(ticket) => Some((Ok(SseEvent::default().data("waiting")), Turn::Waits(ticket))),
            Turn::Waits(mut ticket) => {
                // An error means that the daemon stops. The command then does without.
                let _ = (&mut ticket.granted).await;
                Some((Ok(SseEvent::default().data("granted")), Turn::Has(ticket)))
            }
            // Held until the connection is closed, which drops this.
            Turn::Has(ticket) => {
                let held = ticket;
                std::future::pending::<()>().await;
                drop(held);
                None
            }
        }
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}
