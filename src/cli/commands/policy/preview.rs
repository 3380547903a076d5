//! `lockstone policy preview`: runs and recovery points as a calendar, or as a document.

use std::path::PathBuf;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::policy::{PointDocument, PreviewDocument, RunDocument};
use crate::failure::{Exit, Failure};
use crate::policy::{Expiry, Policy, Preview, Tag, Tags, Tier, preview};

/// Over which span, and of which policy.
#[derive(Debug, clap::Args)]
pub(crate) struct PreviewArgs {
    /// The first day or instant of the span, in the policy's time zone
    #[arg(long, value_name = "DATE")]
    from: String,
    /// The end of the span: the first day or instant that no longer belongs to it
    #[arg(long, value_name = "DATE")]
    to: String,
    /// The policy file; without it, the policy that is in force here
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) fn run(context: &Context, args: &PreviewArgs) -> Outcome {
    let policy = super::policy_of(args.file.as_deref())?;
    let zone = &policy.schedule.zone;
    let (from, to) = (instant("--from", &args.from, zone)?, instant("--to", &args.to, zone)?);
    if from >= to {
        return Err(Failure::usage(
            "--from is not before --to",
            "the span has to have a day at least",
        ));
    }
    let shown = preview(&policy.schedule, &policy.retention, from, to);
    for warning in &policy.warnings {
        context.out.warn(warning);
    }
    if !context.out.json {
        context.out.text(&calendar(&policy, &shown));
    }
    context.out.document(&document(&policy, shown));
    Ok(Exit::Done)
}

/// A date, which means its first instant, or a date with a time.
fn instant(option: &str, text: &str, zone: &TimeZone) -> Result<Timestamp, Failure> {
    let local = text.parse::<DateTime>().ok().map(|local| local.to_zoned(zone.clone()));
    let instant = match text.parse::<Timestamp>() {
        Ok(instant) => Some(instant),
        Err(_) => local.and_then(Result::ok).map(|local| local.timestamp()),
    };
    instant.ok_or_else(|| Failure::usage(format!("{option}: {text:?} is not a date"), "use `2027-01-31`"))
}

fn names(tags: Tags) -> Vec<String> {
    tags.iter().map(|tag| tag.to_string()).collect()
}

fn document(policy: &Policy, shown: Preview) -> PreviewDocument {
    let runs = shown.runs.iter().map(|run| RunDocument {
        at: run.at,
        tags: names(run.tags),
    });
    let points = shown.points.iter().map(|point| PointDocument {
        at: point.at,
        tags: names(point.tags),
        expires: match point.expiry {
            Expiry::At(end) => Some(end),
            Expiry::Newer | Expiry::Held => None,
        },
    });
    PreviewDocument {
        runs: runs.collect(),
        points: points.collect(),
        warnings: policy.warnings.clone(),
    }
}

/// A letter for the longest tier of a day's runs.
fn mark(tags: Tags) -> char {
    match tags.iter().max() {
        Some(Tag::Tier(Tier::Daily)) => 'd',
        Some(Tag::Tier(Tier::Weekly)) => 'w',
        Some(Tag::Tier(Tier::Monthly)) => 'm',
        Some(Tag::Tier(Tier::Yearly)) => 'y',
        Some(Tag::OnDemand) | None => '·',
    }
}

/// The months of the span, each day with runs marked, and the points that are left.
fn calendar(policy: &Policy, shown: &Preview) -> String {
    let local = |at: Timestamp| at.to_zoned(policy.schedule.zone.clone());
    let mut text = String::new();
    let mut days: Vec<(Date, Tags)> = Vec::new();
    for run in &shown.runs {
        let date = local(run.at).date();
        match days.last_mut() {
            Some((last, tags)) if *last == date => run.tags.iter().for_each(|tag| tags.insert(tag)),
            _ => days.push((date, run.tags)),
        }
    }
    for month in days.chunk_by(|(one, _), (other, _)| one.first_of_month() == other.first_of_month()) {
        text.push_str(&month_of(month));
    }
    text.push_str(&format!(
        "{} runs; d daily, w weekly, m monthly, y yearly, · without a tag\n\n{} recovery points are left at the end:\n",
        shown.runs.len(),
        shown.points.len()
    ));
    for point in &shown.points {
        let until = match point.expiry {
            Expiry::At(end) => format!("until {}", local(end).strftime("%Y-%m-%d %H:%M")),
            Expiry::Newer | Expiry::Held => "until a newer one is there".to_owned(),
        };
        let at = local(point.at).strftime("%a %Y-%m-%d %H:%M");
        text.push_str(&format!("  {at}  {until}  {}\n", names(point.tags).join(", ")));
    }
    text
}

/// One month, as `cal` shows it, with a letter behind each day that has runs.
fn month_of(days: &[(Date, Tags)]) -> String {
    let Some(first) = days.first().map(|(date, _)| date.first_of_month()) else {
        return String::new();
    };
    let title = format!("{:^27}", first.strftime("%B %Y").to_string());
    let mut text = format!("{}\nMo  Tu  We  Th  Fr  Sa  Su\n", title.trim_end());
    let mut line = "    ".repeat(usize::try_from(first.weekday().to_monday_zero_offset()).unwrap_or(0));
    for date in first.series(1.day()).take_while(|date| date.month() == first.month()) {
        let found = days.iter().find(|(with_runs, _)| *with_runs == date);
        let mark = found.map_or(' ', |(_, tags)| mark(*tags));
        line.push_str(&format!("{:>2}{mark} ", date.day()));
        if date.weekday() == jiff::civil::Weekday::Sunday {
            text.push_str(line.trim_end());
            text.push('\n');
            line.clear();
        }
    }
    text.push_str(line.trim_end());
    text.push_str("\n\n");
    text
}
