//! `lockstone status`: whether this server is registered, and whether its backups are as they should be.

use lockstone_proto::job::{JobKind, JobState};
use serde_json::{Value, json};

use crate::agent::access::right::Access;
use crate::agent::access::session::Session;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::job_records;
use crate::agent::state::registration::Registration;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::failure::{Exit, Failure};
use crate::text::point::short;
use crate::text::render;

/// Runs the command. A server that is not registered is an answer, not a failure.
///
/// # Errors
/// What failed, in words, with its exit code.
pub(crate) fn run(context: &Context) -> Outcome {
    let home = StateFolder::locate()?;
    let Some(agent) = Registration::load(&home)? else {
        context.out.document(&json!({
            "registered": false, "server": null, "vault": null, "warnings": [], "last_point": null, "next_run": null,
        }));
        context
            .out
            .line(format!("Not registered (state folder {})", home.root().display()));
        context
            .out
            .line("Register with `lockstone register --credentials FILE`.");
        return Ok(Exit::Done);
    };
    let mut warnings: Vec<String> = Vec::new();
    let mut last = Value::Null;
    let mut last_line = "none yet".to_owned();
    let opened = context.block_on(async {
        let session = Session::to_read(&context.environment, &Access::Own).await?;
        Ok::<_, Failure>((session.view(&context.environment).await?, session))
    });
    match opened {
        Ok((view, session)) => {
            if let Some(point) = session.latest(&view) {
                last = json!({
                    "id": point.id,
                    "time": render::utc_time(point.summary.started_s, point.summary.started_ns),
                    "status": super::points::status_word(&point.summary),
                });
                last_line = format!("{}  {}", short(&point.id), render::local_time(point.summary.started_s));
            } else {
                warnings.push("no recovery point yet: run `lockstone backup PATH`".to_owned());
            }
        }
        Err(failure) => warnings.push(format!("the vault cannot be opened: {}", failure.message)),
    }
    let jobs = job_records::all(&home)?;
    let running = jobs.iter().find(|job| job.runs());
    if let Some(job) = jobs.iter().find(|job| job.kind == JobKind::Backup && !job.runs())
        && matches!(job.state, JobState::Failed | JobState::Cancelled)
    {
        let message = job
            .error
            .as_ref()
            .and_then(|error| error["message"].as_str())
            .unwrap_or("");
        warnings.push(
            format!("the last backup ended as {} {message}", job.state)
                .trim_end()
                .to_owned(),
        );
    }
    context.out.document(&json!({
        "registered": true,
        "server": agent.server_name,
        "server_id": agent.server_id,
        "vault": agent.vault_url,
        "vault_id": agent.vault_id,
        "domain_id": agent.domain_id,
        "running_job": running.map(|job| job.job),
        "warnings": warnings,
        "last_point": last,
        "next_run": null,
    }));
    context
        .out
        .line(format!("Server      {} ({})", agent.server_name, agent.server_id));
    context
        .out
        .line(format!("Vault       {} ({})", agent.vault_url, agent.vault_id));
    context
        .out
        .line(format!("Cache       {}", agent.cache_folder(&home).display()));
    context.out.line(format!("Last point  {last_line}"));
    if let Some(job) = running {
        context.out.line(format!("Running     {} {}", job.kind, job.job));
    }
    for warning in &warnings {
        context
            .out
            .line(format!("Warning     {}", render::name(warning.as_bytes())));
    }
    Ok(Exit::Done)
}
