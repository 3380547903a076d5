//! A listener whose clients cannot use up this process: only a few connections at a time, each for a short time. A new
//! client takes the place of the oldest one, which sends its request slowly, or never, or does not take its answer. A
//! job that serves its metrics needs its file handles for files.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

/// At most this many connections at a time.
const CONNECTIONS: usize = 16;
/// A request must be there within this time after the connection is made. Later the connection is closed.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);
/// An answer must be taken within this time after the connection is made.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A listener with limits.
pub(super) struct Bounded {
    listener: TcpListener,
    /// The connections, the oldest first. One whose sender is dropped ends.
    open: VecDeque<oneshot::Sender<()>>,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener) -> Bounded {
        let open = VecDeque::new();
        Bounded { listener, open }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        self.open.retain(|connection| !connection.is_closed());
        while self.open.len() >= CONNECTIONS {
            self.open.pop_front();
        }
        let (place, replaced) = oneshot::channel();
        self.open.push_back(place);
        let connection = Connection {
            stream,
            answered: false,
            is_over: false,
            replaced,
            reads: Box::pin(sleep(REQUEST_WITHIN)),
            writes: Box::pin(sleep(ANSWER_WITHIN)),
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
    is_over: bool,
    replaced: oneshot::Receiver<()>,
    reads: Pin<Box<Sleep>>,
    writes: Pin<Box<Sleep>>,
}

impl Connection {
    /// Whether its time is over, or another client took its place.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = if self.answered {
            &mut self.writes
        } else {
            &mut self.reads
        };
        self.is_over =
            self.is_over || limit.as_mut().poll(cx).is_ready() || Pin::new(&mut self.replaced).poll(cx).is_ready();
        self.is_over
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.is_over(cx) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.answered = true;
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
