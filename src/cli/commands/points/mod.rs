//! `lockstone points …`: recovery points, and looking into them without restoring them.

mod delete;
mod diff;
mod filter;
mod find;
mod history;
mod hold;
mod list;
mod ls;
mod reading;

use clap::Subcommand;

use self::delete::Choice;
use crate::cli::context::Context;
use crate::cli::output::Outcome;

/// What to do with recovery points.
#[derive(Debug, Subcommand)]
pub(crate) enum PointsCommand {
    /// List recovery points, oldest first
    List(list::ListArgs),
    /// List what is in a recovery point
    Ls(ls::LsArgs),
    /// Compare two recovery points
    Diff(diff::DiffArgs),
    /// Find files by name in recovery points
    Find(find::FindArgs),
    /// The versions of a file or folder over all recovery points of this server
    History(history::HistoryArgs),
    /// Delete recovery points (can be undone for the vault's soft-delete days)
    Delete(delete::ChooseArgs),
    /// Undo the deletion of recovery points
    Undelete(delete::ChooseArgs),
    /// Keep recovery points whatever the policy says, and refuse to delete them
    Hold(hold::HoldArgs),
    /// Undo `points hold`
    Release(hold::ReleaseArgs),
}

pub(crate) fn run(context: &Context, command: PointsCommand) -> Outcome {
    match command {
        PointsCommand::List(args) => list::run(context, &args),
        PointsCommand::Ls(args) => ls::run(context, &args),
        PointsCommand::Diff(args) => diff::run(context, &args),
        PointsCommand::Find(args) => find::run(context, &args),
        PointsCommand::History(args) => history::run(context, &args),
        PointsCommand::Delete(args) => delete::run(context, &args, Choice::Delete),
        PointsCommand::Undelete(args) => delete::run(context, &args, Choice::Undelete),
        PointsCommand::Hold(args) => hold::hold(context, &args),
        PointsCommand::Release(args) => hold::release(context, &args),
    }
}
