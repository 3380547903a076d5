//! Waiting between two tries. A simulation decides itself when the wait is over.

use std::time::Duration;

/// Waits for that time.
pub(crate) async fn pause(time: Duration) {
    #[cfg(any(test, feature = "testing"))]
    if let Some(simulated) = crate::testing::seeded::pause(time) {
        return simulated.await;
    }
    tokio::time::sleep(time).await;
}
