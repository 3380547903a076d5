//! `lockstone bench primitives`: what this machine can do, by the same code that backs up: each step of a file's bytes on
//! one core and on all of them, reading and walking a source, writing to a disk and to a vault. From these it says what
//! a first backup of large and of small files will wait for (`limit`).

mod cores;
mod files;
mod limit;
mod meter;
mod store;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use self::limit::Limit;
use self::meter::{Figure, Meter};
use crate::cli::Context;
use crate::cli::output::Outcome;
use crate::failure::{Exit, Failure};
use crate::text::render;
use crate::text::units;

/// Options of `bench primitives`.
#[derive(Debug, Args)]
pub struct PrimitivesArgs {
    /// A folder to walk and to read, as a source of a backup would be [default: files made in the scratch folder]
    pub path: Option<PathBuf>,
    /// A vault to write objects to and read them from, below `bench/`; they are deleted again [default: a folder in the
    /// scratch folder]
    #[arg(long, value_name = "URL", value_parser = units::vault_url)]
    pub vault: Option<String>,
    /// Where the scratch folder is made, and whose disk is measured [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// How long each figure is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5, value_parser = seconds)]
    pub seconds: f64,
    /// Threads for "all cores" [default: the processor's cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.001..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("from 0.001 to 60 seconds".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// What could not be measured, and why.
pub fn run(context: &Context, args: &PrimitivesArgs) -> Outcome {
    let threads = args.threads.map_or_else(
        || std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        usize::from,
    );
    let mut meter = Meter {
        time: Duration::from_secs_f64(args.seconds),
        threads,
        cancel: context.cancel.clone(),
        figures: Vec::new(),
    };
    // Batches of files hold their folders.
    let _ = lockstone_host::process::raise_open_files();
    match measure(context, args, &mut meter) {
        Err(_) if context.cancel.is_cancelled() => return Err(Failure::cancelled()),
        measured => measured?,
    }
    let limits = [
        limit::of_large_files(&meter.figures),
        limit::of_small_files(&meter.figures),
    ];
    context.out.document(&json!({
        "cores": threads,
        "figures": meter.figures.iter().map(Figure::json).collect::<Vec<Value>>(),
        "limits": limits.iter().map(Limit::json).collect::<Vec<Value>>(),
    }));
    show(context, &meter, &limits);
    Ok(Exit::Done)
}

fn measure(context: &Context, args: &PrimitivesArgs, meter: &mut Meter) -> Result<(), Failure> {
    let mut scratch = tempfile::Builder::new();
    scratch.prefix("lockstone-bench-");
    let scratch = match &args.scratch {
        Some(folder) => scratch.tempdir_in(folder),
        None => scratch.tempdir(),
    };
    let scratch = scratch.context("cannot make a scratch folder; --scratch DIR says where")?;
    context.out.note("measuring the cores");
    cores::measure(meter)?;
    context.out.note("measuring files");
    files::measure(meter, args.path.as_deref(), scratch.path())?;
    context.out.note("measuring the vault");
    let vault = scratch.path().join("vault");
    std::fs::create_dir(&vault).context("cannot make a folder to write to")?;
    let url = match &args.vault {
        Some(url) => url.clone(),
        None => vault
            .to_str()
            .context("the scratch folder's name is not text")?
            .to_owned(),
    };
    let store = context.store(&url)?;
    Ok(store::measure(meter, context, store)?)
}

fn show(context: &Context, meter: &Meter, limits: &[Limit]) {
    let rows: Vec<Vec<String>> = meter
        .figures
        .iter()
        .map(|figure| {
            let cell = |value| figure.unit.show(value);
            vec![
                figure.what.to_owned(),
                cell(figure.one),
                figure.all.map_or_else(String::new, cell),
            ]
        })
        .collect();
    let all = format!("{} at once", meter.threads);
    context.out.text(&render::table(&["", "one", &all], &rows, &[1, 2]));
    context.out.line("");
    for limit in limits {
        context.out.line(limit.sentence());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_neither_nothing_nor_for_ever() {
        assert!(seconds("0").is_err() && seconds("-1").is_err() && seconds("1e9").is_err() && seconds("x").is_err());
        assert_eq!(seconds("0.05"), Ok(0.05));
    }
}
