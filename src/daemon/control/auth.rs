//! A Unix socket's listener that only takes connections of root and of the user who runs the daemon.
//!
//! The socket's mode says the same. The kernel's word for who is at the other end holds also where the socket was
//! passed on, or its folder was opened by mistake.

use std::io;

use axum::serve::Listener;
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};

/// A listener that asks who is there.
pub(super) struct Trusted(pub(super) UnixListener);

/// Whether this user may control the daemon.
fn is_trusted(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

impl Listener for Trusted {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.0).await;
            match stream.peer_cred() {
                Ok(peer) if is_trusted(peer.uid()) => return (stream, address),
                Ok(peer) => tracing::warn!(
                    user = peer.uid(),
                    "a user without the right to it asked the control socket"
                ),
                Err(error) => tracing::warn!(%error, "it is not known who asked the control socket"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
