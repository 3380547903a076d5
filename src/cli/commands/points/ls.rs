//! `lockstone points ls`. Entries are printed as they are read.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;
use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::{Entry, EntryKind};
use lockstone_vault::VaultError;
use lockstone_vault::log::Point;
use lockstone_vault::points::folder_page;

use super::reading;
use crate::agent::access::paths::{find_path, root};
use crate::agent::access::session::Session;
use crate::cli::access::AccessArgs;
use crate::cli::context::Context;
use crate::cli::output::{List, Outcome, Output, so_far};
use crate::documents::point::{EntriesEnd, EntryDocument};
use crate::failure::Failure;
use crate::text::point::entry_line;
use crate::text::render;

/// Options of `points ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Recovery point: an id, a unique prefix of 6 or more digits, or `latest`
    point: String,
    /// Files and folders to list; the sources of the point otherwise
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// List everything below, too
    #[arg(short = 'R', long)]
    recursive: bool,
    #[command(flatten)]
    access: AccessArgs,
}

/// A path to list.
struct Wanted {
    path: Vec<u8>,
    /// `None` for the root, which has no entry.
    entry: Option<Box<Entry>>,
    /// The top page of the folder; `None` if it is empty.
    page: Option<ChunkId>,
}

pub(super) fn run(context: &Context, args: &LsArgs) -> Outcome {
    let (session, view) = reading::open(context, &args.access)?;
    let point = session.point(&view, &args.point)?;
    // Every path is found before anything is listed.
    let wanted = context.block_on(find(&session, point, &args.paths))?;
    so_far(reading::exit(&view, false));
    let mut list = context.out.list("entries");
    let listed = show(&context.out, &session, wanted, args.recursive, &mut list);
    match context.block_on(listed) {
        Ok(damaged) => {
            list.end(&EntriesEnd { point: point.id });
            Ok(reading::exit(&view, damaged))
        }
        Err(error) => Ok(list.fail(&error.into())),
    }
}

/// Finds the paths in the point, or the point's sources if there are no paths.
async fn find(session: &Session, point: &Point, paths: &[PathBuf]) -> Result<Vec<Wanted>, Failure> {
    let sources = point.body.sources.iter();
    let asked: Vec<PathBuf> = if paths.is_empty() {
        sources.map(|source| PathBuf::from(OsStr::from_bytes(source))).collect()
    } else {
        paths.to_vec()
    };
    let mut wanted = Vec::new();
    for path in &asked {
        let (path, entry) = find_path(session, point, path).await?;
        let page = match &entry {
            None => root(point)?,
            Some(entry) => folder_page(entry),
        };
        wanted.push(Wanted { path, entry, page });
    }
    Ok(wanted)
}

/// Lists each path: a file itself, and what is in a folder. Returns whether a page was damaged.
async fn show(
    out: &Output,
    session: &Session,
    wanted: Vec<Wanted>,
    recursive: bool,
    list: &mut List,
) -> Result<bool, VaultError> {
    let headings = wanted.len() > 1 && !recursive;
    let mut damaged = false;
    for Wanted { path, entry, page } in wanted {
        match entry {
            Some(entry) if entry.kind() != EntryKind::Folder => show_entry(list, &path, &entry),
            _ => {
                if headings {
                    list.heading(&format!("{}:", render::name(&path)));
                }
                let mut see = |path: &[u8], entry: &Entry| {
                    show_entry(list, path, entry);
                    recursive
                };
                damaged |= reading::walk(out, session, page, &path, &mut see).await?;
            }
        }
    }
    Ok(damaged)
}

fn show_entry(list: &mut List, path: &[u8], entry: &Entry) {
    list.item(|| entry_line(path, entry), || EntryDocument::new(path, entry));
}
