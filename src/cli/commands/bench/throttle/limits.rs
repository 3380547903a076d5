//! INTERIM.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lockstone_vault::store::pace::{Way, WirePace};
use tokio::time::Instant;

/// The throttle of a run.
#[derive(Debug)]
pub struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner(Mutex<(Option<u64>, Option<Instant>)>);

impl Limits {
    /// A throttle.
    pub fn new(rate: Option<u64>) -> Limits {
        Limits(Arc::new(Inner(Mutex::new((rate, None)))))
    }
    /// Changes.
    pub fn set(&self, rate: Option<u64>) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).0 = rate;
    }
    /// Pace.
    pub fn pace(&self) -> Arc<dyn WirePace> {
        Arc::<Inner>::clone(&self.0)
    }
}

#[async_trait]
impl WirePace for Inner {
    fn piece(&self, _way: Way) -> Option<usize> {
        let rate = self.0.lock().unwrap_or_else(PoisonError::into_inner).0?;
        Some(usize::try_from(rate / 50).unwrap_or(1 << 16).clamp(512, 1 << 16))
    }

    async fn bytes(&self, _way: Way, bytes: usize) {
        loop {
            let until = {
                let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                match inner.0 {
                    None => return,
                    Some(0) => None,
                    Some(rate) => {
                        let now = Instant::now();
                        let at = inner.1.unwrap_or(now).max(now - Duration::from_millis(20));
                        inner.1 = Some(at + Duration::from_secs_f64(bytes as f64 / rate as f64));
                        Some(at)
                    }
                }
            };
            match until {
                Some(until) => return tokio::time::sleep_until(until).await,
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn request(&self) {}
}
