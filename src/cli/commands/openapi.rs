//! `lockstone openapi`: prints the description of the control socket that is kept as `docs/openapi.json`.

use anyhow::Context as _;

use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::daemon::control::routes;
use crate::failure::Exit;

pub(crate) fn run(context: &Context) -> Outcome {
    let description = routes::description();
    let text = serde_json::to_string_pretty(&description).context("the description cannot be written")?;
    context.out.text(&format!("{text}\n"));
    context.out.document(&description);
    Ok(Exit::Done)
}
