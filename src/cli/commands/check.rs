//! `lockstone check`: whether what is in the vault can be restored, and exactly what cannot.

use std::sync::Arc;

use clap::Args;
use lockstone_actors::{CheckRequest, JobContext, JobStatus, Progress};
use lockstone_proto::job::JobKind;
use lockstone_vault::check::CheckReport;
use serde_json::{Map, Value, json};
use tracing::Level;

use super::points::short;
use super::report::{Ending, Running};
use crate::agent::session::Session;
use crate::cli::args::Access;
use crate::failure::{Exit, Failure};

use crate::cli::output::Outcome;
use crate::cli::progress::Display;
use crate::cli::tuning::TuningArgs;
use crate::cli::watch::WatchArgs;
use crate::cli::{Context, log};
use crate::text::render;
use crate::text::units;

/// Options of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Read the packs too, open every frame and recompute every id; of a share of the packs where one is given
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, require_equals = true, default_missing_value = "100",
          value_parser = units::percent)]
    pub read_data: Option<u8>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub watch: WatchArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub access: Access,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub tuning: TuningArgs,
}

/// So many paths of one damaged object are printed.
const PATHS_SHOWN: usize = 10;

/// Runs the command.
///
/// # Errors
/// What failed, in words, with its exit code. Damage is no failure of the check: it is its result (exit 6).
pub fn run(context: &Context, args: &CheckArgs) -> Outcome {
    let tuning = context.tuned(&args.tuning)?;
    let (home, whose) = Session::for_job(&args.access)?;
    let running = Running::begin(
        context,
        &home,
        JobKind::Check,
        Map::from_iter([("read_data".to_owned(), json!(args.read_data))]),
        &args.watch,
    )?;
    let session = match Session::open_for(context, &home, &whose) {
        Ok(session) => session,
        Err(failure) => return Err(running.failed(context, failure)),
    };
    let progress = Arc::new(Progress::new());
    running.announce(context, &session, &progress);
    let started = std::time::Instant::now();
    let display = Display::start(context, "check", Arc::clone(&progress));
    let job = JobContext {
        domain: Arc::clone(&session.domain),
        tuning,
        metrics: Arc::clone(&context.numbers),
        progress,
        cancel: context.cancel.clone(),
    };
    let request = CheckRequest {
        job: running.id(),
        read_data: args.read_data.map(f64::from),
    };
    let checked = lockstone_actors::check(job, request);
    drop(display);
    if let Some(error) = checked.error {
        return Err(running.failed(context, error.into()));
    }
    let report = checked.found;
    let mut value = report_value(&report);
    value.insert("duration_seconds".to_owned(), json!(started.elapsed().as_secs_f64()));
    let failure = (!report.damaged.is_empty()).then(|| {
        let message = format!(
            "the vault is damaged: {}",
            render::counted(report.damaged.len() as u64, "object", "objects")
        );
        Failure::new(
            Exit::Damaged,
            "damaged",
            message,
            "what is not named above still restores; put the objects back from a copy of the vault if there is one",
        )
    });
    let (status, exit) = match (&failure, report.cancelled) {
        (Some(failure), _) => (JobStatus::Failed, failure.exit),
        (None, true) => (JobStatus::Cancelled, Exit::Cancelled),
        (None, false) => (JobStatus::Completed, Exit::Done),
    };
    running.end(
        context,
        Some(&session),
        &Ending {
            status,
            error: failure.as_ref(),
            point: None,
            report: &value,
            figures: [0; 4],
            restarts: checked.restarts,
        },
    );
    context.out.document(&Value::Object(value));
    say(context, args, &report, started.elapsed());
    if let Some(failure) = &failure {
        log::say(Level::ERROR, &failure.to_string());
    }
    Ok(exit)
}

fn report_value(report: &CheckReport) -> Map<String, Value> {
    let damaged = report.damaged.iter().map(|damage| {
        json!({
            "object": damage.object,
            "kind": damage.kind.name(),
            "reason": damage.reason,
            "points": damage.points,
            "paths": damage.paths.iter().map(|path| render::lossy(path)).collect::<Vec<_>>(),
        })
    });
    Map::from_iter([
        ("ok".to_owned(), json!(report.damaged.is_empty() && !report.cancelled)),
        ("packs".to_owned(), json!(report.packs)),
        ("chunks".to_owned(), json!(report.chunks)),
        ("points".to_owned(), json!(report.points)),
        ("cancelled".to_owned(), json!(report.cancelled)),
        ("damaged".to_owned(), damaged.collect()),
    ])
}

fn say(context: &Context, args: &CheckArgs, report: &CheckReport, time: std::time::Duration) {
    let out = &context.out;
    for damage in &report.damaged {
        out.line(format!(
            "DAMAGED {} ({}): {}",
            damage.object,
            damage.kind.name(),
            damage.reason
        ));
        if !damage.points.is_empty() {
            let points: Vec<String> = damage.points.iter().map(short).collect();
            out.line(format!("  costs recovery points {}", points.join(", ")));
        }
        for path in damage.paths.iter().take(PATHS_SHOWN) {
            out.line(format!("  costs {}", render::name(path)));
        }
        if damage.paths.len() > PATHS_SHOWN {
            out.line(format!(
                "  and {} more (see --json)",
                render::count((damage.paths.len() - PATHS_SHOWN) as u64)
            ));
        }
    }
    let depth = match args.read_data {
        Some(100) => "every frame opened".to_owned(),
        Some(share) => format!("{share} % of the packs opened"),
        None => "structure only; --read-data opens the data too".to_owned(),
    };
    let verdict = match (report.cancelled, report.damaged.is_empty()) {
        (true, _) => "Cancelled after",
        (false, true) => "No damage in",
        (false, false) => "Checked",
    };
    out.line(format!(
        "{verdict} {}, {}, {} ({depth}; {})",
        render::counted(report.points, "recovery point", "recovery points"),
        render::counted(report.packs, "pack", "packs"),
        render::counted(report.chunks, "chunk", "chunks"),
        render::duration(time)
    ));
}
