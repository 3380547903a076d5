//! The command line: from what was typed to an exit code.
//!
//! `main` parses, runs one command and turns whatever comes out into words and a number. Commands return
//! `Result<Exit, Failure>`; only this file ends the process in the ordinary way.

pub mod args;
pub mod commands;
pub mod exit;
pub mod output;
pub mod progress;
pub mod render;
pub mod tuning;
pub mod units;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use lockstone_actors::{CancelToken, Metrics};
use lockstone_vault::store::decorate::{Metered, Retry, RetryRule, StoreObserver};
use lockstone_vault::store::{Store, StoreError};
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

use crate::agent::signals;
use args::{Cli, Command, Global};
use commands::{backup, bench, cache, check, demo, extras, jobs, passphrase, points, register, restore, status, vault};
use exit::{Exit, Failure};
use output::{Outcome, Output};

/// What every command gets: the shared options, a voice, the cancel token, and a runtime for the store's requests.
pub struct Context {
    /// The shared options.
    pub global: Global,
    /// Where words go.
    pub out: Output,
    /// Cancelled by SIGINT or SIGTERM.
    pub cancel: CancelToken,
    /// For the store's requests. Jobs have their own.
    pub runtime: Runtime,
    /// The metrics of this process.
    pub numbers: Arc<Metrics>,
}

impl Context {
    /// Opens a store for commands and jobs: every request is counted, and tried again where that may help.
    ///
    /// # Errors
    /// Where the URL makes no sense, or nothing is there.
    pub fn store(&self, url: &str) -> Result<Store, StoreError> {
        let observer: Arc<dyn StoreObserver> = Arc::<Metrics>::clone(&self.numbers);
        Ok(Store::open(url)?
            .decorated(|inner| Arc::new(Metered::new(inner, observer)))
            .decorated(|inner| Arc::new(Retry::new(inner, RetryRule::default()))))
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("global", &self.global)
            .finish_non_exhaustive()
    }
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(panicked));
    log_to_stderr();
    // Elsewhere the process is a little larger, and that is all.
    let _ = lockstone_host::give_memory_back();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(not_understood(&error) as u8),
    };
    let out = Output {
        json: cli.global.json,
        quiet: cli.global.quiet,
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| run(cli, out))).unwrap_or_else(|_| {
        let hint = "this is a defect; please report it with the lines above";
        Err(Failure::failed(
            "internal",
            "the program stopped at a defect of its own",
            hint,
        ))
    });
    let exit = outcome.unwrap_or_else(|failure| {
        out.failure(&failure);
        failure.exit
    });
    ExitCode::from(exit as u8)
}

fn run(cli: Cli, out: Output) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("agent")
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("failed", format!("cannot start the runtime: {error}"), ""))?;
    let context = Context {
        global: cli.global,
        out,
        cancel: CancelToken::new(),
        runtime,
        numbers: Arc::new(Metrics::new()),
    };
    signals::listen(&context.runtime, &context.cancel);
    let outcome = match cli.command {
        Command::Vault(command) => vault::run(&context, command),
        Command::Register(args) => register::register(&context, args),
        Command::Unregister(args) => register::unregister(&context, &args),
        Command::Status => status::run(&context),
        Command::Backup(args) => backup::run(&context, args),
        Command::Points(command) => points::run(&context, command),
        Command::Restore(args) => restore::run(&context, args),
        Command::Check(args) => check::run(&context, &args),
        Command::Jobs(command) => jobs::run(&context, command),
        Command::Passphrase(command) => passphrase::run(&context, command),
        Command::Cache(command) => cache::run(&context, command),
        Command::Volumes => extras::volumes(&context),
        Command::Bench(command) => bench::run(&context, command),
        Command::Demo(args) => demo::run(&context, args),
        Command::Completions(args) => extras::completions(&context, &args),
        Command::Man(args) => extras::man(&context, &args),
    };
    // Requests that nobody waits for any more must not hold the program's end up.
    context.runtime.shutdown_background();
    outcome
}

/// Tells what clap could not make sense of; help and version end here too.
fn not_understood(error: &clap::Error) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return Exit::Done;
    }
    let missing_paths = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.iter().any(|name| name.starts_with("<PATH>")),
        _ => false,
    };
    let not_yet = if error.kind() == ErrorKind::MissingRequiredArgument && missing_paths {
        Some("`backup` without a path (the items of the policy)".to_owned())
    } else {
        args::not_yet(error).map(|asked| format!("`{asked}`"))
    };
    let wants_json = std::env::args()
        .take_while(|arg| arg != "--")
        .any(|arg| arg == "--json");
    let out = Output {
        json: wants_json,
        quiet: false,
    };
    if let Some(asked) = not_yet {
        let message = format!("{asked} is not in this version ({})", env!("CARGO_PKG_VERSION"));
        out.failure(&Failure::usage(message, "see `lockstone help` for what is"));
    } else if wants_json {
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let (message, more) = text.split_once("\n\n").unwrap_or((text, ""));
        let more = more.trim().trim_start_matches("tip: ");
        out.failure(&Failure::usage(message.trim(), more));
    } else {
        let _ = error.print();
    }
    Exit::Usage
}

/// Diagnostics go to stderr, and only as much as `LOCKSTONE_LOG` (or `RUST_LOG`) asks for. What a user has to know is said
/// by the command itself, once, so without either only errors that nobody handles are logged.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("LOCKSTONE_LOG")
        .or_else(|_| EnvFilter::try_from_default_env())
        .unwrap_or_else(|_| EnvFilter::new("error"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}

/// A panic in a stage is caught and the job goes on or fails by its rules; what is left to say is one line.
fn panicked(info: &std::panic::PanicHookInfo<'_>) {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let what = text
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)");
    let place = info
        .location()
        .map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    eprintln!("internal error in thread {name}{place}: {what}");
}
