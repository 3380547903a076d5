//! `lockstone points diff`. Differences are printed as they are found.

use std::ops::ControlFlow;

use clap::Args;
use lockstone_proto::vault::{Entry, EntryKind};
use lockstone_vault::points::{self, Change};

use super::reading;
use crate::agent::access::paths::root;
use crate::cli::access::AccessArgs;
use crate::cli::context::Context;
use crate::cli::output::{Outcome, so_far};
use crate::documents::point::{ChangeDocument, NothingMore};
use crate::text::render;

/// Options of `points diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The recovery point to start from
    #[arg(value_name = "POINT")]
    old: String,
    /// The recovery point to compare with it
    #[arg(value_name = "POINT")]
    new: String,
    #[command(flatten)]
    access: AccessArgs,
}

/// How many differences of each sort there are.
#[derive(Default)]
struct Counts {
    added: u64,
    removed: u64,
    modified: u64,
    metadata: u64,
}

impl Counts {
    /// Counts a difference, and returns its letter.
    fn add(&mut self, change: Change) -> char {
        let (count, letter) = match change {
            Change::Added => (&mut self.added, '+'),
            Change::Removed => (&mut self.removed, '-'),
            Change::Modified => (&mut self.modified, 'M'),
            Change::Metadata => (&mut self.metadata, 'U'),
        };
        *count += 1;
        letter
    }
}

pub(super) fn run(context: &Context, args: &DiffArgs) -> Outcome {
    let (session, view) = reading::open(context, &args.access)?;
    let (old, new) = (session.point(&view, &args.old)?, session.point(&view, &args.new)?);
    let (old_root, new_root) = (root(old)?, root(new)?);
    so_far(reading::exit(&view, false));
    let mut list = context.out.list("changes");
    let mut counts = Counts::default();
    let mut see = |path: &[u8], change: Change, old: Option<&Entry>, new: Option<&Entry>| {
        let letter = counts.add(change);
        let kind = new.or(old).map_or(EntryKind::Unspecified, Entry::kind);
        let slash = if kind == EntryKind::Folder { "/" } else { "" };
        list.item(
            || format!("{letter} {}{slash}", render::name(path)),
            || ChangeDocument::new(path, change, kind),
        );
        ControlFlow::Continue(())
    };
    let tree = &*session.domain;
    let compared = context.block_on(points::diff((tree, old_root), (tree, new_root), &mut see));
    if let Err(error) = compared {
        return Ok(list.fail(&error.into()));
    }
    list.heading(&format!(
        "{} added, {} removed, {} modified, {} with other metadata",
        render::count(counts.added),
        render::count(counts.removed),
        render::count(counts.modified),
        render::count(counts.metadata)
    ));
    list.end(&NothingMore {});
    Ok(reading::exit(&view, false))
}
