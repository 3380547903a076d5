//! `lockstone points history PATH`. Versions are printed as they are found.

use std::path::PathBuf;

use clap::Args;
use lockstone_vault::log::Point;
use lockstone_vault::points::{Change, History, Version, clean_path, tells_about};

use super::reading;
use crate::agent::access::paths::anywhere;
use crate::cli::access::AccessArgs;
use crate::cli::context::Context;
use crate::cli::output::{List, Outcome, so_far};
use crate::documents::point::{NothingMore, VersionDocument};
use crate::failure::{Exit, Failure};
use crate::text::point::{change_word, short};
use crate::text::render;

/// Options of `points history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// A file or folder, as it was on the server
    path: PathBuf,
    #[command(flatten)]
    access: AccessArgs,
}

pub(super) fn run(context: &Context, args: &HistoryArgs) -> Outcome {
    let (session, view) = reading::open(context, &args.access)?;
    let is_wanted = |point: &&Point| session.is_own(point.server) && point.forgotten.is_none();
    let points: Vec<&Point> = view.points.iter().filter(is_wanted).collect();
    let tree = &*session.domain;
    let (mut damaged, mut found) = (false, false);
    so_far(reading::exit(&view, false));
    let mut list = context.out.list("versions");
    for path in anywhere(&points, &args.path) {
        let path = clean_path(&path);
        let mut history = History::new(tree, &path);
        for point in points.iter().filter(|point| tells_about(point, &path)) {
            match context.block_on(history.next(point)) {
                Ok(Some(version)) => {
                    found = true;
                    show(&mut list, point, &version);
                }
                Ok(None) => {}
                Err(error) if error.is_damage() => {
                    damaged = true;
                    so_far(Exit::Damaged);
                    let (path, point) = (render::name(&path), short(&point.id));
                    context.out.warn(format!("{path} cannot be read in {point}: {error}"));
                }
                Err(error) => return Ok(list.fail(&error.into())),
            }
        }
        if found {
            break;
        }
    }
    if !found && !damaged {
        let message = format!("{} is in no recovery point of this server", args.path.display());
        let hint = "`lockstone points find PATTERN` looks for names";
        return Ok(list.fail(&Failure::failed("no-such-path", message, hint)));
    }
    list.end(&NothingMore {});
    Ok(reading::exit(&view, damaged))
}

fn show(list: &mut List, point: &Point, version: &Version) {
    let Version { change, entry } = version;
    let line = || {
        let (time, point) = (render::local_time(point.summary.started_s), short(&point.id));
        let change = change_word(*change);
        if version.change == Change::Removed {
            return format!("{time}  {point}  {change}");
        }
        let (size, mtime) = (render::count(entry.size), render::local_time(entry.mtime_s));
        format!("{time}  {point}  {change:<8}  {size:>14}  {mtime}")
    };
    list.item(line, || VersionDocument::new(point, version));
}
