//! Serves two pages over HTTP: `/metrics` for Prometheus and `/jobs` as JSON.
//!
//! The pages are read-only and contain no names or paths of what is backed up. There is no password and no TLS, so the
//! default address is on the loopback interface.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::bounded::Bounded;
use super::metrics::Page;
use crate::failure::Failure;

/// The agent listens here unless it is told otherwise.
pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:9469";

/// How long answers that are being sent may take when the server stops.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Takes an address. Called before any work begins, so that an address that is in use or belongs to another machine is
/// reported at once.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|error| {
        let (code, hint) = match error.kind() {
            std::io::ErrorKind::AddrInUse => (
                "address-in-use",
                "another program uses it, maybe another agent: give --metrics-listen another address",
            ),
            std::io::ErrorKind::AddrNotAvailable => (
                "address",
                "this machine does not have that address: give --metrics-listen one that it has, such as 127.0.0.1:9469",
            ),
            _ => ("address", "give --metrics-listen another address"),
        };
        Failure::failed(code, format!("cannot listen on {address}: {error}"), hint)
    })
}

/// A server that runs until [`stop`](Served::stop) is called or this is dropped.
#[derive(Debug)]
pub(crate) struct Served {
    /// Where it listens. If port 0 was asked for, this has the port that was chosen.
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Serves the pages on the runtime. An error means that the listener cannot be used.
pub(crate) fn serve(runtime: &Handle, listener: TcpListener, page: Arc<Page>) -> anyhow::Result<Served> {
    let address = listener.local_addr()?;
    let listener = {
        let _entered = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let listener = Bounded::new(listener);
    let serving = axum::serve(listener, router(page)).with_graceful_shutdown(async {
        // An error means that the sender was dropped, which stops the server too.
        let _ = stopped.await;
    });
    let task = runtime.spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%address, %error, "metrics are no longer served");
        }
    });
    tracing::info!("metrics are served at http://{address}/metrics");
    Ok(Served { address, stop, task })
}

impl Served {
    /// Answers the requests that have arrived, then ends.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        // A client that does not read its answer must not delay the end.
        let _ = tokio::time::timeout(LAST_ANSWERS_WITHIN, self.task).await;
    }
}

fn router(page: Arc<Page>) -> Router {
    let (metrics, jobs) = (Arc::clone(&page), page);
    Router::new()
        .route("/", get(|| async { "lockstone: /metrics, /jobs\n" }))
        .route(
            "/metrics",
            get(move || answer(metrics, "text/plain; version=0.0.4; charset=utf-8", metrics_text)),
        )
        .route("/jobs", get(move || answer(jobs, "application/json", jobs_text)))
}

fn metrics_text(page: &Page) -> anyhow::Result<String> {
    Ok(page.metrics())
}

fn jobs_text(page: &Page) -> anyhow::Result<String> {
    Ok(serde_json::to_string(&page.jobs())? + "\n")
}

/// Makes the page on a thread that may block, because the agent reads files for it.
async fn answer(page: Arc<Page>, kind: &'static str, make: fn(&Page) -> anyhow::Result<String>) -> Response {
    let made = tokio::task::spawn_blocking(move || make(&page)).await;
    match made.map_err(anyhow::Error::from).and_then(|page| page) {
        Ok(text) => ([(CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
