//! What a running job waits for, in words: a store that does not answer, a pause or a limit of the throttle, or one of
//! its own stages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstone_actors::throttle::{Limits, Throttle};
use lockstone_actors::{Metrics, ProgressView};
use lockstone_proto::job::JobKind;

use super::context::Context;
use crate::agent::settings::throttle::Pause;
use crate::text::render;

/// Looks at what a job waits for.
pub(super) struct Waiting {
    kind: JobKind,
    metrics: Arc<Metrics>,
    throttle: Arc<Throttle>,
    pause: Arc<Pause>,
    /// When it looked last, and how long requests had waited for the throttle by then, seconds.
    last: (Instant, f64),
}

impl Waiting {
    pub(super) fn new(context: &Context, kind: JobKind) -> Waiting {
        let environment = &context.environment;
        Waiting {
            kind,
            metrics: Arc::clone(&environment.metrics),
            throttle: Arc::clone(&environment.throttle),
            pause: environment.pause(),
            last: (Instant::now(), 0.0),
        }
    }

    /// What the job waits for now. Empty if nothing is known.
    pub(super) fn look(&mut self, view: &ProgressView) -> String {
        let now = (Instant::now(), view.throttled_seconds);
        let (passed, throttled) = (now.0 - self.last.0, now.1 - self.last.1);
        self.last = now;
        let seen = Seen {
            store: self.metrics.store_waits(),
            limits: self.throttle.limits(),
            pause_end: self.pause.end(),
            throttled: throttled > passed.as_secs_f64() / 2.0,
            stage: view.slowest_stage,
        };
        seen.words(self.kind)
    }
}

/// What was seen at one look.
#[derive(Debug, Default)]
struct Seen {
    /// Until a store that does not answer is given up.
    store: Option<Duration>,
    limits: Limits,
    pause_end: Option<String>,
    /// Whether requests waited for the throttle most of the time.
    throttled: bool,
    stage: &'static str,
}

impl Seen {
    fn words(&self, kind: JobKind) -> String {
        let (limit, what) = match kind {
            JobKind::Backup => (self.limits.up, "upload"),
            _ => (self.limits.down, "download"),
        };
        if limit == Some(0) {
            return match &self.pause_end {
                Some(end) => format!("the end of the pause at {end}"),
                None => "the end of the pause (`lockstone throttle show`)".to_owned(),
            };
        }
        if let Some(left) = self.store {
            return format!("the store, which does not answer (for {} more)", render::duration(left));
        }
        match (limit, self.stage) {
            (Some(limit), _) if self.throttled => format!("the {what} limit of {}/s", render::bytes(limit)),
            (_, "") => String::new(),
            (_, stage) => format!("the {stage}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_a_pause_and_a_limit_are_named_before_a_stage() {
        let words = |seen: &Seen| seen.words(JobKind::Backup);
        let mut seen = Seen::default();
        assert_eq!(words(&seen), "");
        seen.stage = "hasher";
        assert_eq!(words(&seen), "the hasher");
        seen.limits.up = Some(2 << 20);
        assert_eq!(words(&seen), "the hasher");
        seen.throttled = true;
        assert_eq!(words(&seen), "the upload limit of 2.00 MiB/s");
        assert_eq!(seen.words(JobKind::Restore), "the hasher");
        seen.store = Some(Duration::from_secs(14 * 60));
        assert_eq!(words(&seen), "the store, which does not answer (for 14 min 00 s more)");
        seen.limits.up = Some(0);
        assert_eq!(words(&seen), "the end of the pause (`lockstone throttle show`)");
        seen.pause_end = Some("18:00".to_owned());
        assert_eq!(words(&seen), "the end of the pause at 18:00");
    }
}
