//! `lockstone volumes`, `completions`, `man`, and the page about metrics.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use clap_complete::Shell;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::failure::Exit;
use crate::text::render;

/// Options of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

/// Options of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write one page for each command into this folder; print the first page otherwise
    pub(crate) dir: Option<PathBuf>,
}

/// Runs `volumes`.
///
/// # Errors
/// What failed, in words, with its exit code.
pub(crate) fn volumes(context: &Context) -> Outcome {
    use std::os::unix::ffi::OsStrExt;
    let volumes = lockstone_host::volumes::volumes().context("cannot list the volumes")?;
    let value = |volume: &lockstone_host::volumes::Volume| {
        json!({
            "mount": render::lossy(volume.mount.as_os_str().as_bytes()),
            "device": volume.device,
            "fs": volume.fs,
            "eligible": volume.eligible,
            "reason": volume.reason,
        })
    };
    let values: Vec<Value> = volumes.iter().map(value).collect();
    context.out.document(&json!({ "volumes": values }));
    let row = |volume: &lockstone_host::volumes::Volume| {
        vec![
            render::name(volume.mount.as_os_str().as_bytes()),
            render::name(volume.device.as_bytes()),
            volume.fs.clone(),
            if volume.eligible { "yes" } else { "no" }.to_owned(),
            volume.reason.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = volumes.iter().map(row).collect();
    context.out.text(&render::table(
        &["MOUNT", "DEVICE", "FS", "ELIGIBLE", "WHY"],
        &rows,
        &[],
    ));
    Ok(Exit::Done)
}

/// Runs `completions`.
///
/// # Errors
/// None but those of stdout.
pub(crate) fn completions(context: &Context, args: &CompletionsArgs, mut command: clap::Command) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "lockstone", &mut script);
    let script = String::from_utf8_lossy(&script);
    context
        .out
        .document(&json!({ "shell": args.shell.to_string(), "script": script }));
    context.out.text(&script);
    Ok(Exit::Done)
}

/// Runs `man`.
///
/// # Errors
/// Where the folder cannot be written.
pub(crate) fn man(context: &Context, args: &ManArgs, command: clap::Command) -> Outcome {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .render(&mut page)
            .context("cannot write the page")?;
        let page = String::from_utf8_lossy(&page);
        context.out.document(&json!({ "page": page }));
        context.out.text(&page);
        return Ok(Exit::Done);
    };
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    clap_mangen::generate_to(command, dir).with_context(|| format!("cannot write the pages to {}", dir.display()))?;
    context.out.document(&json!({ "folder": dir }));
    context.out.line(format!("The manual pages are in {}", dir.display()));
    Ok(Exit::Done)
}

/// Runs `metrics-page`.
///
/// # Errors
/// None but those of stdout.
pub(crate) fn metrics_page(context: &Context) -> Outcome {
    let page = lockstone_actors::metrics::list::page();
    context.out.document(&json!({ "page": page }));
    context.out.text(&page);
    Ok(Exit::Done)
}
