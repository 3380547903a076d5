//! The receiving side, which counts bytes as they arrive. It runs on its own thread until its owner drops it.
//!
//! It is either the store itself, a loopback server that accepts what an S3 client puts and discards it; or a relay in
//! front of a store that speaks plain HTTP.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::ETAG;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::stats::{SLOT, slot_of};

/// How many bytes arrived in each slot, counted from the first byte on.
#[derive(Debug, Default)]
pub(super) struct Arrivals(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    first: Option<Instant>,
    slots: Vec<u64>,
}

impl Arrivals {
    /// Counts bytes that arrive now.
    pub(super) fn count(&self, bytes: usize) {
        let now = Instant::now();
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *counted.first.get_or_insert(now);
        let slot = slot_of(now.saturating_duration_since(first));
        if counted.slots.len() <= slot {
            counted.slots.resize(slot + 1, 0);
        }
        counted.slots[slot] += bytes as u64;
    }

    /// When the first byte arrived.
    pub(super) fn first(&self) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).first
    }

    /// The slots of the first `time`. Slots in which nothing arrived are 0.
    pub(super) fn slots(&self, time: Duration) -> Vec<u64> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner).slots.clone();
        slots.resize(slot_of(time + SLOT / 2), 0);
        slots
    }
}

/// A receiving side that runs until it is dropped.
#[derive(Debug)]
pub(super) struct Sink {
    /// The address it listens on.
    pub(super) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Duration>>,
}

impl Sink {
    /// Starts a store that accepts everything and keeps nothing.
    pub(super) fn store(arrivals: &Arc<Arrivals>) -> io::Result<Sink> {
        let arrivals = Arc::clone(arrivals);
        Sink::start(move |listener| async move {
            let router = Router::new().fallback(move |request| take(request, Arc::clone(&arrivals)));
            axum::serve(listener, router).await
        })
    }

    /// Starts a relay that passes everything on to `upstream` (host and port).
    pub(super) fn relay(upstream: String, arrivals: &Arc<Arrivals>) -> io::Result<Sink> {
        let arrivals = Arc::clone(arrivals);
        Sink::start(move |listener| async move {
            loop {
                let (client, _) = listener.accept().await?;
                let (upstream, arrivals) = (upstream.clone(), Arc::clone(&arrivals));
                tokio::spawn(async move {
                    // If the connection breaks, the client notices it.
                    let _ = pass_on(client, &upstream, &arrivals).await;
                });
            }
        })
    }

    fn start<F, R>(serve: F) -> io::Result<Sink>
    where
        F: FnOnce(tokio::net::TcpListener) -> R + Send + 'static,
        R: Future<Output = io::Result<()>>,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("bench-sink".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                        return;
                    };
                    tokio::select! {
                        _ = serve(listener) => {}
                        // An error means that the sender was dropped, which stops the sink too.
                        _ = stopped => {}
                    }
                });
                drop(runtime);
                cpu_time(ClockId::ThreadCPUTime)
            })?;
        Ok(Sink {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Ends the thread and returns the processor time that it used.
    pub(super) fn stop(mut self) -> Duration {
        self.end()
    }

    fn end(&mut self) -> Duration {
        drop(self.stop.take());
        self.thread
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.end();
    }
}

/// The processor time of this process or thread so far.
pub(super) fn cpu_time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Counts a body and answers like a store that has stored it.
async fn take(request: Request, arrivals: Arc<Arrivals>) -> Response {
    let put = request.method() == Method::PUT;
    let mut body = request.into_body().into_data_stream();
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => arrivals.count(piece.len()),
            Err(_) => return StatusCode::BAD_REQUEST.into_response(),
        }
    }
    if put {
        ([(ETAG, "\"taken\"")], Body::empty()).into_response()
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}

async fn pass_on(client: TcpStream, upstream: &str, arrivals: &Arrivals) -> io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let upwards = async {
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let len = from_client.read(&mut buffer).await?;
            if len == 0 {
                return to_server.shutdown().await;
            }
            arrivals.count(len);
            to_server.write_all(&buffer[..len]).await?;
        }
    };
    let downwards = async {
        tokio::io::copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(upwards, downwards)?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    /// Puts ten bytes and reads the whole answer.
    fn put(address: SocketAddr) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let head = "PUT /bucket/name HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(b"0123456789").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn bodies_are_counted_and_the_sink_ends_with_its_owner() {
        let arrivals = Arc::new(Arrivals::default());
        let sink = Sink::store(&arrivals).unwrap();
        assert!(arrivals.first().is_none());
        assert!(put(sink.address).starts_with("HTTP/1.1 200"));
        assert!(put(sink.address).contains("etag"));
        assert_eq!(arrivals.slots(Duration::from_secs(3600)).iter().sum::<u64>(), 20);
        let address = sink.address;
        let _ = sink.stop();
        assert!(std::net::TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_relay_counts_heads_too() {
        let (outer, inner) = (Arc::new(Arrivals::default()), Arc::new(Arrivals::default()));
        let store = Sink::store(&inner).unwrap();
        let relay = Sink::relay(store.address.to_string(), &outer).unwrap();
        assert!(put(relay.address).starts_with("HTTP/1.1 200"));
        let counted = |arrivals: &Arrivals| arrivals.slots(Duration::from_secs(3600)).iter().sum::<u64>();
        assert_eq!(counted(&inner), 10);
        assert!(counted(&outer) > 10);
    }

    #[test]
    fn there_are_as_many_slots_as_asked_for() {
        let arrivals = Arrivals::default();
        arrivals.count(5);
        let slots = arrivals.slots(Duration::from_secs(2));
        assert_eq!((slots.len(), slots[0]), (200, 5));
        assert_eq!(Arrivals::default().slots(Duration::from_secs(1)), vec![0; 100]);
    }
}
