//! `lockstone jobs show`.

use std::time::Duration;

use serde_json::Value;

use super::{started, took};
use crate::agent::state::folder::StateFolder;
use crate::agent::state::job_records::{self, JobRecord};
use crate::cli::context::Context;
use crate::cli::output::{Outcome, Output};
use crate::failure::Exit;
use crate::text::render;

/// Members of a job's report that are shown in another form, or have been shown before it.
const SHOWN_ELSEWHERE: [&str; 5] = ["job", "point", "status", "error", "warnings"];

pub(super) fn run(context: &Context, state: &StateFolder, id: &str) -> Outcome {
    let (job, out) = (job_records::find(state, id)?, &context.out);
    out.document(&job);
    out.line(format!("Job {} ({}), {}", job.job, job.kind, job.state));
    out.line(format!("  started  {}", started(&job)));
    if job.ended.is_some() {
        out.line(format!("  took     {}", took(&job)));
    } else if job.runs() {
        out.line(format!("  process  {}", job.pid));
    }
    for (name, value) in &job.request {
        out.line(format!("  {name:<8} {}", text(value)));
    }
    if let Some(point) = job.point {
        out.line(format!("  point    {point}"));
    }
    if let Some(error) = &job.error {
        out.line(format!("  error    {}", error.message));
    }
    show_report(out, &job);
    Ok(Exit::Done)
}

fn show_report(out: &Output, job: &JobRecord) {
    for (name, value) in &job.report {
        let is_shown = SHOWN_ELSEWHERE.contains(&name.as_str());
        if !is_shown && !value.is_array() && !value.is_object() {
            out.line(format!("  {name:<20} {}", figure(name, value)));
        }
    }
    let warnings = job.report.get("warnings").and_then(Value::as_array);
    for warning in warnings.into_iter().flatten() {
        let (path, message) = (text(&warning["path"]), text(&warning["message"]));
        out.line(format!("  warning  {path}: {message}"));
    }
}

/// A figure of the report, for people: sizes and durations with a unit.
fn figure(name: &str, value: &Value) -> String {
    let is_size = name.starts_with("bytes") || name.ends_with("bytes");
    match (value.as_u64(), value.as_f64()) {
        (Some(bytes), _) if is_size => render::bytes(bytes),
        (_, Some(seconds)) if name.ends_with("_seconds") && seconds.is_finite() && seconds >= 0.0 => {
            Duration::try_from_secs_f64(seconds).map_or_else(|_| text(value), render::duration)
        }
        (Some(count), _) => render::count(count),
        _ => text(value),
    }
}

/// A value of the record, for people.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => render::name(text.as_bytes()),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(" "),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_their_units() {
        assert_eq!(figure("bytes_scanned", &717_225_984.into()), "684.00 MiB");
        assert_eq!(figure("duration_seconds", &245.0.into()), "4 min 05 s");
        assert_eq!(figure("files_new", &12_345.into()), "12,345");
        assert_eq!(figure("point", &Value::Null), "-");
    }
}
