//! Shows a running job on stderr: live on a terminal, an occasional line elsewhere, or JSON lines.
//!
//! A display is one thread that reads the job's counters. The job does not know of it. When the display is dropped,
//! it ends and clears what it drew.

mod rates;
mod words;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lockstone_actors::{CancelToken, Progress, ProgressView};
use lockstone_host::terminal::NoControlEcho;
use lockstone_proto::job::JobKind;
use tracing::Level;

use self::rates::{Rates, done_bytes};
use self::words::{found, how_far, is_all_done};
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

/// Whether the terminal can only add lines.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

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
            ProgressMode::Auto if stderr_is_terminal() && !is_dumb() => ProgressMode::Live,
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
        let show = move || show_until_stopped(display, every, &stopped, &cancel, (kind, &progress, waiting));
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
    (kind, progress, mut waiting): (JobKind, &Progress, Waiting),
) {
    let mut rates = Rates::new();
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
        rates.add(Instant::now(), kind, &view);
        let waits_for = waiting.look(&view);
        display.show(&Shown {
            view: &view,
            rates: &rates,
            waits_for: &waits_for,
            cancelling,
        });
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

/// What is shown of a job at one moment.
struct Shown<'s> {
    view: &'s ProgressView,
    rates: &'s Rates,
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
    _no_echo: Option<NoControlEcho>,
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
        let bar = all.add(ProgressBar::no_length().with_style(style("{spinner} {prefix} {bar:16} {wide_msg}")));
        let found = all.add(ProgressBar::no_length().with_style(style("  {wide_msg}")));
        let current = all.add(ProgressBar::no_length().with_style(style("  {wide_msg}")));
        Live {
            all,
            bar,
            found,
            current,
            kind,
            _no_echo: NoControlEcho::set(),
        }
    }
}

impl Display for Live {
    fn show(&mut self, shown: &Shown<'_>) {
        let Shown { view, rates, .. } = *shown;
        self.bar.set_prefix(match view.phase {
            _ if shown.cancelling => CANCELLING,
            "" => self.kind.word(),
            phase => phase,
        });
        let done = done_bytes(self.kind, view);
        if view.seen_all && view.bytes_seen > 0 {
            self.bar.set_length(view.bytes_seen);
        }
        self.bar.set_position(done);
        self.bar.set_message(how_far(self.kind, view, rates));
        self.bar.tick();
        self.found.set_message(found(self.kind, view, shown.waits_for));
        self.current.set_message(if is_all_done(self.kind, view) {
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
        let Shown { view, rates, .. } = *shown;
        if shown.cancelling {
            say(Level::INFO, &format!("{}: cancelling", self.kind));
            return;
        }
        let phase = match view.phase {
            "" => self.kind.word(),
            phase => phase,
        };
        let line = format!(
            "{phase}: {}; {}",
            how_far(self.kind, view, rates),
            found(self.kind, view, shown.waits_for)
        );
        say(Level::INFO, line.trim_end_matches("; "));
    }
}

/// A line for a program.
struct Json {
    kind: JobKind,
}

impl Display for Json {
    fn show(&mut self, shown: &Shown<'_>) {
        let Shown { view, rates, .. } = *shown;
        let left = rates.remaining(self.kind, view);
        let document = ProgressDocument::new(self.kind, view, shown.waits_for, rates.per_second(), left);
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
