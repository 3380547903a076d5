//! What every command gets.

use std::future::Future;
use std::sync::Arc;

use lockstone_actors::CancelToken;
use lockstone_host::process::{open_files_limit, raise_open_files};
use tokio::runtime::Runtime;

use super::global::Global;
use super::output::Output;
use super::prompt::Prompt;
use super::signals::Signals;
use crate::agent::environment::Environment;
use crate::agent::settings::reload::ReloadRequests;
use crate::failure::Failure;

/// The shared options, the output, and what the agent needs from outside.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) out: Output,
    pub(crate) environment: Arc<Environment>,
    pub(crate) signals: Signals,
    /// Asks for passphrases.
    pub(crate) prompt: Prompt,
    runtime: Runtime,
}

/// With fewer file handles than this, nothing works: the runtime, the keys or the cache folder fail, each with words
/// that mislead.
const HANDLES_MIN: u64 = 64;

/// Fails if this process may hold too few files open.
fn check_handles() -> Result<(), Failure> {
    let mut limit = open_files_limit();
    if limit < HANDLES_MIN {
        limit = raise_open_files().unwrap_or(limit);
    }
    if limit >= HANDLES_MIN {
        return Ok(());
    }
    Err(Failure::failed(
        "shortage",
        format!("this process may hold {limit} files open; it needs at least {HANDLES_MIN}"),
        "raise the limit of open files (`ulimit -n`, or `LimitNOFILE=` of the service) and run it again",
    ))
}

impl Context {
    /// Starts the runtime, and listens for signals.
    pub(crate) fn new(global: Global, out: Output) -> Result<Context, Failure> {
        check_handles()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("agent")
            .enable_all()
            .build()
            .map_err(|error| Failure::failed("failed", format!("cannot start the runtime: {error}"), ""))?;
        let (cancel, reload) = (CancelToken::new(), ReloadRequests::default());
        let signals = Signals::new(cancel.clone(), reload.clone());
        signals.listen(runtime.handle());
        let prompt = Prompt::new(global.passphrase_file.clone(), signals.clone());
        let mut environment = Environment::new(
            runtime.handle().clone(),
            cancel,
            Arc::new(out),
            Arc::new(prompt.clone()),
        );
        environment.reload = reload;
        environment.store_patience = global.store_patience;
        Ok(Context {
            global,
            out,
            environment: Arc::new(environment),
            signals,
            prompt,
            runtime,
        })
    }

    /// Runs a task of the agent to its end. A command calls this at its edge; nothing below the commands blocks so.
    pub(crate) fn block_on<F: Future>(&self, task: F) -> F::Output {
        self.runtime.block_on(task)
    }

    /// Ends the runtime. Requests whose answer is no longer wanted do not delay the end of the program.
    pub(crate) fn close(self) {
        self.runtime.shutdown_background();
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("global", &self.global)
            .finish_non_exhaustive()
    }
}
