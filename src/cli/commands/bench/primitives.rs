//! `lockstone bench primitives`: measures this machine.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::bench::primitives;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::failure::Exit;
use crate::text::units;

/// Options of `bench primitives`.
#[derive(Debug, Args)]
pub(crate) struct PrimitivesArgs {
    /// A folder to walk and to read, as a source of a backup would be [default: files made in the scratch folder]
    path: Option<PathBuf>,
    /// A vault to write objects to and read them from, below `bench/`; they are deleted again [default: a folder in the
    /// scratch folder]
    #[arg(long, value_name = "URL", value_parser = units::vault_url)]
    vault: Option<String>,
    /// Where the scratch folder is made, and whose disk is measured [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// How long each figure is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5, value_parser = primitives::seconds)]
    seconds: f64,
    /// Threads for "all cores" [default: the processor's cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
}

pub(super) fn run(context: &Context, args: PrimitivesArgs) -> Outcome {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let request = primitives::Request {
        path: args.path,
        vault: args.vault,
        scratch: args.scratch,
        time: Duration::from_secs_f64(args.seconds),
        threads: args.threads.map_or_else(cores, usize::from),
    };
    let tools = primitives::Tools {
        runtime: context.environment.runtime.clone(),
        open_store: &|url| context.environment.store(url),
        cancel: context.environment.cancel.clone(),
        listener: &context.out,
    };
    let report = primitives::run(&request, &tools)?;
    context.out.document(&report.document());
    context.out.text(&report.text());
    Ok(Exit::Done)
}
