//! Shows a running job on stderr: live on a terminal, a line now and then elsewhere, or JSON lines.
//!
//! A display is one thread that reads the job's counters; the job knows nothing of it. It ends, and clears what it drew,
//! when it is dropped.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lockstone_actors::{CancelToken, Progress, ProgressView};
use serde_json::{Map, Value, json};
use tracing::Level;

use super::Context;
use super::args::ProgressMode;
use super::log::say;
use super::output::stderr_is_terminal;
use crate::text::render;

/// A display; it ends when it is dropped.
#[derive(Debug)]
pub struct Display {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Display {
    /// Starts to show `progress` in the way that the options and the terminal ask for.
    #[must_use]
    pub fn start(context: &Context, title: &'static str, progress: Arc<Progress>) -> Display {
        let mode = match context.global.progress {
            _ if context.global.quiet => ProgressMode::None,
            ProgressMode::Auto if stderr_is_terminal() => ProgressMode::Live,
            ProgressMode::Auto => ProgressMode::Plain,
            mode => mode,
        };
        let (every, mut face): (Duration, Box<dyn Face>) = match mode {
            ProgressMode::Live => (Duration::from_millis(100), Box::new(Live::new(title))),
            ProgressMode::Plain => (Duration::from_secs(10), Box::new(Plain { title })),
            ProgressMode::Json => (Duration::from_secs(1), Box::new(Json { title })),
            ProgressMode::Auto | ProgressMode::None => {
                return Display {
                    stop: None,
                    thread: None,
                };
            }
        };
        let (stop, stopped) = channel::<()>();
        let cancel = context.cancel.clone();
        let thread = std::thread::Builder::new().name("display".to_owned()).spawn(move || {
            let mut rate = Rate::new();
            let mut next = Instant::now() + every;
            let mut told = false;
            loop {
                // Looks often, so that a cancel is answered at once even where lines are rare.
                let pause = Duration::from_millis(100).min(next.saturating_duration_since(Instant::now()));
                match stopped.recv_timeout(pause) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
                let cancelling = cancel_state(&cancel);
                if Instant::now() < next && (told || cancelling.is_none()) {
                    continue;
                }
                told |= cancelling.is_some();
                next = Instant::now() + every;
                let view = progress.view();
                rate.add(&view);
                face.show(&view, &rate, cancelling);
            }
            face.end();
        });
        match thread {
            Ok(thread) => Display {
                stop: Some(stop),
                thread: Some(thread),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot show progress");
                Display {
                    stop: None,
                    thread: None,
                }
            }
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn cancel_state(cancel: &CancelToken) -> Option<&'static str> {
    cancel.is_cancelled().then_some("cancelling (again to stop at once)")
}

/// Bytes a second over the last ten seconds or so, and the time it will take from here.
#[derive(Debug)]
struct Rate {
    samples: std::collections::VecDeque<(Instant, u64)>,
}

impl Rate {
    fn new() -> Rate {
        Rate {
            samples: std::collections::VecDeque::from([(Instant::now(), 0)]),
        }
    }

    fn add(&mut self, view: &ProgressView) {
        // A new generation counts from the start again.
        if self.samples.back().is_some_and(|(_, bytes)| *bytes > view.bytes_done) {
            self.samples.clear();
        }
        self.samples.push_back((Instant::now(), view.bytes_done));
        while self.samples.len() > 2
            && self
                .samples
                .front()
                .is_some_and(|(at, _)| at.elapsed() > Duration::from_secs(10))
        {
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

/// One way to show a job.
trait Face: Send {
    fn show(&mut self, view: &ProgressView, rate: &Rate, cancelling: Option<&'static str>);
    fn end(&mut self) {}
}

/// Three lines: how far, what was found, what is being worked on.
struct Live {
    all: MultiProgress,
    bar: ProgressBar,
    found: ProgressBar,
    current: ProgressBar,
    title: &'static str,
}

impl Live {
    fn new(title: &'static str) -> Live {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        // The templates are constants; where one were wrong, the plain style still shows the message.
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
            title,
        }
    }
}

impl Face for Live {
    fn show(&mut self, view: &ProgressView, rate: &Rate, cancelling: Option<&'static str>) {
        self.bar
            .set_prefix(cancelling.unwrap_or(if view.phase.is_empty() { self.title } else { view.phase }));
        if view.seen_all && view.bytes_seen > 0 {
            self.bar.set_length(view.bytes_seen);
        }
        self.bar.set_position(view.bytes_done);
        let mut line = how_far(view);
        let all_read = view.seen_all && view.bytes_done >= view.bytes_seen;
        if all_read {
            // What is left is the way to the vault, or to the disk; a rate of files that are read would only fall.
            line.push_str(" · finishing");
        } else {
            line.push_str(&format!(" · {}/s", render::bytes(rate.per_second())));
            if let Some(left) = rate.remaining(view) {
                line.push_str(&format!(" · {} left", render::duration(left)));
            }
        }
        self.bar.set_message(line);
        self.bar.tick();
        self.found.set_message(found(view));
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
    title: &'static str,
}

impl Face for Plain {
    fn show(&mut self, view: &ProgressView, rate: &Rate, cancelling: Option<&'static str>) {
        if cancelling.is_some() {
            say(Level::INFO, &format!("{}: cancelling", self.title));
            return;
        }
        let left = rate
            .remaining(view)
            .map_or_else(String::new, |left| format!(", {} left", render::duration(left)));
        let per_second = render::bytes(rate.per_second());
        let line = format!(
            "{}: {}, {per_second}/s{left}; {}",
            self.title,
            how_far(view),
            found(view)
        );
        say(Level::INFO, &line);
    }
}

/// A line for a program.
struct Json {
    title: &'static str,
}

impl Face for Json {
    fn show(&mut self, view: &ProgressView, rate: &Rate, cancelling: Option<&'static str>) {
        let value = json!({
            "event": "progress",
            "kind": self.title,
            "phase": if cancelling.is_some() { "cancelling" } else { view.phase },
            "files_done": view.files_done,
            "files_seen": view.files_seen,
            "done_bytes": view.bytes_done,
            "seen_bytes": view.bytes_seen,
            "seen_all": view.seen_all,
            "new_bytes": view.bytes_new,
            "known_bytes": view.bytes_known,
            "stored_bytes": view.bytes_stored,
            "bytes_per_second": rate.per_second(),
            "remaining_seconds": rate.remaining(view).map(|left| left.as_secs()),
            "restarts": view.restarts,
            "slowest_stage": view.slowest_stage,
            "throttled_seconds": view.throttled_seconds,
        });
        let mut line = match value {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        render::put_path(&mut line, &view.current);
        eprintln!("{}", Value::Object(line));
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

fn found(view: &ProgressView) -> String {
    let mut line = format!(
        "new {} · known {} · stored {}",
        render::bytes(view.bytes_new),
        render::bytes(view.bytes_known),
        render::bytes(view.bytes_stored)
    );
    if !view.slowest_stage.is_empty() {
        line.push_str(&format!(" · waiting for the {}", view.slowest_stage));
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
            slowest_stage: "sealer",
            ..ProgressView::default()
        };
        assert_eq!(how_far(&view), "1,200/3,000+ files · 1.00 MiB of 3.00 MiB+");
        assert_eq!(
            found(&view),
            "new 4.00 KiB · known 0 B · stored 0 B · waiting for the sealer"
        );
    }

    #[test]
    fn a_new_generation_does_not_confuse_the_rate() {
        let mut rate = Rate::new();
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
