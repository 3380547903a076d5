//! What the supervisor decides, as a pure function of what happened: no clock, no thread, no actor. A job has one
//! state. A generation is one attempt of the job.
//!
//! After a transient fault, a new generation starts after a pause. The pause doubles each time, and goes back to its
//! first length only after *real* progress: more became durable since the last fault. Integrity, key and other
//! permanent faults end the job at once. A cancelled job ends as soon as its generation has ended.

use std::time::Duration;

use lockstone_proto::job::JobState;

use crate::flow::Fault;
use crate::tuning::Tuning;

/// When a failed generation is followed by another one, and when the job is given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RestartPolicy {
    /// The most generations in a row that may end without progress.
    pub(crate) max_fruitless: u32,
    pub(crate) first_pause: Duration,
    pub(crate) longest_pause: Duration,
}

impl RestartPolicy {
    /// The policy for every kind of job. However often the pause doubles, it is never longer than a minute.
    pub(crate) fn for_jobs(tuning: &Tuning) -> Self {
        Self {
            max_fruitless: tuning.max_generations,
            first_pause: tuning.backoff,
            longest_pause: Duration::from_secs(60),
        }
    }
}

/// What to do after a generation has ended.
#[derive(Debug, Clone)]
pub(crate) enum Next {
    /// Start another generation after a pause.
    Restart(Duration),
    /// The job has ended in this state. The fault says why it failed.
    End(JobState, Option<Fault>),
}

/// A job's state and its count of failed generations.
#[derive(Debug)]
pub(crate) struct Machine {
    policy: RestartPolicy,
    state: JobState,
    fruitless: u32,
    progress: u64,
    restarts: u32,
}

impl Machine {
    /// A queued job.
    #[must_use]
    pub(crate) fn new(policy: RestartPolicy) -> Self {
        Self {
            policy,
            state: JobState::Queued,
            fruitless: 0,
            progress: 0,
            restarts: 0,
        }
    }

    /// The state now.
    #[cfg(test)]
    pub(crate) fn state(&self) -> JobState {
        self.state
    }

    /// Generations after the first.
    #[must_use]
    pub(crate) fn restarts(&self) -> u32 {
        self.restarts
    }

    /// The job begins: queued becomes running.
    pub(crate) fn start(&mut self) {
        if self.state == JobState::Queued {
            self.state = JobState::Running;
        }
    }

    /// The job is to be cancelled. Has no effect on a job that has ended.
    pub(crate) fn cancel(&mut self) {
        if matches!(self.state, JobState::Queued | JobState::Running) {
            self.state = JobState::Cancelling;
        }
    }

    /// All stages of a generation have exited. `cause` is the generation's first fault. `complete` says that the last
    /// stage did its work to the end. `progress` measures what is durable, in any unit; it never becomes less.
    pub(crate) fn generation_ended(&mut self, cause: Option<Fault>, complete: bool, progress: u64) -> Next {
        // The work is committed. A cancel or a fault that came too late does not change that.
        if complete {
            return self.end(JobState::Completed, None);
        }
        if self.state == JobState::Cancelling {
            return self.end(JobState::Cancelled, None);
        }
        let Some(fault) = cause else {
            return self.end(
                JobState::Failed,
                Some(Fault::permanent("a stage ended early and gave no reason")),
            );
        };
        if !fault.transient {
            return self.end(JobState::Failed, Some(fault));
        }
        self.fruitless = if progress > self.progress {
            1
        } else {
            self.fruitless + 1
        };
        self.progress = progress;
        if self.fruitless > self.policy.max_fruitless {
            return self.end(JobState::Failed, Some(fault));
        }
        self.restarts += 1;
        let doubled = 2u32.saturating_pow(self.fruitless - 1);
        Next::Restart(
            self.policy
                .first_pause
                .saturating_mul(doubled)
                .min(self.policy.longest_pause),
        )
    }

    fn end(&mut self, state: JobState, cause: Option<Fault>) -> Next {
        self.state = state;
        Next::End(state, cause)
    }
}

#[cfg(test)]
mod tests {
    use lockstone_vault::error::Kind;

    use super::*;

    fn machine() -> Machine {
        let policy = RestartPolicy {
            max_fruitless: 3,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
        };
        let mut machine = Machine::new(policy);
        machine.start();
        machine
    }

    fn pause(next: &Next) -> Option<u64> {
        match next {
            Next::Restart(pause) => Some(pause.as_secs()),
            Next::End(..) => None,
        }
    }

    #[test]
    fn pauses_double_and_start_again_only_after_progress() {
        let mut machine = machine();
        let fault = || Some(Fault::transient("away"));
        assert_eq!(pause(&machine.generation_ended(fault(), false, 0)), Some(1));
        assert_eq!(pause(&machine.generation_ended(fault(), false, 0)), Some(2));
        assert_eq!(pause(&machine.generation_ended(fault(), false, 7)), Some(1), "progress");
        assert_eq!(pause(&machine.generation_ended(fault(), false, 7)), Some(2));
        assert_eq!(pause(&machine.generation_ended(fault(), false, 7)), Some(4));
        assert_eq!(pause(&machine.generation_ended(fault(), false, 7)), None, "enough");
        assert_eq!(machine.state(), JobState::Failed);
        assert_eq!(machine.restarts(), 5);
    }

    #[test]
    fn integrity_and_key_faults_are_never_tried_again() {
        for kind in Kind::ALL {
            let mut machine = machine();
            assert!(pause(&machine.generation_ended(Some(Fault::new(kind, "")), false, 0)).is_none());
            assert_eq!(machine.state(), JobState::Failed);
        }
    }

    #[test]
    fn a_cancel_ends_the_job_unless_it_was_complete_already() {
        let mut cancelled = machine();
        cancelled.cancel();
        cancelled.generation_ended(Some(Fault::transient("late echo")), false, 0);
        assert_eq!(cancelled.state(), JobState::Cancelled);
        let mut complete = machine();
        complete.cancel();
        complete.generation_ended(None, true, 0);
        assert_eq!(complete.state(), JobState::Completed);
    }
}
