//! Lines on stderr: diagnostics (`tracing`), and what the commands print there. If stderr is a log, both have the
//! same form.
//!
//! | format | a line |
//! |---|---|
//! | text | `2026-11-22T03:00:00.123Z WARN job=… stage=uploader lockstone_vault::store: trying again attempt=1` |
//! | json | an object: `time`, `level`, `target`, `message`, `job` and `stage` if known, and the fields of the line |
//! | journal | `<4>job=… stage=uploader lockstone_vault::store: trying again attempt=1`; journald reads the level |
//!
//! `job` and `stage` come from the spans that a job and each of its stages' threads are in.

use std::fmt::{self, Write as _};
use std::io;
use std::sync::OnceLock;

use clap::ValueEnum;
use lockstone_actors::SPANS;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::failure::Failure;

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// A JSON object a line
    Json,
    /// For journald: a level in front, no time
    Journal,
}

/// The target of what a command prints. It is logged at any level.
const COMMAND_OUTPUT: &str = "lockstone::words";

static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Starts to log. Called once, before anything else. The format is `format`, else `journal` if stderr is the journal,
/// else `text`. The level is `level`, else `LOCKSTONE_LOG`, else `RUST_LOG`, else `default_level`. Fails with `usage`
/// if `level` is not a level.
pub(crate) fn start(format: Option<LogFormat>, level: Option<&str>, default_level: &str) -> Result<(), Failure> {
    let variables = ["LOCKSTONE_LOG", "RUST_LOG"].map(|name| std::env::var(name).ok());
    let valid = |filter: &String| !filter.is_empty() && EnvFilter::try_new(filter).is_ok();
    let from_environment = variables.into_iter().flatten().find(valid);
    let wanted = level.map(str::to_owned).or(from_environment);
    let filter = format!(
        "{},{COMMAND_OUTPUT}=info,{SPANS}=error",
        wanted.as_deref().unwrap_or(default_level)
    );
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        let hint = "a level is error, warn, info, debug or trace, or a filter such as warn,lockstone_vault=debug";
        Failure::usage(format!("--log-level: {error}"), hint)
    })?;
    let default_format = if stderr_is_journal() {
        LogFormat::Journal
    } else {
        LogFormat::Text
    };
    let format = *FORMAT.get_or_init(|| format.unwrap_or(default_format));
    // Only a second call could fail, and it would change nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Stderr)
        .fmt_fields(JsonFields::new())
        .event_format(Lines { format })
        .try_init();
    Ok(())
}

/// Prints what a command has to say. On a terminal verbatim, in a log as a line like all others.
pub(crate) fn say(level: Level, text: &str) {
    match FORMAT.get() {
        None | Some(LogFormat::Text) => {
            write_line(text);
        }
        Some(LogFormat::Json | LogFormat::Journal) => match level {
            Level::ERROR => tracing::error!(target: COMMAND_OUTPUT, "{text}"),
            Level::WARN => tracing::warn!(target: COMMAND_OUTPUT, "{text}"),
            _ => tracing::info!(target: COMMAND_OUTPUT, "{text}"),
        },
    }
}

/// Prints a line on stderr, whatever the log's format. Returns false if it could not be written.
///
/// This and [`Stderr`] are the only ways to stderr. Neither fails: a full disk, a closed pipe or a lost terminal costs
/// the words, and not the job.
pub(crate) fn write_line(text: &str) -> bool {
    write_text(&format!("{text}\n"))
}

/// Prints a text on stderr as it is, such as a question. Returns false if it could not be written.
pub(crate) fn write_text(text: &str) -> bool {
    io::Write::write_all(&mut io::stderr().lock(), text.as_bytes()).is_ok()
}

/// Prints a line without the log's machinery, in the log's format. For a panic, which may come from that machinery.
pub(crate) fn say_plainly(level: Level, text: &str) {
    match FORMAT.get() {
        None | Some(LogFormat::Text) => write_line(text),
        Some(LogFormat::Journal) => write_line(&format!("<{}>{text}", priority(level))),
        Some(LogFormat::Json) => {
            let line = [("level", level.as_str()), ("target", COMMAND_OUTPUT), ("message", text)];
            let line: Map<String, Value> = line
                .map(|(name, value)| (name.to_owned(), value.into()))
                .into_iter()
                .collect();
            write_line(&Value::Object(line).to_string())
        }
    };
}

