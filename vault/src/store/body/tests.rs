//! Tests of bodies that go at a pace.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::Mutex as StdMutex;

use async_trait::async_trait;
use http_body_util::{BodyExt, Full};
use tokio::sync::Semaphore;

use super::*;

/// Lets pieces of a length through, one for each permit.
#[derive(Debug)]
struct Gate {
    piece: Option<usize>,
    permits: Semaphore,
    passed: StdMutex<Vec<usize>>,
}

impl Gate {
    fn new(piece: Option<usize>, permits: usize) -> Arc<Self> {
        Arc::new(Self {
            piece,
            permits: Semaphore::new(permits),
            passed: StdMutex::default(),
        })
    }
}

#[async_trait]
impl LinePace for Gate {
    fn piece(&self, _direction: Direction) -> Option<usize> {
        self.piece
    }

    async fn bytes(&self, _direction: Direction, bytes: usize) {
        self.permits.acquire().await.unwrap().forget();
        self.passed.lock().unwrap().push(bytes);
    }

    async fn request(&self) {}
}

fn paced(content: &[u8], gate: &Arc<Gate>, credit: usize) -> (Paced<Full<Bytes>>, Arc<Watch>) {
    let watch = Arc::new(Watch::new());
    let pace: Arc<dyn LinePace> = Arc::<Gate>::clone(gate);
    let body = Full::new(Bytes::copy_from_slice(content));
    (Paced::new(body, Direction::Up, pace, Arc::clone(&watch), credit), watch)
}

#[tokio::test]
async fn a_paced_body_is_the_same_body_in_small_pieces() {
    let content: Vec<u8> = (0..=255).collect();
    let gate = Gate::new(Some(100), 10);
    let (body, _) = paced(&content, &gate, 30);
    assert_eq!(body.size_hint().exact(), Some(256));
    assert_eq!(body.collect().await.unwrap().to_bytes(), content);
    // What was waited for before counts.
    assert_eq!(*gate.passed.lock().unwrap(), [100, 100, 26]);
}

#[tokio::test]
async fn an_unpaced_body_goes_as_it_is() {
    let gate = Gate::new(None, 0);
    let (mut body, _) = paced(&[7; 100_000], &gate, 0);
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap().len(), 100_000);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_body_that_the_pace_holds_is_not_stalled_and_one_that_nobody_takes_is() {
    let limit = Duration::from_millis(10);
    let gate = Gate::new(Some(10), 1);
    let (mut body, watch) = paced(&[7; 20], &gate, 0);
    assert!(body.frame().await.is_some());
    // During a pause of many times the limit the next piece waits and does not fail.
    let held = tokio::spawn(async move {
        body.frame()
            .await
            .map(|frame| frame.unwrap().into_data().unwrap().len())
    });
    while !watch.held.load(Ordering::Relaxed) {
        tokio::task::yield_now().await;
    }
    assert!(tokio::time::timeout(limit * 20, watch.stalled(limit)).await.is_err());
    gate.permits.add_permits(1);
    assert_eq!(held.await.unwrap(), Some(10));
    // Now the other side does nothing.
    watch.stalled(limit).await;
}
