//! What a stage's threads do with their time. At each moment a thread is *busy*, *starved* (it waits for work) or
//! *blocked* (it waits for room in the next stage's inbox, or for the budget). The three times always add up to the
//! thread's age, even during a long wait. A wait for a device or for the store counts as busy.
//!
//! A thread touches its clock only when it has to wait. Only a scrape of the metrics reads the clocks.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What a thread is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    Busy,
    /// Waiting for work.
    Starved,
    /// Waiting for room.
    Blocked,
}

/// How long a thread was busy, starved and blocked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) busy: Duration,
    pub(crate) starved: Duration,
    pub(crate) blocked: Duration,
}

impl Spent {
    fn on(&mut self, doing: Doing) -> &mut Duration {
        match doing {
            Doing::Busy => &mut self.busy,
            Doing::Starved => &mut self.starved,
            Doing::Blocked => &mut self.blocked,
        }
    }
}

/// One thread's clock.
#[derive(Debug)]
struct Clock {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None`: the thread has ended.
    doing: Option<Doing>,
    since: Instant,
    spent: Spent,
}

impl Clock {
    /// Books the time since the last turn and begins `doing`. Returns what the thread was doing before.
    fn turn(&self, doing: Option<Doing>) -> Option<Doing> {
        let mut state = self.state.lock();
        let now = Instant::now();
        let passed = now.saturating_duration_since(state.since);
        let before = state.doing;
        if let Some(before) = before {
            *state.spent.on(before) += passed;
        }
        (state.doing, state.since) = (doing, now);
        before
    }
}

thread_local! {
    static OWN: RefCell<Option<Arc<Clock>>> = const { RefCell::new(None) };
}

/// The clocks of all threads of a stage.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    threads: Mutex<Vec<Arc<Clock>>>,
}

impl Clocks {
    /// Counts the calling thread as one of the stage's until the guard is dropped.
    pub(crate) fn begin(&self) -> OnDuty {
        let clock = Arc::new(Clock {
            state: Mutex::new(State {
                doing: Some(Doing::Busy),
                since: Instant::now(),
                spent: Spent::default(),
            }),
        });
        self.threads.lock().push(Arc::clone(&clock));
        OWN.set(Some(clock));
        OnDuty(())
    }

    /// How many threads run now, and how all of the stage's threads spent their time so far.
    pub(crate) fn read(&self) -> (usize, Spent) {
        let (mut living, mut sum) = (0, Spent::default());
        for clock in self.threads.lock().iter() {
            let state = clock.state.lock();
            let mut spent = state.spent;
            if let Some(doing) = state.doing {
                living += 1;
                *spent.on(doing) += state.since.elapsed();
            }
            sum.busy += spent.busy;
            sum.starved += spent.starved;
            sum.blocked += spent.blocked;
        }
        (living, sum)
    }
}

/// The thread's time is counted as long as this lives.
#[derive(Debug)]
pub(crate) struct OnDuty(());

impl Drop for OnDuty {
    fn drop(&mut self) {
        if let Some(clock) = OWN.take() {
            clock.turn(None);
        }
    }
}

/// Runs `wait`. If the thread belongs to a stage, the time counts as `doing`.
pub(crate) fn waiting<R>(doing: Doing, wait: impl FnOnce() -> R) -> R {
    let turn = |to| OWN.with_borrow(|own| own.as_ref().and_then(|clock| clock.turn(to)));
    let before = turn(Some(doing));
    let result = wait();
    turn(before);
    result
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_thread_s_time_is_all_accounted_for_also_in_the_middle_of_a_wait() {
        let clocks = Arc::new(Clocks::default());
        let (go, gone) = crossbeam_channel::bounded::<()>(0);
        let (ready, is_ready) = crossbeam_channel::bounded::<()>(0);
        let begun = Instant::now();
        let stage = Arc::clone(&clocks);
        let thread = std::thread::spawn(move || {
            let _on_duty = stage.begin();
            waiting(Doing::Blocked, || std::thread::sleep(Duration::from_millis(5)));
            waiting(Doing::Starved, || {
                ready.send(()).unwrap();
                gone.recv().unwrap();
            });
        });
        is_ready.recv().unwrap();
        let (living, first) = clocks.read();
        assert_eq!(living, 1);
        assert!(first.blocked >= Duration::from_millis(5), "{first:?}");
        std::thread::sleep(Duration::from_millis(5));
        let (_, second) = clocks.read();
        assert!(
            second.starved >= first.starved + Duration::from_millis(5),
            "{first:?} {second:?}"
        );
        assert_eq!((second.busy, second.blocked), (first.busy, first.blocked));
        go.send(()).unwrap();
        thread.join().unwrap();
        let (living, last) = clocks.read();
        assert_eq!(living, 0);
        assert!(last.busy + last.starved + last.blocked <= begun.elapsed());
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(clocks.read().1, last, "the clock of an ended thread has stopped");
    }

    #[test]
    fn a_thread_without_a_stage_just_waits() {
        assert_eq!(waiting(Doing::Starved, || 3), 3);
    }
}