/// Stderr for the log. It drops what cannot be written and never fails.
struct Stderr;

impl io::Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::Write::write_all(&mut io::stderr().lock(), bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether stderr is the journal. systemd names the device and inode of the journal's socket; a stderr that was
/// redirected since has others.
fn stderr_is_journal() -> bool {
    let Ok(journal) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    rustix::fs::fstat(std::io::stderr()).is_ok_and(|stderr| is_stream(&journal, stderr.st_dev, stderr.st_ino))
}

fn is_stream(journal: &str, device: u64, inode: u64) -> bool {
    journal == format!("{device}:{inode}")
}

/// The level as a number of syslog.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

struct Lines {
    format: LogFormat,
}

impl<S> FormatEvent<S, JsonFields> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    JsonFields: for<'a> FormatFields<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut around = Map::new();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>() {
                around.extend(serde_json::from_str::<Map<String, Value>>(fields).unwrap_or_default());
            }
        }
        let mut own = Fields(Map::new());
        event.record(&mut own);
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        match self.format {
            LogFormat::Json => {
                around.extend(own.0);
                around.insert("time".to_owned(), now().into());
                around.insert("level".to_owned(), level.as_str().into());
                around.insert("target".to_owned(), target.into());
                writeln!(writer, "{}", Value::Object(around))
            }
            LogFormat::Text => writeln!(writer, "{} {level:>5} {}", now(), sentence(around, target, own.0)),
            LogFormat::Journal => {
                // journald reads a level from each line.
                let front = format!("<{}>", priority(level));
                let sentence = sentence(around, target, own.0).replace('\n', &format!("\n{front}"));
                writeln!(writer, "{front}{sentence}")
            }
        }
    }
}

fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Millisecond).unwrap_or(now).to_string()
}

/// `job=… stage=… target: message key=value`
fn sentence(around: Map<String, Value>, target: &str, mut own: Map<String, Value>) -> String {
    let mut line = String::new();
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for (name, value) in &around {
        // A field that a span has already given is not repeated.
        own.remove(name);
        let _ = write!(line, "{name}={} ", plain(value));
    }
    if target != COMMAND_OUTPUT {
        let _ = write!(line, "{target}: ");
    }
    if let Some(message) = own.remove("message") {
        line.push_str(&plain(&message));
    }
    for (name, value) in &own {
        let _ = write!(line, " {name}={}", plain(value));
    }
    line
}

/// An event's fields.
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::INFO)
            .with_writer(move || writer.clone())
            .fmt_fields(JsonFields::new())
            .event_format(Lines { format })
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn a_line() {
        let _job = tracing::error_span!("job", job = "ab12", kind = "backup").entered();
        let _stage = tracing::error_span!("stage", job = "ab12", stage = "hasher").entered();
        tracing::warn!(count = 3_u64, quoted = "a \"b\"", "two\nlines");
        tracing::debug!("not asked for");
    }

    #[test]
    fn a_json_line_is_flat_and_has_job_and_stage() {
        let text = logged(LogFormat::Json, a_line);
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        for (name, value) in [
            ("job", "ab12"),
            ("stage", "hasher"),
            ("kind", "backup"),
            ("level", "WARN"),
            ("message", "two\nlines"),
            ("quoted", "a \"b\""),
        ] {
            assert_eq!(line[name], value, "{text}");
        }
        assert_eq!(line["count"], 3);
        assert!(line["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    }

    #[test]
    fn every_line_in_the_journal_has_its_level_in_front() {
        let text = logged(LogFormat::Journal, a_line);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("<4>job=ab12 "), "{text}");
        assert!(
            lines[0].contains("stage=hasher") && lines[1].starts_with("<4>lines"),
            "{text}"
        );
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        assert_eq!(levels.map(priority), [3, 4, 6, 7, 7]);
    }

    #[test]
    fn a_line_for_people_has_time_level_job_and_stage() {
        let text = logged(LogFormat::Text, a_line);
        assert!(text.contains("  WARN job=ab12 kind=backup stage=hasher "), "{text}");
        assert!(text.contains("count=3"), "{text}");
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        assert!(is_stream("8:123", 8, 123));
        assert!(!is_stream("8:123", 8, 124));
        assert!(!is_stream("", 0, 0));
    }
}
