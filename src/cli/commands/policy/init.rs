//! `lockstone policy init`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::policy::ExampleDocument;
use crate::failure::{Exit, Failure};
use crate::policy::EXAMPLE;

/// Where the example goes.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// Write it to this file, which must not exist, instead of printing it
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) fn run(context: &Context, args: &InitArgs) -> Outcome {
    if let Some(file) = &args.file {
        let mut new = OpenOptions::new();
        let written = new.write(true).create_new(true).open(file);
        let written = written.and_then(|mut new| new.write_all(EXAMPLE.as_bytes()));
        written.map_err(|error| {
            let message = format!("{} cannot be written: {error}", file.display());
            Failure::failed("failed", message, "name a file that does not exist yet")
        })?;
        context.out.note(format!(
            "wrote {}; next: `lockstone policy set --file {0}`",
            file.display()
        ));
    } else {
        context.out.text(EXAMPLE);
    }
    context.out.document(&ExampleDocument {
        text: EXAMPLE,
        file: args.file.as_ref().map(|file| file.display().to_string()),
    });
    Ok(Exit::Done)
}
