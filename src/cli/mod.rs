//! The command line: from what was typed to an exit code.
//!
//! `main` parses, runs one command and turns whatever comes out into words and a number. Commands return
//! `Result<Exit, Failure>`; only this file ends the process in the ordinary way.

pub mod args;
pub mod commands;
pub mod log;
pub mod output;
pub mod progress;
pub mod tuning;
pub mod watch;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use lockstone_actors::throttle::{Follower, Limits, Throttle};
use lockstone_actors::{CancelToken, Metrics, Tuning};
use lockstone_vault::store::observe::{Metered, RetryRule, StoreObserver};
use lockstone_vault::store::{Store, StoreError, StoreOptions};
use tokio::runtime::Runtime;
use tracing::Level;

use crate::agent::signals;
use crate::agent::store_settings::StoreSettings;
use crate::agent::throttle::{Overrides, Source};
use crate::failure::{Exit, Failure};
use args::{Cli, Command, Global};
use commands::{
    agent, backup, bench, cache, check, demo, extras, jobs, passphrase, points, register, restore, status, throttle,
    vault,
};
use output::{Outcome, Output};
use tuning::TuningArgs;

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
    /// When this process' bytes may go.
    pub throttle: Arc<Throttle>,
    /// Who keeps the throttle at what was set; from the first store on.
    following: OnceLock<Follower>,
}

impl Context {
    /// The settings of a job that begins, and its manners and limits in force.
    ///
    /// # Errors
    /// What was asked for makes no sense, or could not be set.
    pub fn tuned(&self, args: &TuningArgs) -> Result<Tuning, Failure> {
        let tuning = args.tuning()?;
        args.step_back()?;
        self.limit(Overrides {
            up: args.upload_limit,
            down: args.download_limit,
        })?;
        Ok(tuning)
    }

    /// Has the throttle follow what is set; the first to say so decides about overrides.
    fn limit(&self, overrides: Overrides) -> Result<(), Failure> {
        if self.following.get().is_some() {
            return Ok(());
        }
        let mut source = Source::open(overrides)?;
        let cancel = self.cancel.clone();
        // What a cancelled job still has to say is little, and nobody should have to wait for it.
        let now = move || {
            if cancel.is_cancelled() {
                Limits::default()
            } else {
                source.now()
            }
        };
        let follower = Follower::start(Arc::clone(&self.throttle), now);
        let follower = follower
            .map_err(|error| Failure::failed("failed", format!("the throttle could not be started: {error}"), ""))?;
        // Somebody else may have been faster; then this one ends here.
        let _ = self.following.set(follower);
        Ok(())
    }

    /// Opens a store for commands and jobs: every request is counted, and tried again where that may help.
    ///
    /// # Errors
    /// Where the URL or a setting makes no sense, or nothing is there.
    pub fn store(&self, url: &str) -> Result<Store, Failure> {
        self.open(url, Store::open_with)
    }

    /// The same for a vault that is about to be made: a folder is made too.
    ///
    /// # Errors
    /// Where the URL or a setting makes no sense, or the folder cannot be made.
    pub fn store_to_make(&self, url: &str) -> Result<Store, Failure> {
        self.open(url, Store::open_or_make)
    }

    fn open(
        &self,
        url: &str,
        open: impl FnOnce(&str, &StoreOptions) -> Result<Store, StoreError>,
    ) -> Result<Store, Failure> {
        self.limit(Overrides::default())?;
        let settings = StoreSettings::load()?;
        let mut rule = RetryRule::default();
        if let Some(patience) = settings.patience {
            rule.patience = patience;
        }
        if let Some(patience) = self.global.store_patience {
            // Whoever says so now means it from the start.
            (rule.patience, rule.first_contact) = (patience, patience);
        }
        let options = StoreOptions {
            settings: settings.variables,
            pace: Arc::<Throttle>::clone(&self.throttle),
            environment: true,
        };
        let observer: Arc<dyn StoreObserver> = Arc::<Metrics>::clone(&self.numbers);
        Ok(open(url, &options)?
            .decorated(|inner| Arc::new(Metered::new(inner, Arc::clone(&observer))))
            .retried(rule, Some(observer)))
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
    // Elsewhere the process is a little larger, and that is all.
    let _ = lockstone_host::process::return_freed_memory();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(not_understood(&error) as u8),
    };
    let out = Output {
        json: cli.global.json,
        quiet: cli.global.quiet,
    };
    // What a user has to know is said by the command itself, once; only a daemon has nobody else to tell.
    let usual = if matches!(cli.command, Command::Agent(_)) {
        "info"
    } else {
        "error"
    };
    if let Err(failure) = log::start(cli.global.log_format, cli.global.log_level.as_deref(), usual) {
        out.failure(&failure);
        return ExitCode::from(failure.exit as u8);
    }
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
    let numbers = Arc::new(Metrics::new());
    let context = Context {
        global: cli.global,
        out,
        cancel: CancelToken::new(),
        runtime,
        throttle: Arc::new(Throttle::new(Arc::clone(&numbers))),
        numbers,
        following: OnceLock::new(),
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
        Command::Throttle(command) => throttle::run(&context, command),
        Command::Agent(args) => agent::run(&context, &args),
        Command::MetricsPage => extras::metrics_page(&context),
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
    log::say(Level::ERROR, &format!("internal error in thread {name}{place}: {what}"));
}
