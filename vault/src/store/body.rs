//! The bodies of requests and answers. A paced body is cut into pieces of the length that the pace asks for; any other
//! body goes as it is. `Watch` notes when a body last moved, and tells a body that the pace holds from one that the
//! other side does not take or does not send.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::fault::WireFault;
use super::pace::{Direction, LinePace};

/// When a body last moved.
#[derive(Debug)]
pub(super) struct Watch {
    start: Instant,
    moved_ms: AtomicU64,
    held: AtomicBool,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            moved_ms: AtomicU64::new(0),
            held: AtomicBool::new(false),
        }
    }

    fn moved(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.store(now, Ordering::Relaxed);
    }

    fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
        self.moved();
    }

    /// Ends when nothing has moved for `limit`. Time in which the pace held the body does not count.
    pub(super) async fn stalled(&self, limit: Duration) {
        loop {
            let moved = self.start + Duration::from_millis(self.moved_ms.load(Ordering::Relaxed));
            let held = self.held.load(Ordering::Relaxed);
            if !held && moved.elapsed() >= limit {
                return;
            }
            let until = if held { Instant::now() + limit } else { moved + limit };
            tokio::time::sleep_until(until).await;
        }
    }
}

/// A body that is sent or received at a pace.
pub(super) struct Paced<B> {
    inner: B,
    direction: Direction,
    pace: Arc<dyn LinePace>,
    watch: Arc<Watch>,
    /// Taken from the inner body and not passed on yet.
    left: Bytes,
    /// How many bytes may go without waiting.
    credit: usize,
    /// The wait for the next piece, and its length. The lock is never contended: it only makes the future `Sync`.
    waiting: Option<(Mutex<BoxFuture<'static, ()>>, usize)>,
}

impl<B> Paced<B> {
    /// `credit` is how many bytes were already waited for.
    pub(super) fn new(
        inner: B,
        direction: Direction,
        pace: Arc<dyn LinePace>,
        watch: Arc<Watch>,
        credit: usize,
    ) -> Self {
        Self {
            inner,
            direction,
            pace,
            watch,
            left: Bytes::new(),
            credit,
            waiting: None,
        }
    }

    /// The next piece of what is left.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        loop {
            if let Some((wait, len)) = &mut self.waiting {
                let wait = wait.get_mut().unwrap_or_else(PoisonError::into_inner);
                ready!(wait.as_mut().poll(cx));
                self.credit += *len;
                self.waiting = None;
                self.watch.hold(false);
            }
            if self.credit > 0 {
                let len = self.credit.min(self.left.len());
                self.credit -= len;
                return Poll::Ready(self.left.split_to(len));
            }
            let Some(piece) = self.pace.piece(self.direction) else {
                return Poll::Ready(std::mem::take(&mut self.left));
            };
            let len = piece.clamp(1, self.left.len());
            let (pace, direction) = (Arc::clone(&self.pace), self.direction);
            self.watch.hold(true);
            self.waiting = Some((
                Mutex::new(Box::pin(async move { pace.bytes(direction, len).await })),
                len,
            ));
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Paced<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        while this.left.is_empty() {
            let frame = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => this.left = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let piece = ready!(this.poll_piece(cx));
        this.watch.moved();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (left, inner) = (self.left.len() as u64, self.inner.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + left);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + left);
        }
        hint
    }
}

/// The body of an answer. It fails when the other side sends nothing for too long. Time in which no more bytes are
/// asked for, as while the pace holds the body, does not count.
pub(super) struct Awaited<B> {
    inner: B,
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    host: Arc<str>,
}

impl<B> Awaited<B> {
    pub(super) fn new(inner: B, limit: Duration, host: Arc<str>) -> Self {
        Self {
            inner,
            limit,
            timer: None,
            host,
        }
    }
}

impl<B> Body for Awaited<B>
where
    B: Body<Data = Bytes, Error = reqwest::Error> + Unpin,
{
    type Data = Bytes;
    type Error = WireFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WireFault>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.timer = None;
            let cut = |error| super::fault::cut_off(&this.host, &error);
            return Poll::Ready(frame.map(|frame| frame.map_err(cut)));
        }
        let limit = this.limit;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(stalled(&this.host, limit))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The fault of a request or an answer that stalled.
pub(super) fn stalled(host: &str, limit: Duration) -> WireFault {
    WireFault::passing(format!("{host}: nothing moved for {} s", limit.as_secs()))
}

#[cfg(test)]
mod tests;
