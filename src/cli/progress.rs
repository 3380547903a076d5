//! Shows a running job on stderr: live on a terminal, an occasional line elsewhere, or JSON lines.
//!
//! A display is one thread that reads the job's counters. The job does not know of it. When the display is dropped,
//! it ends and clears what it drew.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lockstone_actors::{CancelToken, Progress, ProgressView};
use lockstone_proto::job::JobKind;
use tracing::Level;

use super::context::Context;
use super::global::ProgressMode;
use super::log::{say, write_line};
use super::output::stderr_is_terminal;
use super::waiting::Waiting;
use crate::documents::progress::ProgressDocument;
use crate::text::render;

/// How often the thread looks at the cancel token, so that a cancel is shown at once even where lines are rare.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// What is shown while a cancelled job comes to its end.
const CANCELLING: &str = "cancelling (again to stop at once)";

/// The time over which the rate is measured.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// Shows a job until it is dropped.
#[derive(Debug)]
pub(crate) struct ProgressDisplay {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressDisplay {
    /// Starts to show `progress` in the way that the options and the terminal ask for.
    pub(crate) fn start(context: &Context, kind: JobKind, progress: Arc<Progress>) -> ProgressDisplay {
        let mode = match context.global.progress {
            _ if context.global.quiet => ProgressMode::None,
            ProgressMode::Auto if stderr_is_terminal() => ProgressMode::Live,
            ProgressMode::Auto => ProgressMode::Plain,
            mode => mode,
        };
        let (every, display): (Duration, Box<dyn Display>) = match mode {
            ProgressMode::Live => (Duration::from_millis(100), Box::new(Live::new(kind))),
            ProgressMode::Plain => (Duration::from_secs(10), Box::new(Plain { kind })),
            ProgressMode::Json => (Duration::from_secs(1), Box::new(Json { kind })),
            ProgressMode::Auto | ProgressMode::None => {
                return ProgressDisplay {
                    stop: None,
                    thread: None,
                };
            }
        };
        let (stop, stopped) = channel::<()>();
        let cancel = context.environment.cancel.clone();
        let waiting = Waiting::new(context, kind);
        let show = move || show_until_stopped(display, every, &stopped, &cancel, (&progress, waiting));
        let thread = std::thread::Builder::new().name("display".to_owned()).spawn(show);
        if let Err(error) = &thread {
            tracing::warn!(%error, "cannot show progress");
        }
        ProgressDisplay {
            stop: Some(stop),
            thread: thread.ok(),
        }
    }
}

fn show_until_stopped(
    mut display: Box<dyn Display>,
    every: Duration,
    stopped: &Receiver<()>,
    cancel: &CancelToken,
    (progress, mut waiting): (&Progress, Waiting),
) {
    let mut rate = ByteRate::new();
    let mut next = Instant::now() + every;
    let mut cancel_shown = false;
    loop {
        let pause = LOOK_PAUSE.min(next.saturating_duration_since(Instant::now()));
        match stopped.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
        }
        let cancelling = cancel.is_cancelled();
        if Instant::now() < next && (cancel_shown || !cancelling) {
            continue;
        }
        cancel_shown |= cancelling;
        next = Instant::now() + every;
        let view = progress.view();
        rate.add(&view);
        let waits_for = waiting.look(&view);
        let shown = Shown {
            view: &view,
            rate: &rate,
            waits_for: &waits_for,
            cancelling,
        };
        display.show(&shown);
    }
    display.end();
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Bytes a second over the last ten seconds or so, and the time that is left at this rate.
#[derive(Debug)]
struct ByteRate {
    samples: std::collections::VecDeque<(Instant, u64)>,
}

impl ByteRate {
    fn new() -> ByteRate {
        ByteRate {
            samples: std::collections::VecDeque::from([(Instant::now(), 0)]),
        }
    }

    fn add(&mut self, view: &ProgressView) {
        // A new generation counts from the start again.
        if self.samples.back().is_some_and(|(_, bytes)| *bytes > view.bytes_done) {
            self.samples.clear();
        }
        self.samples.push_back((Instant::now(), view.bytes_done));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(at, _)| at.elapsed() > RATE_WINDOW) {
            self.samples.pop_front();
        }
    }

    fn per_second(&self) -> u64 {
        match (self.samples.front(), self.samples.back()) {
            (Some((from, first)), Some((to, last))) => {
                let time = to.duration_since(*from);
                if time.as_millis() == 0 {
                    0
                } else {
                    u64::try_from(u128::from(last - first) * 1000 / time.as_millis()).unwrap_or(0)
                }
            }
            _ => 0,
        }
    }

    fn remaining(&self, view: &ProgressView) -> Option<Duration> {
        let rate = self.per_second();
        (view.seen_all && rate > 0).then(|| Duration::from_secs(view.bytes_seen.saturating_sub(view.bytes_done) / rate))
    }
}

/// What is shown of a job at one moment.
struct Shown<'s> {
    view: &'s ProgressView,
    rate: &'s ByteRate,
    /// What the job waits for. Empty if nothing is known.
    waits_for: &'s str,
    cancelling: bool,
}

