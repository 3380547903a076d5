//! `lockstone dump POINT PATH`: a file's content, or a folder as tar, on stdout.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal};
use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::Args;
use lockstone_proto::vault::{Entry, EntryKind};
use lockstone_vault::points::folder_page;

use crate::agent::access::paths::{find_path, root};
use crate::agent::access::session::Session;
use crate::agent::dump::{Dump, DumpError};
use crate::cli::access::AccessArgs;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::failure::{Exit, Failure};
use crate::text::point::entry_kind_word;
use crate::text::render;

/// So many bytes are written at once.
const BUFFER: usize = 256 * 1024;

/// Options of `dump`.
#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    /// Recovery point: an id, a unique prefix of 6 or more digits, or `latest`
    point: String,
    /// A file, or a folder, which is written as tar
    path: PathBuf,
    #[command(flatten)]
    access: AccessArgs,
}

pub(crate) fn run(context: &Context, args: &DumpArgs) -> Outcome {
    if context.out.json {
        let hint = "leave `--json` out; `lockstone points ls POINT PATH --json` lists what is there";
        return Err(Failure::usage("`dump` has stdout for itself", hint));
    }
    let session = context.block_on(Session::to_read(&context.environment, &args.access.access()))?;
    let view = context.block_on(session.view(&context.environment))?;
    let point = session.point(&view, &args.point)?;
    let (path, entry) = context.block_on(find_path(&session, point, &args.path))?;
    let page = match &entry {
        None => root(point)?,
        Some(entry) => folder_page(entry),
    };
    let folder = Entry {
        kind: EntryKind::Folder.into(),
        ..Entry::default()
    };
    let entry = entry.map_or(folder, |entry| *entry);
    match entry.kind() {
        EntryKind::File => {}
        EntryKind::Folder if !io::stdout().is_terminal() => {}
        EntryKind::Folder => {
            let hint = "send it to a file or a program: `lockstone dump POINT PATH >FILE.tar`";
            return Err(Failure::usage(
                "a folder is written as tar, and stdout is a terminal",
                hint,
            ));
        }
        other => {
            let (path, what) = (render::name(&path), entry_kind_word(other));
            let hint = "`lockstone restore POINT PATH --target DIR` gets it";
            return Err(Failure::failed(
                "not-a-file",
                format!("{path} is a {what}, not a file"),
                hint,
            ));
        }
    }
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    let stdout = stdout.map_err(|error| failed_to_write(&error))?;
    let mut out = BufWriter::with_capacity(BUFFER, File::from(stdout));
    let mut warned = false;
    let mut tell = |path: &[u8], problem: String| {
        warned = true;
        context.out.warn(format!("{}: {problem}", render::name(path)));
    };
    let mut dump = Dump::new(&session, &mut out, &mut tell);
    let dumped = context.block_on(async {
        match entry.kind() {
            EntryKind::File => dump.file(&path, &entry).await,
            _ => dump.folder(&path, &entry, page).await,
        }
    });
    let damaged = dump.damaged;
    match dumped {
        Ok(()) => {}
        // The reader has enough.
        Err(DumpError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            // What is still in the buffer has nowhere to go.
            let _ = out.into_parts();
        }
        Err(DumpError::Write(error)) => {
            let _ = out.into_parts();
            return Err(failed_to_write(&error));
        }
        Err(DumpError::Read(failure)) => return Err(failure),
    }
    if damaged > 0 {
        let what = render::counted(damaged, "file or folder", "files and folders");
        let message = format!("{what} could not be written whole: the vault is damaged");
        let hint = "`lockstone check --read-data` names all damage, and another point may be whole";
        return Err(Failure::new(Exit::Damaged, "damaged", message, hint));
    }
    Ok(match (view.log_damaged, warned || !view.damage.is_empty()) {
        (true, _) => Exit::Damaged,
        (false, true) => Exit::Warnings,
        (false, false) => Exit::Done,
    })
}

fn failed_to_write(error: &io::Error) -> Failure {
    Failure::failed("failed", format!("cannot write to stdout: {error}"), "")
}
