//! `lockstone man`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::pages::{PageDocument, PagesFolderDocument};
use crate::failure::Exit;

/// Options of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write one page for each command into this folder; print the first page otherwise
    dir: Option<PathBuf>,
}

/// Writes the pages of `command`, which is the whole program as clap describes it.
pub(crate) fn run(context: &Context, args: ManArgs, command: clap::Command) -> Outcome {
    let Some(folder) = args.dir else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(command).render(&mut page);
        rendered.context("cannot write the page")?;
        let page = String::from_utf8_lossy(&page).into_owned();
        context.out.text(&page);
        context.out.document(&PageDocument { page });
        return Ok(Exit::Done);
    };
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    clap_mangen::generate_to(command, &folder)
        .with_context(|| format!("cannot write the pages to {}", folder.display()))?;
    context
        .out
        .line(format!("The manual pages are in {}", folder.display()));
    context.out.document(&PagesFolderDocument { folder });
    Ok(Exit::Done)
}
