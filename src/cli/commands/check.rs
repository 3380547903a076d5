//! `lockstone check`: whether what is in the vault can be restored, and exactly what cannot.

use std::time::Duration;

use clap::Args;
use lockstone_vault::check::CheckReport;
use tracing::Level;

use crate::agent::jobs::check::{Check, CheckOrder};
use crate::cli::access::AccessArgs;
use crate::cli::context::Context;
use crate::cli::job::{self, exit_of};
use crate::cli::log::say;
use crate::cli::metrics_export::MetricsArgs;
use crate::cli::output::{Outcome, Output};
use crate::cli::tuning::TuningArgs;
use crate::text::point::short;
use crate::text::render;
use crate::text::units;

/// Options of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Read the packs too, open every frame and recompute every id; of a share of the packs where one is given
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, require_equals = true, default_missing_value = "100",
          value_parser = units::percent)]
    pub(crate) read_data: Option<u8>,
    /// Read the share of one day, so that daily checks read every byte within so many days, such as 30d
    #[arg(long, value_name = "DAYS", conflicts_with = "read_data", value_parser = units::days)]
    pub(crate) within: Option<Duration>,
    /// Heal what can be healed, and write down what is lost; nothing is deleted
    #[arg(long)]
    pub(crate) repair: bool,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(flatten)]
    pub(crate) tuning: TuningArgs,
}

/// At most this many paths of one damaged object are printed.
const MAX_PRINTED_PATHS: usize = 10;

/// Runs the command. Damage is not a failure of the command: it is its result (exit 6).
pub(crate) fn run(context: &Context, args: &CheckArgs) -> Outcome {
    let tuning = args.tuning.tuning()?;
    args.tuning.lower_priority()?;
    context.environment.follow_throttle(args.tuning.throttle_overrides())?;
    let order = CheckOrder {
        read_data: args.read_data,
        round: args.within,
        repair: args.repair,
        tuning,
    };
    let check = Check::prepare(&args.access.access(), order)?;
    let finished = job::run(context, &args.metrics, check)?;
    let (report, ending) = (&finished.report, &finished.ending);
    context.out.document(&ending.document);
    if !context.out.quiet || !report.found.damaged.is_empty() {
        show_summary(&context.out, &report.found, args, report.duration);
    }
    if let Some(failure) = &ending.failure {
        say(Level::ERROR, &failure.to_string());
    }
    Ok(exit_of(ending))
}

fn show_summary(out: &Output, report: &CheckReport, args: &CheckArgs, duration: Duration) {
    for damage in &report.damaged {
        out.line(format!(
            "DAMAGED {} ({}): {}",
            damage.object,
            damage.kind.name(),
            render::short_ids(&damage.reason)
        ));
        if !damage.points.is_empty() {
            let points: Vec<String> = damage.points.iter().map(short).collect();
            out.line(format!("  costs recovery points {}", points.join(", ")));
        }
        for path in damage.paths.iter().take(MAX_PRINTED_PATHS) {
            out.line(format!("  costs {}", render::name(path)));
        }
        if damage.paths.len() > MAX_PRINTED_PATHS {
            out.line(format!(
                "  and {} more (see --json)",
                render::count((damage.paths.len() - MAX_PRINTED_PATHS) as u64)
            ));
        }
    }
    for harmless in &report.harmless {
        let (object, kind, reason) = (&harmless.object, harmless.kind.name(), &harmless.reason);
        out.line(format!("harmless {object} ({kind}): {reason}"));
    }
    for repaired in &report.repaired {
        let (object, kind, how) = (&repaired.object, repaired.kind.name(), &repaired.how);
        out.line(format!("repaired {object} ({kind}): {}", render::short_ids(how)));
    }
    if let Some(why) = &report.not_repaired {
        out.warn(format!("not everything could be repaired: {why}"));
    }
    let depth = match args.read_data {
        None if args.within.is_some() => format!("{} opened", render::counted(report.packs_read, "pack", "packs")),
        Some(_) if report.cancelled => format!(
            "{} of {} opened",
            render::count(report.packs_read),
            render::counted(report.packs_to_read, "pack", "packs")
        ),
        Some(100) if report.packs_read_before > 0 => format!(
            "every frame opened, of {} by the check that was stopped",
            render::counted(report.packs_read_before, "pack", "packs")
        ),
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
        render::duration(duration)
    ));
}
