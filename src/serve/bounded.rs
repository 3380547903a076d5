//! A listener whose clients cannot use up this process: only a few connections at a time, each for a short time. A
//! client that sends its request slowly, or never, makes room for the next one. A job that serves its metrics needs
//! its file handles for files.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// At most this many connections at a time. Others wait in the queue of the system.
const CONNECTIONS: usize = 16;
/// A request must be there within this time after the connection is made. Later the connection is closed.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);
/// An answer must be taken within this time after the connection is made.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A listener with limits.
pub(super) struct Bounded {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener) -> Bounded {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        Bounded { listener, room }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed.
        let room = Arc::clone(&self.room).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let connection = Connection {
            stream,
            answered: false,
            reads: Box::pin(sleep(REQUEST_WITHIN)),
            writes: Box::pin(sleep(ANSWER_WITHIN)),
            _room: room,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends in time.
pub(super) struct Connection {
    stream: TcpStream,
    /// Whether an answer was begun.
    answered: bool,
    reads: Pin<Box<Sleep>>,
    writes: Pin<Box<Sleep>>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn check_writes(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.writes.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let limit = if self.answered {
            &mut self.writes
        } else {
            &mut self.reads
        };
        if limit.as_mut().poll(cx).is_ready() {
            // As if the client had sent nothing more.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.answered = true;
        self.check_writes(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_writes(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
