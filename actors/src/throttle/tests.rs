#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::AtomicBool;

use super::*;

fn throttle(limits: Limits) -> Arc<Throttle> {
    let throttle = Throttle::new(Arc::new(Metrics::new()));
    throttle.set(limits);
    Arc::new(throttle)
}

fn up(limit: u64) -> Limits {
    Limits {
        up: Some(limit),
        ..Limits::default()
    }
}

fn run<T>(task: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.unwrap().block_on(task)
}

#[test]
fn pieces_are_small_beside_a_second_and_there_are_none_without_a_limit() {
    let none = throttle(Limits::default());
    assert_eq!(none.piece(Direction::Up), None);
    run(none.bytes(Direction::Up, usize::MAX));
    run(none.request());
    for (limit, piece) in [(1024, 512), (32_000, 512), (1_000_000, 5_000), (100_000_000, 65_536)] {
        let throttle = throttle(up(limit));
        assert_eq!(throttle.piece(Direction::Up), Some(piece));
        assert_eq!(throttle.piece(Direction::Down), None);
    }
}

/// However fast or slow, what a bucket lets through in a time is what the rate says, and never more than that and a
/// burst.
#[test]
fn a_bucket_gives_what_its_rate_says_whatever_the_rate() {
    for rate in [
        32_000,
        8_388_608,
        62_914_560,
        100_000_000,
        4_000_000_000,
        u64::from(u32::MAX) * 16,
    ] {
        let burst = burst_for(rate);
        let bucket = Bucket::new(rate, burst);
        let begun = Instant::now();
        let mut taken = 0;
        while begun.elapsed() < Duration::from_millis(50) {
            match bucket.take(piece_for(rate)) {
                Ok(some) => taken += some,
                Err(pause) => std::thread::sleep(pause),
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "a bound")]
        let most = begun.elapsed().as_secs_f64() * rate as f64 * 1.001 + (burst + bucket.cell) as f64 + 1.0;
        #[allow(clippy::cast_precision_loss, reason = "a bound")]
        let taken = taken as f64;
        assert!(taken > 0.0 && taken <= most, "{rate}: {taken} > {most}");
    }
}

#[test]
fn a_limit_makes_bytes_wait_and_the_wait_is_counted() {
    let metrics = Arc::new(Metrics::new());
    let throttle = Throttle::new(Arc::clone(&metrics));
    throttle.set(up(100_000));
    let begun = Instant::now();
    run(throttle.bytes(Direction::Up, 30_000));
    // A bucket begins empty.
    assert!(begun.elapsed() >= Duration::from_millis(250));
    run(throttle.bytes(Direction::Down, 30_000_000));
    let text = metrics.render();
    assert!(
        text.contains("lockstone_throttle_limit_bytes_per_second{direction=\"up\"} 100000"),
        "{text}"
    );
    let waited = text
        .lines()
        .find_map(|line| line.strip_prefix("lockstone_throttle_waited_seconds_total{direction=\"up\"} "))
        .unwrap();
    assert!(waited.parse::<f64>().unwrap() >= 0.25, "{waited}");
}

#[test]
fn a_pause_holds_until_it_ends_and_a_new_limit_acts_on_who_waits() {
    for (before, after) in [(0, None), (1, None), (0, Some(1_000_000_000)), (1, Some(1_000_000_000))] {
        let throttle = throttle(up(before));
        let gone = AtomicBool::new(false);
        run(async {
            let wait = async {
                throttle.bytes(Direction::Up, 1_000_000).await;
                gone.store(true, Ordering::SeqCst);
            };
            let change = async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                assert!(!gone.load(Ordering::SeqCst));
                throttle.set(Limits {
                    up: after,
                    ..Limits::default()
                });
            };
            tokio::join!(wait, change);
        });
        assert!(gone.load(Ordering::SeqCst));
    }
}

#[test]
fn who_gives_up_waiting_leaves_the_turn_to_the_next() {
    let throttle = throttle(up(0));
    run(async {
        let given_up = tokio::time::timeout(Duration::from_millis(20), throttle.bytes(Direction::Up, 10)).await;
        assert!(given_up.is_err());
        throttle.set(up(1_000_000));
        throttle.bytes(Direction::Up, 10).await;
    });
}

#[test]
fn requests_are_counted_one_by_one() {
    let throttle = throttle(Limits {
        requests: Some(50),
        ..Limits::default()
    });
    let begun = Instant::now();
    run(async {
        for _ in 0..6 {
            throttle.request().await;
        }
    });
    assert!(begun.elapsed() >= Duration::from_millis(95));
}

#[test]
fn a_follower_sets_what_its_source_says_and_ends_with_its_owner() {
    let throttle = throttle(Limits::default());
    let limit = Arc::new(AtomicU64::new(5));
    let source = Arc::clone(&limit);
    let follower = Follower::start(Arc::clone(&throttle), move || up(source.load(Ordering::SeqCst))).unwrap();
    assert_eq!(throttle.limits(), up(5));
    limit.store(6, Ordering::SeqCst);
    let begun = Instant::now();
    while throttle.limits() != up(6) {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(follower);
    limit.store(7, Ordering::SeqCst);
    assert_eq!(throttle.limits(), up(6));
    assert_eq!(Arc::strong_count(&throttle), 1);
}
