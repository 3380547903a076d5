//! `lockstone jobs cancel`.

use crate::agent::state::folder::StateFolder;
use crate::agent::state::{job_records, lock};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::daemon::control::client::Client;
use crate::documents::job::CancelledJobDocument;
use crate::failure::{Exit, Failure};

pub(super) fn run(context: &Context, state: &StateFolder, id: &str) -> Outcome {
    let job = job_records::find(state, id)?;
    let daemon = context.block_on(Client::find(state));
    match daemon.filter(|client| client.has(job.job)) {
        // A signal would end the whole daemon.
        Some(client) => context.block_on(client.cancel(job.job))?,
        None => {
            let Some(holder) = lock::holder(state)?.filter(|holder| holder.job == job.job) else {
                let message = format!("job {} does not run: it is {}", job.job, job.state);
                return Err(Failure::failed(
                    "not-running",
                    message,
                    "`lockstone jobs list` shows the jobs",
                ));
            };
            lock::cancel(&holder)?;
        }
    }
    context.out.document(&CancelledJobDocument {
        job: job.job,
        cancelled: true,
    });
    context
        .out
        .line(format!("Cancelling {} {}; what is committed stays", job.kind, job.job));
    Ok(Exit::Done)
}
