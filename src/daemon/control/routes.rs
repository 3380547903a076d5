//! The requests that the control socket answers, and their description. A request is here, or it is not answered: so
//! the OpenAPI document has them all.

use axum::Json;
use axum::routing::{MethodRouter, get, post};

use super::answers::{Api, cancel, events, job, jobs, reload, status, submit, turn};
use crate::agent::state::job_records::JobRecord;
use crate::daemon::events::Event;
use crate::documents::control::{DaemonDocument, JobDocument, JobOrderDocument, RefusalDocument};
use crate::documents::openapi::{Answer, OpenApi, Request, Shape, Verb, shape};
use crate::documents::schema::Id;

type Route = (Request, MethodRouter<Api>);

pub(super) fn routes() -> Vec<Route> {
    vec![
        read(
            "/v1/status",
            "What runs and what waits",
            Answer::Json(200, shape::<DaemonDocument>),
            get(status),
        ),
        read(
            "/v1/jobs",
            "The records of the jobs, newest first",
            Answer::Json(200, shape::<Vec<JobRecord>>),
            get(jobs),
        ),
        read(
            "/v1/jobs/{job}",
            "The record of one job",
            Answer::Json(200, shape::<JobRecord>),
            get(job),
        ),
        act(
            "/v1/jobs",
            "Backs up the items of the policy as soon as nothing else runs",
            Some(shape::<JobOrderDocument>),
            Answer::Json(202, shape::<JobDocument>),
            post(submit),
        ),
        act(
            "/v1/jobs/{job}/cancel",
            "Cancels a job that runs or waits",
            None,
            Answer::Json(200, shape::<JobDocument>),
            post(cancel),
        ),
        act(
            "/v1/reload",
            "Reads the settings again",
            None,
            Answer::Empty,
            post(reload),
        ),
        read(
            "/v1/events",
            "What happens, as server-sent events",
            Answer::Events(shape::<Event>),
            get(events),
        ),
        read(
            "/v1/turn",
            "A place in the queue for a command that runs a job itself: the events `waiting` and then `granted`. It \
             is given up by closing the connection",
            Answer::Events(shape::<String>),
            get(turn),
        ),
        read("/v1/openapi.json", "This document", Answer::OpenApi, get(openapi)),
    ]
}

fn read(path: &'static str, summary: &'static str, answer: Answer, by: MethodRouter<Api>) -> Route {
    let request = Request {
        verb: Verb::Get,
        path,
        summary,
        body: None,
        answer,
    };
    (request, by)
}

fn act(path: &'static str, summary: &'static str, body: Option<Shape>, answer: Answer, by: MethodRouter<Api>) -> Route {
    let request = Request {
        verb: Verb::Post,
        path,
        summary,
        body,
        answer,
    };
    (request, by)
}

/// The description of all requests.
pub(crate) fn description() -> OpenApi {
    let requests: Vec<Request> = routes().into_iter().map(|(request, _)| request).collect();
    OpenApi::of(&requests, shape::<RefusalDocument>, shape::<Id>)
}

async fn openapi() -> Json<OpenApi> {
    Json(description())
}
