//! `lockstone gc`: frees the space in the vault that no recovery point needs.

use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use lockstone_actors::CollectReport;
use lockstone_vault::collect::{CollectReport as Collected, REPACK_BELOW, UNFINISHED_GRACES};

use crate::agent::jobs::gc::{Gc, GcOrder};
use crate::cli::context::Context;
use crate::cli::job::{self, exit_of};
use crate::cli::metrics_export::MetricsArgs;
use crate::cli::output::{Outcome, Output};
use crate::cli::tuning::TuningArgs;
use crate::failure::Failure;
use crate::text::point::short;
use crate::text::render;
use crate::text::units;

/// Options of `gc`.
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Show what would be freed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Delete packs only so long after they were condemned: somebody may still read them. 0s is for vaults that nobody
    /// else uses
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = units::duration)]
    grace: Duration,
    /// Keep what an interrupted backup stored for so long; seven times --grace if it is not given
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    unfinished: Option<Duration>,
    /// Rewrite packs of which less than this share is needed
    #[arg(long, value_name = "PERCENT", default_value_t = REPACK_BELOW, value_parser = units::percent)]
    repack_below: u8,
    #[command(flatten)]
    metrics: MetricsArgs,
    #[command(flatten)]
    tuning: TuningArgs,
}

/// Runs the command.
pub(crate) fn run(context: &Context, args: &GcArgs) -> Outcome {
    let tuning = args.tuning.tuning()?;
    args.tuning.lower_priority()?;
    context.environment.follow_throttle(args.tuning.throttle_overrides())?;
    let order = GcOrder {
        dry_run: args.dry_run,
        grace: span(args.grace)?,
        unfinished: span(args.unfinished.unwrap_or(args.grace * UNFINISHED_GRACES))?,
        repack_below: args.repack_below,
        is_in_background: false,
        tuning,
    };
    let finished = job::run(context, &args.metrics, Gc::prepare(order)?)?;
    let (report, ending) = (&finished.report, &finished.ending);
    context.out.document(&ending.document);
    for warning in &report.collected.warnings {
        context.out.warn(render::short_ids(warning));
    }
    if !context.out.quiet {
        show(&context.out, report, args.dry_run);
    }
    Ok(exit_of(ending))
}

fn span(time: Duration) -> Result<SignedDuration, Failure> {
    SignedDuration::try_from(time).map_err(|error| Failure::usage(error.to_string(), "give a shorter time"))
}

fn show(out: &Output, report: &CollectReport, dry_run: bool) {
    let collected = &report.collected;
    let packs = |count| render::counted(count, "pack", "packs");
    if dry_run {
        out.line(format!(
            "Would free {}: {} that nothing needs, {} to rewrite",
            render::bytes(collected.bytes_reclaimable),
            packs(collected.packs_condemned),
            packs(collected.packs_repacked),
        ));
        let held = collected.alone.iter().filter(|(_, bytes)| *bytes > 0);
        for (point, bytes) in held {
            out.line(format!("  {} alone holds {}", short(point), render::bytes(*bytes)));
        }
    } else {
        let verdict = if collected.cancelled {
            "Cancelled; freed"
        } else {
            "Freed"
        };
        out.line(format!(
            "{verdict} {} in {}{}",
            render::bytes(collected.bytes_freed),
            packs(collected.packs_deleted),
            waiting(collected),
        ));
        if collected.packs_repacked > 0 {
            out.line(format!(
                "Rewrote {} as {} ({})",
                packs(collected.packs_repacked),
                render::count(collected.packs_written),
                render::bytes(collected.bytes_written),
            ));
        }
    }
    if collected.points_gone > 0 {
        let verdict = if dry_run {
            "Would be gone for good"
        } else {
            "Gone for good"
        };
        out.line(format!(
            "{verdict}: {}",
            render::counted(
                collected.points_gone,
                "deleted recovery point",
                "deleted recovery points"
            ),
        ));
    }
    if collected.packs_spared > 0 {
        out.line(format!(
            "{} of unfinished backups are kept",
            packs(collected.packs_spared)
        ));
    }
    out.line(format!(
        "{} in {} stay ({})",
        render::bytes(collected.bytes),
        packs(collected.packs),
        render::duration(report.duration),
    ));
}

/// What will be freed later.
fn waiting(collected: &Collected) -> String {
    if collected.packs_waiting == 0 {
        return String::new();
    }
    format!(
        "; {} in {} will be freed by a later `lockstone gc`",
        render::bytes(collected.bytes_reclaimable),
        render::counted(collected.packs_waiting, "pack", "packs"),
    )
}