/// One way to show a job.
trait Display: Send {
    fn show(&mut self, shown: &Shown<'_>);
    fn end(&mut self) {}
}

/// Three lines: how far, what was found, what is being worked on.
struct Live {
    all: MultiProgress,
    bar: ProgressBar,
    found: ProgressBar,
    current: ProgressBar,
    kind: JobKind,
}

impl Live {
    fn new(kind: JobKind) -> Live {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        // The templates are constants. If one were wrong, the default style would still show the message.
        let style = |template: &str| {
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("━╸─")
        };
        let bar = all.add(ProgressBar::no_length().with_style(style("{spinner} {prefix} {bar:24} {wide_msg}")));
        let found = all.add(ProgressBar::no_length().with_style(style("  {wide_msg}")));
        let current = all.add(ProgressBar::no_length().with_style(style("  {wide_msg}")));
        Live {
            all,
            bar,
            found,
            current,
            kind,
        }
    }
}

impl Display for Live {
    fn show(&mut self, shown: &Shown<'_>) {
        let Shown { view, rate, .. } = *shown;
        self.bar.set_prefix(match view.phase {
            _ if shown.cancelling => CANCELLING,
            "" => self.kind.word(),
            phase => phase,
        });
        if view.seen_all && view.bytes_seen > 0 {
            self.bar.set_length(view.bytes_seen);
        }
        self.bar.set_position(view.bytes_done);
        let mut line = how_far(view);
        let all_read = view.seen_all && view.bytes_done >= view.bytes_seen;
        if all_read {
            // All files are read. Only the way to the vault, or to the disk, is left, and the rate of reading would
            // only fall.
            line.push_str(" · finishing");
        } else {
            line.push_str(&format!(" · {}/s", render::bytes(rate.per_second())));
            if let Some(left) = rate.remaining(view) {
                line.push_str(&format!(" · {} left", render::duration(left)));
            }
        }
        self.bar.set_message(line);
        self.bar.tick();
        self.found.set_message(found(view, shown.waits_for));
        self.current.set_message(if all_read {
            String::new()
        } else {
            render::name(&view.current)
        });
    }

    fn end(&mut self) {
        let _ = self.all.clear();
        for bar in [&self.bar, &self.found, &self.current] {
            bar.finish_and_clear();
        }
    }
}

/// A line for a log.
struct Plain {
    kind: JobKind,
}

impl Display for Plain {
    fn show(&mut self, shown: &Shown<'_>) {
        let Shown { view, rate, .. } = *shown;
        if shown.cancelling {
            say(Level::INFO, &format!("{}: cancelling", self.kind));
            return;
        }
        let left = rate
            .remaining(view)
            .map_or_else(String::new, |left| format!(", {} left", render::duration(left)));
        let per_second = render::bytes(rate.per_second());
        let line = format!(
            "{}: {}, {per_second}/s{left}; {}",
            self.kind,
            how_far(view),
            found(view, shown.waits_for)
        );
        say(Level::INFO, &line);
    }
}

/// A line for a program.
struct Json {
    kind: JobKind,
}

impl Display for Json {
    fn show(&mut self, shown: &Shown<'_>) {
        let Shown { view, rate, .. } = *shown;
        let document = ProgressDocument::new(
            self.kind,
            view,
            shown.waits_for,
            rate.per_second(),
            rate.remaining(view),
        );
        let document = document.cancelling(shown.cancelling);
        // By way of a value, so that the members come in the order of every other document.
        match serde_json::to_value(document) {
            Ok(line) => {
                write_line(&line.to_string());
            }
            Err(error) => tracing::warn!(%error, "cannot show progress"),
        }
    }
}

fn how_far(view: &ProgressView) -> String {
    let (files, bytes) = (render::count(view.files_done), render::bytes(view.bytes_done));
    let more = if view.seen_all { "" } else { "+" };
    format!(
        "{files}/{}{more} files · {bytes} of {}{more}",
        render::count(view.files_seen),
        render::bytes(view.bytes_seen)
    )
}

fn found(view: &ProgressView, waits_for: &str) -> String {
    let mut line = format!(
        "new {} · known {} · stored {}",
        render::bytes(view.bytes_new),
        render::bytes(view.bytes_known),
        render::bytes(view.bytes_stored)
    );
    if !waits_for.is_empty() {
        line.push_str(&format!(" · waiting for {waits_for}"));
    }
    if view.restarts > 0 {
        line.push_str(&format!(" · {}", render::counted(view.restarts, "restart", "restarts")));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_and_what_was_found() {
        let view = ProgressView {
            files_done: 1200,
            files_seen: 3000,
            bytes_done: 1 << 20,
            bytes_seen: 3 << 20,
            bytes_new: 4096,
            ..ProgressView::default()
        };
        assert_eq!(how_far(&view), "1,200/3,000+ files · 1.00 MiB of 3.00 MiB+");
        assert_eq!(
            found(&view, "the sealer"),
            "new 4.00 KiB · known 0 B · stored 0 B · waiting for the sealer"
        );
    }

    #[test]
    fn a_new_generation_does_not_confuse_the_rate() {
        let mut rate = ByteRate::new();
        rate.add(&ProgressView {
            bytes_done: 100,
            ..ProgressView::default()
        });
        rate.add(&ProgressView {
            bytes_done: 10,
            ..ProgressView::default()
        });
        assert_eq!(rate.per_second(), 0);
    }
}
