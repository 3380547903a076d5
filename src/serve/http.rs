//! Pages over HTTP: `/metrics` for Prometheus, `/jobs` as JSON. Read-only, without names or paths of what is backed up, and
//! on the loopback unless somebody asks for more: there is neither a password nor TLS.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::metrics::Page;
use crate::failure::Failure;

/// Where the agent gives its metrics if nothing else is said.
pub const USUAL: &str = "127.0.0.1:9469";

/// What is being sent when the process ends may take so long.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Takes an address, before anything else is begun.
///
/// # Errors
/// Where it cannot be had: somebody else has it, or it is none of this machine's.
pub fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|error| {
        let (code, hint) = match error.kind() {
            std::io::ErrorKind::AddrInUse => (
                "address-in-use",
                "another program has it, maybe another agent: name another one with --metrics-listen",
            ),
            std::io::ErrorKind::AddrNotAvailable => (
                "address",
                "it is none of this machine's: --metrics-listen wants one that is, such as 127.0.0.1:9469",
            ),
            _ => ("address", "name another one with --metrics-listen"),
        };
        Failure::failed(code, format!("cannot listen on {address}: {error}"), hint)
    })
}

/// Pages being served; they are until [`stop`](Served::stop), or until this is dropped.
#[derive(Debug)]
pub struct Served {
    /// Where: the port too, if any would do.
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Serves the page.
///
/// # Errors
/// Where the listener is none.
pub fn serve(runtime: &Runtime, listener: TcpListener, page: Arc<Page>) -> anyhow::Result<Served> {
    let address = listener.local_addr()?;
    let listener = {
        let _entered = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = axum::serve(listener, router(page)).with_graceful_shutdown(async {
        // Dropped is stopped, too.
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
    /// Answers what was asked already, and ends.
    pub fn stop(self, runtime: &Runtime) {
        let _ = self.stop.send(());
        let task = self.task;
        // A client that does not read its answer holds nothing up.
        let _ = runtime.block_on(async { tokio::time::timeout(LAST_ANSWERS, task).await });
    }
}

fn router(page: Arc<Page>) -> Router {
    let (metrics, jobs) = (Arc::clone(&page), page);
    Router::new()
        .route("/", get(|| async { "lockstone: /metrics, /jobs\n" }))
        .route(
            "/metrics",
            get(move || {
                answer(metrics, "text/plain; version=0.0.4; charset=utf-8", |page| {
                    page.metrics()
                })
            }),
        )
        .route(
            "/jobs",
            get(move || answer(jobs, "application/json", |page| format!("{}\n", page.jobs()))),
        )
}

/// Made on a thread that may block: the agent reads files for it.
async fn answer(page: Arc<Page>, kind: &'static str, make: fn(&Page) -> String) -> Response {
    match tokio::task::spawn_blocking(move || make(&page)).await {
        Ok(text) => ([(CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
