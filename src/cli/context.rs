//! What every command gets.

use std::future::Future;
use std::sync::Arc;

use lockstone_actors::CancelToken;
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

impl Context {
    /// Starts the runtime, and listens for signals.
    pub(crate) fn new(global: Global, out: Output) -> Result<Context, Failure> {
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
