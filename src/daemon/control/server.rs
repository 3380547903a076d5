//! Serves the control socket. The requests are listed in `routes`.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::Addr;
use axum::Router;
use axum::routing::MethodRouter;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::answers::Api;
use super::auth::Trusted;
use super::routes::routes;
use crate::daemon::Daemon;
use crate::daemon::queue::Queue;
use crate::documents::openapi::Request;

/// How long answers that are being sent may take when the daemon stops.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// A server that answers until [`stop`](Served::stop).
pub(in crate::daemon) struct Served {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Served {
    /// Answers the requests that have arrived, then ends.
    pub(in crate::daemon) async fn stop(self) {
        let _ = self.stop.send(());
        // A client that follows the events must not delay the end.
        let _ = tokio::time::timeout(LAST_ANSWERS_WITHIN, self.task).await;
    }
}

/// Answers on this socket.
pub(in crate::daemon) fn serve(daemon: &Arc<Daemon>, queue: &Addr<Queue>, socket: UnixListener) -> Served {
    let api = Api {
        daemon: Arc::clone(daemon),
        queue: queue.clone(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = axum::serve(Trusted(socket), router(api)).with_graceful_shutdown(async {
        // An error means that the sender was dropped, which stops the server, too.
        let _ = stopped.await;
    });
    let task = daemon.environment.runtime.spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the control socket is no longer served");
        }
    });
    Served { stop, task }
}

fn router(api: Api) -> Router {
    let add = |router: Router<Api>, (request, answer): (Request, MethodRouter<Api>)| router.route(request.path, answer);
    routes().into_iter().fold(Router::new(), add).with_state(api)
}
