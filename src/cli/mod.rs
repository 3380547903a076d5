//! The command line: from what was typed to an exit code. Nothing else in the program imports it.
//!
//! `run` parses, runs one command, and turns the outcome into text and an exit code. A command returns `Outcome`; in
//! the ordinary way only this file ends the process.

mod access;
mod args;
mod commands;
mod context;
mod global;
mod job;
mod log;
mod metrics_export;
mod misuse;
mod output;
mod progress;
mod prompt;
mod signals;
mod tuning;
mod waiting;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use tracing::Level;

use crate::failure::Failure;
use args::{Cli, Command};
use commands::{
    agent, alerts, backup, bench, cache, check, complete, completions, credentials, demo, dump, gc, guard, jobs, man,
    metrics_page, openapi, passphrase, points, policy, protection, register, restore, status, test_restore, throttle,
    unregister, vault, volumes,
};
use context::Context;
use output::{Outcome, Output, Work};

/// Runs the program.
pub(crate) fn run() -> ExitCode {
    std::panic::set_hook(Box::new(panicked));
    // A core dump would hold the keys. A system that cannot prevent it is no reason to make no backups.
    let _ = lockstone_host::process::forbid_core_dumps();
    // If this fails, the process only uses a little more memory.
    let _ = lockstone_host::process::return_freed_memory();
    let cli = match args::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(misuse::explain(&error) as u8),
    };
    let out = Output {
        json: cli.global.json,
        quiet: cli.global.quiet,
    };
    // A command prints itself what a user has to know, and once. A daemon has only its log.
    let default_level = if matches!(cli.command, Command::Agent(_)) {
        "info"
    } else {
        "error"
    };
    if let Err(failure) = log::start(cli.global.log_format, cli.global.log_level.as_deref(), default_level) {
        out.failure(&failure);
        return ExitCode::from(failure.exit as u8);
    }
    let work = Work::of(&cli.command);
    let outcome = catch_unwind(AssertUnwindSafe(|| run_command(cli, out))).unwrap_or_else(|_| {
        let hint = "this is a defect; please report it with the lines above";
        let message = "the program stopped at a defect of its own";
        Err(Failure::failed("internal", message, hint))
    });
    let exit = outcome.unwrap_or_else(|failure| {
        out.failure(&failure);
        failure.exit
    });
    ExitCode::from(output::settled(exit, work) as u8)
}

impl Work {
    fn of(command: &Command) -> Work {
        match command {
            Command::Backup(_)
            | Command::Restore(_)
            | Command::Check(_)
            | Command::TestRestore(_)
            | Command::Gc(_)
            | Command::Agent(_) => Work::Job,
            _ => Work::Answer,
        }
    }
}

fn run_command(cli: Cli, out: Output) -> Outcome {
    let context = Context::new(cli.global, out)?;
    let outcome = match cli.command {
        Command::Vault(command) => vault::run(&context, command),
        Command::Credentials(command) => credentials::run(&context, command),
        Command::Register(args) => register::run(&context, &args),
        Command::Unregister(args) => unregister::run(&context, &args),
        Command::Status => status::run(&context),
        Command::Backup(args) => backup::run(&context, args),
        Command::Points(command) => points::run(&context, command),
        Command::Restore(args) => restore::run(&context, args),
        Command::Dump(args) => dump::run(&context, &args),
        Command::Check(args) => check::run(&context, &args),
        Command::TestRestore(args) => test_restore::run(&context, &args),
        Command::Gc(args) => gc::run(&context, &args),
        Command::Alerts(command) => alerts::run(&context, &command),
        Command::Jobs(command) => jobs::run(&context, command),
        Command::Passphrase(command) => passphrase::run(&context, command),
        Command::Protection(command) => protection::run(&context, &command),
        Command::Guard(command) => guard::run(&context, &command),
        Command::Policy(command) => policy::run(&context, command),
        Command::Cache(command) => cache::run(&context, command),
        Command::Volumes => volumes::run(&context),
        Command::Bench(command) => bench::run(&context, command),
        Command::Demo(args) => demo::run(&context, args),
        Command::Throttle(command) => throttle::run(&context, command),
        Command::Agent(args) => agent::run(&context, &args),
        Command::MetricsPage => metrics_page::run(&context),
        Command::Openapi => openapi::run(&context),
        Command::Complete(args) => complete::run(&context, &args, args::command()),
        Command::Completions(args) => completions::run(&context, &args, &args::command()),
        Command::Man(args) => man::run(&context, args, args::command()),
    };
    context.close();
    outcome
}

/// Prints one line about a panic. The pipeline catches the panic of a stage, and the job goes on or fails by its rules.
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
    log::say_plainly(Level::ERROR, &format!("internal error in thread {name}{place}: {what}"));
}
